"""Models, adapters and value heads."""

from __future__ import annotations

import ctypes
import os
import threading
import weakref
from collections.abc import Sequence as TokenSequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from . import _bindings as c
from . import _callbacks
from ._errors import InternalError
from ._generates import Generates
from ._library import call, encode, lib, new_error, take_error, text
from ._managed import Managed
from ._sampling import SamplingOptions, native_options, token_array, unsigned

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ._guidance import Guidance
    from ._sampling import SamplingKeywords
    from ._session import Session

PathLike = str | os.PathLike[str]


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What a model is."""

    path: str | None
    architecture: str | None
    #: The file's `general.name`.
    name: str | None
    vocabulary_size: int
    #: Tokens the model was made for; 0 for a file with only a vocabulary.
    context_length: int
    embedding_length: int
    layer_count: int
    vocabulary_only: bool
    #: BOS and EOS, if the file has them.
    begin_token: int | None
    end_token: int | None
    #: Whether the file asks for BOS before a prompt.
    adds_begin_token: bool
    parameter_count: int
    #: Bytes of the mapped file.
    file_size: int
    #: The file's Jinja chat template.
    chat_template: str | None


class Model(Managed, Generates):
    """A model from a GGUF file.

        model = ivg.Model("model.gguf")
        print(model.generate("Once upon a time", max_tokens=50, seed=1))
        for step in model.stream("Once upon a time"):
            print(step.text, end="", flush=True)

    Opening takes milliseconds: weights stay mapped. A model may be used by any number of threads and sessions. Its
    own `generate`, `stream` and so on share one internal session, made when first needed with the options given
    here; `session()` makes further ones, to generate several texts at once.

    threads: processors to use; None: those this process may use.
    context_length: tokens a text may hold; None: the model's, as far as memory allows.
    memory_budget: bytes beside the mapped file; None: three quarters of the machine's memory.
    """

    def __init__(
        self,
        path: PathLike,
        *,
        threads: int | None = None,
        context_length: int | None = None,
        memory_budget: int | None = None,
    ) -> None:
        self._create(c.ivg_model, lib.ivg_model_free, lib.ivg_model_open, _path(path), None)
        self._setup(threads, context_length, memory_budget)

    def _setup(self, threads: int | None, context_length: int | None, memory_budget: int | None) -> None:
        self._session_options = (threads, context_length, memory_budget)
        self._internal: Session | None = None
        self._internal_lock = threading.RLock()
        self.info = self._read_info()

    def _read_info(self) -> ModelInfo:
        info = c.ivg_model_info(struct_size=ctypes.sizeof(c.ivg_model_info))
        call(lib.ivg_model_information, self._handle, ctypes.byref(info))
        return ModelInfo(
            path=os.fsdecode(info.path) if info.path is not None else None,
            architecture=text(info.architecture),
            name=text(info.name),
            vocabulary_size=info.vocabulary_size,
            context_length=info.context_length,
            embedding_length=info.embedding_length,
            layer_count=info.layer_count,
            vocabulary_only=bool(info.vocabulary_only),
            begin_token=info.begin_token if info.begin_token >= 0 else None,
            end_token=info.end_token if info.end_token >= 0 else None,
            adds_begin_token=bool(info.adds_begin_token),
            parameter_count=info.parameter_count,
            file_size=info.file_size,
            chat_template=text(info.chat_template),
        )

    def __repr__(self) -> str:
        return f"<ivg.{type(self).__name__} {self.info.path or self.info.name!r}>"

    def close(self) -> None:
        """Closes the model and its internal session. Other sessions, adapters and guidances stay usable."""
        with self._internal_lock:
            internal, self._internal = self._internal, None
            super().close()
        if internal is not None:
            internal.close()

    # Sessions

    def _generating_session(self) -> Session:
        from ._session import Session

        with self._internal_lock:
            _ = self._handle
            if self._internal is None:
                threads, context_length, memory_budget = self._session_options
                session = Session(self, threads=threads, context_length=context_length, memory_budget=memory_budget)
                session._model_reference = weakref.ref(self)  # no cycle: a dropped model is freed at once
                self._internal = session
            return self._internal

    def _shared(self) -> Model:
        """Another owner of the same handle, for sessions: it stays usable when this one is closed."""
        shared = Model.__new__(Model)
        shared._raw, shared._generation, shared._finalizer = self._handle, self._generation, self._finalizer
        shared.info = self.info
        return shared

    def _made_session(self) -> Session | None:
        _ = self._handle
        return self._internal

    def _model(self) -> Model:
        return self

    def session(
        self,
        *,
        threads: int | None = None,
        context_length: int | None = None,
        memory_budget: int | None = None,
        timings: bool = False,
    ) -> Session:
        """A session of its own on this model, for generating beside others.

        timings: measure where the time goes, for `Session.timings()`.
        """
        from ._session import Session

        return Session(
            self, threads=threads, context_length=context_length, memory_budget=memory_budget, timings=timings
        )

    def memory_required(
        self,
        prompt_token_count: int,
        *,
        guidance: Guidance | None = None,
        sampling: SamplingOptions | None = None,
        threads: int | None = None,
        context_length: int | None = None,
        **options: Unpack[SamplingKeywords],
    ) -> int:
        """Bytes that a session with one such request takes, beside the mapped files: an upper bound.

        prompt_token_count: tokens of the longest prompt. The other parameters are those of `generate` and `session`.
        """
        from ._session import native_session_options

        nudges = guidance is not None and guidance._nudging is not None
        native = native_options((sampling or SamplingOptions()).replace(options), None, 0, None, nudges)
        size = ctypes.c_uint64()
        call(
            lib.ivg_memory_required,
            self._handle,
            ctypes.byref(native_session_options(threads, context_length, None)),
            ctypes.byref(native),
            guidance._handle if guidance is not None else None,
            prompt_token_count,
            ctypes.byref(size),
        )
        return size.value

    # Files that go with the model

    def adapter(self, path: PathLike) -> Adapter:
        """Opens a LoRA adapter for this model."""
        return Adapter(self, path)

    def value_head(self, path: PathLike) -> ValueHead:
        """Opens a value head for this model."""
        return ValueHead(self, path)

    # Tokens

    def tokenize(
        self, value: str | bytes, special: bool = True, begin: bool = True, *, continues: bool = False
    ) -> list[int]:
        """The token ids of a text.

        special: text like "<|im_start|>" becomes its control token.
        begin: put BOS in front where the file asks for it, unless the text begins with it.
        continues: the text goes on behind another; matters to vocabularies that put a space in front of a text.
        """
        data = encode(value)
        flags = (c.IVG_TOKENIZE_SPECIAL if special else 0) | (c.IVG_TOKENIZE_BEGIN if begin else 0)
        flags |= c.IVG_TOKENIZE_CONTINUES if continues else 0
        capacity = len(data) + 16
        while True:
            tokens = (ctypes.c_int32 * capacity)()
            count = ctypes.c_size_t()
            found = ctypes.byref(count)
            if not _too_small(lib.ivg_model_tokenize, self._handle, data, len(data), flags, tokens, capacity, found):
                return tokens[: count.value]
            if count.value <= capacity:
                raise InternalError("the buffer was large enough, and was called too small")
            capacity = count.value

    def detokenize_bytes(
        self, tokens: TokenSequence[int], skip_control: bool = False, *, continues: bool = False
    ) -> bytes:
        """The bytes that tokens stand for; not necessarily whole characters.

        skip_control: leave control tokens such as "<|im_end|>" out of the text.
        continues: the tokens go on behind others, as those of a result do; then no space in front is taken off that the
        vocabulary has put there.
        """
        ids = token_array(tokens)
        flags = c.IVG_DETOKENIZE_SKIP_CONTROL if skip_control else 0
        flags |= c.IVG_DETOKENIZE_CONTINUES if continues else 0
        capacity = 8 * len(ids) + 64
        while True:
            buffer = ctypes.create_string_buffer(capacity)
            needed = ctypes.c_size_t()
            found = ctypes.byref(needed)
            if not _too_small(lib.ivg_model_detokenize, self._handle, ids, len(ids), flags, buffer, capacity, found):
                return buffer.raw[: needed.value]
            if needed.value <= capacity:
                raise InternalError("the buffer was large enough, and was called too small")
            capacity = needed.value

    def detokenize(self, tokens: TokenSequence[int], skip_control: bool = False, *, continues: bool = False) -> str:
        """The text that tokens stand for, with U+FFFD for bytes that are not UTF-8.

        The parameters are those of `detokenize_bytes`.
        """
        return self.detokenize_bytes(tokens, skip_control, continues=continues).decode("utf-8", "replace")

    def token_ends(self, token: int) -> bool:
        """Whether a token ends a text (EOS and its relatives)."""
        return bool(lib.ivg_model_token_ends(self._handle, token))


def _too_small(function: Any, *arguments: Any) -> bool:
    """Makes a call that fills a buffer; True if the buffer was too small."""
    error = new_error()
    status = int(function(*arguments, ctypes.byref(error)))
    del arguments  # as in `call`
    if status == c.IVG_ERROR_BUFFER_TOO_SMALL:
        lib.ivg_error_free(error)
        return True
    if status < 0:
        raise take_error(status, error)
    return False


def _path(path: PathLike) -> bytes:
    data = os.fsencode(path)
    if b"\0" in data:
        raise ValueError("a path cannot hold a NUL character")
    return data


class HostedModel(Model):
    """A base model of your own, steered by libivg.

        def logits(rows: list[list[int]]):     # the tokens so far of each row
            return [my_model(tokens) for tokens in rows]   # floats [rows, vocabulary], e.g. a numpy array

        model = ivg.HostedModel(ivg.Model("vocabulary.gguf"), logits=logits)
        model.generate("Once upon a time", guidance=guidance)

    vocabulary: a model with the same tokenizer; its weights are not used, and need not be in the file.
    logits: kept as long as the model. A function that holds the model itself, as a method does of an object with the
    model in it, keeps it from being collected: `close()` it.
    context_length: tokens a row may hold; None: 4096.
    """

    def __init__(
        self,
        vocabulary: Model,
        *,
        logits: _callbacks.HostedFunction,
        context_length: int | None = None,
        threads: int | None = None,
        memory_budget: int | None = None,
    ) -> None:
        options = c.ivg_hosted_options(
            struct_size=ctypes.sizeof(c.ivg_hosted_options),
            context_length=unsigned(context_length or 0, 32, "context_length"),
            logits=_callbacks.hosted_logits,
            user_data=_callbacks.keep(logits),
            finalizer=_callbacks.finalizer,
        )
        try:
            self._create(
                c.ivg_model,
                lib.ivg_model_free,
                lib.ivg_model_create_hosted,
                vocabulary._handle,
                ctypes.byref(options),
            )
        except BaseException:
            _callbacks.drop(options.user_data)
            raise
        self._setup(threads, None, memory_budget)


class Adapter(Managed):
    """Low-rank deltas (LoRA) for one model, from a GGUF adapter file as llama.cpp has them."""

    def __init__(self, model: Model, path: PathLike) -> None:
        self.path = os.fspath(path)
        #: The model that the adapter changes.
        self.model = model
        self._create(c.ivg_adapter, lib.ivg_adapter_free, lib.ivg_adapter_open, model._handle, _path(path))


class ValueHead(Managed):
    """A trained prefix scorer: a head on a model's hidden state, with its own adapter if the file has one."""

    def __init__(self, model: Model, path: PathLike) -> None:
        self.path = os.fspath(path)
        #: The model that the head reads.
        self.model = model
        self._create(c.ivg_value_head, lib.ivg_value_head_free, lib.ivg_value_head_open, model._handle, _path(path))
