# SPDX-License-Identifier: Apache-2.0
"""The package's version, which is include/ivg.h's. A source distribution has the bindings made from it instead."""

from __future__ import annotations

import re
from pathlib import Path

_HERE = Path(__file__).resolve().parent
_HEADER = _HERE.parent.parent / "include" / "ivg.h"
_BINDINGS = _HERE / "src" / "ivg" / "_bindings.py"
_PARTS = ("MAJOR", "MINOR", "PATCH")


def _read(path: Path, form: str) -> str:
    text = path.read_text(encoding="utf-8")
    found = [re.search(form.format(part), text, re.M) for part in _PARTS]
    numbers = [match.group(1) for match in found if match is not None]
    if len(numbers) != len(_PARTS):
        raise ValueError(f"{path} lacks IVG_VERSION_MAJOR, _MINOR or _PATCH")
    return ".".join(numbers)


def version() -> str:
    """ "major.minor.patch"; ValueError if the bindings were made from another header."""
    bound = _read(_BINDINGS, r"^IVG_VERSION_{}\b.*= *(\d+)$")
    if not _HEADER.exists():
        return bound
    declared = _read(_HEADER, r"^#define IVG_VERSION_{} (\d+)$")
    if declared != bound:
        raise ValueError(f"{_HEADER} is {declared}, but {_BINDINGS} was made from {bound}: run generate_bindings.py")
    return declared
