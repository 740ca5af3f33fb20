"""Running the methods over prompts, with what has been done already kept."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .._errors import InvalidArgumentError
from .._model import Model
from .._records import (
    Prompt,
    Record,
    as_prompts,
    cut_torn_line,
    difference,
    file_identity,
    json_line,
    prompt_seed,
    read_records,
    write_whole,
)
from .._results import Completion
from .._rewards import Answer, RewardSource, rewards
from .._sampling import SamplingOptions
from .._session import Session
from .._templates import template_for
from .methods import USUAL, Builder, Guides, SearchOptions, Variant, variants
from .report import write_report

#: Called after each generation: how many there are, of how many, with which method, and its gold reward.
Progress = Callable[[int, int, str, float], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationOptions:
    """How an evaluation is done.

    methods: names of `METHODS`; those whose guides are missing are skipped.
    search, sampling: how rows are searched and tokens drawn. The seed of a prompt comes from `seed` and its id, and is
    the same for all methods.
    chat: prompts are messages of a user, put into each model's own chat template; AlpacaEval's files are written.
    prefix, suffix: what the base model sees around the prompt.
    prompts_per_batch: how many prompts' generations the gold scorer gets at a time.
    resamples: of the bootstrap.
    """

    methods: tuple[str, ...] = USUAL
    search: SearchOptions = field(default_factory=SearchOptions)
    sampling: SamplingOptions = field(default_factory=lambda: SamplingOptions(max_tokens=50))
    seed: int = 1
    chat: bool = False
    prefix: str = ""
    suffix: str = ""
    prompts_per_batch: int = 1
    resamples: int = 2000


@dataclass(frozen=True, slots=True)
class _Work:
    """One generation that is to be made."""

    model: str
    variant: Variant
    prompt: Prompt

    @property
    def key(self) -> tuple[str, str, str]:
        return self.model, self.variant.label, self.prompt.id


def evaluate(
    models: Model | Sequence[Model],
    prompts: Iterable[str | Prompt | Mapping[str, Any]],
    gold: RewardSource,
    output: str | os.PathLike[str],
    *,
    guides: Guides | None = None,
    options: EvaluationOptions | None = None,
    settings: Record | None = None,
    force: bool = False,
    threads: int | None = None,
    context_length: int | None = None,
    memory_budget: int | None = None,
    progress: Progress | None = None,
) -> list[Record]:
    """Runs a table of methods over prompts, and has the texts judged by a gold scorer.

        rows = ivg.evaluate(
            base, prompts, gold, "results",
            guides=ivg.Guides(tuned=base.adapter("dpo.gguf"), value_head=base.value_head("value.gguf")),
            options=ivg.EvaluationOptions(prefix="Here is a movie review from imdb: "))

    Into the folder `output` go generations.jsonl, settings.json, table.json and table.md. What is in generations.jsonl
    already is kept if it was made with the same settings; with `force`, it is thrown away. Returns the rows of the
    table, which `ivg.plot_methods` draws.

    models: the base, or several; what a table of them compares.
    gold: a function of a prompt and texts that returns one number for each, an `ivg.CommandScorer`, or a value head.
    settings: further things that must be the same to go on, such as a name of the scorer.
    threads, context_length, memory_budget: of the session of each base model, see `Model.session`.
    progress: told how far each method is; see the type.
    """
    guides, options = guides or Guides(), options or EvaluationOptions()
    bases = _named([models] if isinstance(models, Model) else list(models))
    asked = as_prompts(prompts)
    if not asked:
        raise InvalidArgumentError("there are no prompts to evaluate on")
    usable = [some for some in variants(options.methods, options.search) if some.method.needs <= guides.has]
    if not usable:
        raise InvalidArgumentError(f"no guides are given for any of the methods {', '.join(options.methods)}")
    folder = Path(output)
    folder.mkdir(parents=True, exist_ok=True)
    records = _open(folder, _settings(bases, guides, options) | (settings or {}), asked, force)
    total = len(bases) * len(usable) * len(asked)
    done = sum(_Work(name, some, prompt).key in records for name in bases for some in usable for prompt in asked)
    with open(folder / "generations.jsonl", "ab") as file:
        for name, base in bases.items():
            work = [_Work(name, some, prompt) for prompt in asked for some in usable]
            work = [item for item in work if item.key not in records]
            with base.session(threads=threads, context_length=context_length, memory_budget=memory_budget) as session:
                for item, record in _generations(session, base, work, gold, guides, options):
                    records[item.key] = record
                    file.write(json_line(record).encode("utf-8", "surrogatepass"))
                    file.flush()
                    done += 1
                    if progress is not None:
                        progress(done, total, item.variant.label, record["gold"])
    return write_report(folder, list(records.values()), asked, options)


def _named(models: list[Model]) -> dict[str, Model]:
    """Models by a name for the table: the file's, without its ending."""
    found: dict[str, Model] = {}
    for model in models:
        name = Path(model.info.path).name.removesuffix(".gguf") if model.info.path else model.info.name or "model"
        if name in found:
            raise InvalidArgumentError(f"two base models are called {name!r}")
        found[name] = model
    if not found:
        raise InvalidArgumentError("there are no base models to evaluate")
    return found


