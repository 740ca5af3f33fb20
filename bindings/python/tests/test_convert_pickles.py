"""pytorch_model.bin: what is read of it, and what damaged and hostile ones are answered."""

from __future__ import annotations

import os
import pickle
import struct
import tempfile
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import fixture_path
from hugging_face import Array
from hypothesis import given, settings
from hypothesis import strategies as st

from ivg.convert import ConvertError
from ivg.convert._errors import shown
from ivg.convert._numbers import Element
from ivg.convert._pickle import read_pickle
from ivg.convert._source import MappedFile, StoredTensor

REAL_PICKLE = fixture_path("hugging-face") / "gpt2-token-score" / "pytorch_model.bin"

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
        (b"\x80\x02}]K\x01s.", r"a key in its pickle is \[\], which weights do not need"),
        (b"\x80\x02K\x01K\x02\x93.", "its pickle is damaged: a name is no text"),
        (b"\x80\x02ctorch\nSize\n" + group(group(*[b"K\x01"] * 9)) + b"R.", "are no sizes of a tensor"),
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
    with pytest.raises(ConvertError, match=r"'archive/data\.pkl' is compressed"):
        read_pickle(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", good)
        archive.writestr("archive/data/0", bytes(8), zipfile.ZIP_DEFLATED)
    with pytest.raises(ConvertError, match="its storage is compressed"):
        read_pickle(path)


def directory_entry(name: bytes, data: bytes, offset: int) -> bytes:
    """What the directory of a zip archive says about one entry."""
    sizes = (zlib.crc32(data), len(data), len(data), len(name), 0, 0, 0, 0, 0)
    return struct.pack("<4s6H3I5H2I", b"PK\x01\x02", 20, 20, 0, 0, 0, 0, *sizes, offset) + name


def test_an_entry_in_front_of_the_file(tmp_path: Path) -> None:
    """zipfile adds to each offset what it thinks lies before the archive: here a number below zero."""
    pickled = program({"a": tensor("0", (2,), (1,), 2)})
    name = b"archive/data.pkl"
    local = struct.pack("<4s5H3I2H", b"PK\x03\x04", 20, 0, 0, 0, 0, 0, 0, 0, len(name), 0)
    # A negative position in the mapping counts from its end: there the local header is found again.
    trailer = struct.pack("<4s5H3I2H", b"PK\x03\x04", 20, 0, 0, 0, 0, 0, 0, 0, 0, 0).ljust(1002, b"\0")
    shift = 5000
    directory = directory_entry(name, pickled, shift) + directory_entry(b"archive/data/0", bytes(8), shift - 1002)
    content = local + name + pickled
    end = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 2, 2, len(directory), len(content) + shift, len(trailer))
    path = tmp_path / "x.bin"
    path.write_bytes(content + directory + end + trailer)
    with pytest.raises(ConvertError, match=r"x\.bin: tensor 'a': the entry 'archive/data/0' begins at byte -1002"):
        read_pickle(path)


def test_only_bytes_of_the_file_are_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(np.arange(6, dtype=np.float32).tobytes())
    file = MappedFile(path)
    for start, shape, steps in [(-8, (2,), None), (-8, (2,), (1,)), (16, (3,), None), (0, (2, 4), (3, 1))]:
        stored = StoredTensor("a", Element.F32, shape, file, start, steps)
        with pytest.raises(ConvertError, match="but the file has 24"):
            stored.array()
    for start, count in [(-1, 1), (0, 25), (25, 0), (8, -1)]:
        with pytest.raises(ConvertError, match="but the file has 24"):
            file.bytes(start, count)
    with pytest.raises(ConvertError, match=r"has the steps \[-1, 4\]"):
        StoredTensor("a", Element.F32, (2, 2), file, 0, (-1, 4)).array()
    np.testing.assert_array_equal(StoredTensor("a", Element.F32, (2, 3), file, 0, (3, 1)).array()[1], [3, 4, 5])


def doubled(levels: int) -> bytes:
    """A tuple that holds another one twice, and so on: 2 ** levels ends in a few bytes of a pickle."""
    found = b")q\x00"
    for level in range(levels):
        found += b"h" + bytes([level, ord("h"), level]) + b"\x86q" + bytes([level + 1])
    return found


ENDLESS = b"\x80\x02" + doubled(60)
LAST = b"h\x3c"


@pytest.mark.parametrize(
    ("pickled", "message"),
    [
        (
            group(text("storage"), called("torch", "FloatStorage"), LAST, text("cpu"), b"K\x02") + b"Q.",
            r"\(\(.*is no storage",
        ),
        (
            group(text("storage"), called("torch", "FloatStorage"), text("0"), text("cpu"), LAST) + b"Q.",
            r"\(\(.*is no size",
        ),
        (LAST + b")R.", r"calls .*\(\("),
        (b"}" + LAST + b"K\x01s.", r"a key in its pickle is \(\("),
        (text("os") + LAST + b"\x93.", "a name is no text"),
    ],
    ids=["storage", "size", "call", "key", "name"],
)
def test_a_value_of_few_bytes_that_is_endless(tmp_path: Path, pickled: bytes, message: str) -> None:
    path = tmp_path / "x.bin"
    write_archive(path, ENDLESS + pickled, {"0": bytes(8)})
    with pytest.raises(ConvertError, match=message) as found:
        read_pickle(path)
    assert len(str(found.value)) < len(str(path)) + 200


def test_what_messages_show() -> None:
    assert shown("a\n") == r"'a\n'"
    assert shown((3, [None, 2.5, True], {"a": b"b"})) == "(3, [None, 2.5, True], {'a': b'b'})"
    assert shown([1] * 20).startswith("[1, 1, 1")
    for value in ("x" * 10**6, b"\0" * 10**6, 10**1000, {"x" * 10**6: ["y" * 10**6] * 10**6}):
        assert len(shown(value)) == 80
    assert shown(object()) == "<object>"


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
