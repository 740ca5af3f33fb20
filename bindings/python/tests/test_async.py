# SPDX-License-Identifier: Apache-2.0
"""asyncio: streaming, chatting, cancelling, many at once."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Coroutine
from typing import Any

import pytest

import ivg

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
                began = time.process_time()
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                assert time.process_time() - began < 0.1
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
