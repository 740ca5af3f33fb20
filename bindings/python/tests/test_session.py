"""Sessions, sequences, threads, cancelling, Ctrl-C, asyncio."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import dataclasses
import signal
import statistics
import threading
import time
from collections.abc import Callable

import pytest
from conftest import fixture_path
from interruption import cancelled_after, interrupted_after, moment_now, since

import ivg

PROMPT = "Hello"


# Sequences


def test_sequences(tiny: ivg.Model, adapter: ivg.Adapter) -> None:
    with tiny.session() as session:
        sequence = session.sequence()
        assert len(sequence) == 0
        sequence.evaluate([5, 6, 7])
        sequence.evaluate([8])
        whole = session.sequence()
        whole.evaluate([5, 6, 7, 8])
        assert sequence.logits() == whole.logits()
        fork = sequence.fork()
        fork.evaluate([9])
        assert (len(sequence), len(fork)) == (4, 5)
        assert sequence.logits() == whole.logits()
        fork.truncate(2)
        fork.evaluate([7, 8])
        assert fork.logits() == whole.logits()
        adapted = session.sequence(adapter)
        adapted.evaluate([5, 6, 7, 8])
        assert adapted.logits() != whole.logits()
        session.generate(PROMPT, max_tokens=3)
        assert sequence.logits() == whole.logits()
        sequence.close()
        with pytest.raises(ValueError, match="this Sequence is closed"):
            sequence.logits()
    with pytest.raises(ValueError, match="closed"):
        whole.logits()


def test_sequences_in_one_batch(tiny: ivg.Model, adapter: ivg.Adapter) -> None:
    with tiny.session() as session, tiny.session() as other:
        alone = [session.sequence(), session.sequence(adapter)]
        alone[0].evaluate([5, 6, 7])
        alone[1].evaluate([9])
        first, second = session.sequence(), session.sequence(adapter)
        ivg.Sequence.evaluate_batch([(first, [5, 6, 7]), (second, [9])])
        assert [first.logits(), second.logits()] == [sequence.logits() for sequence in alone]
        ivg.Sequence.evaluate_batch([])
        ivg.Sequence.evaluate_batch([(first, []), (second, [3])])
        for bad, message in (
            ([(first, [1]), (other.sequence(), [1])], "sequence 1 belongs to another session"),
            ([(first, [1]), (first, [1])], "sequence 1 is the same as sequence 0"),
            ([(first, [1]), (second, [-1])], "outside the model's vocabulary"),
        ):
            with pytest.raises(ivg.InvalidArgumentError, match=message):
                ivg.Sequence.evaluate_batch(bad)
        assert (len(first), len(second)) == (3, 2)
        second.close()
        with pytest.raises(ValueError, match="closed"):
            ivg.Sequence.evaluate_batch([(first, [1]), (second, [1])])


def test_a_host_loop_is_generate(tiny: ivg.Model) -> None:
    expected = tiny.generate(PROMPT, max_tokens=10, temperature=0, ignore_end=True).token_ids
    sequence = tiny.session().sequence()
    sequence.evaluate(tiny.tokenize(PROMPT))
    found = []
    for _ in expected:
        logits = sequence.logits_view()
        found.append(max(range(len(logits)), key=logits.__getitem__))
        sequence.evaluate(found[-1:])
    assert found == expected


def test_dropped_sequences_are_freed_between_calls(tiny: ivg.Model) -> None:
    with tiny.session() as session:
        for _ in range(50):
            session.sequence().evaluate([5] * 100)
        assert session.generate(PROMPT, max_tokens=2).token_ids


# Taking turns


def test_a_half_read_stream_is_no_obstacle(tiny: ivg.Model) -> None:
    expected = tiny.generate(PROMPT, max_tokens=5, seed=1).text
    with tiny.session() as session:
        stream = session.stream("Other", max_tokens=50)
        next(stream)
        assert session.generate(PROMPT, max_tokens=5, seed=1).text == expected
        with pytest.raises(ivg.InvalidArgumentError, match="another request began"):
            next(stream)
        session.stream("Never begun")
        stream = session.stream("Closed", max_tokens=50)
        next(stream)
        stream.close()
        assert list(stream) == []
        assert session.generate(PROMPT, max_tokens=5, seed=1).text == expected
        for _ in session.stream("Broken off", max_tokens=50):
            break
        result: list[str] = []
        thread = threading.Thread(target=lambda: result.append(session.generate(PROMPT, max_tokens=5, seed=1).text))
        thread.start()
        thread.join(10)
        assert result == [expected]


def test_what_there_is_so_far(tiny: ivg.Model) -> None:
    with tiny.stream(PROMPT, max_tokens=5, seed=1, ignore_end=True) as stream:
        next(stream)
        next(stream)
        partial = stream.completion
        assert len(partial.token_ids) == 2
        assert partial.finish_reason is None
        steps = list(stream)
        assert len(steps) == 3
        assert stream.completion.finish_reason == "length"


def test_two_streams_need_two_sessions(tiny: ivg.Model) -> None:
    expected = [tiny.generate(prompt, max_tokens=8, seed=1, ignore_end=True).text for prompt in ("A", "B")]
    streams = [tiny.session().stream(prompt, max_tokens=8, seed=1, ignore_end=True) for prompt in ("A", "B")]
    texts = ["", ""]
    for pair in zip(*streams, strict=True):
        for i, step in enumerate(pair):
            texts[i] += step.text
    assert texts == expected


def test_threads_wait_for_each_other(tiny: ivg.Model) -> None:
    """Requests of several threads on one session, and sessions of several threads on one model."""
    prompts = [f"Prompt {i}" for i in range(4)]
    expected = {prompt: tiny.generate(prompt, max_tokens=12, seed=1).text for prompt in prompts}
    shared = tiny.session()
    wrong: list[object] = []

    def work(prompt: str, session: ivg.Session) -> None:
        try:
            for _ in range(5):
                text = "".join(step.text for step in session.stream(prompt, max_tokens=12, seed=1))
                if text != expected[prompt]:
                    wrong.append((prompt, text))
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(prompt, shared)) for prompt in prompts]
    threads += [threading.Thread(target=work, args=(prompt, tiny.session())) for prompt in prompts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert wrong == []


def test_closing_stops_a_call_of_another_thread(real: ivg.Model) -> None:
    session = real.session()
    outcome: list[object] = []

    def work() -> None:
        try:
            outcome.append(session.generate("word " * 4000, max_tokens=1))
        except Exception as error:
            outcome.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    time.sleep(0.3)
    session.close()
    thread.join(5)
    assert len(outcome) == 1
    assert isinstance(outcome[0], ivg.CancelledError | ValueError)


# Cancelling


def test_cancelling_leaves_the_session_usable(tiny: ivg.Model) -> None:
    expected = tiny.generate(PROMPT, max_tokens=8, seed=1, ignore_end=True)
    with tiny.session() as session:
        stream = session.stream(PROMPT, max_tokens=8, seed=1, ignore_end=True)
        next(stream)
        session.cancel()
        with pytest.raises(ivg.CancelledError):
            next(stream)
        assert len(list(stream)) == 7
        assert stream.completion.candidates == expected.candidates
        session.cancel()
        with pytest.raises(ivg.CancelledError):
            session.generate(PROMPT)
        assert session.generate(PROMPT, max_tokens=8, seed=1, ignore_end=True).candidates == expected.candidates


def test_cancelling_inside_a_chunk(tiny: ivg.Model) -> None:
    guidance = ivg.Guidance(
        scorer=lambda prompt, texts: [float(len(text)) for text in texts], search=ivg.ChunkBeamSearch(2, 2, 4)
    )
    expected = tiny.generate(PROMPT, max_tokens=12, seed=1, guidance=guidance)
    with tiny.session() as session:
        count = 0

        def cancel_once(row: int, tokens: memoryview[int], logits: memoryview[float]) -> None:
            nonlocal count
            count += 1
            if count == 7:
                session.cancel()

        stream = session.stream(PROMPT, max_tokens=12, seed=1, guidance=guidance, logits_processor=cancel_once)
        with pytest.raises(ivg.CancelledError):
            list(stream)
        list(stream)
        assert stream.completion.candidates == expected.candidates


def test_cancelling_a_stream_without_a_running_step_does_nothing(tiny: ivg.Model) -> None:
    stream = tiny.stream(PROMPT, max_tokens=4, ignore_end=True)
    next(stream)
    stream.cancel()
    assert len(list(stream)) == 3
    assert tiny.generate(PROMPT, max_tokens=2).token_ids


def test_cancelling_a_prompt_from_another_thread(real: ivg.Model) -> None:
    with real.session() as session:
        with cancelled_after(0.3, session.cancel) as moments:
            with pytest.raises(ivg.CancelledError):
                session.generate("word " * 4000, max_tokens=1)
            assert since(moments[0]).work < 0.1
        assert session.generate("Once", max_tokens=2).token_ids


# Ctrl-C


def long_prompt(session: ivg.Session) -> object:
    """A call that spends its time in reading the prompt."""
    return session.generate("word " * 4000, max_tokens=1)


def long_step(session: ivg.Session) -> object:
    """A call with one long step: sixteen rows, select at the end."""
    guidance = ivg.Guidance(scorer=lambda prompt, texts: [0.0] * len(texts), search=ivg.BestOf(16))
    return list(session.stream("Once", guidance=guidance, max_tokens=1000, ignore_end=True))


def long_evaluate(session: ivg.Session) -> None:
    """A long call on a sequence."""
    session.sequence().evaluate(list(range(100, 4100)))


def long_score(session: ivg.Session) -> object:
    """A long call that scores."""
    return session.score(ivg.Implicit(tuned_template="x {prompt}"), "Once", ["word " * 3000])


def many_steps(session: ivg.Session) -> object:
    """Many short calls."""
    return list(session.stream("Once", max_tokens=5000, ignore_end=True))


@pytest.mark.parametrize("work", [long_prompt, long_step, long_evaluate, long_score, many_steps])
def test_ctrl_c_within_100_ms(real: ivg.Model, work: Callable[[ivg.Session], object]) -> None:
    with real.session() as session:
        delays = []
        for _ in range(3):
            with interrupted_after(0.4) as moments:
                with pytest.raises(KeyboardInterrupt):
                    work(session)
                delays.append(since(moments[0]))
        assert statistics.median(delay.clock for delay in delays) < 0.1, delays
        assert max(delay.work for delay in delays) < 0.1, delays
        assert session.generate("Once", max_tokens=3, seed=1).token_ids


def test_a_signal_that_raises_nothing_stops_nothing(tiny: ivg.Model, real: ivg.Model) -> None:
    seen: list[str] = []

    def handler(number: int, frame: object) -> None:
        seen.append(tiny.generate(PROMPT, max_tokens=2, seed=1).text)

    previous = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.01, 0.1)  # a prompt of 1500 words takes longer on any machine
    try:
        completion = real.generate("word " * 1500, max_tokens=4, ignore_end=True)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    assert len(completion.token_ids) == 4
    assert seen


def test_a_stream_may_go_on_after_ctrl_c(real: ivg.Model) -> None:
    expected = real.generate("Once", max_tokens=40, seed=1, ignore_end=True)
    with real.session() as session:
        stream = session.stream("Once", max_tokens=40, seed=1, ignore_end=True)
        with interrupted_after(0.2), contextlib.suppress(KeyboardInterrupt):
            for _ in stream:
                pass
        for _ in stream:
            pass
        assert stream.completion.candidates == expected.candidates


def test_interrupting_at_any_moment(tiny: ivg.Model) -> None:
    """Whenever a signal comes, the session works afterwards, and no cancel hits a later call."""
    expected = tiny.generate(PROMPT, max_tokens=30, seed=1).candidates
    with tiny.session() as session:
        for i in range(150):
            with contextlib.suppress(KeyboardInterrupt), interrupted_after(0.0005 + i * 0.00003):
                for _ in range(20):
                    session.generate(PROMPT, max_tokens=30, seed=1)
            assert session.generate(PROMPT, max_tokens=30, seed=1).candidates == expected


# asyncio


def test_agenerate_and_astream(tiny: ivg.Model) -> None:
    async def main() -> None:
        expected = tiny.generate(PROMPT, max_tokens=10, seed=1)
        completion = await tiny.agenerate(PROMPT, max_tokens=10, seed=1)
        assert completion.candidates == expected.candidates
        text = ""
        async for step in tiny.astream(PROMPT, max_tokens=10, seed=1):
            text += step.text
        assert text == expected.text
        many = await asyncio.gather(*(tiny.agenerate(PROMPT, max_tokens=10, seed=1) for _ in range(5)))
        assert [one.text for one in many] == [expected.text] * 5
        with pytest.raises(ivg.InvalidArgumentError):
            await tiny.agenerate(PROMPT, max_tokens=0)

    asyncio.run(asyncio.wait_for(main(), 60))


def test_cancelling_a_task_stops_the_work(real: ivg.Model) -> None:
    async def main() -> None:
        with real.session() as session:
            task = asyncio.create_task(session.agenerate("word " * 4000, max_tokens=1))
            await asyncio.sleep(0.3)
            task.cancel()
            began = moment_now()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert since(began).work < 0.1
            assert (await session.agenerate("Once", max_tokens=2)).token_ids

    asyncio.run(asyncio.wait_for(main(), 60))


def test_other_tasks_run_meanwhile(real: ivg.Model) -> None:
    async def main() -> None:
        done: list[str] = []

        async def quick() -> None:
            for _ in range(3):
                await asyncio.sleep(0.01)
            done.append("quick")

        async def long() -> None:
            await real.agenerate("other " * 3000, max_tokens=1)  # which no other test has put into a cache
            done.append("long")

        await asyncio.gather(long(), quick())
        assert done == ["quick", "long"]

    asyncio.run(asyncio.wait_for(main(), 60))


# Rounds


def test_a_thousand_rounds_leave_nothing_behind() -> None:
    def resident() -> int:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * 4096

    def round_trip() -> None:
        with ivg.Model(fixture_path("tiny-llama.gguf"), threads=2) as model:
            head = model.value_head(fixture_path("tiny-value-scalar.gguf"))
            guidance = ivg.Guidance(explicit=ivg.Explicit(head), search=ivg.ChunkBeamSearch(2, 2, 2))
            model.generate(PROMPT, max_tokens=6, guidance=guidance)
            model.score(head, PROMPT, ["a", "b"])

    for _ in range(200):
        round_trip()
    before = resident()
    for _ in range(1000):
        round_trip()
    assert resident() - before < 8 << 20


def test_timings(tiny: ivg.Model) -> None:
    with tiny.session(timings=True) as session:
        assert dataclasses.astuple(session.timings()) == (0,) * 11
        start = time.perf_counter()
        completion = session.generate("Hello", max_tokens=9, seed=1, ignore_end=True)
        wall = time.perf_counter() - start
        found = session.timings()
        assert found.pass_count == 9
        assert found.row_count == completion.prompt_token_count + 8
        seconds = dataclasses.astuple(found)[2:]
        assert all(value > 0 for name, value in dataclasses.asdict(found).items() if name != "score")
        assert sum(seconds) < wall
    with tiny.session() as session, pytest.raises(ivg.InvalidArgumentError, match="option timings"):
        session.timings()


# Whose stream it is


def in_thread(function: Callable[[], object]) -> threading.Thread:
    """A thread that has begun."""
    thread = threading.Thread(target=function, daemon=True)
    thread.start()
    return thread


def test_a_stream_belongs_to_the_thread_that_reads_it(tiny: ivg.Model) -> None:
    """A request of the thread that made it, and of a thread with the identifier of an ended one, waits."""
    with tiny.session() as session, concurrent.futures.ThreadPoolExecutor(1) as maker:
        stream = maker.submit(session.stream, PROMPT, max_tokens=20, ignore_end=True).result()
        next(stream)
        other = maker.submit(session.generate, "Other", max_tokens=2)
        assert len(list(stream)) == 19
        assert other.result(60).token_ids
    with tiny.session() as session:
        made: list[ivg.Stream] = []
        in_thread(lambda: made.append(session.stream(PROMPT, max_tokens=20, ignore_end=True))).join()
        next(made[0])
        waiting = in_thread(lambda: session.generate("Other", max_tokens=2))
        assert len(list(made[0])) == 19
        waiting.join(60)
        assert not waiting.is_alive()


def test_a_half_read_stream_of_a_thread_that_has_ended_keeps_nobody_waiting(tiny: ivg.Model) -> None:
    with tiny.session() as session:
        made: list[ivg.Stream] = []

        def leave() -> None:
            made.append(session.stream(PROMPT, max_tokens=20, ignore_end=True))
            next(made[0])

        in_thread(leave).join()
        other = in_thread(lambda: session.generate("Other", max_tokens=2))
        other.join(60)
        assert not other.is_alive()


def test_a_session_outlives_its_model(tiny: ivg.Model) -> None:
    """Closing a model leaves the sessions that were made on it usable: every method."""
    messages = [{"role": "user", "content": "Hello"}]
    with ivg.Model(fixture_path("tiny-llama.gguf"), threads=1) as model:
        session = model.session()
    assert session.model.closed
    assert session.chat(messages, max_tokens=3, seed=1).text == tiny.chat(messages, max_tokens=3, seed=1).text
    assert session.logits(PROMPT) == tiny.logits(PROMPT)
    assert session.generate(PROMPT, max_tokens=3).token_ids
    session.close()
    with pytest.raises(ValueError, match="closed"):
        session.logits(PROMPT)