def _generations(
    session: Session,
    base: Model,
    work: Sequence[_Work],
    gold: RewardSource,
    guides: Guides,
    options: EvaluationOptions,
) -> Iterator[tuple[_Work, Record]]:
    """Generates and judges, a few prompts at a time."""
    template = template_for(base, options.chat, options.prefix, options.suffix)
    builder = Builder(base, guides, options.search, template, options.chat)
    guidances = {item.variant.label: builder.guidance(item.variant) for item in work}
    waiting: list[tuple[_Work, Completion, float]] = []
    for i, item in enumerate(work):
        start = time.perf_counter()
        seeded = options.sampling.replace({"seed": prompt_seed(options.seed, item.prompt), "attribution": True})
        completion = session.generate(
            item.prompt.text, guidance=guidances[item.variant.label], template=template, sampling=seeded
        )
        waiting.append((item, completion, time.perf_counter() - start))
        following = work[i + 1].prompt if i + 1 < len(work) else None
        if following is None or (following != item.prompt and _count(waiting) >= options.prompts_per_batch):
            yield from _judged(waiting, gold, session)
            waiting = []


def _count(waiting: Sequence[tuple[_Work, Completion, float]]) -> int:
    return len({item.prompt.id for item, _, _ in waiting})


def _judged(
    waiting: Sequence[tuple[_Work, Completion, float]], gold: RewardSource, session: Session
) -> list[tuple[_Work, Record]]:
    answers = [Answer(item.prompt.text, done.text, done.finish_reason != "length") for item, done, _ in waiting]
    values = rewards(gold, answers, session)
    return [(item, _record(item, done, value, s)) for (item, done, s), value in zip(waiting, values, strict=True)]


def _record(work: _Work, done: Completion, value: float, seconds: float) -> Record:
    """A line of generations.jsonl."""
    best = done.candidates[0]
    base = best.base_log_probabilities
    return {
        "model": work.model,
        "method": work.variant.label,
        "id": work.prompt.id,
        "prompt": work.prompt.text,
        "text": done.text,
        "gold": value,
        "tokens": len(done.token_ids),
        "finish_reason": done.finish_reason,
        "seconds": round(seconds, 4),
        "score": done.score if work.variant.method.score is not None else None,
        "log_probability": done.log_probability,
        # A token that the base excludes has no finite one, and JSON no word for it.
        "base_log_probability": sum(base) if base is not None and all(map(math.isfinite, base)) else None,
    }


def _settings(bases: Mapping[str, Model], guides: Guides, options: EvaluationOptions) -> Record:
    """What decides the generations of one method and one prompt, as it goes into settings.json."""
    parts = {name: getattr(guides, name) for name in ("tuned", "untuned", "value_head")}
    found: Record = {name: file_identity(_path(part)) for name, part in parts.items()}
    found |= {"models": {name: file_identity(model.info.path) for name, model in bases.items()}}
    found |= {"guide_model": file_identity(_path(guides.model))}
    found |= {"tuned_prompt": guides.tuned_prompt, "untuned_prompt": guides.untuned_prompt}
    found |= {"guide_prefix": guides.prefix, "guide_suffix": guides.suffix}
    found |= {"prefix": options.prefix, "suffix": options.suffix, "chat": options.chat, "seed": options.seed}
    found |= dataclasses.asdict(options.search)
    sampling = {item.name: getattr(options.sampling, item.name) for item in dataclasses.fields(options.sampling)}
    for name in ("seed", "attribution", "top_log_probabilities", "logits_processor"):
        del sampling[name]
    return json.loads(json.dumps(found | sampling))  # type: ignore[no-any-return]


def _path(part: Any) -> str | None:
    """The file of a model, an adapter or a head."""
    if part is None:
        return None
    return part.info.path if isinstance(part, Model) else os.fspath(part.path)


def _open(folder: Path, settings: Record, prompts: Sequence[Prompt], force: bool) -> dict[tuple[str, str, str], Record]:
    """What an earlier run has left, if it can be gone on with."""
    path, noted = folder / "generations.jsonl", folder / "settings.json"
    advice = "pass --force to start anew, or write to another folder"
    found: dict[tuple[str, str, str], Record] = {}
    if force:
        path.unlink(missing_ok=True)
    elif path.exists() and path.stat().st_size > 0:
        try:
            before = json.loads(noted.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InvalidArgumentError(f"{path} exists, but {noted} cannot be read ({error}); {advice}") from None
        changed = difference(before, settings)
        if changed is not None:
            raise InvalidArgumentError(f"{folder} was made with other settings: {changed}; {advice}")
        cut_torn_line(path)
        texts = {prompt.id: prompt.text for prompt in prompts}
        for number, record in read_records(path):
            key = (str(record.get("model")), str(record.get("method")), str(record.get("id")))
            if record.get("prompt") != texts.get(key[2], record.get("prompt")):
                raise InvalidArgumentError(f"{path}:{number}: prompt {key[2]} is another one now; {advice}")
            found[key] = record
    write_whole(noted, json.dumps(settings, ensure_ascii=False, indent=1) + "\n")
    return found
