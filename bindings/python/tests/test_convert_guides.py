"""Converting guides: PEFT adapters and value models, compared with what peft and torch compute."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from conftest import fixture_path
from hugging_face import LLAMA, Array, fields_of, llama_weights, separated, tensors_of, write_folder, write_json
from safetensors.numpy import load_file, save_file

import ivg
from ivg.convert import (
    ConvertError,
    convert_adapter,
    convert_model,
    convert_value_model,
    default_head_path,
    folder_kind,
)

FOLDERS = fixture_path("hugging-face")
EXPECTED: dict[str, list[dict[str, Any]]] = json.loads((FOLDERS / "expected.json").read_text("utf-8"))
ARCHITECTURES = fixture_path("architectures")


def opened(path: Path) -> ivg.Model:
    """The model, or a skipped test if libivg does not know its architecture."""
    try:
        return ivg.Model(path, threads=1)
    except ivg.UnsupportedError as error:
        pytest.skip(str(error))


# Adapters


@pytest.mark.parametrize("entry", EXPECTED["adapters"], ids=lambda entry: entry["folder"])
def test_adapters_compute_what_peft_computes(entry: dict[str, Any], tmp_path: Path) -> None:
    base = ARCHITECTURES / f"{entry['base']}.gguf"
    convert_adapter(FOLDERS / entry["folder"], tmp_path / "adapter.gguf", base=base)
    with opened(base) as model, model.adapter(tmp_path / "adapter.gguf") as adapter, model.session() as session:
        with session.sequence() as plain:
            plain.evaluate(entry["ids"])
            assert max(abs(np.subtract(plain.logits(), entry["logits"]))) > 0.1
        with session.sequence(adapter) as sequence:
            sequence.evaluate(entry["ids"])
            np.testing.assert_allclose(sequence.logits(), entry["logits"], rtol=0, atol=2e-3)


def lora(rank: int = 4, names: tuple[str, ...] = ("q_proj", "k_proj", "v_proj"), seed: int = 3) -> dict[str, Array]:
    """A LoRA of the first layer's projections of the small llama."""
    random = np.random.default_rng(seed)
    outputs = {"q_proj": 16, "k_proj": 8, "v_proj": 8}
    found: dict[str, Array] = {}
    for name in names:
        stem = f"base_model.model.model.layers.0.self_attn.{name}"
        found[f"{stem}.lora_A.weight"] = random.standard_normal((rank, 16), dtype=np.float32)
        found[f"{stem}.lora_B.weight"] = random.standard_normal((outputs[name], rank), dtype=np.float32)
    return found


SETTINGS: dict[str, Any] = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "bias": "none"}


def write_adapter(folder: Path, weights: dict[str, Array] | None = None, **changes: Any) -> Path:
    folder.mkdir(exist_ok=True)
    write_json(folder / "adapter_config.json", {**SETTINGS, **changes})
    save_file(lora() if weights is None else weights, folder / "adapter_model.safetensors")
    return folder


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """The folder of the small llama."""
    return write_folder(tmp_path / "base")


def converted(folder: Path, base: Path, **options: Any) -> tuple[dict[str, Any], dict[str, Array]]:
    """Metadata and tensors of the adapter's file."""
    out = folder.with_suffix(".gguf")
    convert_adapter(folder, out, base=base, force=True, **options)
    return fields_of(out), tensors_of(out)


def assert_fails(folder: Path, base: Path | None, message: str) -> None:
    before = sorted(folder.parent.iterdir())
    with pytest.raises(ConvertError, match=message):
        convert_adapter(folder, folder.parent / "none.gguf", base=base)
    assert sorted(folder.parent.iterdir()) == before


