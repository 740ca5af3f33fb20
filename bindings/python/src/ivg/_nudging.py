"""Nudging: a small tuned model writes the next words where the base is not sure."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any

from . import _bindings as c
from ._errors import InvalidArgumentError
from ._library import encode_string
from ._model import Adapter, Model
from ._sampling import unsigned
from ._templates import PROMPT, chat_template, plain_template


@dataclass(frozen=True, slots=True)
class Nudging:
    """Where the base's most probable token has a probability below `threshold`, `nudger` writes the next words.

        guide = ivg.Guidance(nudging=ivg.Nudging(ivg.Model("small-instruct.gguf"), nudger_system="Answer briefly."))
        for step in base.stream("Why is the sky blue?", guidance=guide):
            print(f"[{step.text}]" if step.nudged else step.text, end="", flush=True)

    Makes a base model follow instructions without training, whatever the vocabularies (arXiv 2410.09300). Always
    greedy: options of drawing stay at their defaults. A `Completion` says which characters the nudger wrote.

    nudger: a model, or an adapter, which stands for its model with the adapter on; `adapter` is another way to name it.
    threshold: 0 never nudges after a round's first word, above 1 always does. Larger bases want less.
    burst: tokens that one side draws at a time.
    max_rounds: bursts of the base after which the answer ends, as "rounds".
    nudger_template, base_template: what each of them reads, with "{prompt}" in it. Without one, the nudger reads its
    file's chat template with `nudger_system` and the prompt, or the plain texts if the file has none; the base reads
    `base_system`, the prompt, and a new line, or without a system text the bare prompt. `template=` of `generate` wins.
    In a `chat` both read the messages by their chat templates.
    """

    nudger: Model | Adapter
    adapter: Adapter | None = None
    threshold: float = 0.3
    burst: int = 16
    max_rounds: int = 150
    nudger_template: str | None = None
    nudger_system: str | None = None
    base_template: str | None = None
    base_system: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.nudger, Model | Adapter):
            raise TypeError(f"nudger takes ivg.Model or ivg.Adapter, not {type(self.nudger).__name__}")
        for side in ("nudger", "base"):
            if getattr(self, f"{side}_template") is not None and getattr(self, f"{side}_system") is not None:
                raise InvalidArgumentError(f"{side}_template and {side}_system exclude each other")
        if not self.threshold >= 0:
            raise InvalidArgumentError(f"threshold is {self.threshold}; it must be at least 0")

    def _base_template(self) -> str | None:
        if self.base_template is None and self.base_system is not None:
            return plain_template(self.base_system + "\n", "\n")
        return self.base_template

    def _nudger_template(self) -> str | None:
        if self.nudger_template is not None:
            return self.nudger_template
        model = self.nudger.model if isinstance(self.nudger, Adapter) else self.nudger
        if model.info.chat_template is not None:
            return chat_template(model, system=self.nudger_system)
        return None if self.nudger_system is None else f"{self.nudger_system}\n{PROMPT}\n"

    def _options(self) -> tuple[c.ivg_nudging_options, list[Any]]:
        """The C form, and the handles in it, to be kept until the call has returned."""
        adapter = self.nudger if isinstance(self.nudger, Adapter) else self.adapter
        nudger = self.nudger._handle if isinstance(self.nudger, Model) else None
        adapted = adapter._handle if adapter is not None else None
        options = c.ivg_nudging_options(
            struct_size=ctypes.sizeof(c.ivg_nudging_options),
            burst=unsigned(self.burst, 32, "burst", least=1),
            nudger_model=nudger,
            nudger_adapter=adapted,
            nudger_template=encode_string(self._nudger_template(), "nudger_template"),
            # What is 0 as a C float, too: 0 there is the default.
            threshold=ctypes.c_float(self.threshold).value or c.IVG_THRESHOLD_NEVER,
            max_rounds=unsigned(self.max_rounds, 32, "max_rounds", least=1),
        )
        return options, [nudger, adapted]
