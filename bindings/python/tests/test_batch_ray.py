# SPDX-License-Identifier: Apache-2.0
"""What the batch over Ray refuses, and that it never waits for machines that are not there."""

from __future__ import annotations

import fcntl
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from conftest import ROOT, fixture_path

import ivg

PROGRAM = ROOT / "examples" / "python" / "batch_ray.py"
TINY = fixture_path("tiny-llama.gguf")


@pytest.fixture(scope="module")
def program() -> ModuleType:
    """The program as a module."""
    found = importlib.util.spec_from_file_location("batch_ray", PROGRAM)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def batch(folder: Path, *arguments: object, model: Path = TINY) -> subprocess.CompletedProcess[str]:
    """Runs the program over four prompts; one that hangs is a failure."""
    pytest.importorskip("ray", reason="Ray is missing: pip install 'ivg[ray]'")
    prompts, out = folder / "prompts.jsonl", folder / "out.jsonl"
    prompts.write_text("".join(json.dumps({"prompt": f"Prompt {i}"}) + "\n" for i in range(4)))
    command = [sys.executable, *map(str, (PROGRAM, model, prompts, out, *arguments))]
    return subprocess.run(command, capture_output=True, text=True, timeout=200)


def refused(done: subprocess.CompletedProcess[str], message: str) -> None:
    assert (done.returncode, done.stdout) == (1, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_more_threads_than_processors(tmp_path: Path) -> None:
    done = batch(tmp_path, "--workers", 2, "--threads", os.cpu_count() or 1, "--max-tokens", 3)
    assert (done.returncode, done.stderr) == (0, "0 of 4 are there\n")
    assert (tmp_path / "out.jsonl").read_text().count("\n") == 4


def test_room_on_the_machines_of_a_cluster(program: ModuleType) -> None:
    nodes = [
        {"Alive": True, "Resources": {"CPU": 7.0}},
        {"Alive": True, "Resources": {"CPU": 3.0}},
        {"Alive": False, "Resources": {"CPU": 64.0}},
        {"Alive": True, "Resources": {"memory": 1.0}},
    ]
    assert [program.room(nodes, threads) for threads in (1, 2, 4, 8)] == [10, 4, 1, 0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--max-tokens", 0], "max_tokens"),
        (["--temperature", -1], "temperature"),
        (["--tuned-prompt", "Good: {prompt}", "--width", 0], "width"),
        (["--tuned-prompt", "Good: {prompt}", "--width", 5000], "width is 5000"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_written(
    arguments: list[object], message: str, tmp_path: Path
) -> None:
    refused(batch(tmp_path, *arguments), message)
    assert not (tmp_path / "out.jsonl").exists()


def test_a_second_run_is_refused(tmp_path: Path) -> None:
    with open(tmp_path / "out.jsonl", "a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        refused(batch(tmp_path), "another run is writing")
    assert (tmp_path / "out.jsonl").read_bytes() == b""


def test_another_model_of_the_same_name_and_size(tmp_path: Path) -> None:
    for name, last in (("a", b"\0\0\0\0"), ("b", b"\0\0\0\x3f")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.gguf").write_bytes(TINY.read_bytes()[:-4] + last)
    assert batch(tmp_path, "--max-tokens", 3, model=tmp_path / "a" / "model.gguf").returncode == 0
    out = (tmp_path / "out.jsonl").read_bytes()
    (tmp_path / "out.jsonl").write_bytes(out[:-1])
    refused(batch(tmp_path, "--max-tokens", 3, model=tmp_path / "b" / "model.gguf"), "other settings")
    (tmp_path / "out.jsonl").write_bytes(out + b"{}\n")
    refused(batch(tmp_path, "--max-tokens", 3, model=tmp_path / "a" / "model.gguf"), "has 5 lines")
    assert (tmp_path / "out.jsonl").read_bytes() == out + b"{}\n"


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 3 << 20])
def test_the_identity_sees_every_byte_of_a_small_model(size: int, program: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    seen = set()
    for changed in {None, *({0, size // 2, size - 1} if size else ())}:
        data = bytearray(size)
        if changed is not None:
            data[changed] = 1
        path.write_bytes(data)
        seen.add(program.identity(path)["model_sha256"])
    assert len(seen) == 1 + len({0, size // 2, size - 1} if size else ())


def test_the_identity_of_a_large_model_sees_both_ends_and_places_between(program: ModuleType, tmp_path: Path) -> None:
    path, size = tmp_path / "model.gguf", 400 << 20
    seen = set()
    for place in (None, 0, (size - (1 << 20)) // 255 * 100, size - 1):
        with open(path, "wb") as file:
            file.truncate(size)
            if place is not None:
                file.seek(place)
                file.write(b"x")
        seen.add(program.identity(path)["model_sha256"])
    assert len(seen) == 4


def test_only_a_prompts_own_error_becomes_its_line(program: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"seed": 1, "max_tokens": 3, "temperature": 0.7, "tuned_prompt": None}
    worker = program.Worker(str(TINY), options, 1)
    assert "error" in json.loads(worker.answer(0, "word " * 300))
    for kind in (ivg.OutOfMemoryError, ivg.IOFailure, ivg.InternalError):

        def fails(prompt: str, seed: int, kind: type[ivg.Error] = kind) -> ivg.Stream:
            raise kind("not the prompt's")

        monkeypatch.setattr(worker, "request", fails)
        with pytest.raises(kind):
            worker.answer(0, "Hello")


def test_too_little_memory_in_a_worker_ends_the_run(tmp_path: Path) -> None:
    """With one sentence, and with the lines before it in place."""
    pytest.importorskip("ray", reason="Ray is missing: pip install 'ivg[ray]'")
    (tmp_path / "prompts.jsonl").write_text("".join(json.dumps({"prompt": f"Prompt {i}"}) + "\n" for i in range(4)))
    code = """
import sys, batch_ray, ivg
class Poor(batch_ray.Worker):
    def request(self, prompt, seed):
        if prompt == "Prompt 2":
            raise ivg.OutOfMemoryError("too little memory")
        return super().request(prompt, seed)
batch_ray.Worker = Poor
sys.exit(batch_ray.main())
"""
    arguments = [TINY, tmp_path / "prompts.jsonl", tmp_path / "out.jsonl", "--workers", "1", "--max-tokens", "3"]
    search = os.pathsep.join([str(PROGRAM.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": search},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "0 of 4 are there\nbatch_ray.py: too little memory\n"
    assert [json.loads(line)["index"] for line in (tmp_path / "out.jsonl").read_text().splitlines()] == [0, 1]
