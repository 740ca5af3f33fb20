# SPDX-License-Identifier: Apache-2.0
"""Other processes: pickling and copying, fork, multiprocessing."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import fixture_path

import ivg

TINY = str(fixture_path("tiny-llama.gguf"))
ADAPTER = str(fixture_path("tiny-adapter.gguf"))
HEAD = str(fixture_path("tiny-value-scalar.gguf"))


def run(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs a program from a file, as multiprocessing needs it."""
    path = folder / "program.py"
    path.write_text(code)
    return subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", path], capture_output=True, text=True, timeout=120
    )


def handles(model: ivg.Model) -> list[tuple[object, str]]:
    """One of each thing that holds a handle, with what its refusal advises."""
    session = model.session()
    return [
        (model, "pass the file's path and open it there"),
        (session, "make model and session there"),
        (session.sequence(), "`fork` makes a copy"),
        (ivg.Guidance(implicit=ivg.Implicit(tuned_template="x {prompt}")), "paths and settings"),
        (model.adapter(ADAPTER), "pass the file's path"),
        (model.value_head(HEAD), "pass the file's path"),
        (ivg.File(TINY), "pass the file's path"),
        (session.stream("Hello", max_tokens=3), "the prompt and the seed"),
    ]


@pytest.mark.parametrize("act", [pickle.dumps, copy.copy, copy.deepcopy])
def test_handles_are_neither_pickled_nor_copied(act: Callable[[object], object]) -> None:
    with ivg.Model(TINY, threads=1) as model:
        for handle, advice in handles(model):
            with pytest.raises(TypeError, match="can be neither pickled nor copied") as caught:
                act(handle)
            assert f"ivg.{type(handle).__name__} " in str(caught.value)
            assert advice in str(caught.value)
        with pytest.raises(TypeError, match=r"ivg\.Model holds"):
            act(ivg.Implicit(tuned=model)) if act is not copy.copy else act(model)


def test_what_holds_no_handle_goes_anywhere(tiny: ivg.Model) -> None:
    steps = list(tiny.stream("Hello", max_tokens=3, seed=1))
    completion = tiny.generate("Hello", max_tokens=3, seed=1)
    options = ivg.SamplingOptions(max_tokens=3, stop=["a"])
    for value in (steps, completion, options, tiny.info, ivg.BestOf(3), ivg.Implicit(tuned_template="x {prompt}")):
        assert pickle.loads(pickle.dumps(value)) == copy.deepcopy(value) == value
    with pytest.raises(ivg.NotFoundError) as caught:
        ivg.Model("/no/such/file.gguf")
    again = pickle.loads(pickle.dumps(caught.value))
    assert (type(again), str(again), again.status) == (ivg.NotFoundError, str(caught.value), caught.value.status)


def test_spawned_processes(tmp_path: Path) -> None:
    code = f"""
import concurrent.futures, multiprocessing
import ivg

def answer(prompt):
    with ivg.Model({TINY!r}, threads=1) as model:
        return model.generate(prompt, max_tokens=8, seed=1)

if __name__ == "__main__":
    prompts = ["A", "B", "C"]
    expected = [answer(prompt) for prompt in prompts]
    for method in ("spawn", "forkserver"):
        context = multiprocessing.get_context(method)
        with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as pool:
            found = list(pool.map(answer, prompts))
        assert [one.candidates for one in found] == [one.candidates for one in expected]
    model = ivg.Model({TINY!r})
    try:
        multiprocessing.get_context("spawn").Process(target=print, args=(model,)).start()
    except TypeError as error:
        assert "pass the file's path and open it there" in str(error)
    else:
        raise AssertionError("a model was passed")
    print("done")
"""
    done = run(code, tmp_path)
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr


