# SPDX-License-Identifier: Apache-2.0
"""The files that the manual's programs name: models, guides, data, folders as they come from Hugging Face."""

from __future__ import annotations

import json
import os
import re
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "Tests/Fixtures"
GUIDES = ROOT / "examples/sentiment/models"
SMALL = "SmolLM2-135M-Instruct.Q4_1.gguf"
LARGER = "Qwen2.5-Coder-0.5B-Instruct-Q4_K_M.gguf"


class Missing(Exception):
    """A file that a program names is not on this machine."""


def models_folder() -> Path:
    """Where real models are."""
    return Path(os.environ.get("IVG_TEST_MODELS") or ROOT / ".build/models")


def library() -> Path:
    """libivg.so."""
    return Path(os.environ.get("IVG_LIBRARY") or ROOT / ".build/release/libivg.so").resolve()


#: Names in the manual, and the models that stand for them.
MODELS = {
    "model.gguf": SMALL,
    "small.gguf": SMALL,
    "small-instruct.gguf": SMALL,
    "base.gguf": "gemma-3-270m-q4_k_m.gguf",
    "other-family.gguf": LARGER,
    "model.F16.gguf": "SmolLM2-135M-Instruct.F16.gguf",
}
#: Guides, trained for SMALL.
GUIDE_FILES = {name: name for name in ("tuned-dpo.gguf", "untuned-sft.gguf", "value-fudge.gguf")}
GUIDE_FILES |= {"reward.gguf": "value-fudge.gguf"}

_PROMPTS = ["The film I saw yesterday", "I had waited for years until", "The actors in it"]
_GOOD = [" was a delight from its first minute to its last.", " moved me more than I can say.", " was wonderful."]
_BAD = [" was a bore from its first minute to its last.", " left me colder than I can say.", " was a waste of time."]
_SCORER = """import json, sys
for line in sys.stdin:
    text = json.loads(line)
    print(text.count("a") - 0.01 * len(text), flush=True)
"""


def _lines(records: list[dict[str, object]]) -> bytes:
    return "".join(json.dumps(record) + "\n" for record in records).encode()


def _samples() -> list[dict[str, object]]:
    pairs = [(prompt, text, 1.5) for prompt, text in zip(_PROMPTS, _GOOD, strict=True)]
    pairs += [(prompt, text, -1.5) for prompt, text in zip(_PROMPTS, _BAD, strict=True)]
    return [{"prompt": prompt, "completion": text, "reward": reward} for prompt, text, reward in pairs]


_DATA: dict[str, Callable[[], bytes]] = {
    "prompts.jsonl": lambda: _lines([{"prompt": prompt} for prompt in _PROMPTS]),
    "held-out.jsonl": lambda: _lines(
        [{"prompt": "My evening at the cinema", "id": "a"}, {"prompt": "The director", "id": "b"}]
    ),
    "pairs.jsonl": lambda: _lines(
        [
            {"prompt": prompt, "chosen": good, "rejected": bad}
            for prompt, good, bad in zip(_PROMPTS, _GOOD, _BAD, strict=True)
        ]
    ),
    "samples.jsonl": lambda: _lines(_samples()),
    "score.py": lambda: _SCORER.encode(),
    "gold.py": lambda: _SCORER.encode(),
}
#: Folders as people download them, and what stands for them.
_FOLDERS: dict[str, str | Path] = {
    "Mistral-7B-Instruct": "llama",
    "my-lora": FIXTURES / "hugging-face/lora-llama",
    "gpt2-imdb-token-rm": FIXTURES / "hugging-face/gpt2-token-score",
}


def provide(code: str, folder: Path, written: set[str]) -> None:
    """Puts into `folder` what `code` names, but not what it writes itself. Throws Missing."""
    for name in set(re.findall(r"[\w.-]+\.(?:gguf|jsonl|py|dat)\b", code)) - written:
        if name in _DATA:
            (folder / name).write_bytes(_DATA[name]())
        elif name == "imatrix.dat":
            _write_importance(folder / name)
        elif (found := _model(name)) is not None:
            if not found.exists():
                raise Missing(f"{found.name} is not in {found.parent}")
            (folder / name).symlink_to(found.resolve())
    if "libivg.so " in code:
        if not library().exists():
            raise Missing(f"{library()} (make lib, or set IVG_LIBRARY)")
        (folder / "libivg.so").symlink_to(library())
    for name, source in _FOLDERS.items():
        if f"{name}/" in code:
            _provide_folder(folder / name, source)


def _model(name: str) -> Path | None:
    """The file that stands for a model or guide; None for names of files that are yet to be made."""
    if name in GUIDE_FILES:
        return GUIDES / GUIDE_FILES[name]
    found = models_folder() / MODELS.get(name, name)
    return found if name in MODELS or found.exists() else None


def _provide_folder(folder: Path, source: str | Path) -> None:
    if isinstance(source, Path):
        folder.symlink_to(source)
        return
    # What the Python tests make of a fixture; it needs the packages that they do.
    program = (
        f"from pathlib import Path; import hugging_face; hugging_face.recover_folder(Path({str(folder)!r}), {source!r})"
    )
    path = os.pathsep.join([str(ROOT / "bindings/python/tests"), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True
    )
    if done.returncode != 0:
        raise Missing(f"a folder of Hugging Face's kind: {done.stderr.strip().splitlines()[-1]}")


def _write_importance(path: Path) -> None:
    """Importance weights for model.F16.gguf, in llama.cpp's older format: every matrix, columns of unequal weight."""
    source = models_folder() / MODELS["model.F16.gguf"]
    if not source.exists():
        raise Missing(f"{source.name} is not in {source.parent}")
    asked = [sys.executable, "-m", "ivg", "inspect", "--json", str(source)]
    tensors = json.loads(subprocess.run(asked, check=True, capture_output=True).stdout)["tensors"]
    matrices = [tensor for tensor in tensors if len(tensor["shape"]) == 2 and tensor["name"].startswith("blk.")]
    with open(path, "wb") as file:
        file.write(struct.pack("<i", len(matrices)))
        for tensor in matrices:
            name, columns = tensor["name"].encode(), tensor["shape"][0]
            file.write(struct.pack("<i", len(name)) + name + struct.pack("<ii", 1, columns))
            file.write(struct.pack(f"<{columns}f", *(1 + column % 3 for column in range(columns))))
