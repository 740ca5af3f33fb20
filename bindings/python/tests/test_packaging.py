# SPDX-License-Identifier: Apache-2.0
"""What goes into distributions, and under which version. `build_wheel.sh` and `test_wheel.sh` look at wheels."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from conftest import ROOT

import ivg
from ivg._library import lib

HERE = ROOT / "bindings" / "python"


def hatch(folder: Path, target: str, library: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Builds with the build backend that is installed, without a network."""
    pytest.importorskip("hatchling")
    return subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", folder / "dist"],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "IVG_LIBRARY": library, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of what a build reads, beside a copy of the header, as in the repository."""
    folder = tmp_path / "bindings" / "python"
    ignore = shutil.ignore_patterns("*.so", "__pycache__", ".*_cache", "dist")
    shutil.copytree(HERE, folder, ignore=ignore)
    shutil.copytree(ROOT / "include", tmp_path / "include")
    return folder


def test_the_version_is_the_headers(copy: Path) -> None:
    header = copy.parent.parent / "include" / "ivg.h"
    ask = [sys.executable, "-c", "import hatch_version; print(hatch_version.version())"]
    done = subprocess.run(ask, cwd=copy, capture_output=True, text=True)
    assert done.stdout == ivg.__version__ + "\n"
    changed = re.sub(r"(IVG_VERSION_PATCH) \d+", r"\1 77", header.read_text())
    header.write_text(changed)
    done = subprocess.run(ask, cwd=copy, capture_output=True, text=True)
    assert done.returncode != 0
    assert "run generate_bindings.py" in done.stderr


def test_a_wheel_holds_the_package_and_the_library(copy: Path) -> None:
    if shutil.which("strip") is None:
        pytest.skip("binutils are missing")
    done = hatch(copy, "wheel", lib._name)
    assert done.returncode == 0, done.stderr
    (path,) = (copy / "dist").iterdir()
    assert path.name.startswith(f"ivg-{ivg.__version__}-py3-none-linux_")
    with zipfile.ZipFile(path) as wheel:
        names = wheel.namelist()
        licence = wheel.read(f"ivg-{ivg.__version__}.dist-info/licenses/LICENSE")
        size = wheel.getinfo("ivg/libivg.so").file_size
    assert licence == (ROOT / "LICENSE").read_bytes()
    assert size <= 9_800_000  # stripped
    assert {name.split("/")[0] for name in names} == {"ivg", f"ivg-{ivg.__version__}.dist-info"}
    assert "ivg/py.typed" in names
    assert not [name for name in names if "test" in name or ".build" in name or "__pycache__" in name]


@pytest.mark.parametrize(("machine", "name"), [(62, "x86_64"), (183, "aarch64"), (40, None)])
def test_a_wheel_is_for_the_processors_of_the_library(
    copy: Path, tmp_path: Path, machine: int, name: str | None
) -> None:
    library = tmp_path / "libivg.so"
    kind = b"\3\0"  # a shared library
    library.write_bytes(b"\x7fELF\2\1\1".ljust(16, b"\0") + kind + machine.to_bytes(2, "little") + bytes(44))
    done = hatch(copy, "wheel", str(library), STRIP="true")
    if name is None:
        assert done.returncode != 0
        assert f"{library} is no library for Linux on x86_64 or aarch64" in done.stderr
    else:
        assert done.returncode == 0, done.stderr
        assert [path.name for path in (copy / "dist").iterdir()] == [f"ivg-{ivg.__version__}-py3-none-linux_{name}.whl"]


def test_a_source_distribution_compiles_nothing_and_says_what_is_missing(copy: Path, tmp_path: Path) -> None:
    done = hatch(copy, "sdist", "")
    assert done.returncode == 0, done.stderr
    (path,) = (copy / "dist").iterdir()
    with tarfile.open(path) as archive:
        names = archive.getnames()
        archive.extractall(tmp_path / "sdist")
    folder = tmp_path / "sdist" / f"ivg-{ivg.__version__}"
    assert f"{folder.name}/LICENSE" in names
    assert not [name for name in names if name.endswith((".so", ".c", ".swift")) or "/tests/" in name]
    done = hatch(folder, "wheel", "")
    assert done.returncode != 0
    assert "compiles nothing: install a wheel" in done.stderr
    done = hatch(folder, "wheel", lib._name)
    assert done.returncode == 0, done.stderr


def test_the_library_of_a_wheel_is_found_from_where_the_script_is_called(tmp_path: Path) -> None:
    interpreter = tmp_path / "python"
    interpreter.write_text('#!/bin/sh\necho "$IVG_LIBRARY" >"$(dirname "$0")/seen"\nexit 1\n')
    interpreter.chmod(0o755)
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "libivg.so").touch()
    environment = {**os.environ, "PYTHON": str(interpreter), "IVG_LIBRARY": "own/libivg.so"}
    script = ROOT / "bindings" / "python" / "build_wheel.sh"
    subprocess.run([script, "out"], cwd=tmp_path, env=environment, check=False, timeout=60)
    assert (tmp_path / "seen").read_text() == f"{(tmp_path / 'own' / 'libivg.so').resolve()}\n"