def test_an_adapter_file_is_as_llama_cpp_writes_it(base: Path, tmp_path: Path) -> None:
    fields, tensors = converted(write_adapter(tmp_path / "adapter"), base)
    assert fields == {
        "general.architecture": "llama",
        "general.type": "adapter",
        "general.name": "adapter",
        "adapter.type": "lora",
        "adapter.lora.alpha": 8.0,
    }
    stored = {name.split(".", 6)[-1]: values for name, values in lora().items()}
    assert list(tensors) == [f"blk.0.attn_{name}.weight.lora_{half}" for name in ("k", "q", "v") for half in ("a", "b")]
    for short, name, heads in (("q", "q_proj", 2), ("k", "k_proj", 1)):
        a, b = (tensors[f"blk.0.attn_{short}.weight.lora_{half}"] for half in ("a", "b"))
        np.testing.assert_array_equal(a, stored[f"{name}.lora_A.weight"])
        np.testing.assert_array_equal(separated(b, heads), stored[f"{name}.lora_B.weight"])
    np.testing.assert_array_equal(tensors["blk.0.attn_v.weight.lora_b"], stored["v_proj.lora_B.weight"])


def test_the_base_may_be_a_file_or_the_folder_that_the_adapter_names(base: Path, tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path / "adapter")
    expected = converted(adapter, base)[1]
    convert_model(base, tmp_path / "base.gguf")
    for name, values in converted(adapter, tmp_path / "base.gguf")[1].items():
        np.testing.assert_array_equal(values, expected[name])
    write_adapter(adapter, base_model_name_or_path=str(base))
    convert_adapter(adapter, tmp_path / "named.gguf")
    assert tensors_of(tmp_path / "named.gguf").keys() == expected.keys()


def scale_of(fields: dict[str, Any], tensors: dict[str, Array], stored: Array, name: str, rank: int) -> float:
    """By what a reader multiplies B A, relative to what is stored."""
    factor = float(np.median(tensors[f"blk.0.attn_{name}.weight.lora_b"] / stored))
    return factor * float(fields["adapter.lora.alpha"]) / rank


