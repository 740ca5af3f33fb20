"""The methods that are compared: all of them corners of one search machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from .._errors import InvalidArgumentError
from .._guidance import BestOf, ChunkBeamSearch, Explicit, Guidance, Implicit, Role
from .._model import Adapter, Model, ValueHead
from .._templates import template_for

Value = Literal["implicit", "explicit"]


@dataclass(frozen=True, slots=True)
class Method:
    """What tilts each token's distribution, what scores rows, and how rows are searched."""

    name: str
    tilt: Value | None = None
    score: Value | None = None
    search: Literal["best of", "chunks"] | None = None

    @property
    def needs(self) -> set[Value]:
        """The kinds of values that it cannot do without."""
        return {value for value in (self.tilt, self.score) if value is not None}


#: The rows of the paper's tables (IVG, sections 4 and 5), in the order in which they are shown.
METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method("Base"),
        Method("BoNi", score="implicit", search="best of"),
        Method("BoNe", score="explicit", search="best of"),
        Method("EFTi", tilt="implicit"),
        Method("EFTe", tilt="explicit"),
        Method("CBSi", score="implicit", search="chunks"),
        Method("CBSe", score="explicit", search="chunks"),
        Method("EFTi+CBSi", tilt="implicit", score="implicit", search="chunks"),
        Method("EFTe+CBSi", tilt="explicit", score="implicit", search="chunks"),
        Method("EFTe+CBSe", tilt="explicit", score="explicit", search="chunks"),
        Method("IVG", tilt="implicit", score="explicit", search="chunks"),
    )
}
#: Those that are run if none are named.
USUAL = ("Base", "BoNi", "BoNe", "EFTi", "EFTe", "CBSi", "CBSe", "EFTi+CBSi", "IVG")


@dataclass(frozen=True, slots=True, kw_only=True)
class Guides:
    """The small models that guide.

    model: the trunk of adapters and heads; None: the base model itself.
    tuned, untuned: models or adapters; no `untuned` is the guide model, or where that is the base, the base.
    tuned_prompt, untuned_prompt: prompts in place of (or beside) tuned models, see `Implicit`.
    value_head: for the explicit methods.
    prefix, suffix: what every guide sees around the prompt.
    """

    model: Model | None = None
    tuned: Model | Adapter | None = None
    untuned: Model | Adapter | None = None
    tuned_prompt: str | None = None
    untuned_prompt: str | None = None
    value_head: ValueHead | None = None
    prefix: str = ""
    suffix: str = ""

    @property
    def has(self) -> set[Value]:
        """The kinds of values that these guides give."""
        implicit = any(item is not None for item in (self.tuned, self.tuned_prompt))
        found: set[Value] = {"implicit"} if implicit else set()
        return found | ({"explicit"} if self.value_head is not None else set())


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchOptions:
    """How methods search, and how strong guides are.

    width, successors, chunk: W, K and L of chunk-level beam search; best_of: N of best of N.
    weights: strengths w of an implicit tilt (IVG eq. 5 and 6); with several, each method that tilts is run with each.
    explicit_weights: the same for explicit tilts (IVG eq. 7); None: `weights`.
    score_weight: a factor of the score of rows; where one value scores, it changes the score and not the choice.
    """

    width: int = 4
    successors: int = 4
    chunk: int = 5
    best_of: int = 16
    weights: tuple[float, ...] = (1.0,)
    explicit_weights: tuple[float, ...] | None = None
    score_weight: float = 1.0

    def weights_of(self, method: Method) -> tuple[float, ...]:
        """The strengths that a method is run with."""
        if method.tilt == "explicit" and self.explicit_weights is not None:
            return self.explicit_weights
        return self.weights if method.tilt is not None else (1.0,)


@dataclass(frozen=True, slots=True)
class Variant:
    """A method with one strength of its tilt: a row of the table."""

    label: str
    method: Method
    weight: float


def variants(names: Sequence[str], search: SearchOptions) -> list[Variant]:
    """The rows of the table for these methods, in the order of `METHODS`."""
    for name in names:
        if name not in METHODS:
            raise InvalidArgumentError(f"there is no method {name!r}; there are {', '.join(METHODS)}")
    found = []
    for method in METHODS.values():
        weights = search.weights_of(method)
        if method.name in names:
            for weight in weights:
                label = method.name if len(weights) == 1 else f"{method.name} w={weight:g}"
                found.append(Variant(label, method, weight))
    return found


class Builder:
    """Makes the guidance of each method for one base model."""

    def __init__(self, base: Model, guides: Guides, search: SearchOptions, template: str, chat: bool) -> None:
        self._base = base
        self._guides = guides
        self._search = search
        self._template = template
        self._chat = chat

    def guidance(self, variant: Variant) -> Guidance | None:
        """The guidance of a method; None for plain sampling."""
        method, search = variant.method, self._search
        if method.tilt is None and method.search is None:
            return None
        parts: list[tuple[Value, Role, float]] = []
        if method.tilt is not None:
            parts.append((method.tilt, "tilt", variant.weight))
        if method.score is not None:
            parts.append((method.score, "score", search.score_weight))
        chunks = ChunkBeamSearch(search.width, search.successors, search.chunk)
        return Guidance(
            implicit=[self._implicit(role, weight) for value, role, weight in parts if value == "implicit"],
            explicit=[self._explicit(role, weight) for value, role, weight in parts if value == "explicit"],
            search={"best of": BestOf(search.best_of), "chunks": chunks, None: None}[method.search],
        )

    def _explicit(self, role: Role, weight: float) -> Explicit:
        head = self._guides.value_head
        assert head is not None
        return Explicit(head, weight=weight, role=role, template=self._seen_by(head.model))

    def _implicit(self, role: Role, weight: float) -> Implicit:
        guides = self._guides
        trunk = guides.model if guides.model is not None else self._base
        tuned, untuned = guides.tuned, guides.untuned
        if trunk is not self._base:
            tuned, untuned = tuned if tuned is not None else trunk, untuned if untuned is not None else trunk
        tuned_template = guides.tuned_prompt or self._seen_by(tuned if isinstance(tuned, Model) else trunk)
        untuned_template = guides.untuned_prompt or self._seen_by(untuned if isinstance(untuned, Model) else trunk)
        if untuned is None and untuned_template == self._template:
            return Implicit(tuned=tuned, weight=weight, role=role, tuned_template=tuned_template)
        return Implicit(
            tuned=tuned,
            untuned=untuned,
            weight=weight,
            role=role,
            tuned_template=tuned_template,
            untuned_template=untuned_template,
        )

    def _seen_by(self, model: Model) -> str:
        """What a guide sees in place of the prompt: each model has its own chat template."""
        return template_for(model, self._chat, self._guides.prefix, self._guides.suffix)
