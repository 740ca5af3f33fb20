"""The generated declarations agree with ivg.h, and the library with both."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

from ivg import _bindings, _library

STRUCTS = [
    name
    for name, value in vars(_bindings).items()
    if isinstance(value, type) and issubclass(value, ctypes.Structure) and hasattr(value, "_fields_")
]


def run_python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs code in another interpreter."""
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **environment}, timeout=60
    )


def test_generating_again_gives_the_same_file() -> None:
    script = ROOT / "bindings" / "python" / "generate_bindings.py"
    assert subprocess.run([sys.executable, script, "--check"]).returncode == 0


def test_layout_is_that_of_the_c_compiler(tmp_path: Path) -> None:
    lines, expected = [], []
    for name in STRUCTS:
        struct = getattr(_bindings, name)
        lines.append(f'printf("{name} %zu\\n", sizeof({name}));')
        expected.append(f"{name} {ctypes.sizeof(struct)}")
        for field, *_ in struct._fields_:
            lines.append(f'printf("{name}.{field} %zu\\n", offsetof({name}, {field}));')
            expected.append(f"{name}.{field} {getattr(struct, field).offset}")
    constants = {k: v for k, v in vars(_bindings).items() if k.startswith("IVG_") and isinstance(v, int | float)}
    for name, value in constants.items():
        lines.append(f'printf("{name} %.17g\\n", (double){name});')
        expected.append(f"{name} {float(value):.17g}")
    source = tmp_path / "layout.c"
    source.write_text("#include <ivg.h>\n#include <stdio.h>\nint main(void) {\n" + "\n".join(lines) + "\n}\n")
    program = tmp_path / "layout"
    subprocess.run(["cc", "-I", ROOT / "include", source, "-o", program], check=True)
    printed = subprocess.run([program], check=True, capture_output=True, text=True).stdout.splitlines()
    assert len(STRUCTS) >= 13
    assert printed == expected


def fake_library(folder: Path, code: str, *arguments: str) -> str:
    """A shared library that is not libivg."""
    source, library = folder / "fake.c", folder / "fake.so"
    source.write_text(code)
    subprocess.run(["cc", "-shared", "-fPIC", source, "-o", library, *arguments], check=True)
    return str(library)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("unsigned ivg_version_number(void) { return 99; }", "is libivg 0.0.99, but this package was made for 0.1.0"),
        ("unsigned ivg_version_number(void) { return 10000; }", "is libivg 1.0.0, but this package was made for 0.1.0"),
        ("unsigned ivg_version_number(void) { return 100; }", "lacks ivg_version_string()"),
        ("int other;", "is not libivg"),
    ],
)
def test_a_library_that_does_not_fit_is_refused(tmp_path: Path, code: str, message: str) -> None:
    done = run_python("import ivg", IVG_LIBRARY=fake_library(tmp_path, code))
    assert done.returncode != 0
    assert message in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("number", [101, 200, 9999])
def test_a_later_library_of_the_same_major_version_is_used(tmp_path: Path, number: int) -> None:
    real = Path(_library.lib._name)
    if not real.is_file():
        pytest.skip("the library was found by the system, and not by its path")
    (tmp_path / "libivg.so.0").symlink_to(real.resolve())
    # All else comes from the library that it needs.
    linked = ["-Wl,--no-as-needed", str(tmp_path / "libivg.so.0"), "-Wl,-rpath,$ORIGIN"]
    later = fake_library(tmp_path, f"unsigned ivg_version_number(void) {{ return {number}; }}", *linked)
    code = f"""
import ivg
from ivg import _library
print(_library.lib.ivg_version_number(), _library.lib._name)
print(len(ivg.Model({str(ROOT / "Tests/Fixtures/tiny-llama.gguf")!r}).generate("half", max_tokens=3).token_ids))
"""
    done = run_python(code, IVG_LIBRARY=later)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{number} {later}\n3\n", "")


def test_a_missing_library_is_named() -> None:
    done = run_python("import ivg", IVG_LIBRARY="/nowhere/libivg.so")
    assert "libivg was not found" in done.stderr
    assert "/nowhere/libivg.so" in done.stderr


def test_importing_and_leaving_prints_nothing(tmp_path: Path) -> None:
    code = f"""
import ivg
model = ivg.Model({str(ROOT / "Tests/Fixtures/tiny-llama.gguf")!r})
session = model.session()
sequence = session.sequence()
sequence.evaluate([5, 6])
guidance = ivg.Guidance(scorer=lambda prompt, texts: [0.0] * len(texts), search=ivg.BestOf(2))
stream = session.stream("half", guidance=guidance)
stream2 = model.stream("half", logits_processor=lambda row, tokens, logits: None)
next(stream2)
ivg.log_to_logging("info")
"""
    done = run_python(code)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
