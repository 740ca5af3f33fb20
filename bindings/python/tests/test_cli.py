"""The command line, as another process."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import REAL_MODEL, fixture_path

import ivg

TINY = str(fixture_path("tiny-llama.gguf"))
COMMANDS = ["generate", "tokenize", "detokenize", "logits", "inspect", "score"]


def run(*arguments: str | Path | bytes, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Runs `ivg`."""
    command = [sys.executable, "-m", "ivg", *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, timeout=120)


def run_json(*arguments: str | Path | bytes, stdin: bytes = b"") -> Any:
    """Runs `ivg … --json`, which must succeed."""
    done = run(*arguments, "--json", stdin=stdin)
    assert (done.returncode, done.stderr) == (0, b"")
    return json.loads(done.stdout, parse_constant=pytest.fail)


def generate(*arguments: str | Path) -> Any:
    """Runs `ivg generate` on the tiny model."""
    return run_json("generate", TINY, "-p", "Hello", "--max-tokens", "8", "--seed", "1", "--ignore-eos", *arguments)


def test_generate(tiny: ivg.Model) -> None:
    found = generate()
    expected = tiny.generate("Hello", max_tokens=8, seed=1, ignore_end=True)
    assert found["text"] == expected.text
    assert found["token_ids"] == expected.token_ids
    assert found["prompt_token_ids"] == tiny.tokenize("Hello")
    assert found["finish_reason"] == "length"
    assert found["score"] == 0
    assert found["log_probability"] == pytest.approx(expected.log_probability)
    assert found["tokens_per_second"] > 0
    assert found["prompt_tokens_per_second"] > 0
    assert found["seed"] == 1
    assert found["model"] == TINY
    assert found["kernels"] == ivg.kernels_name()
    assert found["memory_used"] > 0
    [candidate] = found["candidates"]
    assert {"text", "token_ids", "score", "finish_reason", "log_probability"} <= candidate.keys()
    plain = run("generate", TINY, "-p", "Hello", "--max-tokens", "8", "--seed", "1", "--ignore-eos")
    assert (plain.returncode, plain.stderr) == (0, b"")
    assert plain.stdout.decode() == expected.text + "\n"


def test_sampling_options(tiny: ivg.Model) -> None:
    options = ["--temperature", "1.5", "--top-k", "0", "--top-p", "0.9", "--min-p", "0.01", "--threads", "2"]
    expected = tiny.generate(
        "Hello", max_tokens=8, seed=1, ignore_end=True, temperature=1.5, top_k=0, top_p=0.9, min_p=0.01
    )
    assert generate(*options)["token_ids"] == expected.token_ids
    greedy = generate("--temperature", "0")
    assert greedy["token_ids"] == tiny.generate("Hello", max_tokens=8, temperature=0, ignore_end=True).token_ids
    stop = greedy["text"][2:4]
    stopped = generate("--temperature", "0", "--stop", "never in it", "--stop", stop)
    assert stopped["finish_reason"] == "stop"
    assert stopped["text"] == greedy["text"][: greedy["text"].index(stop)]
    wrapped = generate("--template", "x {prompt} y")
    assert wrapped["prompt_token_ids"] == tiny.tokenize("x Hello y")


def test_guides_by_file(tiny: ivg.Model, other: ivg.Model, adapter: ivg.Adapter) -> None:
    options = ivg.SamplingOptions(max_tokens=8, seed=1, ignore_end=True)
    untuned = fixture_path("tiny-llama-untuned.gguf")

    def expect(implicit: ivg.Implicit, *arguments: str | Path) -> None:
        wanted = tiny.generate("Hello", sampling=options, guidance=ivg.Guidance(implicit=implicit))
        assert generate(*arguments)["token_ids"] == wanted.token_ids

    expect(ivg.Implicit(tuned=adapter), "--tuned", fixture_path("tiny-adapter.gguf"))
    expect(ivg.Implicit(tuned=other), "--tuned", untuned)
    expect(
        ivg.Implicit(tuned=adapter, untuned=other, weight=0.5),
        *("--tuned", fixture_path("tiny-adapter.gguf"), "--untuned", untuned, "--weight", "0.5"),
    )
    expect(
        ivg.Implicit(tuned=adapter, template="A: {prompt}", weight=2.0),
        *("--tuned", fixture_path("tiny-adapter.gguf"), "--guide-template", "A: {prompt}", "--weight", "2"),
    )


def test_guides_by_prompt(tiny: ivg.Model) -> None:
    options = ivg.SamplingOptions(max_tokens=8, seed=1, ignore_end=True)
    implicit = ivg.Implicit(tuned_template="Good: {prompt}", untuned_template="Bad: {prompt}!")
    wanted = tiny.generate("Hello", sampling=options, guidance=ivg.Guidance(implicit=implicit))
    found = generate("--tuned-prompt", "Good: ", "--untuned-prompt", "Bad: {prompt}!")
    assert found["token_ids"] == wanted.token_ids
    same = generate("--tuned-prompt", "Good: ", "--untuned-prompt", "Good: {prompt}", "--weight", "3")
    assert same["token_ids"] == generate()["token_ids"]


