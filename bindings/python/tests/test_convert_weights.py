"""Where weights come from: safetensors and torch's pickles, whole, in several files, and damaged."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import tempfile
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import fixture_path
from hugging_face import LLAMA, Array, llama_weights, tensors_of, write_folder, write_json
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from ivg.convert import ConvertError, convert_model
from ivg.convert._pickle import read_pickle
from ivg.convert._safetensors import read_safetensors

REAL_PICKLE = fixture_path("hugging-face") / "gpt2-token-score" / "pytorch_model.bin"


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


# Pickles. Written by hand: instructions, not objects.


def text(value: str) -> bytes:
    raw = value.encode()
    return b"X" + len(raw).to_bytes(4, "little") + raw


def number(value: int) -> bytes:
    return b"\x8a" + bytes([9]) + value.to_bytes(9, "little", signed=True)


def called(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def group(*items: bytes) -> bytes:
    return b"(" + b"".join(items) + b"t"


def tensor(
    key: str,
    shape: tuple[int, ...],
    steps: tuple[int, ...],
    count: int,
    offset: int = 0,
    storage: str = "FloatStorage",
    function: str = "_rebuild_tensor_v2",
) -> bytes:
    """The instructions that describe one tensor."""
    persistent = group(text("storage"), called("torch", storage), text(key), text("cpu"), number(count)) + b"Q"
    hooks = called("collections", "OrderedDict") + b")R"
    sizes = [group(*map(number, values)) for values in (shape, steps)]
    return called("torch._utils", function) + group(persistent, number(offset), *sizes, b"\x89", hooks) + b"R"


def program(items: dict[str, bytes]) -> bytes:
    """A dictionary, as OrderedDict with attributes."""
    content = b"".join(text(name) + value for name, value in items.items())
    return b"\x80\x02" + called("collections", "OrderedDict") + b")R(" + content + b"u}X\x01\x00\x00\x00a" + b"K\x01sb."


def write_archive(path: Path, pickled: bytes, storages: dict[str, bytes], **others: bytes) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
        for name, data in others.items():
            archive.writestr(f"archive/{name}", data)
        for key, data in storages.items():
            archive.writestr(f"archive/data/{key}", data)


def write_pickle(path: Path, weights: dict[str, Array]) -> None:
    """Weights as `torch.save` lays them out."""
    items, storages = {}, {}
    for key, (name, values) in enumerate(weights.items()):
        steps = tuple(step // values.itemsize for step in values.strides)
        items[name] = tensor(str(key), values.shape, steps, values.size)
        storages[str(key)] = values.tobytes()
    write_archive(path, program(items), storages, byteorder=b"little", version=b"3\n")


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


def test_a_pickle_by_torch_is_read() -> None:
    found = read_pickle(REAL_PICKLE)
    assert found["score_head.weight"].shape == (160, 32)
    assert np.isfinite(found["transformer.wte.weight"].array()).all()


def test_views_of_a_storage(tmp_path: Path) -> None:
    values = np.arange(24, dtype=np.float32)
    items = {
        "whole": tensor("0", (4, 6), (6, 1), 24),
        "transposed": tensor("0", (6, 4), (1, 6), 24),
        "part": tensor("0", (2, 3), (6, 1), 24, offset=7),
        "parameter": called("torch._utils", "_rebuild_parameter") + group(tensor("0", (24,), (1,), 24), b"\x88") + b"R",
        "integers": tensor("1", (2,), (1,), 2, storage="LongStorage"),
        "count": number(3),
    }
    path = tmp_path / "x.bin"
    write_archive(path, program(items), {"0": values.tobytes(), "1": bytes(16)})
    found = {name: stored.array() for name, stored in read_pickle(path).items()}
    table = values.reshape(4, 6)
    expected = {"whole": table, "transposed": table.T, "part": table[1:3, 1:4], "parameter": values}
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array)


class Caller:
    """Something that calls a function where it is unpickled."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("protocol", range(6))
def test_nothing_is_executed(tmp_path: Path, protocol: int) -> None:
    trace = tmp_path / "trace"
    path = tmp_path / "x.bin"
    for function, name in ((os.system, "system"), (eval, "eval"), (os.mkdir, "mkdir")):
        argument = f"__import__('os').mkdir({str(trace)!r})" if function is eval else str(trace)
        argument = f"touch {trace}" if function is os.system else argument
        write_archive(path, pickle.dumps({"a": Caller(function, argument)}, protocol), {})
        with pytest.raises(ConvertError, match=rf"{name}|which weights do not need"):
            read_pickle(path)
        assert not trace.exists()


