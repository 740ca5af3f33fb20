"""`ivg convert`, as another process."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import fixture_path
from hugging_face import LLAMA, llama_weights, types_of, write_folder
from test_cli import run

import ivg

FOLDERS = fixture_path("hugging-face")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small llama."""
    return write_folder(tmp_path / "model")


def fails(*arguments: str | Path) -> str:
    """The one line that a failing command prints."""
    done = run("convert", *arguments)
    assert (done.returncode, done.stdout) == (1, b"")
    text = done.stderr.decode()
    assert text.startswith("ivg: ")
    assert text.count("\n") == 1
    return text.removeprefix("ivg: ").strip()


def test_a_model(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.gguf"
    done = run("convert", folder, out, "--type", "f16")
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode() == f"{out}\t{out.stat().st_size:,} bytes\n"
    assert types_of(out)["blk.0.ffn_up.weight"] == "F16"
    assert run("inspect", out).returncode == 0
    assert fails(folder, out) == f"{out} exists already; --force (force=True) replaces it"
    assert run("convert", folder, out, "--force").returncode == 0
    assert types_of(out)["blk.0.ffn_up.weight"] == "F32"


def test_an_adapter(tmp_path: Path) -> None:
    adapter, base = FOLDERS / "lora-llama", fixture_path("architectures") / "llama.gguf"
    out = tmp_path / "adapter.gguf"
    assert run("convert", adapter, out, "--base", base).returncode == 0
    with ivg.File(out) as file:
        assert file.kind == "adapter"
    assert fails(adapter, out, "--force").endswith("pass the base model's folder or GGUF file with --base (base=…)")


def test_a_value_model(tmp_path: Path) -> None:
    folder, out, head = FOLDERS / "llama-score", tmp_path / "rm.gguf", tmp_path / "head.gguf"
    done = run("convert", folder, out, "--head-out", head)
    assert [line.split("\t")[0] for line in done.stdout.decode().splitlines()] == [str(out), str(head)]
    with ivg.File(out) as trunk_file, ivg.File(head) as head_file:
        assert (trunk_file.kind, head_file.kind) == ("model", "value_head")
    assert run("convert", folder, tmp_path / "other.gguf").returncode == 0
    assert (tmp_path / "other-head.gguf").exists()


def test_options_that_mean_nothing(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.gguf"
    assert fails(folder, out, "--base", folder) == "--base is for adapters; the folder holds a model"
    assert fails(folder, out, "--head-out", out) == "--head-out is for value models; the folder holds a model"
    value = FOLDERS / "llama-score"
    assert fails(value, out, "--base", folder) == "--base is for adapters; the folder holds a value model"
    adapter = FOLDERS / "lora-llama"
    assert fails(adapter, out, "--pre", "x") == "--pre is for models; the folder holds an adapter"
    assert run("convert", folder, out, "--type", "q8_0").returncode == 2


def test_errors_are_one_line(folder: Path, tmp_path: Path) -> None:
    assert fails(tmp_path / "none", tmp_path / "x.gguf") == f"{tmp_path / 'none'} is not a folder"
    (folder / "config.json").write_text("{\n\n")
    assert "config.json is not JSON" in fails(folder, tmp_path / "x.gguf")
    assert not (tmp_path / "x.gguf").exists()


def test_an_interruption_leaves_nothing(tmp_path: Path) -> None:
    config = {**LLAMA, "hidden_size": 512, "intermediate_size": 64, "num_hidden_layers": 1, "vocab_size": 98_304}
    weights = {name: values.astype(np.float16) for name, values in llama_weights(config).items()}
    folder = write_folder(tmp_path / "model", config, weights)
    out = tmp_path / "out"
    out.mkdir()
    command = [sys.executable, "-m", "ivg", "convert", str(folder), str(out / "x.gguf"), "--type", "f32"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        end = time.monotonic() + 60
        while not any(path.stat().st_size > 1 << 24 for path in out.iterdir()):
            assert process.poll() is None, "it was faster than this test"
            assert time.monotonic() < end
            time.sleep(0.001)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        assert process.stderr is not None
        assert process.stderr.read() == b""
    assert list(out.iterdir()) == []


def test_missing_packages_are_named(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden" / "gguf.py").write_text("raise ModuleNotFoundError('no gguf', name='gguf')")
    path = os.pathsep.join([str(tmp_path / "hidden"), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "ivg", "convert", str(folder), str(tmp_path / "x.gguf")]
    done = subprocess.run(command, capture_output=True, env={**os.environ, "PYTHONPATH": path}, timeout=60)
    assert done.returncode == 1
    assert done.stderr.decode() == "ivg: gguf is missing: pip install 'ivg[convert]'\n"


def test_a_terminal_shows_a_bar(folder: Path, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "ivg", "convert", str(folder), str(tmp_path / "x.gguf")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs) as process:
        os.close(theirs)
        seen = b""
        try:
            while part := os.read(ours, 4096):
                seen += part
        except OSError:
            pass  # the other end is closed
        assert process.wait(60) == 0
    os.close(ours)
    assert b"x.gguf" in seen
    assert "━".encode() in seen
