"""Telling what a folder holds."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from ._errors import ConvertError
from ._folder import read_weights
from ._model import PathLike
from ._value import find_head

FolderKind = Literal["model", "adapter", "value_model"]


def folder_kind(folder: PathLike) -> FolderKind:
    """Which of the converters a folder is for: looks at its files and the names of its tensors."""
    path = Path(folder)
    if not path.is_dir():
        raise ConvertError(f"{path} is not a folder")
    if (path / "adapter_config.json").is_file():
        return "adapter"
    return "value_model" if find_head(read_weights(path)) else "model"
