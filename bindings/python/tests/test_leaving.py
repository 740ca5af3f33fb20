# SPDX-License-Identifier: Apache-2.0
"""The end of the interpreter, at any point: no word on stderr, no crash, no wait."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import REAL_MODEL, fixture_path

TINY = str(fixture_path("tiny-llama.gguf"))

SETTING = f"""
import asyncio, atexit, gc, logging, os, sys, threading, time
EARLY = []
atexit.register(lambda: [work() for work in EARLY])  # before ivg's own, and so after it
import ivg

model = ivg.Model({TINY!r}, threads=2)
session = model.session(threads=2)
head = model.value_head({str(fixture_path("tiny-value-scalar.gguf"))!r})
adapter = model.adapter({str(fixture_path("tiny-adapter.gguf"))!r})
scorer = ivg.Guidance(scorer=lambda prompt, texts: [0.0] * len(texts), search=ivg.BestOf(4))
FOR_EVER = dict(max_tokens=200, ignore_end=True)
begun = threading.Event()

def for_ever(make=lambda: model.session(threads=1), **options):
    own = make()
    while True:
        for step in own.stream("Hello", **FOR_EVER, **options):
            begun.set()

def thread(**options):
    threading.Thread(target=for_ever, kwargs=options, daemon=True).start()
    begun.wait()

def processor(row, tokens, logits):
    begun.set()

def leave(*arguments):
    sys.exit(0)
"""

PROGRAMS = {
    "everything in globals": """
stream = session.stream("Hello", **FOR_EVER); next(stream)
second = model.stream("Hello", logits_processor=processor); next(second)
sequence = session.sequence(adapter); sequence.evaluate([5, 6]); fork = sequence.fork()
file = ivg.File(model.info.path); tensors = file.tensors(); next(tensors)
guidance = ivg.Guidance(explicit=ivg.Explicit(head), search=ivg.ChunkBeamSearch(2, 2, 2))
searching = model.session().stream("a", guidance=guidance); next(searching)
ivg.log_to_logging("info")
logging.basicConfig(level=logging.ERROR)
""",
    "in the middle of a generator": """
def generator():
    for step in model.stream("Hello", **FOR_EVER):
        yield step
steps = generator()
next(steps)
sys.exit(0)
""",
    "in a cycle of garbage": """
gc.disable()
class Node: pass
node = Node(); node.itself = node; node.stream = session.stream("Hello", **FOR_EVER); next(node.stream)
del node, session
""",
    "while a daemon thread generates": "thread()",
    "while a daemon thread is in a callback's hands": "thread(logits_processor=processor, guidance=scorer)",
    "while many daemon threads generate": "for _ in range(8): begun.clear(); thread()",
    "while daemon threads wait for one session": """
for _ in range(4): threading.Thread(target=for_ever, kwargs=dict(make=lambda: session), daemon=True).start()
begun.wait()
""",
    "while a daemon thread opens and closes": """
def work():
    while True:
        with ivg.Model(model.info.path, threads=1) as own:
            own.tokenize("Hello"); own.generate("Hello", max_tokens=2); begun.set()
threading.Thread(target=work, daemon=True).start(); begun.wait()
""",
    "while a daemon thread trains": """
pairs = [dict(prompt="a", chosen="b", rejected="c")] * 8
trainer = ivg.train.DPO(model, pairs, rank=2, batch_size=2, max_tokens=16, epochs=100000)
def work():
    for report in trainer: begun.set()
threading.Thread(target=work, daemon=True).start(); begun.wait()
""",
    "while a daemon thread's callback sleeps": """
ivg._calls._LEAVE_SECONDS = 0.2
def sleeps(row, tokens, logits):
    begun.set(); time.sleep(1000)
threading.Thread(target=for_ever, kwargs=dict(logits_processor=sleeps), daemon=True).start(); begun.wait()
""",
    "when an ordinary thread has ended": """
worker = threading.Thread(target=lambda: session.generate("Hello", max_tokens=50)); worker.start()
""",
    "from a scorer": """
model.generate("Hello", guidance=ivg.Guidance(scorer=leave, search=ivg.BestOf(2)))
""",
    "from a logits processor": 'list(model.stream("Hello", logits_processor=leave))',
    "from a hosted model": 'ivg.HostedModel(model, logits=leave).generate("Hello")',
    "in a function of atexit that generates": """
atexit.register(lambda: model.generate("Hello", max_tokens=3))
""",
    "in an early function of atexit that generates beside a thread": """
