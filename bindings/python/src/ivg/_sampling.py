"""How tokens are drawn."""

from __future__ import annotations

import ctypes
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

from . import _bindings as c
from ._callbacks import LogitsProcessorFunction, logits_processor
from ._errors import InvalidArgumentError
from ._library import encode_string

#: The smallest positive C float.
_LEAST_FLOAT = 2.0**-149


class SamplingKeywords(TypedDict, total=False):
    """The keyword arguments of `generate`, `stream` and their relatives: the fields of `SamplingOptions`."""

    max_tokens: int
    temperature: float
    top_k: int | None
    top_p: float
    min_p: float
    repetition_penalty: float
    seed: int | None
    stop: str | Sequence[str]
    end_tokens: Sequence[int]
    ignore_end: bool
    banned_tokens: Sequence[int]
    attribution: bool
    top_log_probabilities: int
    logits_processor: LogitsProcessorFunction | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingOptions:
    """How tokens are drawn and when a text ends.

    Order within a step: banned tokens, guidance, repetition penalty, `logits_processor`, temperature, top-k,
    top-p, min-p.
    """

    #: Hard bound on generated tokens.
    max_tokens: int = 128
    #: 0: always the most probable token.
    temperature: float = 0.7
    #: Draw from the `top_k` most probable tokens; 0 or None: from all.
    top_k: int | None = 50
    #: Draw from the most probable tokens that together have this probability; 1: off.
    top_p: float = 1.0
    #: Drop tokens below `min_p` times the largest probability; 0: off.
    min_p: float = 0.0
    #: Divides positive and multiplies negative logits of tokens seen before; 1: off.
    repetition_penalty: float = 1.0
    #: The same seed gives the same text. None: a random one, which the Completion names.
    seed: int | None = None
    #: The text ends before the first of these, wherever token borders are.
    stop: str | Sequence[str] = ()
    #: Further tokens that end the text, beside the model's own.
    end_tokens: Sequence[int] = ()
    #: Treat end tokens as ordinary ones.
    ignore_end: bool = False
    #: Tokens that are never generated.
    banned_tokens: Sequence[int] = ()
    #: Keep per-token log-probabilities of the base model and values of each guide.
    attribution: bool = False
    #: How many alternatives a step reports, at most 64.
    top_log_probabilities: int = 0
    #: `function(row, tokens, logits)` may change `logits`, a writable memoryview of floats, in place. Both views
    #: are valid during the call only; `numpy.asarray(logits)` works.
    logits_processor: LogitsProcessorFunction | None = None

    def replace(self, changes: SamplingKeywords) -> SamplingOptions:
        """The same options with some changed; `changes` has the new values by name."""
        return dataclasses.replace(self, **changes) if changes else self


def unsigned(value: int, bits: int, what: str, least: int = 0) -> int:
    """`value`, if it fits; ctypes would cut it off without a word."""
    if not least <= value < 1 << bits:
        raise InvalidArgumentError(f"{what} is {value}; it must be from {least} to {(1 << bits) - 1}")
    return value


def token_array(tokens: Sequence[int], what: str = "tokens") -> Any:
    """Token ids as a C array."""
    values = list(tokens)
    for value in values:
        if not -(1 << 31) <= value < 1 << 31:
            raise InvalidArgumentError(f"{what}: {value} is not a token id")
    return (ctypes.c_int32 * len(values))(*values)


def native_options(
    sampling: SamplingOptions, template: str | None, seed: int, callback: int | None, nudges: bool = False
) -> c.ivg_generate_options:
    """The C form of the options. It keeps alive what it points to.

    nudges: for nudging, which is greedy: the usual temperature stands for none chosen.
    """
    if sampling.temperature < 0:
        raise InvalidArgumentError(f"temperature is {sampling.temperature}; it must not be negative")
    greedy = nudges and sampling.temperature == SamplingOptions().temperature
    # As C floats: what is 0 there would mean the default.
    temperature = ctypes.c_float(sampling.temperature).value or c.IVG_GREEDY
    top_p = max(sampling.top_p, _LEAST_FLOAT) if sampling.top_p > 0 else sampling.top_p
    stops = [sampling.stop] if isinstance(sampling.stop, str) else list(sampling.stop)
    flags = c.IVG_GENERATE_IGNORE_END if sampling.ignore_end else 0
    flags |= c.IVG_GENERATE_ATTRIBUTION if sampling.attribution else 0
    options = c.ivg_generate_options(
        struct_size=ctypes.sizeof(c.ivg_generate_options),
        max_tokens=unsigned(sampling.max_tokens, 32, "max_tokens", least=1),
        seed=unsigned(seed, 64, "seed"),
        temperature=c.IVG_GREEDY if greedy else temperature,
        top_p=top_p,
        min_p=sampling.min_p,
        repetition_penalty=sampling.repetition_penalty,
        top_k=unsigned(sampling.top_k, 32, "top_k") if sampling.top_k else c.IVG_TOP_K_OFF,
        flags=flags,
        top_log_probabilities=unsigned(sampling.top_log_probabilities, 32, "top_log_probabilities"),
        prompt_template=encode_string(template, "template"),
        stop_strings=(ctypes.c_char_p * len(stops))(*(encode_string(stop, "stop") for stop in stops)),
        stop_string_count=len(stops),
        end_tokens=token_array(sampling.end_tokens, "end_tokens"),
        end_token_count=len(sampling.end_tokens),
        banned_tokens=token_array(sampling.banned_tokens, "banned_tokens"),
        banned_token_count=len(sampling.banned_tokens),
    )
    if callback is not None:
        options.logits_processor = logits_processor
        options.logits_processor_data = callback
    return options