def test_searches(tiny: ivg.Model, adapter: ivg.Adapter, scalar_head: ivg.ValueHead) -> None:
    options = ivg.SamplingOptions(max_tokens=8, seed=1, ignore_end=True)
    head = fixture_path("tiny-value-scalar.gguf")
    explicit = ivg.Explicit(scalar_head)

    def expect(guidance: ivg.Guidance, *arguments: str | Path) -> None:
        wanted = tiny.generate("Hello", sampling=options, guidance=guidance)
        found = generate(*arguments)
        assert [row["token_ids"] for row in found["candidates"]] == [row.token_ids for row in wanted.candidates]
        assert [row["score"] for row in found["candidates"]] == [row.score for row in wanted.candidates]
        assert found["score"] == wanted.score

    expect(ivg.Guidance(explicit=explicit, search=ivg.BestOf(3)), "--value", head, "--best-of", "3")
    cbs = ivg.ChunkBeamSearch(2, 3, 4)
    tuned = ["--tuned", str(fixture_path("tiny-adapter.gguf"))]
    arguments = ["--width", "2", "--successors", "3", "--chunk", "4"]
    expect(ivg.Guidance(explicit=explicit, search=cbs), "--value", head, *arguments)
    expect(
        ivg.Guidance(implicit=ivg.Implicit(tuned=adapter), search=cbs),
        *tuned,
        *arguments,
    )
    expect(
        ivg.Guidance(implicit=ivg.Implicit(tuned=adapter), explicit=explicit, search=cbs),
        *tuned,
        *("--value", str(head)),
        *arguments,
    )
    expect(
        ivg.Guidance(implicit=ivg.Implicit(tuned=adapter, role="both"), search=cbs, finished_rows="tile", dedupe=True),
        *tuned,
        *("--tuned-role", "both", "--tile", "--dedupe"),
        *arguments,
    )


def test_attribution_is_json() -> None:
    found = generate("--tuned-prompt", "Good: ", "--width", "2", "--successors", "2", "--chunk", "4", "--attribution")
    for row in found["candidates"]:
        assert len(row["guide_values"]) == len(row["base_log_probabilities"]) == 8
        assert sum(values[0] for values in row["guide_values"]) == pytest.approx(row["score"], abs=1e-3)


def test_tokenize_and_detokenize(tiny: ivg.Model) -> None:
    text = "<|im_start|>Hello é"
    assert run_json("tokenize", TINY, text) == {"ids": tiny.tokenize(text)}
    plain = run_json("tokenize", TINY, "--no-special", text)["ids"]
    assert plain == tiny.tokenize(text, special=False, begin=False)
    odd = b"a\xff\x00\n b\r\n\xc3"
    ids = run_json("tokenize", TINY, "-", "--no-special", stdin=odd)["ids"]
    assert ids == tiny.tokenize(odd, special=False, begin=False)
    assert run_json("tokenize", TINY, b"a\xff")["ids"] == tiny.tokenize(b"a\xff")
    assert run("tokenize", TINY, "ab").stdout.split() == [str(i).encode() for i in tiny.tokenize("ab")]
    vocabulary = fixture_path("tiny-vocabulary-only.gguf")
    assert run("detokenize", vocabulary, *map(str, ids)).stdout == odd
    assert run_json("detokenize", vocabulary, *map(str, ids))["bytes"] == odd.hex()
    assert run_json("detokenize", TINY, *map(str, plain))["text"] == text
    assert run("tokenize", vocabulary, "--", "-5").stdout.split() == [str(i).encode() for i in tiny.tokenize("-5")]


def test_logits(tiny: ivg.Model) -> None:
    found = run_json("logits", TINY, "-p", "Hello", "--top", "5")
    logits = tiny.logits("Hello")
    best = sorted(range(320), key=lambda token: -logits[token])[:5]
    assert found == [[token, pytest.approx(logits[token])] for token in best]
    lines = run("logits", TINY, "-p", "Hello", "--top", "5").stdout.decode().splitlines()
    assert [int(line.split("\t")[0]) for line in lines] == best


def test_inspect() -> None:
    found = run_json("inspect", fixture_path("tiny-adapter.gguf"))
    assert found["kind"] == "adapter"
    assert found["architecture"] == "llama"
    assert found["metadata"]["adapter.type"] == "lora"
    assert len(found["tensors"]) == sum(found["types"].values()) == 28
    assert found["size"] == fixture_path("tiny-adapter.gguf").stat().st_size
    assert b"adapter.lora.alpha\t8.0" in run("inspect", fixture_path("tiny-adapter.gguf")).stdout


