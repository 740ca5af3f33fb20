"""The architectures that can be converted, one description each.

A new one is a file with an `Architecture` and an entry in `KNOWN`.
"""

from __future__ import annotations

from ivg.convert._config import Config
from ivg.convert._errors import ConvertError, shown

from ._architecture import Architecture
from .gemma import GEMMA, GEMMA2, GEMMA3, GEMMA3_PICTURES
from .gpt2 import GPT2
from .llama import LLAMA, MISTRAL, MIXTRAL
from .olmo import OLMO, OLMO2
from .phi3 import PHI3
from .qwen import QWEN2, QWEN3

#: Several of one name differ only in what a config.json means.
KNOWN = (LLAMA, MISTRAL, MIXTRAL, GPT2, QWEN2, QWEN3, GEMMA, GEMMA2, GEMMA3, GEMMA3_PICTURES, OLMO, OLMO2, PHI3)


def find_architecture(config: Config) -> Architecture:
    """The description that goes with a config.json. Throws naming all known if there is none."""
    name = config.raw("model_type", None)
    for architecture in KNOWN:
        if name in architecture.model_types:
            return architecture
    known = ", ".join(sorted({kind for architecture in KNOWN for kind in architecture.model_types}))
    raise ConvertError(f"{config.place}: model_type is {shown(name)}, which cannot be converted; known: {known}")


__all__ = ["KNOWN", "Architecture", "find_architecture"]
