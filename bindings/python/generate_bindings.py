#!/usr/bin/env python3
"""Makes `src/ivg/_bindings.py`, the ctypes form of `include/ivg.h`.

    python generate_bindings.py            # writes the file
    python generate_bindings.py --check    # exit status 1 if it is not up to date

Needs `pip install pycparser` and a C preprocessor (`cc -E`).
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from pycparser import c_ast, c_parser

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from header import macros, number, preprocess  # noqa: E402

OUTPUT = HERE / "src" / "ivg" / "_bindings.py"

SCALARS = {
    "int32_t": ("c_int32", "int"),
    "uint32_t": ("c_uint32", "int"),
    "uint64_t": ("c_uint64", "int"),
    "size_t": ("c_size_t", "int"),
    "float": ("c_float", "float"),
    "double": ("c_double", "float"),
    "ivg_status": ("c_int32", "int"),
}


class Generator:
    """Turns the declarations of ivg.h into Python source."""

    def __init__(self) -> None:
        self.defined: set[str] = set()  # structs with fields, so far
        self.callbacks: set[str] = set()
        self.lines: list[str] = []

    # A C type as a ctypes expression. `sized`: the text has its length beside it, so that a NUL does not end it.
    def type(self, node: Any, sized: bool = False) -> str:
        if isinstance(node, c_ast.TypeDecl):
            name = node.type.names[0] if isinstance(node.type, c_ast.IdentifierType) else node.type.name
            return SCALARS[name][0] if name in SCALARS else str(name)
        if isinstance(node, c_ast.ArrayDecl):
            return f"{self.type(node.type)} * {number(node.dim.value)}"
        assert isinstance(node, c_ast.PtrDecl)
        target = node.type
        if isinstance(target, c_ast.FuncDecl):
            return self.callback(target)
        if isinstance(target, c_ast.TypeDecl) and isinstance(target.type, c_ast.IdentifierType):
            name = target.type.names[0]
            if name == "void":
                return "c_void_p"
            if name == "char":
                return "POINTER(c_char)" if sized or "const" not in target.quals else "c_char_p"
        return f"POINTER({self.type(target, sized)})"

    def callback(self, node: Any) -> str:
        result = "None" if self.is_void(node.type) else self.type(node.type)
        arguments = [self.type(p.type, self.sized(p, node.args.params)) for p in self.parameters(node)]
        return f"CFUNCTYPE({', '.join([result, *arguments])})"

    @staticmethod
    def is_void(node: Any) -> bool:
        return isinstance(node, c_ast.TypeDecl) and getattr(node.type, "names", None) == ["void"]

    @staticmethod
    def sized(item: Any, siblings: list[Any]) -> bool:
        names = {sibling.name for sibling in siblings}
        return f"{item.name}_length" in names or f"{item.name.removesuffix('s')}_lengths" in names

    def parameters(self, node: Any) -> list[Any]:
        every = node.args.params if node.args else []
        return [p for p in every if not (isinstance(p, c_ast.Typename) and self.is_void(p.type))]

    def annotation(self, node: Any, expression: str) -> str:
        if expression == "c_char_p":
            return "bytes | None"
        if expression == "c_void_p":
            return "int | None"
        if isinstance(node, c_ast.TypeDecl) and isinstance(node.type, c_ast.IdentifierType):
            return SCALARS.get(node.type.names[0], ("", "Any"))[1]
        return "Any"

    def struct(self, name: str, node: Any) -> None:
        if node.decls is None:
            self.lines += ["", "", f"class {name}(Structure):", '    """Opaque."""']
            return
        fields, notes = [], []
        for field in node.decls:
            expression = self.type(field.type, self.sized(field, node.decls))
            fields.append(f'        ("{field.name}", {expression}),')
            notes.append(f"    {field.name}: {self.annotation(field.type, expression)}")
        self.lines += ["", "", f"class {name}(Structure):", *notes]
        self.lines += ["    _fields_ = (", *fields, "    )"]
        self.defined.add(name)

    def enum(self, node: Any) -> None:
        self.lines.append("")
        value = -1
        for entry in node.values.enumerators:
            value = value + 1 if entry.value is None else self.constant(entry.value)
            self.lines.append(f"{entry.name} = {value}")

    def constant(self, node: Any) -> int:
        sign = -1 if isinstance(node, c_ast.UnaryOp) else 1
        return sign * int((node.expr if sign < 0 else node).value)

    def generate(self) -> str:
        tree = c_parser.CParser().parse(preprocess("#include <ivg.h>\n"))
        functions: list[str] = []
        numbers = macros()
        version = ".".join(str(numbers[f"IVG_VERSION_{part}"]) for part in ("MAJOR", "MINOR", "PATCH"))
        self.lines += [f"{name} = {value}" for name, value in numbers.items()]
        self.lines.append(f'IVG_VERSION_STRING = "{version}"')
        for node in tree.ext:
            if isinstance(node, c_ast.Typedef):
                inner = node.type
                if isinstance(inner, c_ast.TypeDecl) and isinstance(inner.type, c_ast.Struct):
                    self.struct(node.name, inner.type)
                elif isinstance(inner, c_ast.PtrDecl):
                    self.lines += ["", "", f"{node.name} = {self.callback(inner.type)}"]
            elif isinstance(node, c_ast.Decl) and isinstance(node.type, c_ast.Enum):
                self.enum(node.type)
            elif isinstance(node, c_ast.Decl) and isinstance(node.type, c_ast.FuncDecl):
                declared = node.type
                result = "None" if self.is_void(declared.type) else self.type(declared.type)
                arguments = ", ".join(self.type(p.type) for p in self.parameters(declared))
                functions.append(f'    "{node.name}": ({result}, [{arguments}]),')
        head = (
            '"""The ctypes form of ivg.h. Generated by generate_bindings.py: do not edit."""\n\n'
            "# ruff: noqa\n"
            "from __future__ import annotations\n\n"
            "from ctypes import (\n    CFUNCTYPE,\n    POINTER,\n    Structure,\n"
            "    c_char,\n    c_char_p,\n    c_double,\n    c_float,\n    c_int32,\n    c_size_t,\n    c_uint32,\n"
            "    c_uint64,\n    c_void_p,\n)\n"
            "from typing import Any\n\n"
        )
        body = re.sub(r"\n{4,}", "\n\n\n", "\n".join(self.lines))
        table = ["", "", "# name: (result, arguments)", "FUNCTIONS: dict[str, tuple[Any, list[Any]]] = {"]
        return head + body + "\n".join([*table, *functions, "}", ""])


def main() -> int:
    """Writes or checks the file."""
    text = Generator().generate()
    if "--check" in sys.argv[1:]:
        return 0 if OUTPUT.exists() and OUTPUT.read_text() == text else 1
    OUTPUT.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