def test_scales(base: Path, tmp_path: Path) -> None:
    weights = {**lora(4, ("q_proj", "k_proj")), **lora(2, ("v_proj",))}
    stored = weights["base_model.model.model.layers.0.self_attn.v_proj.lora_B.weight"]
    cases: list[tuple[dict[str, Any], float]] = [
        ({}, 8 / 2),
        ({"use_rslora": True}, 8 / math.sqrt(2)),
        ({"alpha_pattern": {"v_proj": 3}}, 3 / 2),
        ({"alpha_pattern": {"q_proj": 5, "^model.layers.0.self_attn.v_proj": 6, "v_proj": 3}}, 6 / 2),
        ({"alpha_pattern": {r"self_attn\.v_proj$": 3}, "use_rslora": True}, 3 / math.sqrt(2)),
        ({"alpha_pattern": {"proj": 3, "^layers.0.self_attn.v_proj": 5}}, 8 / 2),
    ]
    for changes, expected in cases:
        fields, tensors = converted(write_adapter(tmp_path / "adapter", weights, **changes), base)
        assert scale_of(fields, tensors, stored, "v", 2) == pytest.approx(expected, rel=1e-6), changes
    # Where all agree, B is as it was.
    fields, tensors = converted(write_adapter(tmp_path / "adapter", lora(), use_rslora=True), base)
    assert fields["adapter.lora.alpha"] == 16
    np.testing.assert_array_equal(
        tensors["blk.0.attn_v.weight.lora_b"], lora()["base_model.model.model.layers.0.self_attn.v_proj.lora_B.weight"]
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"peft_type": "IA3"}, "peft_type is 'IA3'; only LORA can be converted"),
        ({"use_dora": True}, "use_dora is True, which an adapter file cannot hold"),
        ({"modules_to_save": ["lm_head", "score"]}, r"modules_to_save is \['lm_head', 'score'\], which an adapter"),
        ({"bias": "all"}, "bias is 'all'; an adapter file holds no biases"),
        ({"lora_bias": True}, "lora_bias is True"),
        ({"trainable_token_indices": [1]}, "trainable_token_indices is"),
        ({"alora_invocation_tokens": [1]}, "alora_invocation_tokens is"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights is 'pissa', which changes the base model's weights"),
        ({"init_lora_weights": "pissa_niter_16"}, "init_lora_weights is 'pissa_niter_16', which changes"),
        ({"init_lora_weights": "olora"}, "init_lora_weights is 'olora', which changes"),
        ({"init_lora_weights": "corda"}, "init_lora_weights is 'corda', which changes"),
        ({"init_lora_weights": "loftq"}, "init_lora_weights is 'loftq', which changes"),
        ({"init_lora_weights": "unknown"}, "init_lora_weights is 'unknown', which changes"),
        ({"init_lora_weights": {"a": 1}}, "init_lora_weights is {'a': 1}, which changes"),
        ({"lora_alpha": None}, "lora_alpha is missing"),
        ({"lora_alpha": 0}, "lora_alpha is 0.0, but must be other than 0"),
        ({"lora_alpha": "8"}, "lora_alpha is '8', but must be a number"),
        ({"use_rslora": 1}, "use_rslora is 1, but must be true or false"),
        ({"alpha_pattern": {"v_proj": "x"}}, "v_proj is 'x', but must be a number"),
        ({"alpha_pattern": {"(a+)+": 1}}, r"'\(a\+\)\+' is a regular expression; only names"),
    ],
)
def test_settings_that_are_refused(base: Path, tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    assert_fails(write_adapter(tmp_path / "adapter", **changes), base, message)


@pytest.mark.parametrize("beginning", [True, False, None, "gaussian", "eva", "orthogonal", "mica", "lora_ga"])
def test_beginnings_that_leave_the_base_as_it_is(base: Path, tmp_path: Path, beginning: Any) -> None:
    assert len(converted(write_adapter(tmp_path / "adapter", init_lora_weights=beginning), base)[1]) == 6


def test_the_output_matrix_is_not_adapted(tmp_path: Path) -> None:
    # Readers know no delta of it, tied or not.
    untied = {**LLAMA, "tie_word_embeddings": False}
    weights = {**llama_weights(LLAMA), "lm_head.weight": np.ones((24, 16), np.float32)}
    base = write_folder(tmp_path / "untied", untied, weights)
    head = {f"base_model.model.lm_head.lora_{name}.weight": shape for name, shape in (("A", (4, 16)), ("B", (24, 4)))}
    pairs = {**lora(), **{name: np.ones(shape, np.float32) for name, shape in head.items()}}
    adapter = write_adapter(tmp_path / "adapter", pairs)
    message = r"lora_A\.weight adapts lm_head, of which a llama file has no adaptable matrix"
    assert_fails(adapter, base, message)
    convert_model(base, tmp_path / "untied.gguf")
    assert_fails(adapter, tmp_path / "untied.gguf", message)
    # PEFT saves the matrix itself too.
    pairs["base_model.model.lm_head.base_layer.weight"] = weights["lm_head.weight"]
    message = r"adapts lm_head, of which a llama file has no adaptable matrix"
    assert_fails(write_adapter(tmp_path / "adapter", pairs), base, message)


STEM = "base_model.model.model.layers.0.self_attn."


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"q_proj.lora_B.weight": None}, r"q_proj\.lora_A\.weight has no counterpart lora_B\.weight"),
        ({"q_proj.lora_A.weight": None}, r"q_proj\.lora_B\.weight is no part of a LoRA pair"),
        ({"q_proj.lora_magnitude_vector": (16,)}, "lora_magnitude_vector is no part of a LoRA pair"),
        ({"q_proj.modules_to_save.weight": (16, 16)}, r"modules_to_save\.weight is no part of a LoRA pair"),
        (
            {"q_proj.lora_A.weight": (4, 15)},
            r"has shape \[4, 15\] and its counterpart \[16, 4\]; the base model's 16 by",
        ),
        ({"q_proj.lora_B.weight": (16, 5)}, r"needs \[r, 16\] and \[16, r\]"),
        ({"q_proj.lora_A.weight": (4,)}, r"has shape \[4\] and its"),
        ({"q_proj.lora_A.weight": (0, 16), "q_proj.lora_B.weight": (16, 0)}, r"has shape \[0, 16\]"),
        (
            {"x_proj.lora_A.weight": (4, 16), "x_proj.lora_B.weight": (16, 4)},
            "adapts model.layers.0.self_attn.x_proj, of",
        ),
        (
            {"q_proj.lora_A.weight": (4, 16), "../q_proj.lora_A.weight": (4, 16), "../q_proj.lora_B.weight": (16, 4)},
            r"adapts blk\.0\.attn_q\.weight a second time",
        ),
        ({"q_proj.base_layer.weight": (15, 16)}, "has another shape than the base model's"),
    ],
)
def test_tensors_that_are_refused(base: Path, tmp_path: Path, change: dict[str, Any], message: str) -> None:
    weights = lora()
    for name, shape in change.items():
        if name.startswith("../"):  # the same projection by the name it has in a bare trunk
            weights[STEM.replace("model.layers", "layers") + name[3:]] = np.ones(shape, np.float32)
        elif shape is None:
            del weights[STEM + name]
        else:
            weights[STEM + name] = np.ones(shape, np.float32)
    assert_fails(write_adapter(tmp_path / "adapter", weights), base, message)


