"""Quantising: what is written, by independent readers of it, and how it stops."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import REAL_MODEL, fixture_path
from interruption import interrupted_after, since

import ivg

gguf = pytest.importorskip("gguf")

TYPES = ["F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1"]
MIXES = ["Q2_K", "Q3_K_S", "Q3_K_M", "Q3_K_L", "Q4_K_S", "Q4_K_M", "Q5_K_S", "Q5_K_M", "Q6_K"]


def write_model(path: Path, columns: int = 512, rows: int = 24, broken: float | None = None) -> Path:
    """Matrices of bell-shaped numbers, one of them of three experts."""
    random = np.random.default_rng(7)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(2)
    writer.add_head_count(8)
    writer.add_array("some.numbers", [1, 2, 3])
    for name in ("token_embd", "output", "blk.0.attn_v", "blk.1.ffn_up", "blk.1.ffn_down_exps"):
        shape = (3, rows, columns) if name.endswith("exps") else (rows, columns)
        values = random.standard_t(5, shape).astype(np.float32) * np.float32(0.03)
        if broken is not None and name == "blk.1.ffn_up":
            values[5, 9] = broken
        writer.add_tensor(f"{name}.weight", values)
    writer.add_tensor("blk.0.attn_norm.weight", np.ones(columns, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def decoded(path: Path) -> dict[str, tuple[str, np.ndarray]]:
    """Every tensor as gguf-py reads it."""
    return {
        tensor.name: (tensor.tensor_type.name, gguf.quants.dequantize(tensor.data, tensor.tensor_type))
        for tensor in gguf.GGUFReader(path).tensors
    }


@pytest.mark.parametrize("kind", TYPES + MIXES)
def test_independent_reader(tmp_path: Path, kind: str) -> None:
    """gguf-py reads the same names and types; what it decodes has the error that was reported."""
    source, target = write_model(tmp_path / "source.gguf"), tmp_path / "target.gguf"
    reports = ivg.quantize(source, target, kind, threads=2)
    before, after = decoded(source), decoded(target)
    assert [report.tensor for report in reports] == list(after) == list(before)
    for report in reports:
        name, values = after[report.tensor]
        assert name == report.target_type
        original = before[report.tensor][1].astype(np.float64)
        error = np.sqrt(((original - values) ** 2).sum() / (original**2).sum())
        assert error == pytest.approx(report.error, rel=1e-4, abs=1e-9)
    with ivg.File(target) as file:
        assert file.get("some.numbers") == [1, 2, 3]
        assert file.get("general.quantization_version") == 2
    assert reports[-1].size_out == sum(tensor.n_bytes for tensor in gguf.GGUFReader(target).tensors)


@pytest.mark.parametrize("kind", ["Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1"])
def test_no_worse_than_the_reference_encoder(tmp_path: Path, kind: str) -> None:
    """gguf-py's own encoder, which rounds as llama.cpp does, has the larger error."""
    source, target = write_model(tmp_path / "source.gguf"), tmp_path / "target.gguf"
    ivg.quantize(source, target, kind, pure=True)
    before, after = decoded(source), decoded(target)
    wanted = gguf.GGMLQuantizationType[kind]
    for name, (found, values) in after.items():
        if found != kind:
            continue
        original = before[name][1]
        theirs = gguf.quants.dequantize(gguf.quants.quantize(original, wanted), wanted)
        assert ((original - values) ** 2).sum() < ((original - theirs) ** 2).sum()


@pytest.mark.parametrize("kind", ["F16", "BF16"])
def test_floats_as_the_reference_rounds_them(tmp_path: Path, kind: str) -> None:
    """Rounding to nearest has one right answer."""
    source, target = write_model(tmp_path / "source.gguf"), tmp_path / "target.gguf"
    ivg.quantize(source, target, kind)
    wanted = gguf.GGMLQuantizationType[kind]
    before = decoded(source)
    for tensor in gguf.GGUFReader(target).tensors:
        if tensor.tensor_type == wanted:
            assert np.array_equal(
                tensor.data.view(np.uint8), gguf.quants.quantize(before[tensor.name][1], wanted).view(np.uint8)
            )