@pytest.mark.parametrize(
    ("pickled", "message"),
    [
        (
            program({"a": called("os", "system") + group(text("true")) + b"R"}),
            r"calls 'os\.system', which is not needed",
        ),
        (program({"a": called("torch", "load") + b")R"}), r"calls 'torch\.load'"),
        (program({"a": tensor("0", (2,), (1,), 2, storage="QInt8Storage")}), "'torch.QInt8Storage', which is no known"),
        (program({"a": tensor("9", (2,), (1,), 2)}), "its storage '9' is missing in the archive"),
        (program({"a": tensor("../0", (2,), (1,), 2)}), r"its storage '\.\./0' is missing"),
        (program({"a": tensor("0", (3,), (1,), 2)}), r"has the shape \(3,\), more than its storage holds"),
        (program({"a": tensor("0", (2,), (1,), 2, offset=1)}), "reaches beyond its storage of 8 bytes"),
        (program({"a": tensor("0", (2,), (2,), 2)}), "reaches beyond its storage"),
        (program({"a": tensor("0", (1 << 40,), (0,), 2)}), "more than its storage holds"),
        (program({"a": tensor("0", (-1,), (1,), 2)}), "-1 is no size"),
        (program({"a": tensor("0", (1,) * 9, (1,) * 9, 2)}), "described in an unknown way"),
        (program({"a": tensor("0", (2,), (1, 1), 2)}), "described in an unknown way"),
        (program({}), "holds no tensors by name"),
        (b"\x80\x02]q\x00.", "holds list, not tensors by name"),
        (b"\x80\x02}(K\x01" + tensor("0", (2,), (1,), 2) + b"u.", "a tensor is called 1, which is no string"),
        (b"\x80\x02", "its pickle is damaged|has no end"),
        (b"", "its pickle is damaged"),
        (b"garbage", "its pickle"),
        (b"\x80\x02t.", "its pickle is damaged"),
        (b"\x80\x02}u.", "its pickle is damaged"),
        (b"\x80\x02\x85.", "its pickle is damaged"),
        (b"\x80\x02h\x05.", "its pickle is damaged"),
        (b"\x80\x02}]K\x01s.", "its pickle is damaged"),
        (b"\x80\x02cos\nsystem\n)\x81.", "has the instruction NEWOBJ"),
        (b"\x80\x02(cos\nsystem\no.", "has the instruction OBJ"),
        (b"\x80\x02(ios\nsystem\n.", "has the instruction INST"),
    ],
)
def test_malformed_pickles(tmp_path: Path, pickled: bytes, message: str) -> None:
    path = tmp_path / "x.bin"
    write_archive(path, pickled, {"0": bytes(8)})
    with pytest.raises(ConvertError, match=message):
        read_pickle(path)


def test_archives_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "x.bin"
    legacy = pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2)
    for content, message in [
        (legacy + b"more", "in the format of torch before version 1.6"),
        (b"", "is truncated, or no file of torch.save"),
        (b"PK\x03\x04" + bytes(100), "is truncated, or no zip archive"),
        (REAL_PICKLE.read_bytes()[:-100], "is truncated, or no zip archive"),
    ]:
        path.write_bytes(content)
        with pytest.raises(ConvertError, match=message):
            read_pickle(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("other", b"")
    with pytest.raises(ConvertError, match=r"holds 0 entries data\.pkl"):
        read_pickle(path)
    good = program({"a": tensor("0", (2,), (1,), 2)})
    write_archive(path, good, {"0": bytes(8)}, byteorder=b"big")
    with pytest.raises(ConvertError, match="byte order is b'big'"):
        read_pickle(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", good)
        archive.writestr("archive/data/0", bytes(8))
    with pytest.raises(ConvertError, match="its storage is compressed"):
        read_pickle(path)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damaged_pickles_are_errors_or_tensors_inside_the_file(data: st.DataObject) -> None:
    content = bytearray(program({"a": tensor("0", (2, 3), (3, 1), 6), "b": tensor("0", (2,), (1,), 6, 4)}))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    with tempfile.TemporaryDirectory() as parent:
        path = Path(parent) / "x.bin"
        write_archive(path, bytes(content), {"0": bytes(24)})
        try:
            found = read_pickle(path)
        except ConvertError:
            return
        for stored in found.values():
            assert stored.array().shape == stored.shape
            assert stored.start + stored.extent <= path.stat().st_size


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_damaged_archives_are_errors_or_tensors_inside_the_file(data: st.DataObject) -> None:
    content = bytearray(REAL_PICKLE.read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        # Headers and the directory are at the ends.
        position = data.draw(st.integers(0, 4000))
        content[position if data.draw(st.booleans()) else -1 - position] = data.draw(st.integers(0, 255))
    with tempfile.TemporaryDirectory() as parent:
        path = Path(parent) / "x.bin"
        path.write_bytes(content)
        try:
            found = read_pickle(path)
        except ConvertError:
            return
        for stored in found.values():
            assert stored.array().shape == stored.shape


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
