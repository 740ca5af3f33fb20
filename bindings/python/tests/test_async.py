# SPDX-License-Identifier: Apache-2.0
"""asyncio: streaming, chatting, cancelling, many at once."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from interruption import moment_now, since

import ivg
from ivg._turns import Turn

PROMPT = "Hello"
MESSAGES = [{"role": "user", "content": "Hello"}]


def run(main: Coroutine[Any, Any, None]) -> None:
    """Runs a program of asyncio; a hang is a failure."""
    asyncio.run(asyncio.wait_for(main, 100))


def test_chats(tiny: ivg.Model) -> None:
    async def main() -> None:
        expected = tiny.chat(MESSAGES, max_tokens=10, seed=1)
        assert (await tiny.achat(MESSAGES, max_tokens=10, seed=1)).candidates == expected.candidates
        steps = [step async for step in tiny.astream_chat(MESSAGES, max_tokens=10, seed=1)]
        assert "".join(step.text for step in steps) == expected.text

    run(main())


def test_the_request_as_a_whole(tiny: ivg.Model) -> None:
    async def main() -> None:
        expected = tiny.generate(PROMPT, max_tokens=10, seed=1)
        steps = tiny.astream(PROMPT, max_tokens=10, seed=1)
        with pytest.raises(ivg.InvalidArgumentError, match="not begun"):
            _ = steps.completion
        async with steps:
            async for step in steps:
                assert step.text or step.finish_reason
                steps.cancel()  # no step is running: nothing happens
        assert steps.completion.candidates == expected.candidates
        assert [step async for step in steps] == []

    run(main())


def test_a_hundred_at_once_on_one_session(tiny: ivg.Model) -> None:
    """More than asyncio has threads: waiting for the session takes none."""

    async def main() -> None:
        prompts = [f"Prompt {number}" for number in range(100)]
        answers = await asyncio.gather(*(tiny.agenerate(prompt, max_tokens=4, seed=1) for prompt in prompts))
        for prompt, answer in zip(prompts, answers, strict=True):
            assert answer.text == tiny.generate(prompt, max_tokens=4, seed=1).text

    run(main())
    assert not [thread for thread in threading.enumerate() if thread.name == "ivg-request" and not ended(thread)]


def ended(thread: threading.Thread) -> bool:
    """Whether a thread has ended, or does within a moment."""
    thread.join(5)
    return not thread.is_alive()


def test_many_sessions_at_once(tiny: ivg.Model) -> None:
    async def main() -> None:
        expected = tiny.generate(PROMPT, max_tokens=20, seed=1, ignore_end=True).text
        sessions = [tiny.session(threads=1) for _ in range(12)]

        async def stream(session: ivg.Session) -> str:
            return "".join([s.text async for s in session.astream(PROMPT, max_tokens=20, seed=1, ignore_end=True)])

        assert await asyncio.gather(*map(stream, sessions)) == [expected] * 12

    run(main())


def test_a_cancelled_task_stops_within_100_ms_and_leaves_the_session_usable(real: ivg.Model) -> None:
    """Of processor time, which a busy machine does not stretch; the one thread computes all the while."""

    async def main() -> None:
        with real.session(threads=1) as session:
            expected = await session.agenerate("Once", max_tokens=3, seed=1)

            async def stream() -> None:
                async for _ in session.astream("Once", max_tokens=5000, ignore_end=True):
                    pass

            for work in (session.agenerate("word " * 4000, max_tokens=1), stream()):
                task = asyncio.create_task(work)
                await asyncio.sleep(0.3)
                began = moment_now()
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                assert since(began).work < 0.1
                found = await session.agenerate("Once", max_tokens=3, seed=1)
                assert found.candidates == expected.candidates

    run(main())


def test_cancelling_tasks_that_wait_for_their_turn(tiny: ivg.Model) -> None:
    async def main() -> None:
        tasks = [asyncio.create_task(tiny.agenerate(f"Prompt {i}", max_tokens=30, seed=1)) for i in range(20)]
        await asyncio.sleep(0.01)
        for task in tasks[::2]:
            task.cancel()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(answer, asyncio.CancelledError | ivg.Completion) for answer in found)
        assert sum(isinstance(answer, ivg.Completion) for answer in found) >= 10
        assert (await tiny.agenerate(PROMPT, max_tokens=2)).token_ids

    run(main())


def test_a_stream_that_is_left_early(tiny: ivg.Model) -> None:
    async def main() -> None:
        steps = tiny.astream(PROMPT, max_tokens=50, ignore_end=True)
        async for _ in steps:
            break
        await steps.aclose()
        other = asyncio.create_task(tiny.agenerate(PROMPT, max_tokens=2))
        assert (await asyncio.wait_for(other, 10)).token_ids
        async for _ in tiny.astream(PROMPT, max_tokens=50, ignore_end=True):
            break  # dropped without a word
        other = asyncio.create_task(tiny.agenerate(PROMPT, max_tokens=2))
        assert (await asyncio.wait_for(other, 10)).token_ids

    run(main())


def test_a_request_inside_a_stream_of_the_same_task_drops_the_stream(tiny: ivg.Model) -> None:
    """As on one thread; to wait would be to wait for ever."""

    async def main() -> None:
        steps = tiny.astream(PROMPT, max_tokens=50, ignore_end=True)
        await anext(steps)
        assert (await tiny.agenerate("Other", max_tokens=2)).token_ids
        with pytest.raises(ivg.InvalidArgumentError, match="another request began"):
            await anext(steps)

    run(main())


def test_a_blocking_request_on_a_loop_that_is_busy_is_refused(tiny: ivg.Model) -> None:
    async def main() -> None:
        async def stream() -> None:
            async for _ in tiny.astream(PROMPT, max_tokens=50, ignore_end=True):
                await asyncio.sleep(0.01)

        task = asyncio.create_task(stream())
        await asyncio.sleep(0.1)
        with pytest.raises(ivg.Error, match="await agenerate"):
            tiny.generate(PROMPT)
        await task
        assert tiny.generate(PROMPT, max_tokens=2).token_ids

    run(main())


def test_threads_and_tasks_take_turns(tiny: ivg.Model) -> None:
    async def main() -> None:
        expected = tiny.generate(PROMPT, max_tokens=5, seed=1).text
        blocking = [asyncio.to_thread(tiny.generate, PROMPT, max_tokens=5, seed=1) for _ in range(20)]
        waiting = [tiny.agenerate(PROMPT, max_tokens=5, seed=1) for _ in range(20)]
        found = await asyncio.gather(*blocking, *waiting)
        assert [answer.text for answer in found] == [expected] * 40

    run(main())


@pytest.mark.parametrize("fault", [KeyError("mine"), StopIteration("mine")])
def test_exceptions_of_callbacks_come_out(tiny: ivg.Model, fault: Exception) -> None:
    async def main() -> None:
        def processor(row: int, tokens: memoryview[int], logits: memoryview[float]) -> None:
            raise fault

        with pytest.raises((KeyError, RuntimeError), match=r"mine|StopIteration"):
            await tiny.agenerate(PROMPT, logits_processor=processor)
        with pytest.raises((KeyError, RuntimeError), match=r"mine|StopIteration"):
            list(tiny.stream(PROMPT, logits_processor=processor))
        with pytest.raises(TypeError, match="max_token"):
            await tiny.agenerate(PROMPT, max_token=1)  # type: ignore[call-arg]
        assert (await tiny.agenerate(PROMPT, max_tokens=2)).token_ids

    run(main())


# Taking turns


async def until(condition: Callable[[], bool]) -> None:
    """Lets the other tasks run until something is so."""
    while not condition():
        await asyncio.sleep(0.001)


def test_waiting_takes_no_thread(tiny: ivg.Model) -> None:
    async def main() -> None:
        with tiny.session() as session:
            steps = session.astream(PROMPT, max_tokens=200, ignore_end=True)
            await anext(steps)
            before = threading.active_count()
            tasks = [asyncio.create_task(session.agenerate(f"Prompt {i}", max_tokens=2)) for i in range(50)]
            await until(lambda: len(session._waiting) == 50)
            assert threading.active_count() == before
            for task in tasks[::2]:
                task.cancel()
            await until(lambda: len(session._waiting) == 25)
            await steps.aclose()
            found = await asyncio.gather(*tasks, return_exceptions=True)
            assert sum(isinstance(answer, ivg.Completion) for answer in found) == 25
            assert not session._waiting

    run(main())


def test_a_half_read_stream_of_the_same_thread_is_dropped(tiny: ivg.Model) -> None:
    stream = tiny.stream(PROMPT, max_tokens=20, ignore_end=True)
    next(stream)

    async def main() -> None:
        assert (await tiny.agenerate("Other", max_tokens=2)).token_ids
        with pytest.raises(ivg.InvalidArgumentError, match="another request began"):
            next(stream)
        second = tiny.stream(PROMPT, max_tokens=20, ignore_end=True)
        next(second)
        assert (await tiny.agenerate("Other", max_tokens=2)).token_ids

    run(main())


def test_a_half_read_stream_of_a_task_that_has_ended_is_dropped(tiny: ivg.Model) -> None:
    async def main() -> None:
        steps = tiny.astream(PROMPT, max_tokens=20, ignore_end=True)
        await asyncio.create_task(read_one(steps))
        assert (await asyncio.create_task(tiny.agenerate("Other", max_tokens=2))).token_ids
        left: list[ivg.AsyncStream] = []

        async def leave() -> None:
            left.append(tiny.astream(PROMPT, max_tokens=20, ignore_end=True))
            await read_one(left[0])

        await asyncio.create_task(leave())
        assert (await tiny.agenerate("Other", max_tokens=2)).token_ids

    run(main())


async def read_one(steps: ivg.AsyncStream) -> None:
    """Leaves the stream half read."""
    await anext(steps)


def test_a_half_read_stream_of_a_closed_loop_is_dropped(tiny: ivg.Model) -> None:
    with tiny.session() as session:
        steps = session.astream(PROMPT, max_tokens=20, ignore_end=True)
        asyncio.run(read_one(steps))
        found: list[ivg.Completion] = []
        thread = threading.Thread(target=lambda: found.append(session.generate("Other", max_tokens=2)), daemon=True)
        thread.start()
        thread.join(60)
        assert len(found) == 1


def test_a_task_for_each_step_does_not_end_the_stream(tiny: ivg.Model) -> None:
    """As a server does that sends a sign of life while a step takes long; others wait meanwhile."""

    async def user(session: ivg.Session, started: asyncio.Event) -> int:
        steps = session.astream(PROMPT, max_tokens=10, ignore_end=True)
        count = 0
        while True:
            step = asyncio.create_task(read(steps))
            await asyncio.wait([step])
            started.set()
            await asyncio.sleep(0.01)
            if await step is None:
                return count
            count += 1

    async def read(steps: ivg.AsyncStream) -> ivg.Step | None:
        return await anext(steps, None)

    async def main() -> None:
        with tiny.session() as session:
            started = asyncio.Event()
            first = asyncio.create_task(user(session, started))
            await started.wait()
            second = asyncio.create_task(user(session, asyncio.Event()))
            assert list(await asyncio.gather(first, second)) == [10, 10]

    run(main())


def test_the_maker_of_a_stream_does_not_drop_it_while_another_task_reads_it(tiny: ivg.Model) -> None:
    async def main() -> None:
        with tiny.session() as session:
            steps = session.astream(PROMPT, max_tokens=10, ignore_end=True)
            started = asyncio.Event()

            async def consume() -> int:
                count = 0
                async for _ in steps:
                    count += 1
                    started.set()
                    await asyncio.sleep(0.001)
                return count

            consumer = asyncio.create_task(consume())
            await started.wait()
            assert (await session.agenerate("Other", max_tokens=2)).token_ids
            assert await consumer == 10

    run(main())


def test_a_stream_that_is_collected_while_others_begin_to_wait(tiny: ivg.Model) -> None:
    """A collection of garbage may start anywhere, so also between the look at the session and the wait."""

    class Node:
        pass

    def half(session: ivg.Session) -> None:
        """Leaves a half-read stream in a cycle of garbage, of a task that has not ended."""
        node = Node()
        node.itself, node.stream = node, session.stream(PROMPT, max_tokens=20)  # type: ignore[attr-defined]
        next(node.stream)  # type: ignore[attr-defined]

    def in_a_thread(session: ivg.Session, hold: threading.Event, held: threading.Event) -> None:
        half(session)
        held.set()
        hold.wait(100)

    gc.disable()
    try:
        for awaited in (False, True):
            session = tiny.session()
            hold, held = threading.Event(), threading.Event()
            holder = threading.Thread(target=in_a_thread, args=(session, hold, held), daemon=True)
            holder.start()
            held.wait()
            looks: list[bool] = []

            def look(turn: Turn, session: ivg.Session = session, looks: list[bool] = looks) -> bool:
                looks.append(type(session)._is_free(session, turn))
                gc.collect()
                return looks[-1]

            session._is_free = look  # type: ignore[method-assign]
            if awaited:
                assert asyncio.run(asyncio.wait_for(session.agenerate("Other", max_tokens=2), 60)).token_ids
            else:
                found: list[ivg.Completion] = []
                thread = threading.Thread(target=lambda: found.append(session.generate("Other", max_tokens=2)))  # noqa: B023
                thread.daemon = True
                thread.start()
                thread.join(60)
                assert len(found) == 1
            assert looks[0] is False
            hold.set()
    finally:
        gc.enable()


def test_cancelling_a_resumed_stream_that_waits_for_its_turn(tiny: ivg.Model) -> None:
    async def main() -> None:
        with tiny.session() as session:
            steps = session.astream(PROMPT, max_tokens=20, ignore_end=True)
            await anext(steps)
            session.cancel()
            with pytest.raises(ivg.CancelledError):
                await anext(steps)
            other = session.astream("Other", max_tokens=20, ignore_end=True)
            await asyncio.create_task(read_one(other))  # by another task, which this one's stream waits for
            keeper = asyncio.create_task(keep(other))
            await asyncio.sleep(0)
            waiting = asyncio.create_task(read_one(steps))
            await until(lambda: len(session._waiting) == 1)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert not keeper.done()
            keeper.cancel()

    async def keep(steps: ivg.AsyncStream) -> None:
        await anext(steps)
        await asyncio.sleep(1000)

    run(main())
