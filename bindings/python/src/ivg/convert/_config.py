"""Reading the JSON files of a folder, with a message for every way in which they can be wrong."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ._errors import ConvertError, shown

#: JSON files beyond this are refused; the largest real tokenizer.json has 40 million bytes.
MAXIMUM_JSON = 1 << 28

#: Marks a field that has no default.
_REQUIRED: Any = object()


def require_file(path: Path) -> None:
    """Throws unless `path` is a regular file (opening something else may wait for ever)."""
    if not path.exists():
        raise ConvertError(f"{path} is missing")
    if not path.is_file():
        raise ConvertError(f"{path} is no regular file")


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file."""
    return parse_json(read_small(path), str(path))


def read_small(path: Path) -> bytes:
    """The bytes of a file that is not a file of weights."""
    require_file(path)
    if path.stat().st_size > MAXIMUM_JSON:
        raise ConvertError(f"{path} has more than {MAXIMUM_JSON} bytes")
    return path.read_bytes()


def parse_json(data: bytes, place: str) -> dict[str, Any]:
    """The JSON object that `data` spells; `place` names it in messages."""
    try:
        value = json.loads(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise ConvertError(f"{place} is not UTF-8 at byte {error.start}") from None
    except RecursionError:
        raise ConvertError(f"{place} is nested too deeply") from None
    except ValueError as error:
        raise ConvertError(f"{place} is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise ConvertError(f"{place} holds {type(value).__name__}, not an object")
    return value


class Config:
    """The fields of one JSON object, each checked when it is asked for.

    A field that is missing or null has the default of `defaults`, then the one passed; without either it is an
    error. `place` names the object in messages.
    """

    def __init__(self, values: Mapping[str, Any], place: str, defaults: Mapping[str, Any] | None = None) -> None:
        self.values = values
        self.place = place
        self.defaults = defaults or {}

    def has(self, name: str) -> bool:
        """Whether the field is there and not null."""
        return self.values.get(name) is not None

    def raw(self, name: str, default: Any = _REQUIRED) -> Any:
        """The field, unchecked."""
        value = self.values.get(name)
        if value is None:
            value = self.defaults.get(name, default)
        if value is _REQUIRED:
            raise ConvertError(f"{self.place}: {name} is missing")
        return value

    def is_null(self, name: str) -> bool:
        """Whether the field is there and null, for fields where that is another thing than not to be there."""
        return name in self.values and self.values[name] is None

    def whole(self, name: str, default: Any = _REQUIRED, low: int = 1, high: int = 1 << 20) -> int:
        """A whole number within low...high."""
        value = self.raw(name, default)
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.error(name, value, "a whole number")
        if not low <= value <= high:
            raise self.error(name, value, f"within {low}...{high}")
        return value

    def number(self, name: str, default: Any = _REQUIRED, low: float = -math.inf, high: float = math.inf) -> float:
        """A finite number within low...high."""
        value = self.raw(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.error(name, value, "a number")
        try:
            value = float(value)
        except OverflowError:
            raise self.error(name, value, "a number that fits a double") from None
        if not math.isfinite(value):
            raise self.error(name, value, "a finite number")
        if not low <= value <= high:
            raise self.error(name, value, f"within {low:g}...{high:g}")
        return value

    def flag(self, name: str, default: Any = _REQUIRED) -> bool:
        """True or false."""
        value = self.raw(name, default)
        if not isinstance(value, bool):
            raise self.error(name, value, "true or false")
        return value

    def text(self, name: str, default: Any = _REQUIRED) -> str:
        """A string."""
        value = self.raw(name, default)
        if not isinstance(value, str):
            raise self.error(name, value, "a string")
        return value

    def items(self, name: str, default: Any = _REQUIRED) -> list[Any]:
        """A list."""
        value = self.raw(name, default)
        if not isinstance(value, list):
            raise self.error(name, value, "a list")
        return value

    def numbers(self, name: str, low: float, high: float) -> list[float]:
        """A list of finite numbers within low...high."""
        values = self.items(name)
        entries = Config({f"{name}[{index}]": value for index, value in enumerate(values)}, self.place)
        return [entries.number(entry, low=low, high=high) for entry in entries.values]

    def section(self, name: str, default: Any = _REQUIRED) -> Config:
        """The object in a field."""
        value = self.raw(name, default)
        if not isinstance(value, dict):
            raise self.error(name, value, "an object")
        return Config(value, f"{self.place}: {name}")

    def with_defaults(self, defaults: Mapping[str, Any]) -> Config:
        """The same fields with other defaults."""
        return Config(self.values, self.place, defaults)

    def error(self, name: str, value: object, expected: str) -> ConvertError:
        """The error of a field that is not as expected."""
        return ConvertError(f"{self.place}: {name} is {shown(value)}, but must be {expected}")
