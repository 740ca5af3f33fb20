# SPDX-License-Identifier: Apache-2.0
"""What users of other libraries complain about, and what happens here: one test for each complaint, named after it.

llama_cpp_python: abetlen/llama-cpp-python; llama_cpp: ggml-org/llama.cpp; mlx_lm: ml-explore/mlx-lm.

Shown elsewhere as well:

* install compiles for minutes (llama_cpp_python 1947, 1125): bindings/python/test_wheel.sh installs the wheel in a bare
  environment
* a wheel linked against musl (llama_cpp_python 1628): bindings/python/build_wheel.sh takes the tag from auditwheel
* illegal instructions (llama_cpp_python 839): Tests/Kernels, and Tests/ABI/test_facts.c
* the process dies (ggml 701): Tests/ABI/test_flips.c, test_input.c and test_errors.c, Tests/GGUFTests
* two threads (llama_cpp_python 1367): Tests/ABI/test_threads.c, also under ThreadSanitizer (Tests/ABI/sanitize.sh)
* memory is never freed (llama_cpp_python 302): Tests/ABI/test_leaks.c and test_memory.c
* an order of fields that broke the bindings (llama_cpp_python 407): test_bindings.py compares every field with the C
  compiler's; Tests/ABI/run.sh holds types and constants to their baselines
* the interface breaks every week (llama_cpp 9289): Tests/ABI/run.sh, the baselines of exports, constants and types
"""

from __future__ import annotations

import asyncio
import ctypes
import math
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import REAL_MODEL, ROOT, fixture_path
from interruption import interrupted_after, since

import ivg
from ivg import _bindings
from ivg._library import lib

TINY = str(fixture_path("tiny-llama.gguf"))


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs a program in an interpreter of its own."""
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env={**os.environ, **environment}
    )


def test_llama_cpp_python_1947_install_compiles_for_minutes_or_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Install compiles C++ for many minutes or fails ("8 hours of my life", 2119). Here nothing is ever compiled."""
    pytest.importorskip("hatchling")
    monkeypatch.syspath_prepend(str(ROOT / "bindings" / "python"))
    import hatch_build  # type: ignore[import-not-found,unused-ignore]

    monkeypatch.setenv("IVG_LIBRARY", str(tmp_path / "libivg.so"))
    hook: Any = SimpleNamespace(root=str(tmp_path / "a" / "b"))
    with pytest.raises(FileNotFoundError, match="compiles nothing: install a wheel") as caught:
        hatch_build.LibraryHook.initialize(hook, "standard", {})
    assert str(tmp_path / "libivg.so") in str(caught.value)


def test_llama_cpp_python_839_illegal_instruction_on_older_processors() -> None:
    """Illegal instruction on older CPUs. One library, which also runs without any extension, with the same bits."""
    code = f"import ivg; print(ivg.Model({TINY!r}).generate('Hello', max_tokens=20, seed=1).token_ids, {{}})"
    plain = run(code.format("ivg.kernels_name()"), IVG_KERNELS="portable")
    assert plain.stdout.rstrip().endswith("portable")
    assert plain.stdout.split("]")[0] == run(code.format("0")).stdout.split("]")[0]


def test_llama_cpp_python_1628_wheel_linked_against_musl() -> None:
    """Wheel linked against musl. What this library needs is on every glibc system."""
    if shutil.which("readelf") is None:
        pytest.skip("binutils are missing")
    listed = subprocess.run(["readelf", "-d", lib._name], capture_output=True, text=True, check=True).stdout
    needed = {line.split("[")[1].split("]")[0] for line in listed.splitlines() if "(NEEDED)" in line}
    usual = {"libc.so.6", "libm.so.6", "libstdc++.so.6", "libgcc_s.so.1"}
    assert needed - {name for name in needed if name.startswith("ld-linux")} <= usual
    assert "libc.so.6" in needed


def test_llama_cpp_python_599_ctrl_c_does_not_work(real: ivg.Model) -> None:
    """Ctrl-C or abort does not work. It does within 100 ms of processor time, also in a prompt; the session lives."""
    with real.session(threads=1) as session:
        delays = []
        for _ in range(3):
            with interrupted_after(0.4) as moments:
                with pytest.raises(KeyboardInterrupt):
                    session.generate("word " * 4000, max_tokens=1)
                delays.append(since(moments[0]).work)
        assert max(delays) < 0.1, delays
        assert session.generate("Once", max_tokens=2).token_ids


