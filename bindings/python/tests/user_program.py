# SPDX-License-Identifier: Apache-2.0
"""A user's program that touches the whole interface; test_typing.py gives it to `mypy --strict`. It is not run."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import ivg


def models(path: Path) -> ivg.Model:
    """Opening, describing, tokens, files."""
    model = ivg.Model(path, threads=2, context_length=1024, memory_budget=1 << 30)
    information: ivg.ModelInfo = model.info
    name: str | None = information.name
    tokens: list[int] = model.tokenize("Hello", special=True, begin=False, continues=True)
    text: str = model.detokenize(tokens, skip_control=True) + (name or "")
    data: bytes = model.detokenize_bytes(tokens)
    ends: bool = model.token_ends(tokens[0])
    size: int = model.memory_required(10, max_tokens=5, temperature=0.0)
    with ivg.File(path) as file:
        tensors: Iterator[ivg.Tensor] = file.tensors()
        shapes: list[tuple[int, ...]] = [tensor.shape for tensor in tensors]
    versions: tuple[str, str, str] = (ivg.__version__, ivg.library_version(), ivg.kernels_name())
    print(text, data, ends, size, shapes, versions)
    return model


def guides(model: ivg.Model, small: ivg.Model) -> ivg.Guidance:
    """Every part of a guidance."""
    implicit = ivg.Implicit(tuned=small.adapter("tuned.gguf"), untuned=small, weight=1.0, role="both")
    explicit = ivg.Explicit(small.value_head("value.gguf"), weight=0.5, role="score", template="{prompt}")

    def scorer(prompt: str, texts: list[str], finished: list[bool]) -> list[float]:
        return [float(len(text)) if done else 0.0 for text, done in zip(texts, finished, strict=True)]

    nudged = ivg.Guidance(nudging=ivg.Nudging(small, threshold=0.3))
    best = ivg.Guidance(scorer=lambda prompt, texts: [0.0 for _ in texts], search=ivg.BestOf(4))
    values: list[float] = model.score(explicit, "Is it good?", ["Yes.", "No."], ended=False)
    print(nudged, best.scores, values)
    return ivg.Guidance(
        implicit=[implicit],
        explicit=explicit,
        scorer=ivg.Scorer(scorer, weight=2.0, with_finished=True),
        search=ivg.ChunkBeamSearch(width=2, successors=2, chunk=10),
        finished_rows="tile",
        dedupe=True,
        candidates="base",
    )


def generating(model: ivg.Model, guide: ivg.Guidance) -> ivg.Completion:
    """Texts, streams, chats, sessions, sequences, errors."""

    def processor(row: int, tokens: memoryview[int], logits: memoryview[float]) -> None:
        logits[0] = -1.0 * len(tokens)

    options = ivg.SamplingOptions(max_tokens=5, stop=["\n"], logits_processor=processor)
    with model.session(threads=1, timings=True) as session:
        with session.stream("Once", guidance=guide, sampling=options, seed=1) as stream:
            for step in stream:
                token: int | None = step.token
                print(step.text, token, step.value, step.finish_reason, step.top)
        seconds: float = session.timings().attention
        sequence = session.sequence()
        sequence.evaluate([1, 2])
        sequence.truncate(1)
        ivg.Sequence.evaluate_batch([(sequence, [3]), (session.sequence(), [1, 2])])
        fork: ivg.Sequence = sequence.fork()
        logits: memoryview[float] = fork.logits_view()
        print(seconds, len(logits), sequence.logits()[0])
    try:
        completion: ivg.Completion = model.chat([{"role": "user", "content": "Hello"}], temperature=0.0)
    except (ivg.ContextFullError, ivg.OutOfMemoryError) as error:
        raise SystemExit(f"{error} ({error.status})") from None
    rows: list[ivg.Candidate] = completion.candidates
    print(rows[0].score, rows[0].log_probabilities, completion.tokens_per_second)
    for step in model.stream_chat([{"role": "user", "content": "Hello"}]):
        print(step.text)
    return completion


def hosted(model: ivg.Model) -> ivg.HostedModel:
    """A base of one's own."""

    def logits(rows: list[list[int]]) -> list[list[float]]:
        return [[0.0] * model.info.vocabulary_size for _ in rows]

    return ivg.HostedModel(model, logits=logits, context_length=256)


