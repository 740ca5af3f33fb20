"""Writing GGUF files: metadata first, then one tensor after the other, complete or not at all."""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gguf import GGUFValueType, GGUFWriter

from ._errors import ConvertError, shown
from ._plan import Planned

#: Told after each tensor: its name, the bytes written so far, and those of all tensors.
Progress = Callable[[str, int, int], None]

_ELEMENT_TYPES = {
    bool: GGUFValueType.BOOL,
    int: GGUFValueType.INT32,
    float: GGUFValueType.FLOAT32,
    str: GGUFValueType.STRING,
}


@dataclass(frozen=True)
class Output:
    """A file to be written. Whole numbers of `metadata` become uint32, other numbers float32."""

    path: Path
    architecture: str
    metadata: Mapping[str, Any]
    tensors: Sequence[Planned]


def require_free(path: Path, force: bool) -> None:
    """Throws if a file cannot be written to `path`, or is there already and `force` is off."""
    if path.is_dir():
        raise ConvertError(f"{path} is a folder, not a file to write")
    if not path.absolute().parent.is_dir():
        raise ConvertError(f"{path}: folder {path.absolute().parent} does not exist")
    if path.exists() and not force:
        raise ConvertError(f"{path} exists already; --force (force=True) replaces it")


def write_files(outputs: Sequence[Output], progress: Progress | None = None) -> None:
    """Writes all files, or none: they get their names when the last is complete."""
    total = sum(tensor.byte_count for output in outputs for tensor in output.tensors)
    done = 0

    def advance(name: str, count: int) -> None:
        nonlocal done
        done += count
        if progress is not None:
            progress(name, done, total)

    temporaries: list[Path] = []
    try:
        for output in outputs:
            temporaries.append(_temporary_beside(output.path))
            _write(output, temporaries[-1], advance)
        with _uninterrupted():
            for output, temporary in zip(outputs, temporaries, strict=True):
                temporary.replace(output.path)
    except BaseException:
        for temporary in temporaries:
            temporary.unlink(missing_ok=True)
        raise


def _temporary_beside(path: Path) -> Path:
    """A new empty file in the folder of `path`, with the permissions that any new file gets."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name[:100]}.", suffix=".partial", dir=path.absolute().parent)
    mask = os.umask(0)
    os.umask(mask)
    os.fchmod(handle, 0o666 & ~mask)
    os.close(handle)
    return Path(name)


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Ctrl-C waits until the block has ended."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def name_of(folder: Path) -> str:
    """`general.name`: the folder's, with replacements for what is no Unicode."""
    return folder.resolve().name.encode("utf-8", "replace").decode("utf-8")


def _require_unicode(key: str, text: str) -> None:
    """Throws if the text holds half a surrogate pair, as JSON can spell."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise ConvertError(f"{key} holds {shown(text)}, which is no Unicode text") from None


def _write(output: Output, path: Path, advance: Callable[[str, int], None]) -> None:
    writer = GGUFWriter(None, output.architecture)
    for key, value in output.metadata.items():
        _add(writer, key, value)
    for tensor in output.tensors:
        writer.add_tensor_info(
            tensor.name, tensor.shape, tensor.element.held, tensor.byte_count, raw_dtype=tensor.element.gguf
        )
    try:
        writer.write_header_to_file(path)
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        _write_tensors(writer, output.tensors, advance)
    finally:
        writer.close()


def _write_tensors(writer: GGUFWriter, tensors: Sequence[Planned], advance: Callable[[str, int], None]) -> None:
    assert writer.fout is not None
    file = writer.fout[0]
    writer.write_padding(file, file.tell())
    for tensor in tensors:
        written = 0
        for chunk in tensor.chunks():
            file.write(chunk.data)
            written += chunk.nbytes
        if written != tensor.byte_count:
            raise ConvertError(f"tensor {tensor.name} came out with {written} bytes instead of {tensor.byte_count}")
        writer.write_padding(file, written)
        advance(tensor.name, written)
    file.flush()
    os.fsync(file.fileno())


def _add(writer: GGUFWriter, key: str, value: Any) -> None:
    for item in value if isinstance(value, list) else (value,):
        if isinstance(item, str) and not item.isascii():
            _require_unicode(key, item)
    if isinstance(value, bool):
        writer.add_bool(key, value)
    elif isinstance(value, int):
        writer.add_uint32(key, value)
    elif isinstance(value, float):
        writer.add_float32(key, value)
    elif isinstance(value, str):
        writer.add_key_value(key, value, GGUFValueType.STRING)
    else:
        writer.add_key_value(key, value, GGUFValueType.ARRAY, _ELEMENT_TYPES[type(value[0])])
