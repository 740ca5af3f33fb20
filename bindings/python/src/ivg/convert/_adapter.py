"""Converting a LoRA adapter as PEFT saves it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ._base import Base, find_base
from ._config import Config, read_json
from ._errors import ConvertError, shown
from ._folder import read_weights
from ._model import PathLike, WeightType, type_chooser
from ._numbers import Element
from ._plan import Planned, Tensor, View, transposed, unchanged
from ._source import StoredTensor
from ._write import Output, Progress, name_of, require_free, write_files

_WRAPPER = "base_model.model."
_A, _B = ".lora_A.weight", ".lora_B.weight"
#: Settings whose effect an adapter file cannot hold.
_REFUSED = (
    *("use_dora", "lora_bias", "use_qalora", "use_bdlora", "modules_to_save", "layer_replication", "arrow_config"),
    *("trainable_token_indices", "target_parameters", "alora_invocation_tokens", "kasa_config"),
)
#: How pairs may have begun, beside true and false. With another beginning ("pissa", "olora", "corda", "loftq") PEFT
#: changes the base model too, also when it loads the adapter.
_BEGINNINGS = ("gaussian", "eva", "orthogonal", "mica", "lora_ga")


@dataclass(frozen=True)
class _Pair:
    """The two matrices of one adapted projection, and what the file calls it."""

    #: Name of the module in the adapted model.
    module: str
    tensor: Tensor
    layer: int
    a: StoredTensor
    b: StoredTensor

    @property
    def rank(self) -> int:
        return self.a.shape[0]


def convert_adapter(
    folder: PathLike,
    out: PathLike,
    *,
    base: PathLike | None = None,
    type: WeightType = "f32",
    force: bool = False,
    progress: Progress | None = None,
) -> None:
    """Writes a PEFT LoRA adapter of `folder` as the GGUF file `out`.

    `base` is the folder (only its config.json is read) or GGUF file of the model it is for; without one,
    adapter_config.json must name such a folder. Scales that differ between modules (`alpha_pattern`, `rank_pattern`)
    are multiplied into B. What an adapter file cannot hold is refused by name. Otherwise as `convert_model`.
    """
    path, target = Path(folder), Path(out)
    require_free(target, force)
    settings = Config(read_json(path / "adapter_config.json"), str(path / "adapter_config.json"))
    _check_settings(settings)
    found = find_base(base, settings)
    pairs = sorted(_pairs(read_weights(path, "adapter_model", "adapter_model"), found), key=lambda pair: pair.layer)
    alpha, scales = _scales(pairs, settings)
    choose = type_chooser(type)
    metadata = {
        "general.type": "adapter",
        "general.name": name_of(path),
        "adapter.type": "lora",
        "adapter.lora.alpha": alpha,
    }
    tensors = [
        tensor
        for pair, scale in zip(pairs, scales, strict=True)
        for tensor in _planned_pair(pair, scale, found, choose)
    ]
    write_files([Output(target, found.architecture.name, metadata, tensors)], progress)


def _check_settings(settings: Config) -> None:
    kind = settings.raw("peft_type", None)
    if kind != "LORA":
        raise ConvertError(f"{settings.place}: peft_type is {shown(kind)}; only LORA can be converted")
    for name in _REFUSED:
        if settings.raw(name, None):
            raise ConvertError(
                f"{settings.place}: {name} is {shown(settings.values[name])}, which an adapter file cannot hold"
            )
    beginning = settings.raw("init_lora_weights", True)
    if not isinstance(beginning, bool) and str(beginning).lower() not in _BEGINNINGS:
        raise ConvertError(
            f"{settings.place}: init_lora_weights is {shown(beginning)}, which changes the base model's weights; only "
            "adapters of the unchanged base can be converted"
        )
    bias = settings.raw("bias", "none")
    if bias != "none":
        raise ConvertError(f"{settings.place}: bias is {shown(bias)}; an adapter file holds no biases")


def _pairs(weights: dict[str, StoredTensor], base: Base) -> Iterator[_Pair]:
    """All pairs. Throws at what is not half of one."""
    targets = _targets(base)
    seen: set[tuple[str, int]] = set()
    for name, stored in weights.items():
        short = name.removeprefix(_WRAPPER)
        if name.endswith(_B) and name.removesuffix(_B) + _A in weights:
            continue
        if name.endswith(".base_layer.weight"):
            # The base model's own matrix, saved alongside; only a changed size would mean that it differs.
            _require_own(stored, short.removesuffix(".base_layer.weight"), targets, base)
            continue
        if not name.endswith(_A):
            raise ConvertError(f"{stored.place()} is no part of a LoRA pair; an adapter file cannot hold it")
        module = short.removesuffix(_A)
        if name.removesuffix(_A) + _B not in weights:
            raise ConvertError(f"{stored.place()} has no counterpart {_B[1:]}")
        tensor, layer = _target(stored, module, targets, base)
        if (tensor.name, layer) in seen:
            raise ConvertError(f"{stored.place()} adapts {tensor.name.format(layer=layer)} a second time")
        seen.add((tensor.name, layer))
        pair = _Pair(module, tensor, layer, stored, weights[name.removesuffix(_A) + _B])
        _check_shapes(pair, base)
        yield pair


def _targets(base: Base) -> dict[str, tuple[Tensor, int]]:
    """What each module of the base model is in the file: its tensor and layer."""
    found: dict[str, tuple[Tensor, int]] = {}
    for tensor in base.architecture.tensors:
        if len(tensor.shape) != 2 or tensor.exact or not tensor.when(base.sizes) or "{layer}" not in tensor.name:
            continue
        for source in tensor.sources:
            name = source.name.removesuffix(".weight")
            for layer in range(base.sizes["layers"]):
                for prefix in base.architecture.prefixes:
                    found[prefix + name.format(layer=layer)] = (tensor, layer)
    return found


def _target(
    stored: StoredTensor, module: str, targets: dict[str, tuple[Tensor, int]], base: Base
) -> tuple[Tensor, int]:
    """What the module is in the file. Throws if readers know no delta of it."""
    if module not in targets:
        raise ConvertError(
            f"{stored.place()} adapts {module}, of which a {base.architecture.name} file has no adaptable matrix"
        )
    return targets[module]


def _require_own(stored: StoredTensor, module: str, targets: dict[str, tuple[Tensor, int]], base: Base) -> None:
    tensor, _ = _target(stored, module, targets, base)
    if stored.shape != tuple(base.sizes[size] for size in tensor.sources[0].shape):
        raise ConvertError(f"{stored.place()} has another shape than the base model's; an adapter file cannot hold it")


def _check_shapes(pair: _Pair, base: Base) -> None:
    outputs, columns = (base.sizes[size] for size in pair.tensor.shape)
    rank = pair.a.shape[0] if len(pair.a.shape) == 2 else 0
    if rank < 1 or pair.a.shape != (rank, columns) or pair.b.shape != (outputs, rank):
        raise ConvertError(
            f"{pair.a.place()} has shape {list(pair.a.shape)} and its counterpart {list(pair.b.shape)}; the base "
            f"model's {outputs} by {columns} needs [r, {columns}] and [{outputs}, r]"
        )


def _scales(pairs: list[_Pair], settings: Config) -> tuple[float, list[float]]:
    """The alpha of the file, and by what each B is multiplied: readers scale a pair by alpha / its rank."""
    if not pairs:
        raise ConvertError(f"{settings.place}: the adapter has no LoRA pairs")
    usual = _nonzero(settings, "lora_alpha")
    stabilised = settings.flag("use_rslora", False)
    patterns = settings.section("alpha_pattern", {})
    wanted = []
    for pair in pairs:
        own = (_nonzero(patterns, key) for key in patterns.values if _matches(key, pair.module, patterns))
        alpha = next(own, usual)
        # arXiv 2312.03732: alpha / √r in place of alpha / r.
        wanted.append(alpha * math.sqrt(pair.rank) if stabilised else alpha)
    file_alpha = wanted[0] if len(set(wanted)) == 1 else usual
    return file_alpha, [alpha / file_alpha for alpha in wanted]


def _nonzero(settings: Config, name: str) -> float:
    value = settings.number(name, low=-1e6, high=1e6)
    if value == 0:
        raise settings.error(name, value, "other than 0")
    return value


def _matches(key: str, module: str, patterns: Config) -> bool:
    """Whether a key of a pattern means the module: its name or the end of it, as PEFT reads plain names."""
    name = key.removeprefix("^").removesuffix("$").replace("\\.", ".")
    if not re.fullmatch(r"[\w.]{1,300}", name):
        raise ConvertError(f"{patterns.place}: {shown(key)} is a regular expression; only names of modules are known")
    if key.startswith("^"):
        return module == name
    return module == name or module.endswith("." + name)


def _planned_pair(pair: _Pair, scale: float, base: Base, choose: Callable[[Element], Element]) -> Iterator[Planned]:
    stem = pair.tensor.name.format(layer=pair.layer)
    view = pair.tensor.sources[0].view
    # PEFT keeps B as [outputs, rank] for transposed matrices too.
    view = unchanged if view is transposed else view
    halves: list[tuple[str, StoredTensor, View, float]] = [
        ("lora_a", pair.a, unchanged, 1.0),
        ("lora_b", pair.b, view, scale),
    ]
    for name, stored, how, factor in halves:
        element = choose(stored.element)
        yield Planned(f"{stem}.{name}", stored.shape, element, ((stored, how),), base.sizes, scale=factor)
