"""Finding the weights of a folder: in one file or in several that an index names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ._config import Config, read_json
from ._errors import ConvertError, shown
from ._pickle import read_pickle
from ._safetensors import read_safetensors
from ._source import StoredTensor

Reader = Callable[[Path], dict[str, StoredTensor]]


def read_weights(folder: Path, stem: str = "model", bin_stem: str = "pytorch_model") -> dict[str, StoredTensor]:
    """The tensors of a folder, none of them read yet.

    safetensors are preferred to pickles, one file to several.
    """
    readers: list[tuple[str, Reader]] = [
        (f"{stem}.safetensors", read_safetensors),
        (f"{bin_stem}.bin", read_pickle),
    ]
    for name, reader in readers:
        if (folder / name).exists():
            return reader(folder / name)
        if (folder / f"{name}.index.json").exists():
            return _read_sharded(folder, f"{name}.index.json", reader)
    names = ", ".join(f"{name} or {name}.index.json" for name, _ in readers)
    raise ConvertError(f"{folder} has no weights: neither {names}")


def _read_sharded(folder: Path, index_name: str, reader: Reader) -> dict[str, StoredTensor]:
    """The tensors of all files that an index names, each from the file where the index says it is."""
    path = folder / index_name
    entries = Config(read_json(path), str(path)).section("weight_map").values
    shards: dict[str, dict[str, StoredTensor]] = {}
    found: dict[str, StoredTensor] = {}
    for name in sorted({shard for shard in entries.values() if isinstance(shard, str)}):
        if name in ("", ".", "..") or "/" in name or "\\" in name or "\0" in name:
            raise ConvertError(f"{path}: {shown(name)} is no name of a file in the same folder")
        if not (folder / name).is_file():
            raise ConvertError(f"{folder / name} is missing; {index_name} names it")
        shards[name] = reader(folder / name)
    for tensor, shard in entries.items():
        if not isinstance(shard, str):
            raise ConvertError(f"{path}: weight_map: {shown(tensor)} is in {shown(shard)}, which is no file name")
        if tensor not in shards[shard]:
            raise ConvertError(f"{folder / shard} does not hold tensor {shown(tensor)}, though {index_name} says so")
        found[tensor] = shards[shard][tensor]
    return found