async def asynchronous(model: ivg.Model) -> str:
    """asyncio."""
    completions = await asyncio.gather(model.agenerate("A", seed=1), model.agenerate("B"))
    answer: ivg.Completion = await model.achat([{"role": "user", "content": "Hello"}])
    async for step in model.astream_chat([{"role": "user", "content": "Hello"}]):
        print(step.text)
    async with model.astream("Once", max_tokens=5) as steps:
        texts: list[str] = [step.text async for step in steps]
    await steps.aclose()
    return completions[0].text + answer.text + "".join(texts) + steps.completion.text


def training(model: ivg.Model) -> Path:
    """Training and quantising."""
    pairs = [{"prompt": "a", "chosen": "b", "rejected": "c"}]
    with ivg.train.DPO(model, pairs, rank=4, checkpoint="run.checkpoint") as trainer:
        for report in trainer:
            loss: float | None = report.loss
            print(report.kind, report.step, loss)
        trainer.save("tuned.gguf")
    reports: list[ivg.QuantizeReport] = ivg.quantize("model.gguf", "small.gguf", "Q4_0")
    print(reports[-1].size_out)
    ivg.log_to_logging("warning")
    return Path("tuned.gguf")


def tables(model: ivg.Model) -> None:
    """Preference data, evaluation, figures."""
    adapter: ivg.Adapter = model.adapter("tuned.gguf")
    head: ivg.ValueHead = model.value_head("value.gguf")
    with ivg.CommandScorer("python3 score.py", timeout=10.0) as command:
        for record in ivg.prefer(model, ["The film was"], command, n=4, adapter=adapter, seed=1):
            print(record["chosen"])
    found: list[ivg.Sampled] = list(ivg.sample_rewards(model, ["The film was"], head, n=2))
    best: ivg.Sample = max(found[0].samples, key=lambda sample: sample.reward)
    options = ivg.EvaluationOptions(search=ivg.SearchOptions(width=2), prefix="A review: ")
    guides = ivg.Guides(tuned=adapter, value_head=head)
    gold = ivg.CommandScorer("python3 gold.py")
    rows = ivg.evaluate(model, ["The film was"], gold, "out", guides=guides, options=options)
    ivg.plot_methods(rows, "methods.png")
    ivg.plot(["dpo.jsonl"], "dpo.png")
    print(best.text)


def objectives(model: ivg.Model) -> list[ivg.train.Trainer]:
    """The other kinds of training."""
    options = ivg.train.TrainingOptions(rank=4)
    trainers: list[ivg.train.Trainer] = [
        ivg.train.SFT(model, "sft.jsonl", options=options),
        ivg.train.RewardModel(model, "pairs.jsonl", rank=4),
        ivg.train.ValueModel(model, "samples.jsonl"),
    ]
    information: ivg.train.TrainerInfo = trainers[0].info
    problems: list[ivg.train.Problem] = trainers[0].problems
    last: ivg.train.Report | None = trainers[0].run(lambda report: print(report.step), log="sft.jsonl")
    print(information.memory, problems, last)
    trainers[0].checkpoint()
    trainers[0].cancel()
    return trainers


def any_of(place: ivg.Generates, role: ivg.Role) -> ivg.Managed:
    """What models and sessions share, and what all handles do."""
    steps: ivg.AsyncStream = place.astream("Once")
    steps.cancel()
    stream: ivg.Stream = place.stream("Once", guidance=ivg.Guidance(implicit=ivg.Implicit(role=role)))
    first: ivg.Step = next(stream)
    completion: ivg.Completion = place.generate(first.text, template="Say: {prompt}")
    prompt: str = place.render_chat([{"role": "user", "content": completion.text}], add_generation_prompt=False)
    logits: memoryview[float] = place.logits_view(prompt)
    with ivg.Quantizer("in.gguf", "out.gguf", "Q4_0", threads=1) as quantizer:
        for report in quantizer:
            print(report.done / report.total, place.logits(prompt)[0] - logits[0])
        quantizer.cancel()
    model = ivg.Model("model.gguf")
    session: ivg.Session = model.session()
    timings: ivg.Timings = session.timings()
    session.cancel()
    session.close()
    print(timings, session.model, session.closed)
    return model


def failures() -> list[type[ivg.Error]]:
    """Every class of error."""
    kinds: list[type[ivg.Error]] = [ivg.CallbackError, ivg.CancelledError, ivg.ContextFullError, ivg.CorruptFileError]
    kinds += [ivg.InternalError, ivg.InvalidArgumentError, ivg.IOFailure, ivg.MismatchError, ivg.NotFoundError]
    return [*kinds, ivg.OutOfMemoryError, ivg.UnsupportedError]
