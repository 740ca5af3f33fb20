"""The model that an adapter is for: its architecture and sizes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ._config import Config
from ._errors import ConvertError, shown
from ._model import PathLike, read_config
from ._plan import Sizes
from .architectures import KNOWN, Architecture

if TYPE_CHECKING:
    import ivg


@dataclass(frozen=True)
class Base:
    """What must be known of a base model."""

    architecture: Architecture
    sizes: Sizes


def find_base(path: PathLike | None, settings: Config) -> Base:
    """The base at `path`, or else the local folder that adapter_config.json names."""
    if path is None:
        named = settings.raw("base_model_name_or_path", None)
        if not isinstance(named, str) or not (Path(named) / "config.json").is_file():
            raise ConvertError(
                f"{settings.place}: base_model_name_or_path is {shown(named)}, which is no folder here; pass the base "
                "model's folder or GGUF file with --base (base=…)"
            )
        path = named
    place = Path(path)
    if place.is_dir():
        config, architecture = read_config(place)
        return Base(architecture, architecture.sizes(config))
    return _base_of_gguf(place)


def _base_of_gguf(path: Path) -> Base:
    """What a GGUF file says about its sizes, under the names that descriptions of architectures use."""
    # libivg's reader checks what it reads. Late, because `ivg` itself may be importing this.
    import ivg

    with ivg.File(path) as file:
        name = file.architecture
        architecture = next((known for known in KNOWN if known.name == name), None)
        if architecture is None:
            known = ", ".join(sorted({architecture.name for architecture in KNOWN}))
            raise ConvertError(f"{path}: general.architecture is {shown(name)}; known: {known}")
        keys = _Keys(file, path, architecture.name)
        hidden, heads = keys.whole("embedding_length"), keys.whole("attention.head_count")
        key_heads = keys.whole("attention.head_count_kv", heads)
        head = keys.whole("attention.key_length", hidden // heads)
        feed_forward = keys.whole("feed_forward_length")
        experts = keys.whole("expert_count", 0)
        embeddings = {tensor.name: tensor.shape for tensor in file.tensors() if tensor.name in _EDGES}
        if "token_embd.weight" not in embeddings:
            raise ConvertError(f"{path}: tensor token_embd.weight is missing")
        return Base(
            architecture,
            {
                **{"layers": keys.whole("block_count"), "hidden": hidden, "feed_forward": feed_forward},
                **{"gate_up": 2 * feed_forward, "heads": heads, "key_heads": key_heads, "head": head},
                **{"query": heads * head, "key": key_heads * head, "query_key": (heads + key_heads) * head},
                **{"query_key_value": (heads + 2 * key_heads) * head, "experts": experts, "dense": int(experts == 0)},
                **{"vocabulary": embeddings["token_embd.weight"][-1], "untied": int("output.weight" in embeddings)},
                **{"attention_bias": 0, "mlp_bias": 0},
            },
        )


_EDGES = ("token_embd.weight", "output.weight")


@dataclass(frozen=True)
class _Keys:
    file: ivg.File
    path: Path
    architecture: str

    def whole(self, name: str, default: int | None = None) -> int:
        """A whole number of the file's metadata."""
        key = f"{self.architecture}.{name}"
        value = self.file.get(key)
        if value is None and default is not None:
            return default
        return Config({key: value}, str(self.path)).whole(key)
