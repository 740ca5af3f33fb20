"""Preference data: completions that a model samples, and pairs of them that a scorer tells apart."""

from __future__ import annotations

import random
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ._errors import InvalidArgumentError
from ._guidance import ChunkBeamSearch, Guidance, Implicit
from ._model import Adapter, Model
from ._records import Prompt, Record, as_prompts, prompt_seed
from ._results import Candidate, FinishReason
from ._rewards import Answer, RewardSource, rewards
from ._sampling import SamplingOptions
from ._session import Session

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ._sampling import SamplingKeywords

Pairs = Literal["best-worst", "ranked", "all", "random"]
PAIRS: tuple[Pairs, ...] = ("best-worst", "ranked", "all", "random")


@dataclass(frozen=True, slots=True)
class Sample:
    """One completion and its reward."""

    text: str
    reward: float
    finish_reason: FinishReason | None
    #: Tokens of the text, with the end token if that was its end.
    token_count: int


@dataclass(frozen=True, slots=True)
class Sampled:
    """All completions of one prompt, in the order in which they were drawn."""

    #: The prompt, with what else its record held.
    prompt: Prompt
    samples: list[Sample]

    def records(self) -> list[Record]:
        """One record each in the layout for fine-tuning and value models: prompt, completion, reward."""
        return [{"prompt": self.prompt.text, "completion": some.text, "reward": some.reward} for some in self.samples]

    def pairs(self, choice: Pairs = "best-worst", minimum_gap: float = 0.0, seed: int = 0) -> list[Record]:
        """Pairs in TRL's layout of preference data. Equal texts and equal rewards make no pair.

        choice: "best-worst": the best against the worst; "ranked": these, then the second best against the second
        worst and so on, so that every completion is in at most one pair; "all": every pair; "random": one pair, drawn
        with `seed`.
        minimum_gap: pairs whose rewards are closer are left out.
        """
        if choice not in PAIRS:
            raise InvalidArgumentError(f"pairs is {choice!r}; it must be {' or '.join(map(repr, PAIRS))}")
        found = [
            (better, worse)
            for better in self.samples
            for worse in self.samples
            if better.reward > worse.reward
            and better.reward - worse.reward >= minimum_gap
            and better.text != worse.text
        ]
        if choice == "best-worst" and found:
            found = [max(found, key=lambda pair: pair[0].reward - pair[1].reward)]
        elif choice == "ranked":
            order = sorted(self.samples, key=lambda sample: -sample.reward)
            ranked = list(zip(order, reversed(order), strict=True))[: len(order) // 2]
            found = [pair for pair in ranked if pair in found]
        elif choice == "random" and found:
            found = [random.Random(prompt_seed(seed, self.prompt)).choice(found)]
        return [self._pair(better, worse) for better, worse in found]

    def _pair(self, better: Sample, worse: Sample) -> Record:
        return {
            "prompt": self.prompt.text,
            "chosen": better.text,
            "rejected": worse.text,
            "chosen_reward": better.reward,
            "rejected_reward": worse.reward,
        }


def rows_guidance(count: int, adapter: Adapter | None = None, template: str | None = None) -> Guidance:
    """A guidance that brings back `count` independent completions of one prompt, drawn as rows of one batch.

    A search that keeps `count` rows, gives each one successor, and selects only at the end, where nothing scores:
    it keeps them all, in the order of their lineages, and row 0 is what sampling without a guidance would give.

    adapter: sample from the model with this adapter on. base + 1 * (tuned - base) is the tuned model (IVG eq. 6).
    template: the template of the request, which the adapted model must see too.
    """
    tilt = None if adapter is None else Implicit(tuned=adapter, tuned_template=template, role="tilt")
    return Guidance(implicit=tilt, search=ChunkBeamSearch(width=count, successors=1, chunk=0))


def sample_rewards(
    model: Model | Session,
    prompts: Iterable[str | Prompt | Mapping[str, Any]],
    scorer: RewardSource,
    *,
    n: int = 4,
    adapter: Adapter | None = None,
    template: str | None = None,
    prompts_per_batch: int = 1,
    sampling: SamplingOptions | None = None,
    **options: Unpack[SamplingKeywords],
) -> Iterator[Sampled]:
    """Samples `n` completions of each prompt and has them rewarded. The parameters are those of `prefer`."""
    if n < 1 or prompts_per_batch < 1:
        raise InvalidArgumentError(f"n is {n} and prompts_per_batch {prompts_per_batch}; they must be at least 1")
    chosen = (sampling or SamplingOptions()).replace(options)
    seed = secrets.randbits(63) if chosen.seed is None else chosen.seed
    guidance = rows_guidance(n, adapter, template)
    waiting: list[tuple[Prompt, list[Candidate]]] = []
    for prompt in as_prompts(prompts):
        drawn = chosen.replace({"seed": prompt_seed(seed, prompt)})
        done = model.generate(prompt.text, guidance=guidance, template=template, sampling=drawn)
        waiting.append((prompt, done.candidates))
        if len(waiting) == prompts_per_batch:
            yield from _rewarded(waiting, scorer, model)
            waiting = []
    yield from _rewarded(waiting, scorer, model)


def _rewarded(
    drawn: Sequence[tuple[Prompt, list[Candidate]]], scorer: RewardSource, model: Model | Session
) -> list[Sampled]:
    """Completions of several prompts with their rewards, asked for in one batch."""
    answers = [Answer(prompt.text, row.text, row.finish_reason != "length") for prompt, rows in drawn for row in rows]
    values = iter(rewards(scorer, answers, model))
    return [
        Sampled(prompt, [Sample(row.text, next(values), row.finish_reason, len(row.token_ids)) for row in rows])
        for prompt, rows in drawn
    ]


def prefer(
    model: Model | Session,
    prompts: Iterable[str | Prompt | Mapping[str, Any]],
    scorer: RewardSource,
    *,
    n: int = 4,
    pairs: Pairs = "best-worst",
    minimum_gap: float = 0.0,
    adapter: Adapter | None = None,
    template: str | None = None,
    prompts_per_batch: int = 1,
    sampling: SamplingOptions | None = None,
    **options: Unpack[SamplingKeywords],
) -> Iterator[Record]:
    """Makes preference data, in TRL's layout: prompt, chosen, rejected, chosen_reward, rejected_reward.

        for record in ivg.prefer(model, ["The film was"], lambda prompt, texts: [text.count("!") for text in texts]):
            print(json.dumps(record))

    prompts: texts, or records with "prompt" and perhaps "id". With a seed, the completions of a prompt depend on the
    seed and its id (without one: its number) alone.
    scorer: a function of a prompt and texts that returns one number for each, an `ivg.CommandScorer`, or a value head
    that serves as a reward model.
    n: completions of each prompt; they are rows of one batch.
    pairs, minimum_gap: see `Sampled.pairs`.
    adapter: sample from `model` with this adapter on.
    template: what `model` sees, with "{prompt}"; the data keeps the bare prompt.
    prompts_per_batch: how many prompts' completions the scorer gets at a time.
    """
    chosen = (sampling or SamplingOptions()).replace(options)
    if chosen.seed is None:
        chosen = chosen.replace({"seed": secrets.randbits(63)})
    for found in sample_rewards(
        model,
        prompts,
        scorer,
        n=n,
        adapter=adapter,
        template=template,
        prompts_per_batch=prompts_per_batch,
        sampling=chosen,
    ):
        yield from found.pairs(pairs, minimum_gap, chosen.seed or 0)