EARLY.append(lambda: (model.generate("Hello", max_tokens=3), session.generate("Hello", max_tokens=3), gc.collect()))
threading.Thread(target=for_ever, kwargs=dict(make=lambda: session), daemon=True).start(); begun.wait()
""",
    "in an early function of atexit that joins a daemon thread": """
def work():
    while True:
        try:
            model.generate("Hello", max_tokens=5); begun.set()
        except Exception:
            pass
worker = threading.Thread(target=work, daemon=True); worker.start(); begun.wait()
EARLY.append(worker.join)
""",
    "in an early function of atexit that joins daemon threads which wait for one session": """
def work():
    while True:
        session.generate("Hello", max_tokens=5); session.sequence().evaluate([5] * 100); begun.set()
workers = [threading.Thread(target=work, daemon=True) for _ in range(4)]
for worker in workers: worker.start()
begun.wait()
EARLY.append(lambda: [worker.join() for worker in workers])
""",
    "in an early function of atexit that joins a thread's loop": """
def work():
    async def main():
        while True:
            async for step in session.astream("Hello", **FOR_EVER): begun.set()
    asyncio.run(main())
worker = threading.Thread(target=work, daemon=True); worker.start(); begun.wait()
EARLY.append(worker.join)
""",
    "by os._exit in a stream": """
for step in model.stream("Hello", **FOR_EVER): os._exit(0)
""",
    "by os._exit beside a thread": "thread()\nos._exit(0)",
    "by os._exit in a callback": """
model.generate("Hello", logits_processor=lambda row, tokens, logits: os._exit(0))
""",
    "by sys.exit in a task beside others": """
async def stream():
    async for step in model.astream("Hello", **FOR_EVER): begun.set()
async def main():
    others = [asyncio.create_task(stream()) for _ in range(4)]
    while not begun.is_set(): await asyncio.sleep(0.01)
    sys.exit(0)
asyncio.run(main())
""",
    "at the end of asyncio.run, with tasks left": """
async def main():
    task = asyncio.create_task(model.agenerate("Hello", **FOR_EVER))
    steps = session.astream("Hello", **FOR_EVER)
    await anext(steps)
asyncio.run(main())
""",
    "in a loop that was never closed": """
loop = asyncio.new_event_loop()
steps = model.astream("Hello", **FOR_EVER)
loop.run_until_complete(anext(steps))
loop.run_until_complete(steps.aclose())
""",
    "in a thread's loop": """
def work():
    async def main():
        while True:
            async for step in session.astream("Hello", **FOR_EVER): begun.set()
    asyncio.run(main())
threading.Thread(target=work, daemon=True).start(); begun.wait()
""",
}


def run(code: str) -> subprocess.CompletedProcess[str]:
    """Runs a program; one that does not end is a failure."""
    return subprocess.run([sys.executable, "-X", "dev", "-c", code], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("name", PROGRAMS)
def test_leaving_is_silent(name: str) -> None:
    done = run(SETTING + PROGRAMS[name])
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_leaving_at_many_moments() -> None:
    """A thread that generates with a callback, left behind a little later each time."""
    for milliseconds in range(0, 40, 2):
        code = f"thread(logits_processor=processor)\ntime.sleep({milliseconds / 1000})"
        done = run(SETTING + code)
        assert (done.returncode, done.stderr) == (0, ""), milliseconds


def test_leaving_does_not_wait_for_a_long_prompt(tmp_path: Path) -> None:
    """What a daemon thread computes is cancelled: the process takes little more time than to begin it."""
    if not REAL_MODEL.exists():
        pytest.skip("make model")
    code = f"""
import threading, time
import ivg
model = ivg.Model({str(REAL_MODEL)!r}, threads=1)
threading.Thread(target=lambda: model.generate("word " * 8000, max_tokens=1), daemon=True).start()
time.sleep(0.5)
began = time.process_time()
import atexit
atexit._run_exitfuncs()
print(time.process_time() - began)
"""
    done = run(code)
    assert (done.returncode, done.stderr) == (0, "")
    assert float(done.stdout) < 0.3


def test_ctrl_c_in_a_stream_says_so_once() -> None:
    """The traceback is Python's own; nothing of ivg's comes behind it."""
    code = SETTING + 'print("ready", flush=True)\nwhile True:\n  for step in model.stream("Hello", **FOR_EVER): pass'
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        errors = process.stderr.read()
    assert process.returncode == -signal.SIGINT
    assert errors.count("Traceback") == 1
    assert errors.endswith("KeyboardInterrupt\n")
    assert "Exception ignored" not in errors
