"""`ivg train`, as another process."""

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
from conftest import fixture_path
from training_data import completions, finished, pairs, read_log, rewarded, write

import ivg

TINY = str(fixture_path("tiny-llama.gguf"))
SMALL = ["--epochs", "2", "--batch-size", "4", "--evaluation", "0.2", "--dropout", "0.1", "--threads", "1"]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Preferences in a file."""
    return write(tmp_path / "pairs.jsonl", pairs(24))


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Runs `ivg train`."""
    command = [sys.executable, "-m", "ivg", "train", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def run_well(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Runs `ivg train`, which must succeed."""
    done = run(*arguments)
    assert done.returncode == 0, done.stderr
    return done


def expected(tiny: ivg.Model, data: Path, folder: Path, **options: Any) -> bytes:
    """What the options `SMALL` come to."""
    base: dict[str, Any] = {"epochs": 2, "batch_size": 4, "evaluation": 0.2, "dropout": 0.1, "threads": 1}
    return finished(ivg.train.DPO(tiny, data, **{**base, **options}), folder)


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("sft", []),
        ("dpo", ["--loss", "ipo"]),
        ("reward", ["--head-only", "--dropout", "0"]),
        ("value", ["--loss", "cdq", "--head", "vocabulary"]),
    ],
)
def test_round_trip(tiny: ivg.Model, tmp_path: Path, command: str, options: list[str]) -> None:
    records = completions(24) if command == "sft" else rewarded(24) if command == "value" else pairs(24)
    data = write(tmp_path / "data.jsonl", records)
    output, log = tmp_path / "made.gguf", tmp_path / "log.jsonl"
    done = run_well(command, TINY, data, "-o", output, *SMALL, *options, "--log", log, "--json")
    found = json.loads(done.stdout)
    assert found["output"] == str(output)
    assert found["size"] == output.stat().st_size
    assert (found["lines"], found["evaluated_lines"], found["steps"]) == (19, 5, 10)
    assert found["tokens_per_second"] > 0
    records = read_log(log)
    assert [record["step"] for record in records if record["kind"] == "train"] == list(range(1, 11))
    assert found["evaluation_loss"] == [record["loss"] for record in records if record["kind"] == "evaluate"][-1]
    with tiny.adapter(output) if command in ("sft", "dpo") else tiny.value_head(output) as made:
        assert not made.closed
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data.jsonl", "log.jsonl", "made.gguf"]


def test_it_is_what_the_package_makes(tiny: ivg.Model, data: Path, tmp_path: Path) -> None:
    output = tmp_path / "made.gguf"
    more = ["--beta", "0.2", "--projections", "q,v", "--rank", "2", "--template", "Q: {prompt}", "--clip-norm", "0"]
    run_well("dpo", TINY, data, "-o", output, *SMALL, *more)
    options = {"beta": 0.2, "projections": ["q", "v"], "rank": 2, "prompt_template": "Q: {prompt}", "clip_norm": None}
    assert output.read_bytes() == expected(tiny, data, tmp_path, **options)


def test_plain_lines(data: Path, tmp_path: Path) -> None:
    done = run_well("dpo", TINY, data, "-o", tmp_path / "a.gguf", *SMALL, "--report-every", "4")
    lines = done.stderr.splitlines()
    assert [line.split("  ")[0] for line in lines] == [
        "prepare 24/24",
        *("train 4/10", "evaluate 5/10", "train 8/10", "train 10/10", "evaluate 10/10"),
    ]
    assert all(word in lines[1] for word in ("loss 0.", "accuracy ", "margin ", " tokens/s"))
    assert "KL " in lines[2]
    summary = dict(line.split("\t") for line in done.stdout.splitlines())
    assert summary["steps"] == "10"
    assert summary["left_out_lines"] == "0"


def test_bad_lines(data: Path, tmp_path: Path) -> None:
    with open(data, "a") as file:
        file.write("".join(f"bad {number}\n" for number in range(30)))
    output = tmp_path / "a.gguf"
    done = run_well("dpo", TINY, data, "-o", output, "--max-steps", "1")
    lines = done.stderr.splitlines()
    assert [line.split(": ")[0] for line in lines[:20]] == [f"{data}:{number}" for number in range(25, 45)]
    assert lines[20] == "ivg: 30 lines cannot be used and are left out; the first 20 are above"
    assert "left_out_lines\t30" in done.stdout
    strict = run("dpo", TINY, data, "-o", output, "--strict")
    assert strict.returncode == 1
    [line] = strict.stderr.splitlines()
    assert "line 25" in line


def start(*arguments: object) -> subprocess.Popen[str]:
    """Starts `ivg train` with plain output, and waits for its first steps."""
    command = [sys.executable, "-m", "ivg", "train", *map(str, arguments), "--report-every", "1"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    while not process.stderr.readline().startswith("train 3/"):
        assert process.poll() is None
    return process


def test_ctrl_c_and_going_on(tiny: ivg.Model, tmp_path: Path) -> None:
    data = write(tmp_path / "long.jsonl", pairs(48, words=20))
    output, log, checkpoint = tmp_path / "made.gguf", tmp_path / "log.jsonl", tmp_path / "made.checkpoint"
    command = ["dpo", TINY, data, "-o", output, *SMALL, "--log", log]
    with start(*command) as process:
        process.send_signal(signal.SIGINT)
        began = time.perf_counter()
        out, err = process.communicate(timeout=20)
        assert time.perf_counter() - began < 2
    assert process.returncode == 130
    assert out == ""
    assert "Traceback" not in err
    note = err.splitlines()[-1]
    assert note.startswith("ivg: stopped at step ")
    assert "the same command goes on" in note
    step = int(note.split()[4])
    assert checkpoint.exists()
    assert not output.exists()
    assert max(record["step"] for record in read_log(log)) == step

    other = run(*command, "--learning-rate", "1e-3")
    assert other.returncode == 1
    [line] = other.stderr.splitlines()
    assert "learning_rate" in line
    assert line.endswith("(--force starts anew)")

    done = run_well(*command, "--keep-checkpoint")
    assert done.stderr.startswith(f"ivg: going on from {checkpoint}, step {step} of 20\n")
    assert f"resumed_at_step\t{step}" in done.stdout
    assert output.read_bytes() == expected(tiny, data, tmp_path)
    assert [record["step"] for record in read_log(log) if record["kind"] == "train"] == list(range(1, 21))

    output.unlink()
    again = run_well(*command)  # there is nothing left to do but to write the result
    assert f"going on from {checkpoint}, step 20 of 20" in again.stderr
    assert output.read_bytes() == expected(tiny, data, tmp_path)
    assert not checkpoint.exists()


def test_ctrl_c_while_preparing(tiny: ivg.Model, tmp_path: Path) -> None:
    data = write(tmp_path / "long.jsonl", pairs(2000, words=20))
    output = tmp_path / "made.gguf"
    log = tmp_path / "log.jsonl"
    command = ["dpo", TINY, data, "-o", output, *SMALL, "--max-steps", "4", "--log", log]
    with subprocess.Popen(
        [sys.executable, "-m", "ivg", "train", *map(str, command)], stderr=subprocess.PIPE, text=True
    ) as process:
        while process.poll() is None and not (log.exists() and log.stat().st_size):
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "stopped at step 0 of 4" in err
    run_well(*command)
    assert output.read_bytes() == expected(tiny, data, tmp_path, max_steps=4)


def test_force(tiny: ivg.Model, data: Path, tmp_path: Path) -> None:
    checkpoint = tmp_path / "here"
    checkpoint.write_bytes(b"no checkpoint")
    command = ["dpo", TINY, data, "-o", tmp_path / "made.gguf", *SMALL, "--checkpoint", checkpoint]
    refused = run(*command)
    assert refused.returncode == 1
    [line] = refused.stderr.splitlines()
    assert str(checkpoint) in line
    assert checkpoint.read_bytes() == b"no checkpoint"
    run_well(*command, "--force")
    assert (tmp_path / "made.gguf").read_bytes() == expected(tiny, data, tmp_path)
    assert not checkpoint.exists()


def test_what_would_go_wrong_later(data: Path, tmp_path: Path) -> None:
    output = tmp_path / "a.gguf"
    before = data.read_bytes()
    for arguments, message in (
        (["-o", tmp_path / "nowhere" / "a.gguf"], "no such folder"),
        (["-o", output, "--checkpoint", tmp_path / "nowhere" / "c"], "no such folder"),
        (["-o", output, "--log", tmp_path / "nowhere" / "l"], "no such folder"),
        (["-o", tmp_path], "is a folder"),
        (["-o", data], "is what is read"),
        (["-o", output, "--log", data], "is what is read"),
        (["-o", output, "--checkpoint", output], "is also -o"),
        (["-o", output, "--evaluation", "/nowhere.jsonl"], "/nowhere.jsonl"),
        (["-o", output, "--projections", "q,x"], "'x'"),
        (["-o", output, "--label-smoothing", "0.75"], "label_smoothing"),
    ):
        done = run("dpo", TINY, data, *arguments)
        assert (done.returncode, done.stdout) == (1, ""), arguments
        [line] = done.stderr.splitlines()
        assert line.startswith("ivg: ")
        assert message in line
    assert data.read_bytes() == before
    assert not output.exists()


@pytest.mark.parametrize("arguments", [[], ["dpo"], ["dpo", TINY, TINY], ["dpo", TINY, TINY, "-o", "x", "--loss", "y"]])
def test_usage(arguments: list[str]) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_help() -> None:
    for command in ("sft", "dpo", "reward", "value"):
        text = run(command, "--help").stdout
        assert all(option in text for option in ("--json", "--checkpoint", "--projections", "DATA"))


def test_on_a_terminal(data: Path, tmp_path: Path) -> None:
    master, slave = pty.openpty()
    arguments = ["train", "dpo", TINY, str(data), "-o", str(tmp_path / "a.gguf"), *SMALL]
    environment = {**os.environ, "COLUMNS": "150", "TERM": "xterm"}
    command = [sys.executable, "-m", "ivg", *arguments]
    with subprocess.Popen(command, stdout=slave, stderr=slave, stdin=slave, env=environment) as process:
        os.close(slave)
        output = b""
        while True:
            try:
                output += os.read(master, 4096)
            except OSError:
                break
    os.close(master)
    assert process.returncode == 0
    for word in (b"prepare", b"24/24", b"train", b"10/10", b"evaluated at step 10", b"margin", b"evaluation loss"):
        assert word in output