FORKED = f"""
import os, sys, threading
import ivg

model = ivg.Model({TINY!r}, threads=2)
session = model.session(threads=2)
sequence = session.sequence()
sequence.evaluate([5, 6])
head = model.value_head({HEAD!r})
guidance = ivg.Guidance(explicit=ivg.Explicit(head), search=ivg.BestOf(2))
stream = session.stream("Hello", max_tokens=20, seed=1, ignore_end=True)
first = next(stream).text
ivg.log_to_logging("info")
expected = ivg.Model({TINY!r}).generate("Hello", max_tokens=20, seed=1, ignore_end=True).text

# A thread is inside libivg, and holds the locks, at the moment of the fork.
busy = model.session(threads=1)
threading.Thread(target=lambda: busy.generate("Hello", max_tokens=200, ignore_end=True)).start()
"""

CHILD = f"""
def refuses(use):
    try:
        use()
    except RuntimeError as error:
        assert "made before fork()" in str(error) and "spawn" in str(error), error
    else:
        raise AssertionError(f"{{use}} was not refused")

def child():
    for use in (lambda: model.generate("a"), lambda: model.tokenize("a"), lambda: model.session(),
                lambda: session.generate("a"), lambda: next(stream), lambda: stream.cancel(), lambda: session.cancel(),
                lambda: busy.generate("a"), lambda: busy.cancel(), lambda: sequence.evaluate([5]),
                lambda: len(sequence),
                lambda: sequence.logits(), lambda: session.score(head, "a", ["b"]), lambda: model.value_head({HEAD!r}),
                lambda: ivg.Guidance(explicit=ivg.Explicit(head)), lambda: session.sequence(),
                lambda: model.stream("a", guidance=guidance), lambda: model.render_chat([])):
        refuses(use)
    for handle in (stream, sequence, session, busy, head, guidance, model):
        handle.close()   # no more than letting go
    fresh = ivg.Model({TINY!r}, threads=2)   # the library itself works on
    assert fresh.generate("Hello", max_tokens=20, seed=1, ignore_end=True).text == expected
"""


@pytest.mark.parametrize("end", ["sys.exit(0)", "os._exit(0)"])
def test_a_forked_child_is_refused_and_nothing_breaks(tmp_path: Path, end: str) -> None:
    code = f"""{FORKED}{CHILD}
pid = os.fork()
if pid == 0:
    child()
    {end}
assert os.waitpid(pid, 0)[1] == 0
assert first + "".join(step.text for step in stream) == expected   # the parent's are as they were
assert sequence.logits()
print("done")
"""
    done = run(code, tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")


def test_multiprocessing_fork(tmp_path: Path) -> None:
    code = f"""{FORKED}{CHILD}
import multiprocessing
process = multiprocessing.get_context("fork").Process(target=child)
process.start()
process.join()
assert process.exitcode == 0
print("done")
"""
    done = run(code, tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")


def test_a_forked_child_leaves_a_trainers_files_alone(tmp_path: Path) -> None:
    code = f"""
import os, sys
import ivg
model = ivg.Model({TINY!r}, threads=1)
pairs = [dict(prompt="a", chosen="b", rejected="c")] * 8
trainer = ivg.train.DPO(model, pairs, rank=2, batch_size=2, max_tokens=16)
next(trainer)
pid = os.fork()
if pid == 0:
    sys.exit(0)
assert os.waitpid(pid, 0)[1] == 0
for report in trainer:
    pass
print("done")
"""
    done = run(code, tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")


def test_a_forked_child_has_a_scoring_command_of_its_own(tmp_path: Path) -> None:
    command = f"{sys.executable} -uc 'import sys; [print(len(line), flush=True) for line in sys.stdin]'"
    code = f"""
import os, sys
import ivg
scorer = ivg.CommandScorer({command!r})
expected = scorer("a", ["bc", "def"])
pid = os.fork()
if pid == 0:
    assert scorer("a", ["bc", "def"]) == expected
    scorer.close()
    os._exit(0)
for _ in range(20):
    assert scorer("a", ["bc", "def"]) == expected
assert os.waitpid(pid, 0)[1] == 0
assert scorer("a", ["bc", "def"]) == expected
scorer.close()
print("done")
"""
    done = run(code, tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")