@pytest.mark.parametrize("damage", ["cut", "zeros", "text", "empty"])
def test_ggml_701_the_process_dies(tmp_path: Path, damage: str) -> None:
    """Process dies ("software should never crash except for purely logical errors"). Bad files are exceptions."""
    data = bytearray(Path(TINY).read_bytes())
    damaged = {
        "cut": bytes(data[: len(data) // 2]),
        "zeros": bytes(data[:64]) + bytes(len(data) - 64),
        "text": b"no model " * 1000,
        "empty": b"",
    }[damage]
    path = tmp_path / "damaged.gguf"
    path.write_bytes(damaged)
    with pytest.raises(ivg.Error, match=r"damaged\.gguf"):
        ivg.Model(path)


def test_llama_cpp_24098_a_request_that_cannot_be_met_kills_the_process(tiny: ivg.Model) -> None:
    """Process dies in an assertion. Each such request has its exception, and the next one works."""
    with tiny.session(memory_budget=1 << 20) as session:
        many = ivg.Guidance(scorer=lambda prompt, texts: [0.0] * len(texts), search=ivg.BestOf(1000))
        requests: list[tuple[Callable[[], object], type[ivg.Error]]] = [
            (lambda: session.generate("word " * 1000), ivg.ContextFullError),
            (lambda: session.generate("a", max_tokens=0), ivg.InvalidArgumentError),
            (lambda: session.generate("a", guidance=many), ivg.OutOfMemoryError),
            (lambda: session.sequence().evaluate([1 << 20]), ivg.InvalidArgumentError),
        ]
        for request, kind in requests:
            with pytest.raises(kind):
                request()
        assert session.generate("a", max_tokens=2).token_ids


def test_llama_cpp_python_1245_noisy_stderr() -> None:
    """Noisy stderr. Nothing is printed unless asked for, also not through logging."""
    code = f"""
import logging, ivg
with ivg.Model({TINY!r}) as model:
    model.generate("Hello", max_tokens=5)
ivg.log_to_logging("info")
ivg.Model({TINY!r}).generate("Hello", max_tokens=5)
"""
    done = run(code)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_llama_cpp_python_1610_exceptions_at_interpreter_exit() -> None:
    """Exceptions at interpreter exit. Leaving is silent whatever is alive; see test_leaving.py."""
    code = f"""
import ivg
model = ivg.Model({TINY!r})
stream = model.stream("Hello", max_tokens=50, ignore_end=True)
next(stream)
class Holder:
    def __init__(self): self.held = (model, stream, self)
holder = Holder()
"""
    done = run(code)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_llama_cpp_python_372_broken_characters_in_a_stream(tiny: ivg.Model) -> None:
    """Broken characters in stream. A step brings whole characters only."""
    wanted = list("naïve 😀 日本 👩‍👩‍👧".encode())
    byte_tokens = {tiny.detokenize_bytes([token]): token for token in range(3, 259)}  # one for each byte

    def spell(row: int, tokens: memoryview[int], logits: memoryview[float]) -> None:
        token = byte_tokens[bytes([wanted[len(tokens)]])]
        for index in range(len(logits)):
            logits[index] = 0.0 if index == token else -math.inf

    steps = list(tiny.stream("x", max_tokens=len(wanted), logits_processor=spell, ignore_end=True))
    assert "".join(step.text for step in steps) == bytes(wanted).decode()
    assert "\ufffd" not in "".join(step.text for step in steps)
    assert len(steps) == len(wanted)


def test_llama_cpp_python_1809_seed_ignored(tiny: ivg.Model) -> None:
    """Seed ignored, results differ. Equal seeds give equal text on any number of threads, others do not."""
    texts: dict[int, str] = {}
    for threads in (1, 2, 3):
        with tiny.session(threads=threads) as session:
            for seed in (1, 2, 3):
                text = session.generate("Hello", max_tokens=20, seed=seed, temperature=1.0).text
                assert texts.setdefault(seed, text) == text
    assert len(set(texts.values())) == 3
    unseeded = tiny.generate("Hello", max_tokens=20)
    assert tiny.generate("Hello", max_tokens=20, seed=unseeded.seed).text == unseeded.text


def test_llama_cpp_python_1983_log_probabilities_slow_or_wrong(tiny: ivg.Model) -> None:
    """Logprobs slow or wrong (990: needs logits_all). On request, and those of the distribution."""
    logits = tiny.logits("Hello")
    largest = max(logits)
    total = largest + math.log(sum(math.exp(value - largest) for value in logits))
    step = next(tiny.stream("Hello", top_log_probabilities=10, seed=1))
    order = sorted(range(len(logits)), key=lambda token: -logits[token])[:10]
    assert [token for token, _ in step.top] == order
    for token, found in step.top:
        assert found == pytest.approx(logits[token] - total, abs=1e-4)
    assert step.token is not None
    assert step.log_probability == pytest.approx(logits[step.token] - total, abs=1e-4)


def test_llama_cpp_python_416_a_context_of_512_and_silent_truncation(real: ivg.Model) -> None:
    """Context 512 by default, silent truncation. The model's own context; too much is an error, never cut off."""
    assert real.info.context_length > 4096
    prompt = "word " * 600
    count = len(real.tokenize(prompt))
    assert count > 512
    assert real.generate(prompt, max_tokens=2).prompt_token_count == count
    with pytest.raises(ivg.ContextFullError, match=str(real.info.context_length)):
        real.generate("word " * real.info.context_length)


def test_llama_cpp_python_302_memory_is_never_freed() -> None:
    """Memory never freed. close() gives everything back, the mapped file too."""
    code = f"""
import ivg
def mapped(): return sum({TINY!r} in line for line in open("/proc/self/maps"))
def resident(): return int(open("/proc/self/statm").read().split()[1]) * 4096
model = ivg.Model({TINY!r})
model.generate("Hello", max_tokens=5)
assert mapped()
model.close()
assert not mapped()
def once():
    with ivg.Model({TINY!r}, threads=2) as model:
        model.generate("word " * 100, max_tokens=5)
for _ in range(50): once()
before = resident()
for _ in range(300): once()
assert resident() - before < 4 << 20, resident() - before
"""
    done = run(code)
    assert (done.returncode, done.stderr) == (0, "")


def test_llama_cpp_python_1367_crash_with_two_threads(tiny: ivg.Model) -> None:
    """Crash with two threads. One session serves threads in turn, several sessions work at once."""
    expected = tiny.generate("Hello", max_tokens=10, seed=1).text
    shared = tiny.session(threads=1)
    found: list[str] = []

    def work(session: ivg.Session) -> None:
        found.extend(session.generate("Hello", max_tokens=10, seed=1).text for _ in range(10))

    sessions = [shared, shared, shared, tiny.session(threads=1), tiny.session(threads=2)]
    threads = [threading.Thread(target=work, args=(session,)) for session in sessions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == [expected] * 50


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{% for x in ().__class__.__base__.__subclasses__() %}{{ x }}{% endfor %}",
        "{{ cycler.__init__.__globals__.os.system('true') }}",
        "{{ messages.append(1) }}",
        "{% set f = '{0.__class__}'.format %}{{ f(messages) }}",
    ],
)
def test_cve_2024_34359_a_chat_template_runs_code(tiny: ivg.Model, template: str) -> None:
    """Chat template: remote code execution. The sandbox neither reaches nor changes anything."""
    messages = [{"role": "user", "content": "Hello"}]
    try:
        rendered = tiny.render_chat(messages, template)
    except ivg.InvalidArgumentError:
        rendered = ""
    assert "class" not in rendered
    assert messages == [{"role": "user", "content": "Hello"}]


def test_llama_cpp_python_1096_wrong_chat_template(tiny: ivg.Model) -> None:
    """Chat template wrong. It is the file's own, what it makes can be seen, and a raw prompt is always possible."""
    messages = [{"role": "user", "content": "Hello"}]
    prompt = tiny.render_chat(messages)
    assert prompt == "<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n"
    assert tiny.chat(messages, max_tokens=5, seed=1).text == tiny.generate(prompt, max_tokens=5, seed=1).text
    assert tiny.render_chat(messages, "[{{ messages[0].content }}]") == "[Hello]"


def test_llama_cpp_python_407_order_of_fields_broke_the_bindings() -> None:
    """Struct order broke bindings. They are made from the header, and structs carry their size."""
    script = ROOT / "bindings" / "python" / "generate_bindings.py"
    assert subprocess.run([sys.executable, script, "--check"]).returncode == 0
    options = _bindings.ivg_generate_options(struct_size=ctypes.sizeof(_bindings.ivg_generate_options) + 8)
    larger = ctypes.create_string_buffer(bytes(options) + b"\x01" * 8)  # of a later version, with a field in use
    error = ctypes.POINTER(_bindings.ivg_error)()
    with ivg.Model(TINY, threads=1) as model, model.session() as session:
        pointer = ctypes.cast(larger, ctypes.POINTER(_bindings.ivg_generate_options))
        begin = lib.ivg_session_begin
        status = begin(session._handle, b"a", 1, pointer, None, ctypes.byref(error))
    lib.ivg_error_free(error)
    assert status == _bindings.IVG_ERROR_UNSUPPORTED


def test_llama_cpp_python_2340_progress_of_loading_not_exposed() -> None:
    """Load progress not exposed. Opening maps the file and reads next to nothing: there is nothing to wait for."""
    if not REAL_MODEL.exists():
        pytest.skip("make model")
    code = f"""
import time, ivg
began = time.process_time()
model = ivg.Model({str(REAL_MODEL)!r})
print(time.process_time() - began, model.info.file_size)
inside, resident = False, 0
for line in open("/proc/self/smaps"):
    fields = line.split()
    if not fields[0].endswith(":"): inside = line.rstrip().endswith({REAL_MODEL.name!r})
    elif inside and fields[0] == "Rss:": resident += 1024 * int(fields[1])
print(resident)
"""
    done = run(code)
    assert done.stderr == ""
    seconds, size, resident = map(float, done.stdout.split())
    assert seconds < 0.5
    assert resident < 0.2 * size


def test_llama_cpp_9289_the_interface_breaks_every_week(tmp_path: Path) -> None:
    """API breaks every week. A library of another version is refused by name, never called wrongly."""
    if shutil.which("cc") is None:
        pytest.skip("a C compiler is missing")
    source, library = tmp_path / "other.c", tmp_path / "libivg.so"
    source.write_text("unsigned ivg_version_number(void) { return 10000; }")
    subprocess.run(["cc", "-shared", "-fPIC", source, "-o", library], check=True)
    done = run("import ivg", IVG_LIBRARY=str(library))
    assert "is libivg 1.0.0, but this package was made for" in done.stderr


def test_mlx_lm_566_the_processor_is_ignored_in_some_paths(tiny: ivg.Model, other: ivg.Model) -> None:
    """Processor ignored in some paths. Every way of generating goes through it."""
    token = 40
    search = ivg.ChunkBeamSearch(2, 2, 2)
    guides = [
        None,
        ivg.Guidance(implicit=ivg.Implicit(tuned=other)),
        ivg.Guidance(implicit=ivg.Implicit(tuned=other), search=search),
        ivg.Guidance(scorer=lambda prompt, texts: [0.0] * len(texts), search=ivg.BestOf(3)),
    ]

    def only(row: int, tokens: memoryview[int], logits: memoryview[float]) -> None:
        for index in range(len(logits)):
            logits[index] = 0.0 if index == token else -math.inf

    for guidance in guides:
        for temperature in (0.0, 1.0):
            options = ivg.SamplingOptions(max_tokens=4, temperature=temperature, ignore_end=True, logits_processor=only)
            completions = [
                tiny.generate("Hello", guidance=guidance, sampling=options),
                tiny.chat([{"role": "user", "content": "Hello"}], guidance=guidance, sampling=options),
                asyncio.run(tiny.agenerate("Hello", guidance=guidance, sampling=options)),
            ]
            for completion in completions:
                assert [row.token_ids for row in completion.candidates] == [[token] * 4] * len(completion.candidates)


def test_llama_cpp_python_1774_no_async(tiny: ivg.Model) -> None:
    """No async. Generating, streaming and chatting, with other tasks running meanwhile."""

    async def main() -> None:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0)

        ticking = asyncio.create_task(tick())
        expected = tiny.generate("Hello", max_tokens=20, seed=1).text
        before = ticks
        assert (await tiny.agenerate("Hello", max_tokens=20, seed=1)).text == expected
        assert "".join([step.text async for step in tiny.astream("Hello", max_tokens=20, seed=1)]) == expected
        assert (await tiny.achat([{"role": "user", "content": "Hello"}], max_tokens=5)).token_ids
        assert ticks > before
        ticking.cancel()

    asyncio.run(asyncio.wait_for(main(), 60))
