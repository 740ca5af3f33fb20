"""Scorers that are commands, and all the ways in which they can fail."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

import ivg


def script(folder: Path, body: str) -> str:
    """A command that runs a Python program, in which `texts` yields the texts one by one."""
    path = folder / "scorer.py"
    start = "import json, os, sys, time\ntexts = (json.loads(line) for line in iter(sys.stdin.readline, ''))\n"
    path.write_text(start + body)
    return f"{sys.executable} -u {path}"


def test_texts_arrive_whole(tmp_path: Path) -> None:
    command = script(tmp_path, "for text in texts: print(sum(map(ord, text)))")
    texts = ["", "line\nbreak", "\u2028é😀", '"\\', "x" * 100_000]
    with ivg.CommandScorer(command) as scorer:
        assert scorer("pq", texts) == [float(sum(map(ord, "pq" + text))) for text in texts]
        assert scorer("pq", []) == []
    with ivg.CommandScorer(command, template="{text}|{prompt}{x}") as scorer:
        expected = "ab|{text}{x}"  # what a prompt holds is not filled in again
        assert scorer("{text}", ["ab"]) == [float(sum(map(ord, expected)))]


def test_it_is_kept_running(tmp_path: Path) -> None:
    command = script(tmp_path, "for text in texts: print(os.getpid())")
    with ivg.CommandScorer(command) as scorer:
        [first, second], [third] = scorer("", ["a", "b"]), scorer("", ["c"])
    assert first == second == third


def test_it_is_started_again_if_it_died_meanwhile(tmp_path: Path) -> None:
    command = script(tmp_path, "print(os.getpid()) if next(texts) else 0")
    with ivg.CommandScorer(command) as scorer:
        [first] = scorer("", ["a"])
        time.sleep(0.3)
        [second] = scorer("", ["b"])
    assert first != second


def test_it_reads_all(tmp_path: Path) -> None:
    command = script(tmp_path, "for text in list(texts): print(len(text))")
    with ivg.CommandScorer(command, reads_all=True) as scorer:
        assert scorer("", ["a", "bc"]) == [1.0, 2.0]
        assert scorer("", ["abc"]) == [3.0]
    with ivg.CommandScorer(command, timeout=1) as scorer, pytest.raises(ivg.CallbackError, match="0 numbers for 2"):
        scorer("", ["a", "bc"])


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("sys.exit(7)", "exit status 7 after 0 of 3 numbers$"),
        ("print(1); next(texts); sys.exit('out of memory')", "status 1 after 1 of 3 numbers: out of memory"),
        ("os.kill(os.getpid(), 9)", "killed by signal 9|exit status 137"),
        ("import nonsense", "No module named 'nonsense'"),
        ("for text in texts: print('nan')", "'?nan'?, which is not a finite number"),
        ("for text in texts: print('inf')", "not a finite number"),
        ("print('loading'); [print(1) for text in texts]", "'loading', which is not a number"),
        ("for text in texts: print()", "'', which is not a number"),
        ("next(texts); print(1); print(2); time.sleep(100)", "gave 2 numbers for 3 texts within 1 s"),
        ("time.sleep(100)", "gave 0 numbers for 3 texts within 1 s"),
    ],
)
def test_failures(tmp_path: Path, body: str, message: str) -> None:
    with ivg.CommandScorer(script(tmp_path, body), timeout=1 if "sleep" in body else 20) as scorer:
        with pytest.raises(ivg.CallbackError, match=message):
            scorer("", ["a", "b", "c"])
        assert scorer._running is None


def test_it_dies_each_time(tmp_path: Path) -> None:
    command = script(tmp_path, f"open({str(tmp_path / 'runs')!r}, 'a').write('x'); next(texts); print(1); next(texts)")
    with ivg.CommandScorer(command) as scorer:
        assert scorer("", ["a"]) == [1.0]
        with pytest.raises(ivg.CallbackError, match=r"after 1 of 2 numbers.*started again"):
            scorer("", ["b", "c"])
    assert (tmp_path / "runs").read_text() == "xx"


def test_too_many_lines(tmp_path: Path) -> None:
    twice = script(tmp_path, "for text in texts: print(1); print(2); time.sleep(0.1)")
    with ivg.CommandScorer(twice) as scorer:
        scorer("", ["a"])
        time.sleep(0.3)
        with pytest.raises(ivg.CallbackError, match="more lines than it was given"):
            scorer("", ["b"])
    all_at_once = script(tmp_path, "for text in list(texts) * 2: print(1)")
    with (
        ivg.CommandScorer(all_at_once, reads_all=True) as scorer,
        pytest.raises(ivg.CallbackError, match="more than 2 lines for 2 texts"),
    ):
        scorer("", ["a", "b"])


def test_one_that_does_not_read(tmp_path: Path) -> None:
    """More text than a pipe holds does not hang."""
    began = time.monotonic()
    with (
        ivg.CommandScorer("sleep 1000", timeout=1) as scorer,
        pytest.raises(ivg.CallbackError, match="within 1 s"),
    ):
        scorer("", ["x" * 1_000_000])
    assert time.monotonic() - began < 10


def test_one_that_does_not_exist() -> None:
    with ivg.CommandScorer("no-such-command-here") as scorer, pytest.raises(ivg.CallbackError, match="status 127"):
        scorer("", ["a"])
    with pytest.raises(ValueError, match="more than 0"):
        ivg.CommandScorer("true", timeout=0)
