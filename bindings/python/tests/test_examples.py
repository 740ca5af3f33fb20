"""The programs of examples/ run, on a tiny model and where they need one on the real model."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import REAL_MODEL, ROOT, fixture_path

EXAMPLES = ROOT / "examples"
TINY = fixture_path("tiny-llama.gguf")


def run(*arguments: str | Path) -> str:
    """Runs a program, which must succeed in silence."""
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize("model", [TINY, REAL_MODEL], ids=["tiny", "real"])
@pytest.mark.parametrize("name", ["generate", "guided", "chat", "score"])
def test_examples(name: str, model: Path) -> None:
    if not model.exists():
        pytest.skip("make model")
    output = run(EXAMPLES / "python" / f"{name}.py", model)
    assert output.strip()
    if (name, model) == ("chat", REAL_MODEL):
        assert "Paris" in output


def test_examples_with_files() -> None:
    adapter, head = fixture_path("tiny-adapter.gguf"), fixture_path("tiny-value-scalar.gguf")
    assert run(EXAMPLES / "python" / "guided.py", TINY, adapter, TINY)
    assert run(EXAMPLES / "python" / "guided.py", TINY, fixture_path("tiny-llama-untuned.gguf"), TINY)
    assert run(EXAMPLES / "python" / "score.py", TINY, head)
    other = fixture_path("tiny-other-vocabulary.gguf")
    assert "nudged, ended by" in run(EXAMPLES / "python" / "nudged.py", TINY, other)


def test_the_demo_shows_that_guidance_works() -> None:
    if not REAL_MODEL.exists():
        pytest.skip("make model")
    sums = dict.fromkeys(["plain", "EFTi", "CBS", "IVG"], 0.0)  # one seed alone may be lucky
    for seed in "123":
        output = run(EXAMPLES / "demo.py", REAL_MODEL, "--seed", seed)
        names, values = re.findall(r"^(\w+): ", output, re.M), re.findall(r"value ([+-][\d.]+)", output)
        for name, value in zip(names, values, strict=True):
            sums[name] += float(value)
    assert sums["plain"] < sums["EFTi"] < sums["IVG"]
    assert sums["plain"] < sums["CBS"] < sums["IVG"]


@pytest.mark.parametrize("path", ["README.md", "bindings/python/README.md"])
def test_the_first_example_of_a_readme(path: str) -> None:
    """It runs as it stands."""
    if not REAL_MODEL.exists():
        pytest.skip("make model")
    code = (ROOT / path).read_text().split("```python\n")[1].split("```")[0]
    assert run("-c", re.sub(r"ivg\.Model\(.*?\)", f"ivg.Model({str(REAL_MODEL)!r})", code)).strip()