def test_tensors_of_the_base_model_beside_the_pairs(base: Path, tmp_path: Path) -> None:
    weights = {**lora(), f"{STEM}q_proj.base_layer.weight": np.ones((16, 16), np.float32)}
    assert len(converted(write_adapter(tmp_path / "adapter", weights), base)[1]) == 6
    assert_fails(write_adapter(tmp_path / "adapter", {}), base, "the adapter has no LoRA pairs")


def test_bases_that_are_refused(base: Path, tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path / "adapter", base_model_name_or_path="some/model")
    assert_fails(
        adapter, None, "base_model_name_or_path is 'some/model', which is no folder here; pass the base model's"
    )
    write_json(base / "config.json", {**LLAMA, "num_attention_heads": 4})
    assert_fails(adapter, base, r"has shape \[4, 16\] and its counterpart \[8, 4\]")
    write_json(base / "config.json", {"model_type": "bert"})
    assert_fails(adapter, base, "model_type is 'bert'")
    with pytest.raises(ivg.Error, match=r"none\.gguf"):
        convert_adapter(adapter, tmp_path / "x.gguf", base=tmp_path / "none.gguf")
    writer = gguf.GGUFWriter(tmp_path / "bert.gguf", "bert")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    known = "known: gemma, gemma2, gemma3, gpt2, llama, olmo, olmo2, phi3, qwen2, qwen3"
    assert_fails(adapter, tmp_path / "bert.gguf", rf"general\.architecture is 'bert'; {known}$")
    (adapter / "adapter_config.json").unlink()
    assert_fails(adapter, base, r"adapter_config\.json is missing")


# Value models


@pytest.mark.parametrize("entry", EXPECTED["values"], ids=lambda entry: entry["folder"])
def test_value_models_score_as_torch_does(entry: dict[str, Any], tmp_path: Path) -> None:
    trunk, head = tmp_path / "trunk.gguf", tmp_path / "head.gguf"
    convert_value_model(FOLDERS / entry["folder"], trunk, head, type="f32")
    fields = fields_of(head)
    assert fields["value_head.kind"] == entry["kind"]
    assert fields["value_head.trunk.block_count"] == 1
    assert fields["value_head.trunk.embedding_length"] == 32
    assert fields["value_head.trunk.vocabulary_size"] == 160
    assert fields["value_head.trunk.architecture"] == fields["general.architecture"]
    with opened(trunk) as model, model.value_head(head) as opened_head:
        for item in entry["scores"]:
            assert model.tokenize(item["prompt"] + item["text"]) == item["ids"]
            score = model.score(opened_head, item["prompt"], [item["text"]], ended=False)[0]
            assert score == pytest.approx(item["end_score"], abs=1e-4)


