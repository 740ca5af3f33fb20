# SPDX-License-Identifier: Apache-2.0
"""Reads `include/ivg.h` for the scripts that make bindings from it.

Needs a C preprocessor (`cc -E`). The header is read without the compiler's own macros and with two stand-ins for the
system headers, so that the result is the same on every machine.
"""

from __future__ import annotations

import ast
import operator
import re
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

HEADER = Path(__file__).resolve().parent.parent / "include" / "ivg.h"

STAND_INS = {
    "stddef.h": "typedef unsigned long size_t;\n#define NULL ((void *)0)\n",
    "stdint.h": "typedef signed int int32_t;\ntypedef unsigned int uint32_t;\n"
    "typedef unsigned long uint64_t;\n#define UINT32_MAX 4294967295\n",
}

OPERATORS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.USub: operator.neg,
}


def preprocess(text: str, *flags: str) -> str:
    """Runs the C preprocessor on `text`, which may include ivg.h."""
    with tempfile.TemporaryDirectory() as folder:
        for name, content in STAND_INS.items():
            Path(folder, name).write_text(content)
        command = ["cc", "-E", "-undef", "-nostdinc", "-P", *flags]
        command += [f"-I{folder}", f"-I{HEADER.parent}", "-x", "c", "-"]
        return subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout


def number(text: str) -> int | float:
    """The value of a constant expression that the preprocessor has expanded."""

    def value(node: ast.AST) -> Any:
        if isinstance(node, ast.Constant):
            return node.value
        if isinstance(node, ast.BinOp):
            return OPERATORS[type(node.op)](value(node.left), value(node.right))
        if isinstance(node, ast.UnaryOp):
            return OPERATORS[type(node.op)](value(node.operand))
        raise ValueError(f"not a number: {text}")

    result = value(ast.parse(re.sub(r"(?<=[0-9.])[fFuUlL]+\b", "", text), mode="eval").body)
    assert isinstance(result, int | float)
    return result


def macros() -> dict[str, int | float]:
    """The `#define`s of ivg.h that are numbers."""
    listed = re.findall(r"^#define (IVG_[A-Z0-9_]+) (\S.*)$", preprocess("#include <ivg.h>\n", "-dM"), re.M)
    found = {}
    for name, _ in listed:
        text = preprocess(f"#include <ivg.h>\n@ {name}\n").rsplit("@", 1)[1].strip()
        try:
            found[name] = number(text)
        except (ValueError, SyntaxError):
            continue  # an attribute or the like
    order = HEADER.read_text()
    return dict(sorted(found.items(), key=lambda item: order.index(f"#define {item[0]}")))