def test_importance(tmp_path: Path) -> None:
    """Columns that matter come out nearer, each expert's own."""
    source, target = write_model(tmp_path / "source.gguf"), tmp_path / "target.gguf"
    name = "blk.1.ffn_down_exps.weight"
    weights = np.random.default_rng(3).random((3, 512)).astype(np.float32) ** 6 + np.float32(1e-4)
    counts = np.array([[4], [9], [0]], np.float32)
    writer = gguf.GGUFWriter(tmp_path / "imatrix.gguf", "")
    writer.add_type("imatrix")
    writer.add_tensor(f"{name}.in_sum2", weights * np.maximum(counts, 1))
    writer.add_tensor(f"{name}.counts", counts)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    errors = []
    for importance in (None, tmp_path / "imatrix.gguf"):
        ivg.quantize(source, target, "Q4_K_S", pure=True, importance=importance)
        difference = decoded(source)[name][1] - decoded(target)[name][1]
        errors.append((difference**2 * weights[:, None, :]).sum((1, 2)))
    assert (errors[1][:2] < 0.8 * errors[0][:2]).all()
    assert errors[1][2] == errors[0][2]  # it saw no token: all its columns count the same


@pytest.mark.parametrize("kind", ["F16", "Q4_0", "Q4_K_M", "Q2_K"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_broken_weight(tmp_path: Path, kind: str, value: float) -> None:
    """The message says which."""
    source = write_model(tmp_path / "source.gguf", broken=value)
    with pytest.raises(ivg.InvalidArgumentError, match=r"'blk.1.ffn_up.weight': weight 9 of row 5"):
        ivg.quantize(source, tmp_path / "target.gguf", kind)
    assert os.listdir(tmp_path) == ["source.gguf"]


def test_refused(tmp_path: Path) -> None:
    """Mistakes are named, and leave nothing."""
    source = fixture_path("tiny-llama.gguf")
    with pytest.raises(ivg.InvalidArgumentError, match="must be one of F32"):
        ivg.quantize(source, tmp_path / "x.gguf", "IQ1_S")
    with pytest.raises(ivg.InvalidArgumentError, match="is read"):
        ivg.quantize(source, source, "Q4_0")
    with pytest.raises(ivg.MismatchError, match="'adapter'"):
        ivg.quantize(fixture_path("tiny-adapter.gguf"), tmp_path / "x.gguf", "Q4_0")
    with pytest.raises(ivg.NotFoundError):
        ivg.quantize(source, tmp_path / "no" / "x.gguf", "Q4_0")
    assert os.listdir(tmp_path) == []


def test_stopping(tmp_path: Path) -> None:
    """A cancelled loop goes on; one that is left takes its file along."""
    source = write_model(tmp_path / "source.gguf", rows=600)
    whole, target = tmp_path / "whole.gguf", tmp_path / "target.gguf"
    ivg.quantize(source, whole, "Q5_K_S", threads=1)
    with ivg.Quantizer(source, target, "Q5_K_S", threads=2) as quantizer:
        next(quantizer)
        quantizer.cancel()
        with pytest.raises(ivg.CancelledError):
            next(quantizer)
        assert not target.exists()
        reports = list(quantizer)
        assert reports[-1].done == reports[-1].total == reports[-1].size_in
    assert target.read_bytes() == whole.read_bytes()
    target.unlink()
    with ivg.Quantizer(source, target, "Q5_K_S") as quantizer:
        next(quantizer)
        assert "target.gguf" not in os.listdir(tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["source.gguf", "whole.gguf"]
    with pytest.raises(ValueError, match="closed"):
        next(quantizer)


@pytest.mark.skipif(not REAL_MODEL.exists(), reason="needs make model")
def test_real_model(tmp_path: Path) -> None:
    """A real model still says what it said; Ctrl-C is seen at once and leaves nothing."""
    target = tmp_path / "target.gguf"
    ivg.quantize(REAL_MODEL, target, "Q5_K_M")
    with ivg.Model(target) as model:
        assert "Paris" in model.generate("The capital of France is", max_tokens=8, temperature=0).text
    target.unlink()
    with interrupted_after(0.3) as moments, pytest.raises(KeyboardInterrupt):
        ivg.quantize(REAL_MODEL, target, "Q2_K", threads=1)
    assert since(moments[0]).work < 0.1
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(not REAL_MODEL.exists(), reason="needs make model")
@pytest.mark.parametrize("kind", ["Q4_K_M", "Q3_K_M", "Q5_1"])
def test_llama_cpp_reads_it(tmp_path: Path, kind: str) -> None:
    """llama.cpp loads the files, and the model says in it what it said."""
    llama_cpp = pytest.importorskip("llama_cpp")
    target = tmp_path / "target.gguf"
    ivg.quantize(REAL_MODEL, target, kind)
    model = llama_cpp.Llama(str(target), n_ctx=64, n_threads=2, verbose=False)
    said = model.create_completion("The capital of France is", max_tokens=8, temperature=0)
    model.close()
    assert "Paris" in said["choices"][0]["text"]


def command(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Runs `ivg quantize`."""
    whole = [sys.executable, "-m", "ivg", "quantize", *map(str, arguments)]
    return subprocess.run(whole, capture_output=True, text=True, timeout=120)


def test_command(tmp_path: Path) -> None:
    """The command writes what the function writes, and says what it did."""
    source = write_model(tmp_path / "source.gguf")
    ivg.quantize(source, tmp_path / "a.gguf", "Q4_K_M", output_type="Q8_0", embedding_type="F16")
    found = command(
        source, tmp_path / "b.gguf", "--type", "q4_k_m", "--output-type", "Q8_0", "--embedding-type", "F16", "--json"
    )
    assert found.returncode == 0, found.stderr
    assert (tmp_path / "a.gguf").read_bytes() == (tmp_path / "b.gguf").read_bytes()
    said = json.loads(found.stdout)
    assert said["size"] == (tmp_path / "b.gguf").stat().st_size
    assert {tensor["target_type"] for tensor in said["tensors"]} == {"F32", "F16", "Q8_0", "Q4_K", "Q6_K"}
    plain = command(source, tmp_path / "b.gguf", "-t", "Q4_0", "--pure", "--threads", 1)
    assert plain.returncode == 0
    assert "5 Q4_0" in plain.stdout
    assert plain.stderr == ""
    wrong = command(source, tmp_path / "c.gguf", "--type", "Q7")
    assert wrong.returncode == 1
    assert "must be one of" in wrong.stderr
    assert not (tmp_path / "c.gguf").exists()


def writes_in(folder: Path, process: subprocess.Popen[bytes]) -> bool:
    """Whether the process has a file open there that it writes; it may have no name yet."""
    for descriptor in Path(f"/proc/{process.pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            flags = Path(f"/proc/{process.pid}/fdinfo/{descriptor.name}").read_text().split("flags:")[1].split()[0]
            if os.readlink(descriptor).startswith(f"{folder}/") and int(flags, 8) & os.O_ACCMODE != os.O_RDONLY:
                return True
    return False


def test_interrupted_command(tmp_path: Path) -> None:
    """Ctrl-C ends the command with status 130, soon, and leaves what was there."""
    source = write_model(tmp_path / "source.gguf", rows=20000)
    target = tmp_path / "target.gguf"
    target.write_text("old")
    process = subprocess.Popen(
        [sys.executable, "-m", "ivg", "quantize", str(source), str(target), "--type", "Q2_K", "--threads", "1"],
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    while not writes_in(tmp_path, process) and process.poll() is None:
        time.sleep(0.01)
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 130
    assert sorted(os.listdir(tmp_path)) == ["source.gguf", "target.gguf"]
    assert target.read_text() == "old"
