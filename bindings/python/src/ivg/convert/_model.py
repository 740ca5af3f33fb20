"""Converting a language model."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from gguf import LlamaFileType

from ._config import Config, read_json
from ._errors import ConvertError, shown
from ._folder import read_weights
from ._numbers import Element
from ._plan import Planned, Sizes, planned
from ._source import Weights
from ._write import Output, Progress, name_of, require_free, write_files
from .architectures import Architecture, find_architecture
from .tokenizers import read_vocabulary

PathLike = str | os.PathLike[str]
WeightType = Literal["auto", "f32", "f16", "bf16"]

_FILE_TYPES = {
    Element.F32: LlamaFileType.ALL_F32,
    Element.F16: LlamaFileType.MOSTLY_F16,
    Element.BF16: LlamaFileType.MOSTLY_BF16,
}


@dataclass(frozen=True)
class ModelFolder:
    """A folder with a config.json and weights, looked into."""

    path: Path
    #: The text model's fields.
    config: Config
    architecture: Architecture
    sizes: Sizes
    #: The architecture's own metadata, by keys without its name.
    metadata: Mapping[str, Any]
    weights: Weights
    #: What stands before the trunk's tensors.
    prefix: str


def open_model_folder(folder: PathLike) -> ModelFolder:
    """Reads config.json and finds the weights."""
    path = Path(folder)
    config, architecture = read_config(path)
    sizes = architecture.sizes(config)
    metadata = architecture.metadata(config, sizes)
    weights = read_weights(path)
    return ModelFolder(path, config, architecture, sizes, metadata, weights, _prefix(architecture, weights, path))


def read_config(folder: Path) -> tuple[Config, Architecture]:
    """The text model's fields in config.json, with its family's defaults, and the family."""
    if not folder.is_dir():
        raise ConvertError(f"{folder} is not a folder")
    path = folder / "config.json"
    config = Config(read_json(path), str(path))
    architecture = find_architecture(config)
    if config.has("quantization_config"):
        method = config.section("quantization_config").raw("quant_method", "unknown")
        raise ConvertError(
            f"{path}: the weights are quantised ({shown(method)}); convert the model they were made from"
        )
    if config.has(architecture.part):
        config = config.section(architecture.part)
    return config.with_defaults(architecture.defaults), architecture


def _prefix(architecture: Architecture, weights: Weights, path: Path) -> str:
    embedding = architecture.tensors[0].sources[0].name
    for prefix in architecture.prefixes:
        if prefix + embedding in weights:
            return prefix
    names = " or ".join(prefix + embedding for prefix in architecture.prefixes)
    raise ConvertError(f"{path}: tensor {names} is missing in the weights")


def type_chooser(name: str) -> Callable[[Element], Element]:
    """The type of a matrix by its stored type, for a --type."""
    if name == "auto":
        return lambda stored: Element.F32 if stored is Element.F64 else stored
    try:
        chosen = {"f32": Element.F32, "f16": Element.F16, "bf16": Element.BF16}[name]
    except KeyError:
        raise ConvertError(f"type is {shown(name)}; known: auto, f32, f16, bf16") from None
    return lambda stored: chosen


def plan_model(
    folder: ModelFolder, choose: Callable[[Element], Element], besides: Sequence[str] = (), output: bool = True
) -> list[Planned]:
    """All tensors of the file. Stored tensors that have no place in it are an error, except those in `besides`.

    Without `output` the output matrix is left out.
    """
    architecture, weights = folder.architecture, folder.weights
    tensors = [tensor for tensor in architecture.tensors if output or tensor.name != "output.weight"]
    found, used = planned(tensors, weights, folder.prefix, folder.sizes, choose)
    for name, values in architecture.computed(folder.config, folder.sizes).items():
        found.append(Planned(name, values.shape, Element.F32, computed=values))
    unused = [
        name
        for name in weights
        if name not in used
        and name not in besides
        and not (name.endswith("lm_head.weight") and not folder.sizes["untied"])
        and not name.endswith(architecture.ignored)
        and not name.startswith(architecture.other_parts)
    ]
    if unused:
        more = f", nor have {len(unused) - 1} others" if len(unused) > 1 else ""
        raise ConvertError(
            f"{weights[unused[0]].place()} has no place in a {architecture.name} model with this config{more}"
        )
    return found


def model_metadata(folder: ModelFolder, tensors: Sequence[Planned], pre: str | None) -> dict[str, Any]:
    """All metadata of a model file."""
    architecture = folder.architecture
    matrices = [tensor for tensor in tensors if len(tensor.shape) > 1]
    sums: dict[Element, int] = {}
    for tensor in matrices:
        sums[tensor.element] = sums.get(tensor.element, 0) + tensor.byte_count
    most = max(sums, key=lambda element: sums[element])
    vocabulary = read_vocabulary(folder.path, folder.config, folder.sizes["vocabulary"], pre)
    return {
        "general.type": "model",
        "general.name": name_of(folder.path),
        **{f"{architecture.name}.{key}": value for key, value in folder.metadata.items()},
        "general.file_type": int(_FILE_TYPES[most]),
        "general.quantization_version": 2,
        **vocabulary.metadata(),
    }


def convert_model(
    folder: PathLike,
    out: PathLike,
    *,
    type: WeightType = "auto",
    pre: str | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> None:
    """Writes the model of a Hugging Face folder as the GGUF file `out`.

    `type` is that of the matrices; "auto" keeps the one they have. Vectors are F32. `pre` names how text is cut into
    words (`tokenizer.ggml.pre`) where tokenizer.json does not say it in a known way. An existing file is replaced only
    with `force`. `progress` is told after each tensor: its name, bytes so far, bytes in all. Throws ConvertError; then,
    and when interrupted, no file is left behind and an existing one is untouched.
    """
    target = Path(out)
    require_free(target, force)
    model = open_model_folder(folder)
    tensors = plan_model(model, type_chooser(type))
    metadata = model_metadata(model, tensors, pre)
    write_files([Output(target, model.architecture.name, metadata, tensors)], progress)
