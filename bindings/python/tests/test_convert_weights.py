"""Where weights come from: one file or several, of safetensors or torch's pickles; and how much memory they take."""

from __future__ import annotations

import json
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hugging_face import LLAMA, llama_weights, tensors_of, write_folder, write_json
from safetensors.numpy import save_file
from test_convert_pickles import write_pickle

from ivg.convert import ConvertError, convert_model
from ivg.convert._safetensors import read_safetensors


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small llama."""
    return write_folder(tmp_path / "model")


def converted(folder: Path) -> bytes:
    out = folder.with_suffix(".gguf")
    convert_model(folder, out, force=True)
    return out.read_bytes()


def assert_fails(folder: Path, message: str) -> None:
    out = folder.with_suffix(".gguf")
    out.unlink(missing_ok=True)
    with pytest.raises(ConvertError, match=message):
        convert_model(folder, out)
    assert sorted(entry.name for entry in folder.parent.iterdir()) == [folder.name]


# safetensors


def shard(folder: Path, suffix: str = "safetensors", stem: str = "model") -> dict[str, Any]:
    """Puts the weights into three files and returns their index."""
    (folder / "model.safetensors").unlink(missing_ok=True)
    weights = llama_weights(LLAMA)
    names = [f"{stem}-{number:05}-of-00003.{suffix}" for number in (1, 2, 3)]
    entries = {name: names[position % 3] for position, name in enumerate(weights)}
    for file in names:
        part = {name: values for name, values in weights.items() if entries[name] == file}
        if suffix == "safetensors":
            save_file(part, folder / file)
        else:
            write_pickle(folder / file, part)
    index = {"metadata": {"total_size": 1}, "weight_map": entries}
    write_json(folder / f"{stem}.{suffix}.index.json", index)
    return index


def test_several_files(folder: Path) -> None:
    expected = converted(folder)
    shard(folder)
    assert converted(folder) == expected


def test_a_missing_file_is_named(folder: Path) -> None:
    shard(folder)
    (folder / "model-00002-of-00003.safetensors").unlink()
    assert_fails(folder, r"model-00002-of-00003\.safetensors is missing; model\.safetensors\.index\.json names it")


@pytest.mark.parametrize("name", ["../secret.safetensors", "/etc/passwd", "a/b", "..", "", "a\0b", "a\\b"])
def test_an_index_stays_in_its_folder(folder: Path, name: str) -> None:
    index = shard(folder)
    index["weight_map"]["model.norm.weight"] = name
    write_json(folder / "model.safetensors.index.json", index)
    assert_fails(folder, "is no name of a file in the same folder")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weight_map": 3}, "weight_map is 3, but must be an object"),
        ({"weight_map": None}, "weight_map is missing"),
        ({"weight_map": {"a": 3}}, "weight_map: 'a' is in 3, which is no file name"),
        ({"weight_map": {"a": "model-00001-of-00003.safetensors"}}, "does not hold tensor 'a', though model"),
    ],
)
def test_malformed_indexes(folder: Path, change: dict[str, Any], message: str) -> None:
    index = {**shard(folder), **change}
    write_json(folder / "model.safetensors.index.json", index)
    assert_fails(folder, message)


def safetensors(header: Any, data: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


def entry(dtype: Any = "F32", shape: Any = (2,), offsets: Any = (0, 8)) -> dict[str, Any]:
    return {"a": {"dtype": dtype, "shape": shape, "data_offsets": offsets}}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not a safetensors file: it has 0 bytes"),
        (b"1234567", "it has 7 bytes"),
        (safetensors(b"", length=1 << 62), "its header should have 4611686018427387904 bytes"),
        (safetensors(b"[]"), "holds list, not an object"),
        (safetensors(b"{"), "header is not JSON"),
        (safetensors({"a": 3}), "tensor 'a' is described by 3, not an object"),
        (safetensors(entry(shape=None), bytes(8)), "has the shape None, which is impossible"),
        (safetensors(entry(shape=[-1]), bytes(8)), r"has the shape \[-1\], which is impossible"),
        (safetensors(entry(shape=[1 << 40, 1 << 40]), bytes(8)), "which is impossible in"),
        (safetensors(entry(shape=[1] * 9), bytes(8)), "which is impossible in"),
        (safetensors(entry(offsets=[8, 0]), bytes(8)), r"has the data_offsets \[8, 0\], which are impossible"),
        (safetensors(entry(offsets=[0, 8.0]), bytes(8)), "which are impossible"),
        (safetensors(entry(), bytes(7)), "but the file has .*: it is truncated"),
        (safetensors(entry(shape=[3]), bytes(8)), r"has 8 bytes, but \[3\] elements of F32 need 12"),
    ],
)
def test_malformed_safetensors(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(ConvertError, match=message):
        read_safetensors(path)


def test_other_types_are_no_weights(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_file({"a": np.arange(3), "b": np.ones((2, 2), np.float64), "c": np.zeros(0, np.float16)}, path)
    found = read_safetensors(path)
    assert sorted(found) == ["b", "c"]
    np.testing.assert_array_equal(found["b"].array(), np.ones((2, 2)))


def test_a_file_cut_off_anywhere_is_an_error(folder: Path, tmp_path: Path) -> None:
    whole = (folder / "model.safetensors").read_bytes()
    path = tmp_path / "cut.safetensors"
    for length in [*range(0, 64), len(whole) // 3, len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(ConvertError):
            read_safetensors(path)


# Pickles


def test_a_pickle_by_hand(folder: Path) -> None:
    expected = converted(folder)
    (folder / "model.safetensors").unlink()
    write_pickle(folder / "pytorch_model.bin", llama_weights(LLAMA))
    assert converted(folder) == expected


def test_pickles_in_several_files(folder: Path) -> None:
    expected = converted(folder)
    shard(folder, "bin", "pytorch_model")
    assert converted(folder) == expected
    (folder / "pytorch_model-00003-of-00003.bin").unlink()
    assert_fails(folder, r"pytorch_model-00003-of-00003\.bin is missing")


# Memory


LARGE = {**LLAMA, "hidden_size": 512, "intermediate_size": 64, "num_hidden_layers": 1, "vocab_size": 65_536}


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose embeddings are 128 MiB, and 64 MiB as F16."""
    folder = tmp_path_factory.mktemp("large") / "model"
    weights = {name: values.astype(np.float16) for name, values in llama_weights(LARGE).items()}
    return write_folder(folder, LARGE, weights)


def test_little_is_allocated_at_a_time(large: Path) -> None:
    out = large.with_suffix(".gguf")
    tracemalloc.start()
    try:
        convert_model(large, out, type="f32", force=True)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # Chunks of 4 MiB as F16, F32 and while they are compared, and the padded vocabulary.
    assert peak < 80 << 20
    assert tensors_of(out)["token_embd.weight"].shape == (65_536, 512)


def test_little_memory_is_resident(large: Path) -> None:
    """Also not the pages of the mapped file."""
    script = """
import resource, sys
from ivg.convert import convert_model
small, large, out = sys.argv[1:]
convert_model(small, out, force=True)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
convert_model(large, out, type="f32", force=True)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    small = write_folder(large.parent / "small", {**LLAMA, "vocab_size": 65_536})
    command = [sys.executable, "-c", script, str(small), str(large), str(large.with_suffix(".gguf"))]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout) << 10 < 1.5 * (64 << 20)
