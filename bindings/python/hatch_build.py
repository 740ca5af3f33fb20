"""Puts libivg.so into the wheel, and beside the sources for an editable installation."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


def processor(library: Path) -> str:
    """Of which processors a library is, as in a wheel's tag: its file says so, whatever this machine is.

    Raises ValueError for a file that is no library for the processors that there are wheels for.
    """
    with library.open("rb") as file:
        header = file.read(20)
    names = {62: "x86_64", 183: "aarch64"}  # of the field e_machine
    machine = int.from_bytes(header[18:20], "little")
    if header[:6] != b"\x7fELF\x02\x01" or machine not in names:
        raise ValueError(f"{library} is no library for Linux on {' or '.join(names.values())}")
    return names[machine]


class LibraryHook(BuildHookInterface):  # type: ignore[type-arg]
    """Takes `.build/release/libivg.so` of the repository, or the file that IVG_LIBRARY names.

    What goes into a wheel is stripped, by the program that STRIP names or by `strip`.
    """

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        root = Path(self.root)
        built = root.parent.parent / ".build" / "release" / "libivg.so"
        library = Path(os.environ.get("IVG_LIBRARY") or built).resolve()
        if not library.is_file():
            raise FileNotFoundError(
                f"{library} is missing. This package is Python around libivg.so and compiles nothing: install a wheel "
                f"(pip install --only-binary ivg ivg), set IVG_LIBRARY to a libivg.so that fits, or in the repository "
                f"run `make lib`"
            )
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-linux_{processor(library)}"
        if version == "editable":
            link = root / "src" / "ivg" / "libivg.so"
            link.unlink(missing_ok=True)
            link.symlink_to(built if library == built.resolve() else library)
            return
        self._folder = tempfile.TemporaryDirectory()
        stripped = Path(self._folder.name) / "libivg.so"
        shutil.copyfile(library, stripped)
        subprocess.run([os.environ.get("STRIP") or "strip", "--strip-unneeded", str(stripped)], check=True)
        build_data["force_include"][str(stripped)] = "ivg/libivg.so"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        if hasattr(self, "_folder"):
            self._folder.cleanup()
