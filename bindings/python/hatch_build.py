"""Puts libivg.so into the wheel, and beside the sources for an editable installation."""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class LibraryHook(BuildHookInterface):  # type: ignore[type-arg]
    """Takes `.build/release/libivg.so` of the repository, or the file that IVG_LIBRARY names."""

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
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["tag"] = f"py3-none-{platform}"
        if version == "editable":
            link = root / "src" / "ivg" / "libivg.so"
            link.unlink(missing_ok=True)
            link.symlink_to(built if library == built.resolve() else library)
            return
        self._folder = tempfile.TemporaryDirectory()
        stripped = Path(self._folder.name) / "libivg.so"
        shutil.copyfile(library, stripped)
        subprocess.run(["strip", "--strip-unneeded", str(stripped)], check=True)
        build_data["force_include"][str(stripped)] = "ivg/libivg.so"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        if hasattr(self, "_folder"):
            self._folder.cleanup()
