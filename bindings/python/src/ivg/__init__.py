"""Value-guided text generation inside your process, on an ordinary CPU.

import ivg

base = ivg.Model("Qwen2.5-1.5B.Q4_K_M.gguf")
small = ivg.Model("Qwen2.5-0.5B.Q8_0.gguf")
guide = ivg.Guidance(
    implicit=ivg.Implicit(tuned=small.adapter("positive-dpo.gguf"), untuned=small, weight=1.0),
    explicit=ivg.Explicit(small.value_head("positive-value.gguf")),
    search=ivg.ChunkBeamSearch(width=4, successors=4, chunk=5))
for step in base.stream("Here is a movie review from imdb: ", guidance=guide, max_tokens=50, seed=1):
    print(step.text, end="", flush=True)
"""

from . import train
from ._asynchronous import AsyncStream
from ._bindings import IVG_VERSION_MAJOR, IVG_VERSION_MINOR, IVG_VERSION_PATCH
from ._errors import (
    CallbackError,
    CancelledError,
    ContextFullError,
    CorruptFileError,
    Error,
    InternalError,
    InvalidArgumentError,
    IOFailure,
    MismatchError,
    NotFoundError,
    OutOfMemoryError,
    UnsupportedError,
)
from ._evaluate import EvaluationOptions, Guides, SearchOptions, evaluate, plot_methods
from ._file import File, Tensor
from ._generates import Generates
from ._guidance import BestOf, ChunkBeamSearch, Explicit, Guidance, Implicit, Role, Scorer
from ._library import kernels_name, library_version
from ._log import log_to_logging
from ._managed import Managed
from ._model import Adapter, HostedModel, Model, ModelInfo, ValueHead
from ._nudging import Nudging
from ._plot import plot
from ._prefer import Sample, Sampled, prefer, sample_rewards
from ._quantize import Quantizer, QuantizeReport, quantize
from ._results import Candidate, Completion, Step, Timings
from ._sampling import SamplingOptions
from ._scorer_command import CommandScorer
from ._sequence import Sequence
from ._session import Session
from ._stream import Stream

__version__ = f"{IVG_VERSION_MAJOR}.{IVG_VERSION_MINOR}.{IVG_VERSION_PATCH}"

__all__ = [
    "Adapter",
    "AsyncStream",
    "BestOf",
    "CallbackError",
    "CancelledError",
    "Candidate",
    "ChunkBeamSearch",
    "CommandScorer",
    "Completion",
    "ContextFullError",
    "CorruptFileError",
    "Error",
    "EvaluationOptions",
    "Explicit",
    "File",
    "Generates",
    "Guidance",
    "Guides",
    "HostedModel",
    "IOFailure",
    "Implicit",
    "InternalError",
    "InvalidArgumentError",
    "Managed",
    "MismatchError",
    "Model",
    "ModelInfo",
    "NotFoundError",
    "Nudging",
    "OutOfMemoryError",
    "QuantizeReport",
    "Quantizer",
    "Role",
    "Sample",
    "Sampled",
    "SamplingOptions",
    "Scorer",
    "SearchOptions",
    "Sequence",
    "Session",
    "Step",
    "Stream",
    "Tensor",
    "Timings",
    "UnsupportedError",
    "ValueHead",
    "__version__",
    "evaluate",
    "kernels_name",
    "library_version",
    "log_to_logging",
    "plot",
    "plot_methods",
    "prefer",
    "quantize",
    "sample_rewards",
    "train",
]
