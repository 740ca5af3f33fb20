"""Converting a value model: a trunk and a head on its last hidden state, as two files."""

from __future__ import annotations

from pathlib import Path

from ._errors import ConvertError
from ._model import ModelFolder, PathLike, WeightType, model_metadata, open_model_folder, plan_model, type_chooser
from ._numbers import Element
from ._plan import Planned, unchanged
from ._source import StoredTensor, Weights
from ._write import Output, Progress, name_of, require_free, write_files

#: What heads are called: by the models of IVG (a number for each token, or one), by transformers' sequence
#: classification, by Starling's reward models.
HEADS = ("score_head", "score", "v_head")


def find_head(weights: Weights) -> str | None:
    """The name of the head among the weights, if there is one."""
    return next((name for name in HEADS if f"{name}.weight" in weights), None)


def default_head_path(out: PathLike) -> Path:
    """Where the head goes if nothing else is said: beside an `out` of `X.gguf` it is in `X-head.gguf`."""
    path = Path(out)
    return path.with_name(f"{path.stem}-head.gguf")


def convert_value_model(
    folder: PathLike,
    out: PathLike,
    head_out: PathLike | None = None,
    *,
    type: WeightType = "auto",
    pre: str | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> None:
    """Writes a value model as two GGUF files: the trunk to `out`, the head to `head_out`.

    Known are `*ForTokenScore` (a number for every next token) and `*ForScore`, `*ForSequenceClassification` with one
    label and Starling's layout (a number for the text so far). The trunk is a model file; unless the folder has an
    output matrix of its own, its logits mean nothing. Otherwise as `convert_model`.
    """
    target = Path(out)
    head_target = default_head_path(target) if head_out is None else Path(head_out)
    if target.absolute() == head_target.absolute():
        raise ConvertError(f"{target}: trunk and head need different files")
    for path in (target, head_target):
        require_free(path, force)
    model = open_model_folder(folder)
    name = find_head(model.weights)
    if name is None:
        names = ", ".join(f"{head}.weight" for head in HEADS)
        raise ConvertError(f"{model.path} holds no value head: none of the tensors {names}")
    choose = type_chooser(type)
    used = (f"{name}.weight", f"{name}.bias")
    trunk = plan_model(model, choose, besides=used, output="lm_head.weight" in model.weights)
    kind, head = _plan_head(model, name, choose(model.weights[used[0]].element))
    sizes = model.sizes
    head_metadata = {
        "general.type": "value_head",
        "general.name": f"{name_of(model.path)}: value head",
        "value_head.kind": kind,
        "value_head.trunk.architecture": model.architecture.name,
        "value_head.trunk.embedding_length": sizes["hidden"],
        "value_head.trunk.block_count": sizes["layers"],
        "value_head.trunk.vocabulary_size": sizes["vocabulary"],
    }
    architecture = model.architecture.name
    write_files(
        [
            Output(target, architecture, model_metadata(model, trunk, pre), trunk),
            Output(head_target, architecture, head_metadata, head),
        ],
        progress,
    )


def _plan_head(model: ModelFolder, name: str, element: Element) -> tuple[str, list[Planned]]:
    """The kind of the head, and its tensors."""
    weight = model.weights[f"{name}.weight"]
    hidden, vocabulary = model.sizes["hidden"], model.sizes["vocabulary"]
    if weight.shape == (1, hidden):
        kind = "scalar"
    elif weight.shape == (vocabulary, hidden):
        kind = "vocabulary"
    else:
        raise ConvertError(
            f"{weight.place()} has shape {list(weight.shape)}; a value head has [{vocabulary}, {hidden}], a row for "
            f"each token, or [1, {hidden}]"
        )
    tensors = [Planned("score_head.weight", weight.shape, element, ((weight, unchanged),))]
    bias = model.weights.get(f"{name}.bias")
    if bias is not None:
        tensors.append(_plan_bias(bias, kind))
    return kind, tensors


def _plan_bias(bias: StoredTensor, kind: str) -> Planned:
    if kind != "scalar" or bias.shape != (1,):
        raise ConvertError(f"{bias.place()} has shape {list(bias.shape)}; only heads of one row have a bias, [1]")
    return Planned("score_head.bias", (1,), Element.F32, ((bias, unchanged),))