def test_score(tiny: ivg.Model, scalar_head: ivg.ValueHead) -> None:
    texts = ["yes", "no", "it is é"]
    found = run_json("score", TINY, "--value", fixture_path("tiny-value-scalar.gguf"), "-p", "Hello", *texts)
    assert found == {"scores": tiny.score(scalar_head, "Hello", texts)}
    lines = run("score", TINY, "--tuned-prompt", "Good: ", "-p", "Hello", *texts).stdout.decode().splitlines()
    implicit = ivg.Implicit(tuned_template="Good: {prompt}")
    assert [float(line.split("\t")[0]) for line in lines] == pytest.approx(
        tiny.score(implicit, "Hello", texts), abs=1e-5
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["generate", "/nowhere.gguf", "-p", "a"], "/nowhere.gguf"),
        (["inspect", __file__], "test_cli.py"),
        (["generate", TINY, "-p", "a", "--max-tokens", "256"], "256"),
        (["generate", TINY, "-p", "a", "--tuned", str(fixture_path("tiny-value-scalar.gguf"))], "pass it as --value"),
        (["generate", TINY, "-p", "a", "--value", str(fixture_path("tiny-adapter.gguf"))], "pass it as --tuned"),
        (["generate", TINY, "-p", "a", "--tuned", str(fixture_path("tiny-other-vocabulary.gguf"))], "vocabular"),
        (["detokenize", TINY, "999"], "999"),
        (["score", TINY, "-p", "a", "b"], "nothing to score by"),
        (["generate", TINY, "-p", "a", "--top-p", "7"], "top_p"),
    ],
)
def test_errors_are_one_line(arguments: list[str], message: str) -> None:
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (1, b"")
    [line] = done.stderr.decode().splitlines()
    assert line.startswith("ivg: ")
    assert message in line


@pytest.mark.parametrize(
    "arguments",
    [
        ["generate", TINY],
        ["generate", TINY, "-p", "a", "--max-tokens", "many"],
        ["generate", TINY, "-p", "a", "--best-of", "3", "--width", "2"],
        ["no-such-command"],
        ["detokenize", TINY, "five"],
    ],
)
def test_usage(arguments: list[str]) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert b"Error" in done.stderr
    assert b"Traceback" not in done.stderr


def test_help_and_version() -> None:
    for command in COMMANDS:
        assert b"--json" in run(command, "--help").stdout
    assert ivg.library_version().encode() in run("--version").stdout


def test_a_reader_that_leaves() -> None:
    command = f"{sys.executable} -m ivg inspect {TINY} --elements 300 | head -1"
    done = subprocess.run(command, shell=True, capture_output=True, timeout=60)
    assert done.stderr == b""
    assert done.stdout.startswith(b"kind")


def test_the_extra_is_named(tmp_path: Path) -> None:
    (tmp_path / "typer.py").write_text("raise ImportError('no typer here')")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-m", "ivg", "--help"], capture_output=True, env=environment, text=True)
    assert done.returncode == 1
    assert "pip install 'ivg[cli]'" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_ctrl_c() -> None:
    if not REAL_MODEL.exists():
        pytest.skip("make model")
    command = [sys.executable, "-m", "ivg", "generate", str(REAL_MODEL), "-p", "Once", "--max-tokens", "2000"]
    with subprocess.Popen([*command, "--ignore-eos"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(10)  # it is generating
        began = time.perf_counter()
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=10) == 130
        assert time.perf_counter() - began < 1
        assert process.stderr.read() == b""


def test_on_a_terminal() -> None:
    """Text streams to the terminal, and a line about the request follows."""
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "ivg", "generate", TINY, "-p", "Hello", "--max-tokens", "4", "--seed", "1"]
    with subprocess.Popen(command, stdout=slave, stderr=slave, stdin=slave) as process:
        os.close(slave)
        data = b""
        while True:
            try:
                data += os.read(master, 4096)
            except OSError:
                break
    os.close(master)
    assert process.returncode == 0
    assert b"tokens/s" in data
    assert b"seed 1" in data


def test_bench() -> None:
    found = run_json("bench", TINY, "--prompt-tokens", "20", "--tokens", "5", "--rows", "3")
    assert (found["prompt"]["tokens"], found["decode"]["tokens"]) == (20, 15)
    for part in (found["prompt"], found["decode"]):
        assert part["tokens_per_second"] > 0
        assert part["seconds"]["feed_forward"] > 0
        assert part["seconds"]["attention"] > 0
    assert found["decode"]["seconds"]["sample"] > 0
    assert b"feed_forward\t" in run("bench", TINY, "--prompt-tokens", "4", "--tokens", "2").stdout
