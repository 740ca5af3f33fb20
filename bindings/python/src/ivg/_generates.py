"""What models and sessions have in common: generating, chatting, scoring."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence as ListOf
from typing import TYPE_CHECKING, Any

from ._chat import render_chat
from ._errors import InvalidArgumentError
from ._sampling import SamplingOptions

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ._asynchronous import AsyncStream
    from ._guidance import Explicit, Guidance, Implicit, Scorer
    from ._model import Model, ValueHead
    from ._results import Completion
    from ._sampling import SamplingKeywords
    from ._session import Session
    from ._stream import Stream


class Generates:
    """The methods that `Model` and `Session` share.

    Keyword arguments of the generating methods are the fields of `SamplingOptions`; `sampling=` gives many at once,
    and keywords beside it win. `template`, with "{prompt}" in it, is put around the prompt for the base model only:
    guides have their own.
    """

    __slots__ = ()

    def _generating_session(self) -> Session:
        raise NotImplementedError

    def _made_session(self) -> Session | None:
        """The generating session, unless it is to be made yet."""
        raise NotImplementedError

    def _model(self) -> Model:
        raise NotImplementedError

    def stream(
        self,
        prompt: str | bytes,
        *,
        guidance: Guidance | None = None,
        template: str | None = None,
        sampling: SamplingOptions | None = None,
        **options: Unpack[SamplingKeywords],
    ) -> Stream:
        """Generates step by step: `for step in model.stream("Once"): print(step.text, end="", flush=True)`.

        The request is checked here; the prompt is read with the first step. A step is a token, or with a search a
        chunk. `step.text` consists of whole characters and never changes later.
        """
        from ._stream import Stream
        from ._turns import Turn

        chosen = (sampling or SamplingOptions()).replace(options)
        return Stream(self._generating_session(), prompt, template, guidance, chosen, Turn())

    def generate(
        self,
        prompt: str | bytes,
        *,
        guidance: Guidance | None = None,
        template: str | None = None,
        sampling: SamplingOptions | None = None,
        **options: Unpack[SamplingKeywords],
    ) -> Completion:
        """Generates a text: `print(model.generate("Once upon a time", max_tokens=50, seed=1).text)`.

        prompt: raw text; special tokens in it are parsed, and BOS is added only where the file asks for it.
        """
        with self.stream(prompt, guidance=guidance, template=template, sampling=sampling, **options) as stream:
            for _ in stream:
                pass
            return stream.completion

    async def agenerate(
        self,
        prompt: str | bytes,
        *,
        guidance: Guidance | None = None,
        template: str | None = None,
        sampling: SamplingOptions | None = None,
        **options: Unpack[SamplingKeywords],
    ) -> Completion:
        """`generate` for asyncio: the work is done on another thread, and cancelling the task stops it.

        Any number of tasks may ask at once; those of one session get their answers one after the other.
        """
        steps = self.astream(prompt, guidance=guidance, template=template, sampling=sampling, **options)
        async with steps:
            async for _ in steps:
                pass
        return steps.completion

    def astream(
        self,
        prompt: str | bytes,
        *,
        guidance: Guidance | None = None,
        template: str | None = None,
        sampling: SamplingOptions | None = None,
        **options: Unpack[SamplingKeywords],
    ) -> AsyncStream:
        """`stream` for asyncio: `async for step in model.astream("Once"): ...`"""
        from ._asynchronous import AsyncStream
        from ._stream import Stream

        chosen = (sampling or SamplingOptions()).replace(options)
        return AsyncStream(
            self,
            lambda session, turn: Stream(session, prompt, template, guidance, chosen, turn),
        )

    def render_chat(
        self,
        messages: ListOf[Mapping[str, Any]],
        template: str | None = None,
        *,
        add_generation_prompt: bool = True,
        **variables: Any,
    ) -> str:
        """The prompt that the model's chat template, or `template`, makes of messages.

        Templates run in jinja2's immutable sandbox; one that fails raises InvalidArgumentError. With
        `add_generation_prompt` the beginning of the assistant's answer follows. `variables` are passed to the template,
        e.g. `tools`.
        """
        model = self._model()
        source = template if template is not None else model.info.chat_template
        if source is None:
            raise InvalidArgumentError(
                f"{model.info.path or 'this model'} has no chat template (tokenizer.chat_template); "
                f"pass template=, or generate() from a prompt of your own"
            )
        begin, end = (
            "" if token is None else model.detokenize([token], continues=True)
            for token in (model.info.begin_token, model.info.end_token)
        )
        text = render_chat(
            source,
            messages,
            begin_token=begin,
            end_token=end,
            add_generation_prompt=add_generation_prompt,
            variables=variables,
        )
        # Where the file asks for BOS before a prompt, the tokenizer puts it there: it must not come twice.
        return text.removeprefix(begin) if model.info.adds_begin_token and begin else text

    def chat(
        self,
        messages: ListOf[Mapping[str, Any]],
        template: str | None = None,
        *,
        guidance: Guidance | None = None,
        sampling: SamplingOptions | None = None,
        **options: Unpack[SamplingKeywords],
    ) -> Completion:
        """Answers messages: `model.chat([{"role": "user", "content": "Hello"}]).text`.

        template: a Jinja chat template in place of the file's. Guides see the rendered prompt as their {prompt}; but of
        nudging each side reads the messages by the chat template of its own file, or without one line by line, with its
        own system text (`base_system`, `nudger_system`) in place of theirs. A plain template of a side
        (`base_template`, `nudger_template`) is put around the lines.
        """
        prompt, around, guidance = self._conversation(messages, template, guidance)
        return self.generate(prompt, guidance=guidance, template=around, sampling=sampling, **options)

    def stream_chat(
        self,
        messages: ListOf[Mapping[str, Any]],
        template: str | None = None,
        *,
        guidance: Guidance | None = None,
        sampling: SamplingOptions | None = None,
        **options: Unpack[SamplingKeywords],
    ) -> Stream:
        """Answers messages step by step, as `chat` does."""
        prompt, around, guidance = self._conversation(messages, template, guidance)
        return self.stream(prompt, guidance=guidance, template=around, sampling=sampling, **options)

    async def achat(
        self,
        messages: ListOf[Mapping[str, Any]],
        template: str | None = None,
        *,
        guidance: Guidance | None = None,
        sampling: SamplingOptions | None = None,
        **options: Unpack[SamplingKeywords],
    ) -> Completion:
        """`chat` for asyncio, as `agenerate` is `generate`."""
        prompt, around, guidance = self._conversation(messages, template, guidance)
        return await self.agenerate(prompt, guidance=guidance, template=around, sampling=sampling, **options)

    def astream_chat(
        self,
        messages: ListOf[Mapping[str, Any]],
        template: str | None = None,
        *,
        guidance: Guidance | None = None,
        sampling: SamplingOptions | None = None,
        **options: Unpack[SamplingKeywords],
    ) -> AsyncStream:
        """`stream_chat` for asyncio: `async for step in model.astream_chat(messages): ...`"""
        prompt, around, guidance = self._conversation(messages, template, guidance)
        return self.astream(prompt, guidance=guidance, template=around, sampling=sampling, **options)

    def _conversation(
        self, messages: ListOf[Mapping[str, Any]], source: str | None, guidance: Guidance | None
    ) -> tuple[str, str | None, Guidance | None]:
        """The prompt for messages, the base's template around it, and the guidance with its guides' templates."""
        if guidance is None or guidance._nudging is None:
            return self.render_chat(messages, source), None, guidance
        from ._conversation import nudged_conversation
        from ._guidance import Guidance
        from ._templates import PROMPT

        _ = guidance._handle  # not a closed one
        around, nudging = nudged_conversation(self._model(), messages, source, guidance._nudging)
        return PROMPT, around, Guidance(nudging=nudging)

    def logits_view(self, prompt: str | bytes) -> memoryview[float]:
        """The raw logits after a prompt as a flat memoryview of C floats; `numpy.asarray` takes it."""
        model = self._model()
        tokens = model.tokenize(prompt)
        if not tokens:  # as in generating: BOS, else EOS, begins an empty prompt
            first = model.info.begin_token if model.info.begin_token is not None else model.info.end_token
            tokens = [] if first is None else [first]
        with self._generating_session().sequence() as sequence:
            sequence.evaluate(tokens)
            return sequence.logits_view()

    def logits(self, prompt: str | bytes) -> list[float]:
        """The raw logits of the token after a prompt."""
        return list(self.logits_view(prompt))

    def score(
        self,
        by: Guidance | ValueHead | Explicit | Implicit | Scorer,
        prompt: str | bytes,
        texts: ListOf[str | bytes],
        ended: bool = True,
    ) -> list[float]:
        """The value of each text as an answer to `prompt`: `model.score(head, "Is it good?", ["Yes.", "No."])`.

        by: a guidance, whose scoring parts are used (all of them, if it has none), or a part of one, or a value head.
        ended: the texts are complete, so that the scorer sees its end token after them.
        """
        from ._guidance import as_guidance
        from ._session import score_texts

        if isinstance(texts, str | bytes):
            raise TypeError("texts is a list of texts, not one text")
        return score_texts(self._generating_session(), as_guidance(by), prompt, texts, ended)
