# SPDX-License-Identifier: Apache-2.0
"""The reference manual is the docstrings: every public name has one, and it says what its parameters are."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

import pytest

import ivg
import ivg.convert

MODULES = (ivg, ivg.train, ivg.convert)
#: Parameters that the name and the type say all about, in this vocabulary.
PLAIN = {
    *("self", "cls", "model", "path", "prompt", "messages", "tokens", "token", "guidance", "value", "texts", "text"),
    *("args", "kwargs", "own", "exception", "data", "source", "target", "session", "options", "files", "key"),
}


def public_names() -> Iterator[tuple[str, Any]]:
    """Everything that a user can name, with its dotted name."""
    for module in MODULES:
        for name in module.__all__:
            value = getattr(module, name)
            yield f"{module.__name__}.{name}", value
            if inspect.isclass(value):
                for member, inner in inspect.getmembers(value):
                    if not member.startswith("_") and is_ours(inner) and not hasattr(BaseException, member):
                        yield f"{module.__name__}.{name}.{member}", inner


def is_ours(value: Any) -> bool:
    """Whether it is a function or property that ivg defines."""
    function = value.fget if isinstance(value, property) else value
    return str(getattr(function, "__module__", "")).startswith("ivg") and (
        isinstance(value, property) or callable(value)
    )


NAMES = {name: value for name, value in public_names() if isinstance(value, property) or callable(value)}


def test_there_is_something_to_look_at() -> None:
    assert {"ivg.Model", "ivg.Model.stream", "ivg.train.DPO.run", "ivg.Session.model", "ivg.quantize"} <= set(NAMES)
    assert len(NAMES) > 150


@pytest.mark.parametrize("name", NAMES)
def test_every_public_name_has_a_docstring(name: str) -> None:
    value = NAMES[name]
    if getattr(value, "__origin__", None) is not None or not hasattr(value, "__doc__"):
        pytest.skip("an alias of types")  # they have no docstrings
    text = value.__doc__
    assert text, f"{name} has no docstring"
    assert not text.startswith(f"{value.__name__ if hasattr(value, '__name__') else ''}("), f"{name}: a generated one"
    assert text.strip().split("\n")[0][-1] in ".:;`…)", f"{name}: the first line is no sentence"


def own_text(value: Any) -> str:
    """The docstring, for a method those of its classes, and those of what it refers to: "as `prefer`"."""
    owner = getattr(value, "__qualname__", "").partition(".")[0]
    found = [value.__doc__ or ""]
    for reference in re.findall(r"`(\w+)`", found[0]):
        places = [*MODULES, *(getattr(module, owner, None) for module in MODULES)]
        found += [getattr(place, reference, None).__doc__ or "" for place in places if hasattr(place, reference)]
    for module in MODULES:
        if inspect.isclass(kind := getattr(module, owner, None)):
            found += [base.__doc__ or "" for base in kind.__mro__]
    return "\n".join(found)


@pytest.mark.parametrize("name", [name for name, value in NAMES.items() if inspect.isfunction(value)])
def test_parameters_that_do_not_explain_themselves_are_explained(name: str) -> None:
    """A parameter is named in the docstring of its function or class, or its name is a word of the vocabulary."""
    function = NAMES[name]
    from ivg._generates import Generates

    text = own_text(function) + (Generates.__doc__ or "") + (ivg.SamplingOptions.__doc__ or "")
    parameters = inspect.signature(function).parameters
    missing = [parameter for parameter in parameters if parameter not in PLAIN and parameter not in text]
    assert missing == [], f"{name}: {missing}"


def test_every_field_of_a_result_is_explained() -> None:
    """A comment `#:` above it or above the field it goes with, or a line in the class's docstring."""
    missing = []
    for name, kind in NAMES.items():
        if not (inspect.isclass(kind) and is_dataclass(kind)):
            continue
        tree = ast.parse(textwrap.dedent(inspect.getsource(kind)))
        body = tree.body[0].body  # type: ignore[attr-defined]
        lines = inspect.getsource(kind).splitlines()
        for node in body:
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                field = node.target.id
                above = lines[node.lineno - 2].strip()
                explained = field in (kind.__doc__ or "") or above.startswith("#:") or is_explained(lines, node.lineno)
                missing += [] if explained or field in SELF_EXPLANATORY else [f"{name}.{field}"]
    assert missing == []


def is_explained(lines: list[str], number: int) -> bool:
    """Whether the fields above, without an empty line between, begin with a comment."""
    for line in reversed(lines[: number - 1]):
        if line.strip().startswith("#:"):
            return True
        if not line.strip() or ":" not in line:
            return False
    return False


#: Fields whose names say it all.
SELF_EXPLANATORY = {
    *("path", "architecture", "vocabulary_size", "layer_count", "embedding_length", "parameter_count", "name"),
    *("text", "token_ids", "finish_reason", "score", "log_probability", "prompt_token_count", "vocabulary_only"),
    *("head", "function", "tensor", "n", "width", "successors", "chunk", "weight"),
}


def test_the_manual_is_made(tmp_path: Path) -> None:
    if importlib.util.find_spec("pdoc") is None:
        pytest.skip("pdoc is missing: pip install 'ivg[docs]'")
    script = Path(__file__).parents[1] / "make_docs.py"
    done = subprocess.run([sys.executable, script, tmp_path / "manual"], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    page = (tmp_path / "manual" / "ivg.html").read_text()
    for name in ("Model", "AsyncStream", "Guidance", "ContextFullError", "astream_chat"):
        assert f">{name}<" in page
    assert (tmp_path / "manual" / "ivg" / "train.html").exists()
    assert "libivg.so" not in page.split("<main")[0]
