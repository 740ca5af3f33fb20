# SPDX-License-Identifier: Apache-2.0
"""Closing while another thread's call uses the handle: it is given back when that call has returned."""

from __future__ import annotations

import concurrent.futures
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import fixture_path
from training_data import write

import ivg
import ivg.train
from ivg import _file, _guidance, _model, _quantize, _sequence, _session
from ivg._library import lib
from ivg.train import _trainer

TINY = fixture_path("tiny-llama.gguf")


class Watched:
    """libivg with a function that something happens in, and a record of what is given back."""

    def __init__(self) -> None:
        self.freed: list[str] = []
        self.during: dict[str, Callable[[], object]] = {}

    def __getattr__(self, name: str) -> Any:
        function = getattr(lib, name)
        if name.endswith("_free"):
            return lambda *arguments: self._free(name, function, *arguments)
        if name not in self.during:
            return function

        return lambda *arguments: self._call(name, function, *arguments)

    def _free(self, name: str, function: Any, *arguments: Any) -> None:
        self.freed.append(name)
        function(*arguments)

    def _call(self, name: str, function: Any, *arguments: Any) -> Any:
        thread = threading.Thread(target=self.during[name])
        thread.start()
        thread.join()
        assert self.freed == []
        return function(*arguments)


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    """Stands for libivg in the modules that own handles."""
    library = Watched()
    for module in (_file, _guidance, _model, _sequence):
        monkeypatch.setattr(module, "lib", library)
    return library


class Interrupted(Watched):
    """libivg with calls behind whose return Ctrl-C comes."""

    def _call(self, name: str, function: Any, *arguments: Any) -> Any:
        function(*arguments)
        raise KeyboardInterrupt


