# SPDX-License-Identifier: Apache-2.0
"""What a type checker makes of a user's program."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import ivg

PACKAGE = Path(ivg.__file__).parent


def mypy(program: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Checks a program as its user would, apart from this repository's settings."""
    pytest.importorskip("mypy")
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--config-file=",
        "--cache-dir",
        folder / "cache",
        program,
    ]
    environment = {name: value for name, value in os.environ.items() if name != "MYPYPATH"}
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment, timeout=300)


def test_the_package_says_that_it_is_typed() -> None:
    assert (PACKAGE / "py.typed").exists()


def test_a_program_over_the_whole_interface(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(Path(__file__).with_name("user_program.py").read_text())
    done = mypy(program, tmp_path)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout


def test_the_program_leaves_nothing_out() -> None:
    code = Path(__file__).with_name("user_program.py").read_text()
    names = [f"ivg.{name}" for name in ivg.__all__] + [f"ivg.train.{name}" for name in ivg.train.__all__]
    assert [name for name in names if not re.search(rf"\b{re.escape(name)}\b", code)] == []
    for kind in (ivg.Model, ivg.Session, ivg.Stream, ivg.AsyncStream, ivg.Guidance, ivg.Sequence, ivg.train.Trainer):
        members = [name for name in dir(kind) if not name.startswith("_")]
        assert [name for name in members if not re.search(rf"\.{name}\b", code)] == [], kind


MISTAKES = [
    "model.generate('a', max_token=3)",
    "model.generate('a', max_tokens='3')",
    "model.generate(3)",
    "model.stream('a').txt",
    "ivg.Guidance(implicit=model)",
    "ivg.Guidance(search=4)",
    "ivg.Implicit(role='steer')",
    "ivg.SamplingOptions(temprature=1.0)",
    "number: int = model.generate('a').text",
    "model.score('by', 'a', ['b'])",
    "for step in model.astream('a'): pass",
    "model.info.name.upper()",
    "ivg.train.DPO(model)",
    "ivg.log_to_logging('loud')",
]


def test_mistakes_are_found(tmp_path: Path) -> None:
    """Each line of a wrong program has its error, so that `Any` has not swallowed the interface."""
    program = tmp_path / "wrong.py"
    lines = ["import ivg", "model = ivg.Model('a.gguf')", *MISTAKES]
    program.write_text("\n".join(lines) + "\n")
    done = mypy(program, tmp_path)
    assert done.returncode == 1
    found = {int(line.split(":")[1]) for line in done.stdout.splitlines() if ": error:" in line}
    assert [line for number, line in enumerate(lines, 1) if number > 2 and number not in found] == []