def test_the_head_goes_beside_the_trunk(tmp_path: Path) -> None:
    convert_value_model(FOLDERS / "llama-score", tmp_path / "rm.gguf")
    assert default_head_path(tmp_path / "rm.gguf") == tmp_path / "rm-head.gguf"
    head = tensors_of(tmp_path / "rm-head.gguf")
    assert {name: values.shape for name, values in head.items()} == {
        "score_head.weight": (1, 32),
        "score_head.bias": (1,),
    }
    assert not {"score_head.weight", "output.weight"} & tensors_of(tmp_path / "rm.gguf").keys()


def value_folder(folder: Path, head: dict[str, Array], prefix: str = "model.") -> Path:
    weights = {name.replace("model.", prefix, 1): values for name, values in llama_weights(LLAMA).items()}
    return write_folder(folder, LLAMA, {**weights, **head})


@pytest.mark.parametrize(("name", "prefix"), [("v_head", "transformer."), ("score", "model."), ("score_head", "")])
def test_the_names_that_heads_and_trunks_have(tmp_path: Path, name: str, prefix: str) -> None:
    values = np.arange(16, dtype=np.float32)[None]
    folder = value_folder(tmp_path / "model", {f"{name}.weight": values}, prefix)
    assert folder_kind(folder) == "value_model"
    convert_value_model(folder, tmp_path / "x.gguf")
    np.testing.assert_array_equal(tensors_of(tmp_path / "x-head.gguf")["score_head.weight"], values)
    assert fields_of(tmp_path / "x-head.gguf")["value_head.kind"] == "scalar"


@pytest.mark.parametrize(
    ("head", "message"),
    [
        ({}, r"holds no value head: none of the tensors score_head\.weight, score\.weight, v_head\.weight"),
        (
            {"score.weight": (2, 16)},
            r"has shape \[2, 16\]; a value head has \[24, 16\], a row for each token, or \[1, 16\]",
        ),
        ({"score.weight": (1, 15)}, r"has shape \[1, 15\]"),
        ({"score.weight": (1, 16), "score.bias": (2,)}, r"score\.bias has shape \[2\]; only heads of one row"),
        ({"score.weight": (24, 16), "score.bias": (24,)}, r"only heads of one row have a bias"),
        ({"score.weight": (1, 16), "v_head.weight": (1, 16)}, r"v_head\.weight has no place in a llama model"),
    ],
)
def test_heads_that_are_refused(tmp_path: Path, head: dict[str, Any], message: str) -> None:
    weights = {name: np.ones(shape, np.float32) for name, shape in head.items()}
    folder = value_folder(tmp_path / "model", weights)
    with pytest.raises(ConvertError, match=message):
        convert_value_model(folder, tmp_path / "x.gguf")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model"]


def test_both_files_or_none(tmp_path: Path) -> None:
    folder, out = FOLDERS / "llama-score", tmp_path / "x.gguf"
    with pytest.raises(ConvertError, match="trunk and head need different files"):
        convert_value_model(folder, out, out)
    (tmp_path / "x-head.gguf").write_bytes(b"old")
    with pytest.raises(ConvertError, match=r"x-head\.gguf exists already"):
        convert_value_model(folder, out)

    def stop(name: str, done: int, total: int) -> None:
        if name == "score_head.weight":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert_value_model(folder, out, force=True, progress=stop)
    assert [path.name for path in tmp_path.iterdir()] == ["x-head.gguf"]
    assert (tmp_path / "x-head.gguf").read_bytes() == b"old"


def test_a_value_model_is_no_language_model(tmp_path: Path) -> None:
    with pytest.raises(ConvertError, match=r"score_head\.\w+ has no place in a llama model|lm_head\.weight is missing"):
        convert_model(FOLDERS / "llama-score", tmp_path / "x.gguf")


def test_what_folders_hold(base: Path, tmp_path: Path) -> None:
    assert folder_kind(base) == "model"
    assert folder_kind(write_adapter(tmp_path / "adapter")) == "adapter"
    assert folder_kind(FOLDERS / "gpt2-token-score") == "value_model"
    with pytest.raises(ConvertError, match="is not a folder"):
        folder_kind(tmp_path / "none")
    shutil.rmtree(base)
    assert load_file(FOLDERS / "llama-score" / "model.safetensors")["score_head.bias"].shape == (1,)
