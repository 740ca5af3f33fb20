"""Where the test models are. The tiny ones are in the repository; `make model` fetches the real one."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

import ivg

ROOT = Path(__file__).resolve().parents[3]
os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY", str(ROOT / ".build" / "hypothesis"))
# A shell that starts the tests in the background has them ignore Ctrl-C, and so their children would.
signal.signal(signal.SIGINT, signal.default_int_handler)
FIXTURES = ROOT / "Tests" / "Fixtures"
REAL_MODEL = ROOT / ".build" / "models" / "SmolLM2-135M-Instruct.Q4_1.gguf"


def fixture_path(name: str) -> Path:
    """A file of Tests/Fixtures."""
    return FIXTURES / name


@pytest.fixture(scope="session")
def tiny() -> Iterator[ivg.Model]:
    """A random llama with 320 tokens, in F32."""
    with ivg.Model(fixture_path("tiny-llama.gguf"), threads=1) as model:
        yield model


@pytest.fixture(scope="session")
def other(tiny: ivg.Model) -> Iterator[ivg.Model]:
    """Another model with the vocabulary of `tiny`: a guide."""
    with ivg.Model(fixture_path("tiny-llama-untuned.gguf"), threads=1) as model:
        yield model


@pytest.fixture(scope="session")
def adapter(tiny: ivg.Model) -> Iterator[ivg.Adapter]:
    """An adapter for `tiny`."""
    with tiny.adapter(fixture_path("tiny-adapter.gguf")) as opened:
        yield opened


@pytest.fixture(scope="session")
def vocabulary_head(tiny: ivg.Model) -> Iterator[ivg.ValueHead]:
    """A value head for `tiny` with a row per token."""
    with tiny.value_head(fixture_path("tiny-value-vocabulary.gguf")) as opened:
        yield opened


@pytest.fixture(scope="session")
def scalar_head(tiny: ivg.Model) -> Iterator[ivg.ValueHead]:
    """A value head for `tiny` with one row."""
    with tiny.value_head(fixture_path("tiny-value-scalar.gguf")) as opened:
        yield opened


@pytest.fixture(scope="session")
def real() -> Iterator[ivg.Model]:
    """SmolLM2-135M-Instruct."""
    if not REAL_MODEL.exists():
        pytest.skip(f"{REAL_MODEL} is missing: make model")
    with ivg.Model(REAL_MODEL) as model:
        yield model


@pytest.fixture(scope="session")
def golden() -> Path:
    """Reference figures from outside the repository."""
    folder = Path(os.environ.get("IVG_GOLDEN", ROOT.parent / "shared" / "golden"))
    if not folder.exists():
        pytest.skip(f"{folder} is missing: no reference figures to compare with")
    return folder
