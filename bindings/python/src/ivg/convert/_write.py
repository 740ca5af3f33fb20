"""Writing a GGUF file: metadata first, then one tensor after the other, complete or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from gguf import GGUFValueType, GGUFWriter

from ._errors import ConvertError
from ._plan import Planned

#: Told after each tensor: its name, the bytes written so far, and those of all tensors.
Progress = Callable[[str, int, int], None]


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A new file beside `path` that takes its place when the block ends, and is removed if it fails."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".partial", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_gguf(
    path: Path,
    architecture: str,
    metadata: Mapping[str, Any],
    tensors: Sequence[Planned],
    progress: Progress | None = None,
) -> None:
    """Writes a file. Whole numbers of `metadata` become uint32, other numbers float32."""
    total = sum(tensor.byte_count for tensor in tensors)
    writer = GGUFWriter(None, architecture)
    for key, value in metadata.items():
        _add(writer, key, value)
    for tensor in tensors:
        writer.add_tensor_info(
            tensor.name, tensor.shape, tensor.element.held, tensor.byte_count, raw_dtype=tensor.element.gguf
        )
    with replacing(path) as temporary:
        try:
            writer.write_header_to_file(temporary)
            writer.write_kv_data_to_file()
            writer.write_ti_data_to_file()
            _write_tensors(writer, tensors, total, progress)
            writer.flush()
            assert writer.fout is not None
            os.fsync(writer.fout[0].fileno())
        finally:
            writer.close()


def _write_tensors(
    writer: GGUFWriter, tensors: Sequence[Planned], total: int, progress: Progress | None
) -> None:
    assert writer.fout is not None
    file = writer.fout[0]
    writer.write_padding(file, file.tell())
    done = 0
    for tensor in tensors:
        written = 0
        for chunk in tensor.chunks():
            file.write(chunk.data)
            written += chunk.nbytes
        if written != tensor.byte_count:
            raise ConvertError(f"tensor {tensor.name} came out with {written} bytes instead of {tensor.byte_count}")
        writer.write_padding(file, written)
        done += written
        if progress is not None:
            progress(tensor.name, done, total)


def _add(writer: GGUFWriter, key: str, value: Any) -> None:
    if isinstance(value, bool):
        writer.add_bool(key, value)
    elif isinstance(value, int):
        writer.add_uint32(key, value)
    elif isinstance(value, float):
        writer.add_float32(key, value)
    elif isinstance(value, str):
        writer.add_string(key, value)
    else:
        kind = _ELEMENT_TYPES[type(value[0])] if value else GGUFValueType.STRING
        writer.add_key_value(key, value, GGUFValueType.ARRAY, kind)


_ELEMENT_TYPES = {
    bool: GGUFValueType.BOOL,
    int: GGUFValueType.INT32,
    float: GGUFValueType.FLOAT32,
    str: GGUFValueType.STRING,
    bytes: GGUFValueType.STRING,
}
