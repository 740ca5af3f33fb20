"""What "better" means, and how to search for it."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, cast

from . import _bindings as c
from . import _callbacks
from ._callbacks import ScorerFunction
from ._errors import InvalidArgumentError
from ._library import call, encode_string, lib
from ._managed import Managed
from ._model import Adapter, Model, ValueHead
from ._nudging import Nudging
from ._sampling import unsigned

Role = Literal["tilt", "score", "both"]

_ROLES: dict[str, int] = {
    "tilt": c.IVG_ROLE_TILT,
    "score": c.IVG_ROLE_SCORE,
    "both": c.IVG_ROLE_TILT | c.IVG_ROLE_SCORE,
}
_FINISHED_ROWS = {"pool": c.IVG_FINISHED_POOL, "tile": c.IVG_FINISHED_TILE}
_CANDIDATES = {"tilted": c.IVG_CANDIDATES_TILTED, "base": c.IVG_CANDIDATES_BASE}


@dataclass(frozen=True, slots=True)
class Implicit:
    """An implicit value: what a tuned small model finds more probable than its untuned self.

        ivg.Implicit(tuned=small.adapter("positive-dpo.gguf"), untuned=small)
        ivg.Implicit(tuned_template="Write joyfully. {prompt}", untuned_template="{prompt}")   # two prompts

    tuned, untuned: a model, or an adapter (which stands for its model with the adapter on). No `tuned` is the model
    that generates; no `untuned` is that model's own row.
    weight: the strength; 1 is usual, 0 turns it off, negative values steer away.
    role: "tilt" changes every token's distribution, "score" ranks whole rows, "both"; None: see `Guidance`.
    template: what the guide reads in place of the prompt, for `tuned` and for `untuned` if there is one;
    `tuned_template` and `untuned_template` set them apart. "{prompt}" stands for the prompt; a text without it
    is a prompt of its own.
    length_average: as a score, divide the sum of log-ratios by the number of tokens.
    """

    tuned: Model | Adapter | None = None
    untuned: Model | Adapter | None = None
    weight: float = 1.0
    role: Role | None = None
    template: str | None = None
    tuned_template: str | None = None
    untuned_template: str | None = None
    length_average: bool = False


@dataclass(frozen=True, slots=True)
class Explicit:
    """An explicit value: a trained prefix scorer, `ivg.Explicit(small.value_head("positive-value.gguf"))`.

    `weight`, `role` and `template` are as in `Implicit`.
    """

    head: ValueHead
    weight: float = 1.0
    role: Role | None = None
    template: str | None = None


@dataclass(frozen=True, slots=True)
class Scorer:
    """A scorer of your own: `function(prompt, texts)` returns one number for each text, larger is better.

    The texts are the answers so far. With `with_finished` the function gets a third argument, a list that says
    which of them are complete. It must not use the session that calls it.
    """

    function: ScorerFunction
    weight: float = 1.0
    with_finished: bool = False


@dataclass(frozen=True, slots=True)
class ChunkBeamSearch:
    """Draws `width * successors` rows, and after every `chunk` tokens copies the best `width` of them.

    Good starts: 4, 4, 5 for short text, 2, 2, 30 for chat. `chunk=0` selects once, at the end.
    """

    width: int = 4
    successors: int = 4
    chunk: int = 5


@dataclass(frozen=True, slots=True)
class BestOf:
    """Draws `n` whole answers and takes the best."""

    n: int = 16


_Part = TypeVar("_Part")


def _listed(kind: type[_Part], value: object, what: str) -> list[_Part]:
    items = [] if value is None else list(value) if isinstance(value, list | tuple) else [value]
    for item in items:
        if not isinstance(item, kind):
            raise TypeError(f"{what} takes ivg.{kind.__name__} or a list of them, not {type(item).__name__}")
    return cast("list[_Part]", items)


class Guidance(Managed):
    """What to steer by and how to search; passed to `generate`, `stream`, `chat` and `score`.

        ivg.Guidance(implicit=ivg.Implicit(tuned=small.adapter("dpo.gguf"), untuned=small))
        ivg.Guidance(explicit=ivg.Explicit(head), search=ivg.BestOf(16))
        ivg.Guidance(scorer=lambda prompt, texts: [text.count("!") for text in texts], search=ivg.ChunkBeamSearch())
        ivg.Guidance(nudging=ivg.Nudging(small))  # stands alone

    Without a search, implicit and explicit values tilt every token's distribution. With a search, values score rows
    at the end of each chunk; except that implicit values beside an explicit value or a scorer tilt, and the
    others score (Integrated Value Guidance). `role=` of a part overrides this. A scorer always scores.

    finished_rows: "pool": a finished row keeps one slot and competes; "tile": it is copied like any other.
    dedupe: of kept rows with equal text only the best stays.
    candidates: "tilted": top-k after tilting; "base": tilt only the base's top-k.
    """

    _instead = "pass the paths and settings that it is made of, and make it there"

    def __init__(
        self,
        *,
        implicit: Implicit | Sequence[Implicit] | None = None,
        explicit: Explicit | Sequence[Explicit] | None = None,
        scorer: Scorer | ScorerFunction | Sequence[Scorer] | None = None,
        search: ChunkBeamSearch | BestOf | None = None,
        nudging: Nudging | None = None,
        finished_rows: Literal["pool", "tile"] = "pool",
        dedupe: bool = False,
        candidates: Literal["tilted", "base"] = "tilted",
    ) -> None:
        if callable(scorer):
            scorer = Scorer(scorer)
        self._implicit = _listed(Implicit, implicit, "implicit")
        self._explicit = _listed(Explicit, explicit, "explicit")
        self._scorers = _listed(Scorer, scorer, "scorer")
        if nudging is not None and not isinstance(nudging, Nudging):
            raise TypeError(f"nudging takes ivg.Nudging, not {type(nudging).__name__}")
        self._nudging = nudging
        self._options = c.ivg_guidance_options(
            struct_size=ctypes.sizeof(c.ivg_guidance_options),
            finished_rows=_choice(_FINISHED_ROWS, finished_rows, "finished_rows"),
            dedupe=dedupe,
            candidates=_choice(_CANDIDATES, candidates, "candidates"),
        )
        if isinstance(search, BestOf):
            self._options.successors = unsigned(search.n, 32, "BestOf.n", least=1)
        elif isinstance(search, ChunkBeamSearch):
            self._options.width = unsigned(search.width, 32, "ChunkBeamSearch.width", least=1)
            self._options.successors = unsigned(search.successors, 32, "ChunkBeamSearch.successors", least=1)
            self._options.chunk = unsigned(search.chunk, 32, "ChunkBeamSearch.chunk")
        elif search is not None:
            raise TypeError(f"search takes ivg.ChunkBeamSearch or ivg.BestOf, not {type(search).__name__}")
        self._searches = search is not None
        self._for_scores: Guidance | None = None
        roles = self._roles()
        self._scores = bool(self._scorers) or any(role & c.IVG_ROLE_SCORE for role in roles)
        self._build(roles)

    def _roles(self) -> list[int]:
        """The role of each implicit and then each explicit part."""
        implicit: Role = "tilt" if not self._searches or self._explicit or self._scorers else "score"
        explicit: Role = "score" if self._searches else "tilt"
        named = [part.role or implicit for part in self._implicit]
        named += [part.role or explicit for part in self._explicit]
        return [_choice(_ROLES, role, "role") for role in named]

    def _build(self, roles: Iterable[int]) -> None:
        self._create(c.ivg_guidance, lib.ivg_guidance_free, lib.ivg_guidance_create, ctypes.byref(self._options))
        remaining = iter(roles)
        try:
            for implicit in self._implicit:
                self._add_implicit(implicit, next(remaining))
            for explicit in self._explicit:
                self._add_explicit(explicit, next(remaining))
            for scorer in self._scorers:
                self._add_scorer(scorer)
            if self._nudging is not None:
                options, _handles = self._nudging._options()
                call(lib.ivg_guidance_set_nudging, self._handle, ctypes.byref(options))
                del _handles
        except BaseException:
            self.close()
            raise

    def _add_implicit(self, part: Implicit, role: int) -> None:
        # A structure holds no pointers of Python's: these do, until the call has returned.
        tuned = None if part.tuned is None else part.tuned._handle
        untuned = None if part.untuned is None else part.untuned._handle
        options = c.ivg_implicit_options(
            struct_size=ctypes.sizeof(c.ivg_implicit_options),
            role=role,
            tuned_template=encode_string(_first(part.tuned_template, part.template), "tuned_template"),
            length_average=part.length_average,
        )
        if isinstance(part.tuned, Adapter):
            options.tuned_adapter = tuned
        else:
            options.tuned_model = tuned
        if isinstance(part.untuned, Adapter):
            options.untuned_adapter = untuned
        else:
            options.untuned_model = untuned
        template = part.untuned_template
        if template is None and part.untuned is not None:
            template = part.template
        options.untuned_template = encode_string(template, "untuned_template")
        call(lib.ivg_guidance_add_implicit, self._handle, ctypes.byref(options), part.weight)

    def _add_explicit(self, part: Explicit, role: int) -> None:
        head = part.head._handle  # until the call has returned
        options = c.ivg_explicit_options(
            struct_size=ctypes.sizeof(c.ivg_explicit_options),
            role=role,
            head=head,
            template_text=encode_string(part.template, "template"),
        )
        call(lib.ivg_guidance_add_explicit, self._handle, ctypes.byref(options), part.weight)

    def _add_scorer(self, part: Scorer) -> None:
        options = c.ivg_scorer_options(
            struct_size=ctypes.sizeof(c.ivg_scorer_options),
            score=_callbacks.scorer,
            user_data=_callbacks.keep((part.function, part.with_finished)),
            finalizer=_callbacks.finalizer,
        )
        try:
            call(lib.ivg_guidance_add_scorer, self._handle, ctypes.byref(options), part.weight)
        except BaseException:
            _callbacks.drop(options.user_data)
            raise

    @property
    def scores(self) -> bool:
        """Whether a part of it scores rows, so that results come with values."""
        return self._scores

    def _scoring(self) -> Guidance:
        """This guidance for scoring texts: if none of its parts scores, then all of them do."""
        _ = self._handle
        if self._scores:
            return self
        if self._for_scores is None:
            if not self._implicit and not self._explicit:
                raise InvalidArgumentError("this guidance has nothing to score by")
            twin = Guidance.__new__(Guidance)
            twin._implicit, twin._explicit, twin._scorers = self._implicit, self._explicit, []
            twin._options, twin._nudging = self._options, None
            twin._scores, twin._searches, twin._for_scores = True, self._searches, None
            twin._build([c.IVG_ROLE_SCORE] * (len(self._implicit) + len(self._explicit)))
            self._for_scores = twin
        return self._for_scores


def _first(*values: str | None) -> str | None:
    return next((value for value in values if value is not None), None)


def _choice(choices: dict[str, int], value: str, what: str) -> int:
    if value not in choices:
        names = " or ".join(f'"{name}"' for name in choices)
        raise InvalidArgumentError(f"{what} is {value!r}; it must be {names}")
    return choices[value]


def as_guidance(value: Any) -> Guidance:
    """A guidance that scores by `value`: a guidance, a part of one, a value head, or a function."""
    if isinstance(value, Guidance):
        return value._scoring()
    if isinstance(value, ValueHead):
        value = Explicit(value)
    if isinstance(value, Explicit):
        return Guidance(explicit=value)._scoring()
    if isinstance(value, Implicit):
        return Guidance(implicit=value)._scoring()
    if isinstance(value, Scorer) or callable(value):
        return Guidance(scorer=value)
    raise TypeError(f"cannot score by {type(value).__name__}: pass an ivg.Guidance or ivg.ValueHead")