def test_ctrl_c_between_the_making_of_a_handle_and_its_owner(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    library = Interrupted()
    model = ivg.Model(TINY)
    session = model.session()
    sequence = session.sequence()
    pairs = write(tmp_path / "pairs.jsonl", [{"prompt": "a", "chosen": "b", "rejected": "c"}] * 4)
    for module in (_file, _guidance, _model, _quantize, _sequence, _session, _trainer):
        monkeypatch.setattr(module, "lib", library)
    makers: dict[str, Callable[[], object]] = {
        "file_open": lambda: ivg.File(TINY),
        "model_open": lambda: ivg.Model(TINY),
        "model_create_hosted": lambda: ivg.HostedModel(model, logits=lambda rows: []),
        "adapter_open": lambda: model.adapter(fixture_path("tiny-adapter.gguf")),
        "value_head_open": lambda: model.value_head(fixture_path("tiny-value-scalar.gguf")),
        "guidance_create": lambda: ivg.Guidance(implicit=ivg.Implicit(tuned_template="a {prompt}")),
        "session_create": lambda: model.session(),
        "sequence_create": lambda: session.sequence(),
        "sequence_fork": lambda: sequence.fork(),
        "quantizer_create": lambda: ivg.Quantizer(TINY, tmp_path / "target.gguf", "Q8_0"),
        "trainer_create": lambda: ivg.train.SFT(model, pairs),
    }
    for name, make in makers.items():
        library.during = {f"ivg_{name}": lambda: None}
        library.freed.clear()
        with pytest.raises(KeyboardInterrupt):
            make()
        kind = name.rsplit("_", 2)[0] if name == "model_create_hosted" else name.rsplit("_", 1)[0]
        assert library.freed == [f"ivg_{kind}_free"], name
    assert os.listdir(tmp_path) == ["pairs.jsonl"]


def test_a_call_keeps_a_model(watched: Watched) -> None:
    model = ivg.Model(TINY)
    watched.during["ivg_model_tokenize"] = model.close
    assert model.tokenize("Hello")
    assert watched.freed == ["ivg_model_free"]
    assert model.closed
    with pytest.raises(ValueError, match="this Model is closed"):
        model.tokenize("Hello")


def test_a_call_keeps_a_file(watched: Watched) -> None:
    file = ivg.File(TINY)
    watched.during["ivg_file_metadata_json"] = file.close
    with pytest.raises(ValueError, match="this File is closed"):
        file.metadata()
    assert watched.freed == ["ivg_file_free"]


def test_an_exception_that_is_kept_keeps_no_handle(watched: Watched) -> None:
    with ivg.Model(TINY) as model:
        with pytest.raises(ivg.Error) as caught:
            model.detokenize([-1])
        model.close()
        assert watched.freed == ["ivg_model_free"]
        assert caught.value
    with ivg.Model(TINY) as model:
        with pytest.raises(ivg.Error) as caught:
            model.adapter(TINY)
        model.close()
        assert watched.freed == ["ivg_model_free"] * 2


@pytest.mark.parametrize("kind", ["model", "adapter", "head", "nudger", "nudger's adapter"])
def test_making_a_guidance_keeps_its_parts(kind: str, watched: Watched) -> None:
    model = ivg.Model(TINY)
    adapter = model.adapter(fixture_path("tiny-adapter.gguf"))
    head = model.value_head(fixture_path("tiny-value-scalar.gguf"))
    closed: ivg.Model | ivg.Adapter | ivg.ValueHead
    parts: dict[str, Any]
    if kind == "model":
        closed, function = ivg.Model(fixture_path("tiny-llama-untuned.gguf")), "ivg_guidance_add_implicit"
        parts = {"implicit": ivg.Implicit(tuned=model, untuned=closed)}
    elif kind == "adapter":
        closed, function = adapter, "ivg_guidance_add_implicit"
        parts = {"implicit": ivg.Implicit(tuned=adapter)}
    elif kind == "head":
        closed, function = head, "ivg_guidance_add_explicit"
        parts = {"explicit": ivg.Explicit(head)}
    elif kind == "nudger":
        closed, function = model, "ivg_guidance_set_nudging"
        parts = {"nudging": ivg.Nudging(model)}
    else:
        closed, function = adapter, "ivg_guidance_set_nudging"
        parts = {"nudging": ivg.Nudging(adapter)}
    watched.during[function] = closed.close
    guidance = ivg.Guidance(**parts)
    assert len(watched.freed) == 1
    guidance.close()


def test_a_batch_keeps_its_sequences(watched: Watched, tiny: ivg.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    with tiny.session() as session:
        first, second = session.sequence(), session.sequence()
        long = session._gate.long

        def close_and_go_on(*arguments: Any) -> int:
            first.close()
            status = long(*arguments)  # which frees what has been given back so far
            assert watched.freed == []
            return status

        monkeypatch.setattr(session._gate, "long", close_and_go_on)
        ivg.Sequence.evaluate_batch([(first, [5, 6]), (second, [7])])
        monkeypatch.undo()
        assert len(second) == 1
        second.evaluate([8])
        assert watched.freed == ["ivg_sequence_free"]


def test_cancelling_a_session_that_has_gone_touches_nothing(tiny: ivg.Model) -> None:
    session = tiny.session()
    gate = session._gate
    cancelled: list[None] = []
    gate._cancel = lambda handle: cancelled.append(None)
    gate.cancel()
    assert len(cancelled) == 1
    session.close()
    cancelled.clear()
    gate.cancel()
    gate.aimed_cancel()
    assert cancelled == []


def use_until_closed(owner: Any, use: Callable[[Any], object], begun: threading.Event) -> str:
    """What ends the use."""
    try:
        while True:
            use(owner)
            begun.set()
    except ValueError as error:
        begun.set()
        return str(error)


def test_closing_at_any_moment() -> None:
    """Whatever the moment, the other threads are told that it is closed, and nothing crashes."""
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for make, use in USES:
            for _ in range(30):
                owner, begun = make(), threading.Event()
                users = [pool.submit(use_until_closed, owner, use, begun) for _ in range(2)]
                begun.wait()
                owner.close()
                assert all("closed" in user.result(60) for user in users)


USES: list[tuple[Callable[[], Any], Callable[[Any], object]]] = [
    (lambda: ivg.Model(TINY), lambda model: model.tokenize("Hello world, it is a fine day " * 20)),
    (lambda: ivg.Model(TINY), lambda model: model.session(threads=1).close()),
    (lambda: ivg.File(TINY), lambda file: (file.metadata(), list(file.tensors()))),
    (
        lambda: ivg.Model(TINY).session(threads=1).sequence(),
        lambda sequence: (sequence.truncate(0), sequence.evaluate([1])),
    ),
]


def test_files_may_be_closed_between_tensors() -> None:
    file = ivg.File(TINY)
    tensors = file.tensors()
    first = next(tensors)
    file.close()
    assert first.name
    with pytest.raises(ValueError, match="this File is closed"):
        next(tensors)
