#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes `ivg-sys/src/bindings.rs`, the Rust form of `include/ivg.h`, and the table of its layout for the tests.

    python generate_bindings.py            # writes the files
    python generate_bindings.py --check    # exit status 1 if one is not up to date

Needs `pip install pycparser` and a C preprocessor (`cc -E`).
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from pycparser import c_ast, c_parser

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from header import macros, number, preprocess  # noqa: E402

BINDINGS = HERE / "ivg-sys" / "src" / "bindings.rs"
LAYOUT = HERE / "ivg-sys" / "tests" / "generated" / "layout.rs"

# C type: Rust type, size and alignment where pointers have 64 bits, zero.
SCALARS = {
    "int32_t": ("i32", 4, "0"),
    "uint32_t": ("u32", 4, "0"),
    "uint64_t": ("u64", 8, "0"),
    "size_t": ("usize", 8, "0"),
    "float": ("f32", 4, "0.0"),
    "double": ("f64", 8, "0.0"),
    "ivg_status": ("ivg_status", 4, "0"),
    "char": ("c_char", 1, "0"),
    "void": ("c_void", 0, ""),
}
POINTER_SIZE = 8
KEYWORDS = {"type"}
HEAD = "// SPDX-License-Identifier: Apache-2.0\n// Generated from ivg.h by generate_bindings.py: do not edit.\n"


class Field:
    """A field of a struct, as Rust has it."""

    def __init__(self, name: str, rust: str, size: int, alignment: int, zero: str) -> None:
        self.c_name = name
        self.name = f"r#{name}" if name in KEYWORDS else name
        self.rust, self.size, self.alignment, self.zero = rust, size, alignment, zero


