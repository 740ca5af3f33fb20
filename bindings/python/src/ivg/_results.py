"""What generating brings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

FinishReason = Literal["end", "stop", "length", "repeat", "rounds"]

FINISH_REASONS: tuple[FinishReason | None, ...] = (None, "end", "stop", "length", "repeat", "rounds")


@dataclass(frozen=True, slots=True)
class Step:
    """One token, or with several rows one chunk, or what a nudger wrote."""

    #: New text that will not change any more: whole characters, may be empty.
    text: str
    #: The token; None for a chunk, a nudge, and text alone that was held back.
    token: int | None
    #: Its log-probability under the guided distribution at temperature 1.
    log_probability: float
    #: The score of the leading row; 0 if nothing scores.
    value: float
    #: None, except in the last step.
    finish_reason: FinishReason | None
    #: The most probable tokens with their log-probabilities, if `top_log_probabilities` asked for them.
    top: tuple[tuple[int, float], ...] = ()
    #: Whether the text is a nudger's.
    nudged: bool = False


@dataclass(frozen=True, slots=True)
class Timings:
    """Where the time of a session's calls went since its creation. Seconds by phase, in the order of a pass."""

    #: Forward passes over a model's weights, and rows (tokens) of all passes together.
    pass_count: int
    row_count: int
    #: Reading the tokens' embeddings.
    embed: float
    #: Norms, and rounding for quantised weights.
    normalize: float
    #: Query, key, value and attention output.
    projection: float
    #: Rotation, storing keys and values, scores and mixtures.
    attention: float
    #: Gate, up, activation and down.
    feed_forward: float
    #: The final norm, logits, heads, log-probabilities.
    output: float
    #: Penalties, tilts, drawing.
    sample: float
    #: Adding up scores, selecting rows; their passes count above.
    score: float
    #: Everything else within the calls.
    other: float


@dataclass(frozen=True, slots=True)
class Candidate:
    """One row of the search, with its own score."""

    text: str
    #: Its tokens, with the end token if that was its end.
    token_ids: list[int]
    finish_reason: FinishReason | None
    #: The value of the whole row; 0 if nothing scores.
    score: float
    #: The sum over its tokens.
    log_probability: float
    #: Per token, under the guided distribution at temperature 1.
    log_probabilities: list[float]
    #: Per token, of the base model alone; with `attribution=True`.
    base_log_probabilities: list[float] | None = None
    #: Per token one number per guide, in the order they were given (implicit before explicit): the log-ratio of an
    #: implicit value, the Q of an explicit one, NaN where it was not computed; with `attribution=True`.
    guide_values: list[list[float]] | None = None


@dataclass(frozen=True, slots=True)
class Completion:
    """A finished request. The first fields are those of the best candidate."""

    text: str
    token_ids: list[int]
    finish_reason: FinishReason | None
    score: float
    log_probability: float
    #: The kept rows, best first.
    candidates: list[Candidate]
    #: The seed that was used; the same one gives the same text again.
    seed: int
    prompt_token_count: int
    #: Tokens of the prompt that an earlier request had computed already.
    reused_token_count: int
    #: Tokens sampled, over all rows.
    token_count: int
    #: Until the first token, and after it.
    prompt_seconds: float
    generate_seconds: float
    #: Bytes beside the mapped files.
    memory_used: int
    #: With nudging: which characters the nudger wrote, as (start, end), and its share of the tokens.
    nudges: list[tuple[int, int]] | None = None
    nudged_share: float | None = None

    @property
    def tokens_per_second(self) -> float:
        """Tokens sampled after the first, over all rows, per second."""
        return max(self.token_count - 1, 0) / self.generate_seconds if self.generate_seconds > 0 else 0.0

    @property
    def prompt_tokens_per_second(self) -> float:
        """Tokens of the prompt that were computed, per second."""
        computed = self.prompt_token_count - self.reused_token_count
        return computed / self.prompt_seconds if self.prompt_seconds > 0 else 0.0

    def __str__(self) -> str:
        return self.text
