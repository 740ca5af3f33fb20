# SPDX-License-Identifier: Apache-2.0
"""The models that `llm` sees, and their options."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from typing import Any

import ivg
import llm
from pydantic import Field

from ._config import Entry
from ._loaded import Loaded, load


class GuidedOptions(llm.Options):
    """`llm -m NAME -o temperature 0 -o seed 1 ...`"""

    max_tokens: int = Field(default=512, ge=1, description="Hard bound on generated tokens")
    temperature: float = Field(default=0.7, ge=0, description="0: always the most probable token")
    top_k: int = Field(default=50, ge=0, description="Draw from so many most probable tokens; 0: from all")
    top_p: float = Field(default=1.0, ge=0, le=1, description="Draw from tokens that together are so probable; 1: off")
    min_p: float = Field(default=0.0, ge=0, le=1, description="Drop tokens below this share of the largest; 0: off")
    repetition_penalty: float = Field(default=1.0, gt=0, description="Above 1 tokens seen before become rarer; 1: off")
    seed: int | None = Field(default=None, ge=0, lt=1 << 64, description="The same seed gives the same text")
    stop: str | None = Field(default=None, min_length=1, description="The text ends before this")
    weight: float = Field(default=1.0, description="Strength of the guides; 0: off, negative: away from them")
    width: int | None = Field(default=None, ge=1, le=4096, description="W, rows kept by chunk-level beam search")
    successors: int | None = Field(default=None, ge=1, le=4096, description="K, copies of each kept row")
    chunk: int | None = Field(default=None, ge=0, lt=1 << 32, description="L, tokens between selections; 0: at the end")

    def search(self) -> ivg.ChunkBeamSearch | None:
        """The search, if one of its options is given."""
        if self.width is None and self.successors is None and self.chunk is None:
            return None
        return ivg.ChunkBeamSearch(self.width or 1, self.successors or 1, self.chunk or 0)

    def sampling(self) -> ivg.SamplingOptions:
        """How tokens are drawn."""
        return ivg.SamplingOptions(
            max_tokens=self.max_tokens,
            temperature=self.temperature,
            top_k=self.top_k,
            top_p=self.top_p,
            min_p=self.min_p,
            repetition_penalty=self.repetition_penalty,
            seed=self.seed,
            stop=() if self.stop is None else self.stop,
        )


def _messages(prompt: llm.Prompt) -> list[dict[str, str]]:
    """The whole conversation, as the chat template takes it."""
    found = []
    for message in prompt.messages:
        texts = [getattr(part, "text", None) for part in message.parts]
        if not all(isinstance(text, str) for text in texts):
            raise llm.ModelError("these models read texts only: no attachments, no tools")
        found.append({"role": message.role, "content": "".join(map(str, texts))})
    return found


class _Request:
    """What a prompt asks of a loaded model."""

    def __init__(self, loaded: Loaded, prompt: llm.Prompt) -> None:
        messages = _messages(prompt)
        options = prompt.options
        assert isinstance(options, GuidedOptions)
        self.model = loaded.model
        self.arguments: dict[str, Any] = {
            **loaded.request(messages, options.weight, options.search()),
            "sampling": options.sampling(),
        }


def _report(response: Any, completion: ivg.Completion) -> None:
    """What `llm logs` and `llm -u` show."""
    response.set_usage(input=completion.prompt_token_count, output=completion.token_count)
    response.response_json = {
        "seed": completion.seed,
        "finish_reason": completion.finish_reason,
        "score": completion.score,
        "candidates": [{"text": row.text, "score": row.score} for row in completion.candidates],
    }


class GuidedModel(llm.Model):
    """A GGUF file and its guides."""

    can_stream = True

    class Options(GuidedOptions):
        """`-o NAME VALUE`"""

    def __init__(self, name: str, entry: Entry) -> None:
        self.model_id = name
        self.entry = entry

    def execute(
        self, prompt: llm.Prompt, stream: bool, response: llm.Response, conversation: llm.Conversation | None
    ) -> Iterator[str]:
        """The answer, as it comes: with a search, chunk by chunk."""
        try:
            request = _Request(load(self.model_id, self.entry), prompt)
            with request.model.stream(**request.arguments) as steps:
                for step in steps:
                    if step.text:
                        yield step.text
                _report(response, steps.completion)
        except (ivg.Error, OSError) as error:
            raise llm.ModelError(str(error)) from error


class AsyncGuidedModel(llm.AsyncModel):
    """The same for asyncio."""

    can_stream = True

    class Options(GuidedOptions):
        """`-o NAME VALUE`"""

    def __init__(self, name: str, entry: Entry) -> None:
        self.model_id = name
        self.entry = entry

    async def execute(
        self,
        prompt: llm.Prompt,
        stream: bool,
        response: llm.AsyncResponse,
        conversation: llm.AsyncConversation | None,
    ) -> AsyncGenerator[str, None]:
        """The answer, as it comes; cancelling the task stops it."""
        try:
            request = _Request(load(self.model_id, self.entry), prompt)
            if not stream:
                completion = await request.model.agenerate(**request.arguments)
                yield completion.text
                _report(response, completion)
                return
            async with request.model.astream(**request.arguments) as steps:
                async for step in steps:
                    if step.text:
                        yield step.text
                _report(response, steps.completion)
        except (ivg.Error, OSError) as error:
            raise llm.ModelError(str(error)) from error