class Generator:
    """Turns the declarations of ivg.h into Rust source."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.functions: list[tuple[str, str]] = []
        self.constants: list[str] = []
        self.structs: dict[str, list[Field]] = {}

    # A C type as a Rust type.
    def type(self, node: Any) -> str:
        if isinstance(node, c_ast.TypeDecl):
            name = node.type.names[0] if isinstance(node.type, c_ast.IdentifierType) else node.type.name
            return SCALARS[name][0] if name in SCALARS else str(name)
        if isinstance(node, c_ast.ArrayDecl):
            return f"[{self.type(node.type)}; {number(node.dim.value)}]"
        assert isinstance(node, c_ast.PtrDecl)
        if isinstance(node.type, c_ast.FuncDecl):
            return f'Option<unsafe extern "C" fn{self.signature(node.type)}>'
        mutability = "const" if "const" in node.type.quals else "mut"
        return f"*{mutability} {self.type(node.type)}"

    @staticmethod
    def is_void(node: Any) -> bool:
        return isinstance(node, c_ast.TypeDecl) and getattr(node.type, "names", None) == ["void"]

    def signature(self, node: Any) -> str:
        every = node.args.params if node.args else []
        parameters = [p for p in every if not (isinstance(p, c_ast.Typename) and self.is_void(p.type))]
        listed = ", ".join(f"{p.name}: {self.type(p.type)}" for p in parameters)
        result = "" if self.is_void(node.type) else f" -> {self.type(node.type)}"
        return f"({listed}){result}"

    def field(self, declared: Any) -> Field:
        node, rust = declared.type, self.type(declared.type)
        if isinstance(node, c_ast.ArrayDecl):
            _, size, zero = SCALARS[node.type.type.names[0]]
            count = int(number(node.dim.value))
            return Field(declared.name, rust, size * count, size, f"[{zero}; {count}]")
        if isinstance(node, c_ast.TypeDecl):
            name = node.type.names[0]
            if name in SCALARS:
                _, size, zero = SCALARS[name]
                return Field(declared.name, rust, size, size, zero)
            zero = "None"  # a callback: the only other named type in a struct
        elif rust.startswith("Option"):
            zero = "None"
        else:
            zero = "ptr::null()" if rust.startswith("*const") else "ptr::null_mut()"
        return Field(declared.name, rust, POINTER_SIZE, POINTER_SIZE, zero)

    def struct(self, name: str, node: Any) -> None:
        if node.decls is None:
            self.lines += [
                "",
                "#[repr(C)]",
                f"pub struct {name} {{",
                "    _data: [u8; 0],",
                "    _marker: Opaque,",
                "}",
            ]
            return
        fields = [self.field(declared) for declared in node.decls]
        self.structs[name] = fields
        self.lines += ["", "#[repr(C)]", "#[derive(Clone, Copy, Debug)]", f"pub struct {name} {{"]
        self.lines += [f"    pub {field.name}: {field.rust}," for field in fields]
        self.lines += ["}", "", f"impl Default for {name} {{", "    fn default() -> Self {", "        Self {"]
        for field in fields:
            zero = "mem::size_of::<Self>() as u32" if field.name == "struct_size" else field.zero
            self.lines.append(f"            {field.name}: {zero},")
        self.lines += ["        }", "    }", "}", ""]
        self.lines += ['#[cfg(target_pointer_width = "64")]', "const _: () = {"]
        offset, largest = 0, 1
        for field in fields:
            offset += -offset % field.alignment
            self.lines.append(f"    assert!(mem::offset_of!({name}, {field.name}) == {offset});")
            offset += field.size
            largest = max(largest, field.alignment)
        self.lines += [f"    assert!(mem::size_of::<{name}>() == {offset + -offset % largest});", "};"]

    def enum(self, node: Any) -> None:
        self.lines.append("")
        values = []
        for entry in node.values.enumerators:
            sign = -1 if isinstance(entry.value, c_ast.UnaryOp) else 1
            values.append((entry.name, sign * int((entry.value.expr if sign < 0 else entry.value).value)))
        kind = "u32"
        if any(value < 0 for _, value in values):
            kind = "ivg_status"  # the only one with negative values
        elif values[0][0].startswith("IVG_LOG_"):
            kind = "i32"
        for name, value in values:
            self.constant(name, kind, value)

    def constant(self, name: str, kind: str, value: float) -> None:
        self.constants.append(name)
        self.lines.append(f"pub const {name}: {kind} = {value};")

    def generate(self) -> None:
        for name, value in macros().items():
            self.constant(name, "f32" if isinstance(value, float) else "u32", value)
        for node in c_parser.CParser().parse(preprocess("#include <ivg.h>\n")).ext:
            if isinstance(node, c_ast.Typedef):
                inner = node.type
                if isinstance(inner, c_ast.TypeDecl) and isinstance(inner.type, c_ast.Struct):
                    self.struct(node.name, inner.type)
                elif node.name.startswith("ivg_"):
                    kind = self.type(inner)
                    self.lines += ["", f"pub type {node.name} = {'i32' if node.name == 'ivg_status' else kind};"]
            elif isinstance(node, c_ast.Decl) and isinstance(node.type, c_ast.Enum):
                self.enum(node.type)
            elif isinstance(node, c_ast.Decl) and isinstance(node.type, c_ast.FuncDecl):
                self.functions.append((node.name, self.signature(node.type)))

    def bindings(self) -> str:
        declared = [f"    pub fn {name}{signature};" for name, signature in self.functions]
        lines = [HEAD, "use core::ffi::{c_char, c_void};", "use core::marker::{PhantomData, PhantomPinned};"]
        lines += ["use core::{mem, ptr};", "", "/// What libivg keeps to itself is not Send, Sync or Unpin."]
        lines += ["type Opaque = PhantomData<(*mut u8, PhantomPinned)>;", "", *self.lines, ""]
        return "\n".join([*lines, 'extern "C" {', *declared, "}", ""])

    def layout(self) -> str:
        """What Rust thinks of each struct and constant, and the address of each function."""
        lines = [HEAD, "type Struct = (&'static str, usize, &'static [(&'static str, usize)]);", ""]
        lines += ["const STRUCTS: &[Struct] = &["]
        for name, fields in self.structs.items():
            offsets = [f'("{field.c_name}", offset_of!({name}, {field.name}))' for field in fields]
            lines += [f'    ("{name}", size_of::<{name}>(), &[{", ".join(offsets)}]),']
        lines += ["];", "", "const CONSTANTS: &[(&str, f64)] = &["]
        lines += [f'    ("{name}", {name} as f64),' for name in self.constants]
        lines += ["];", "", "fn functions() -> Vec<*const ()> {", "    vec!["]
        lines += [f"        {name} as *const ()," for name, _ in self.functions]
        return "\n".join([*lines, "    ]", "}", ""])


def main() -> int:
    """Writes or checks the files."""
    generator = Generator()
    generator.generate()
    files = {BINDINGS: generator.bindings(), LAYOUT: generator.layout()}
    if "--check" in sys.argv[1:]:
        stale = [str(path) for path, text in files.items() if not path.exists() or path.read_text() != text]
        for name in stale:
            print(f"{name} is not up to date: run generate_bindings.py", file=sys.stderr)
        return 1 if stale else 0
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
