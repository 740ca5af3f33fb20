"""Converting language models: every architecture, compared with files whose logits others have checked."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from hugging_face import (
    ARCHITECTURES,
    EXPECTED,
    FOLDERS,
    LLAMA,
    fields_of,
    llama_weights,
    recover_folder,
    small_tokenizer,
    tensors_of,
    types_of,
    write_folder,
    write_json,
)
from safetensors.numpy import save_file

import ivg
from ivg.convert import ConvertError, convert_model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small llama."""
    return write_folder(tmp_path / "model")


def converted(folder: Path, **options: Any) -> Path:
    """The folder's file, beside it."""
    out = folder.with_suffix(".gguf")
    convert_model(folder, out, **options)
    return out


def fails(folder: Path, **options: Any) -> str:
    """The message of a conversion that must fail and leave nothing behind."""
    before = sorted(folder.parent.iterdir())
    with pytest.raises(ConvertError) as caught:
        convert_model(folder, folder.with_suffix(".gguf"), **options)
    assert sorted(folder.parent.iterdir()) == before
    return str(caught.value)


# Every architecture


@pytest.mark.parametrize("name", FOLDERS)
def test_the_folder_of_a_checked_file_gives_that_file(name: str, tmp_path: Path) -> None:
    found = converted(recover_folder(tmp_path / "Tiny random model", name))
    checked = ARCHITECTURES / f"{name}.gguf"
    assert fields_of(found) == fields_of(checked)
    assert types_of(found) == types_of(checked)
    for (key, values), expected in zip(tensors_of(found).items(), tensors_of(checked).values(), strict=True):
        np.testing.assert_allclose(values, expected, rtol=0, atol=1e-6, err_msg=key)
    if not name.startswith("gemma"):
        assert found.read_bytes() == checked.read_bytes()


@pytest.mark.parametrize("entry", EXPECTED["models"], ids=lambda entry: entry["file"])
def test_the_checked_files_compute_what_transformers_computes(entry: dict[str, Any]) -> None:
    path = ARCHITECTURES / entry["file"]
    try:
        model = ivg.Model(path, threads=1)
    except ivg.UnsupportedError as error:
        pytest.skip(str(error))
    with model, model.session() as session:
        for result in entry["results"]:
            ids = EXPECTED["prompts"][result["prompt"]]
            if "longrope" in entry["file"] and len(ids) <= 32:
                continue  # libivg takes the factors for the length of the context, transformers for that of the text
            with session.sequence() as sequence:
                sequence.evaluate(ids)
                np.testing.assert_allclose(sequence.logits(), result["logits"][-1], rtol=0, atol=2e-3)


def former_layout(config: dict[str, Any]) -> dict[str, Any]:
    """The config as transformers before version 5 wrote it."""
    config = copy.deepcopy(config)
    parameters = config.pop("rope_parameters", {})
    config.pop("layer_types", None)
    if "full_attention" in parameters:
        config["rope_local_base_freq"] = parameters["sliding_attention"]["rope_theta"]
        config["sliding_window_pattern"] = config.pop("_sliding_window_pattern")
        parameters = parameters["full_attention"]
    for name in ("rope_theta", "partial_rotary_factor"):
        if name in parameters:
            config[name] = parameters.pop(name)
    kind = parameters.pop("rope_type", "default")
    if kind != "default":
        config["rope_scaling"] = {"type": "su" if kind == "longrope" else kind, **parameters}
    return config


@pytest.mark.parametrize("name", FOLDERS)
def test_configs_of_former_versions_mean_the_same(name: str, tmp_path: Path) -> None:
    folder = recover_folder(tmp_path / "Tiny random model", name)
    write_json(folder / "config.json", former_layout(FOLDERS[name]["config"]))
    assert fields_of(converted(folder)) == fields_of(ARCHITECTURES / f"{name}.gguf")


def test_the_text_model_of_a_model_with_pictures(tmp_path: Path) -> None:
    folder = recover_folder(tmp_path / "Tiny random model", "gemma3")
    weights = {
        name.replace("model.", "language_model.model.", 1): values for name, values in gguf_weights(folder).items()
    }
    weights["vision_tower.some.weight"] = np.ones((2, 2), np.float32)
    weights["multi_modal_projector.weight"] = np.ones((2, 2), np.float32)
    config = {"model_type": "gemma3", "text_config": FOLDERS["gemma3"]["config"], "vision_config": {}}
    write_json(folder / "config.json", config)
    save_file(weights, folder / "model.safetensors")
    found = converted(folder)
    assert fields_of(found) == fields_of(ARCHITECTURES / "gemma3.gguf")
    assert tensors_of(found).keys() == tensors_of(ARCHITECTURES / "gemma3.gguf").keys()


def gguf_weights(folder: Path) -> dict[str, Any]:
    """The weights of a folder."""
    from safetensors.numpy import load_file

    return load_file(folder / "model.safetensors")


def test_fused_experts_are_those_of_separate_ones(tmp_path: Path) -> None:
    separate = recover_folder(tmp_path / "Tiny random model", "mixtral")
    weights = gguf_weights(separate)
    for layer in range(2):
        stem = f"model.layers.{layer}."
        parts = {
            part: np.stack(
                [weights.pop(f"{stem}block_sparse_moe.experts.{expert}.{part}.weight") for expert in range(8)]
            )
            for part in ("w1", "w2", "w3")
        }
        weights[f"{stem}mlp.experts.gate_up_proj"] = np.concatenate([parts["w1"], parts["w3"]], axis=1)
        weights[f"{stem}mlp.experts.down_proj"] = parts["w2"]
        weights[f"{stem}mlp.gate.weight"] = weights.pop(f"{stem}block_sparse_moe.gate.weight")
    save_file(weights, separate / "model.safetensors")
    assert converted(separate).read_bytes() == (ARCHITECTURES / "mixtral.gguf").read_bytes()


def test_a_trunk_without_prefix(folder: Path) -> None:
    expected = converted(folder).read_bytes()
    weights = {name.removeprefix("model."): values for name, values in llama_weights(LLAMA).items()}
    save_file(weights, folder / "model.safetensors")
    assert converted(folder, force=True).read_bytes() == expected


# Types


@pytest.mark.parametrize("type_name", ["f32", "f16", "bf16"])
def test_types(folder: Path, type_name: Any) -> None:
    path = converted(folder, type=type_name)
    weights = llama_weights(LLAMA)
    kinds = types_of(path)
    assert {kind for name, kind in kinds.items() if not name.endswith("norm.weight")} == {type_name.upper()}
    assert {kind for name, kind in kinds.items() if name.endswith("norm.weight")} == {"F32"}
    values = weights["model.layers.1.mlp.down_proj.weight"]
    target = gguf.GGMLQuantizationType[type_name.upper()]
    expected = gguf.quants.dequantize(gguf.quants.quantize(values, target), target)
    np.testing.assert_array_equal(tensors_of(path)["blk.1.ffn_down.weight"], expected)
    assert fields_of(path)["general.file_type"] == {"f32": 0, "f16": 1, "bf16": 32}[type_name]


def bfloat16(values: Any) -> Any:
    """The upper halves of floats, as safetensors' BF16."""
    return (np.ascontiguousarray(values, np.float32).view(np.uint32) >> 16).astype(np.uint16)


def write_bfloat16(path: Path, weights: dict[str, Any]) -> None:
    """A safetensors file of BF16, which the package cannot write from numpy."""
    import json

    header, data = {}, b""
    for name, values in weights.items():
        raw = bfloat16(values).tobytes()
        header[name] = {"dtype": "BF16", "shape": list(values.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


def test_bf16_is_kept_and_widened_without_loss(folder: Path) -> None:
    weights = llama_weights(LLAMA)
    write_bfloat16(folder / "model.safetensors", weights)
    kept, wide = converted(folder), tensors_of(converted(folder, type="f32", force=True))
    assert "BF16" not in types_of(kept).values()  # replaced by the second conversion
    kept = converted(folder, force=True)
    assert types_of(kept)["blk.0.ffn_up.weight"] == "BF16"
    assert types_of(kept)["blk.0.ffn_norm.weight"] == "F32"
    expected = (bfloat16(weights["model.layers.0.mlp.up_proj.weight"]).astype(np.uint32) << 16).view(np.float32)
    for found in (wide, tensors_of(kept)):
        np.testing.assert_array_equal(found["blk.0.ffn_up.weight"], expected)


def test_rounding_to_bf16_is_to_nearest_even(folder: Path) -> None:
    weights = llama_weights(LLAMA)
    bits = np.array([0x3F808000, 0x3F818000, 0x3F808001, 0x3F807FFF, 0x80000001, 0x7F800000, 0x7FC00001], np.uint32)
    weights["model.embed_tokens.weight"][0, : len(bits)] = bits.view(np.float32)
    save_file(weights, folder / "model.safetensors")
    reader = gguf.GGUFReader(converted(folder, type="bf16"))
    row = next(tensor for tensor in reader.tensors if tensor.name == "token_embd.weight").data.view(np.uint16)[0]
    assert row[: len(bits)].tolist() == [0x3F80, 0x3F82, 0x3F81, 0x3F80, 0x8000, 0x7F80, 0x7FC0]


def test_what_a_type_cannot_hold_is_an_error(folder: Path) -> None:
    weights = llama_weights(LLAMA)
    weights["model.layers.1.mlp.up_proj.weight"][3, 4] = 7e4
    save_file(weights, folder / "model.safetensors")
    assert fails(folder, type="f16") == (
        "tensor blk.1.ffn_up.weight holds 70000, which F16 cannot hold; choose another --type"
    )
    converted(folder, type="bf16")


def test_unknown_type(folder: Path) -> None:
    assert "type is 'q4_0'; known: auto, f32, f16, bf16" in fails(folder, type="q4_0")


# What configs say wrongly


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden_size": None}, "hidden_size is missing"),
        ({"hidden_size": -1}, r"hidden_size is -1, but must be within 1\.\.\.1048576"),
        ({"hidden_size": 1 << 40}, r"hidden_size is 1099511627776, but must be within"),
        ({"hidden_size": "16"}, "hidden_size is '16', but must be a whole number"),
        ({"hidden_size": True}, "hidden_size is True, but must be a whole number"),
        ({"hidden_size": 15}, "num_attention_heads is 2, but must be a divisor of hidden_size, 15"),
        ({"head_dim": 7}, "head_dim is 7, but must be even"),
        ({"num_hidden_layers": 0}, r"num_hidden_layers is 0, but must be within 1\.\.\.1024"),
        ({"num_hidden_layers": 3}, r"tensor model\.layers\.2\.input_layernorm\.weight is missing"),
        ({"num_hidden_layers": 1}, r"tensor model\.layers\.1\..* has no place in a llama model with this config, nor"),
        ({"num_attention_heads": 8, "num_key_value_heads": 3}, "num_key_value_heads is 3, but must be a divisor of"),
        ({"num_key_value_heads": 4}, r"num_key_value_heads is 4, but must be within 1\.\.\.2"),
        ({"vocab_size": 25}, r"embed_tokens\.weight has shape \[24, 16\], but the config needs \[25, 16\]"),
        ({"vocab_size": 21}, r"embed_tokens\.weight has shape \[24, 16\], but the config needs \[21, 16\]"),
        ({"intermediate_size": 64}, r"shape \[32, 16\], but the config needs \[64, 16\]"),
        ({"rms_norm_eps": "small"}, "rms_norm_eps is 'small', but must be a number"),
        ({"rms_norm_eps": float("nan")}, "rms_norm_eps is nan, but must be a finite number"),
        ({"rms_norm_eps": -1.0}, r"rms_norm_eps is -1\.0, but must be within 0\.\.\.1"),
        ({"rope_theta": 0}, "rope_theta is 0.0, but must be within"),
        ({"rope_theta": 10**400}, "rope_theta is 1000.*, but must be a number that fits a double"),
        ({"rope_scaling": 3}, "rope_scaling is 3, but must be an object"),
        ({"rope_scaling": {"type": "magic"}}, "rope_type is 'magic', which is not supported; known: default, linear"),
        ({"rope_scaling": {"type": "linear"}}, "rope_scaling: factor is missing"),
        ({"rope_scaling": {"type": "linear", "factor": 0.5}}, r"factor is 0\.5, but must be within 1"),
        ({"rope_scaling": {"rope_type": "llama3", "factor": 2.0}}, "low_freq_factor is missing"),
        (
            {
                "rope_scaling": {
                    **{"rope_type": "llama3", "factor": 2.0, "low_freq_factor": 4.0, "high_freq_factor": 1.0},
                    "original_max_position_embeddings": 32,
                }
            },
            "low_freq_factor is 4, but must be below high_freq_factor, 1",
        ),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 2.0, "truncate": False}}, "truncate is false"),
        ({"rope_parameters": {"rope_type": "default"}, "rope_theta": "x"}, "rope_theta is 'x', but must be a number"),
        ({"hidden_act": "relu"}, "hidden_act is 'relu', but must be one of silu, swish, gelu"),
        ({"tie_word_embeddings": "yes"}, "tie_word_embeddings is 'yes', but must be true or false"),
        ({"tie_word_embeddings": False}, r"tensor lm_head\.weight is missing in the weights"),
        ({"attention_bias": True}, r"self_attn\.q_proj\.bias is missing"),
        ({"quantization_config": {"quant_method": "gptq"}}, r"the weights are quantised \('gptq'\)"),
        ({"model_type": "bert"}, r"model_type is 'bert', which cannot be converted; known: gemma, .*, qwen3"),
        ({"model_type": None}, "model_type is None, which cannot be converted"),
        ({"model_type": {"a": [1] * 100}}, r"model_type is \{'a': \[1, 1, .*\]\}, which cannot be converted"),
        ({"model_type": "qwen2"}, r"q_proj\.bias is missing"),
        ({"model_type": "qwen3", "head_dim": 8, "attention_bias": True}, r"self_attn\.q_proj\.bias is missing"),
        ({"model_type": "phi3", "rope_scaling": {"type": "linear", "factor": 2}}, "must be default or longrope"),
        ({"model_type": "mixtral", "num_local_experts": 1}, r"num_local_experts is 1, but must be within 2"),
        ({"model_type": "mistral", "sliding_window": "8"}, "sliding_window is '8', but must be a whole number"),
        ({"model_type": "gemma2", "layer_types": ["full_attention"]}, "layer_types is .*, but must be a list of 2"),
        ({"model_type": "gemma2", "layer_types": ["a", "b"]}, "layer_types is 'a', but must be full_attention or"),
    ],
)
def test_malformed_configs(folder: Path, change: dict[str, Any], message: str) -> None:
    config = {key: value for key, value in {**LLAMA, **change}.items() if value is not None}
    write_json(folder / "config.json", config)
    with pytest.raises(ConvertError, match=message):
        convert_model(folder, folder.with_suffix(".gguf"))
    assert sorted(path.name for path in folder.parent.iterdir()) == ["model"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not JSON"),
        (b"[1]", "holds list, not an object"),
        (b"{", "is not JSON"),
        (b"\xff\xfe", "is not UTF-8 at byte 0"),
        (b"[" * 100_000, "is nested too deeply"),
        (b'{"a": ' + b"9" * 5000 + b"}", "is not JSON"),
    ],
)
def test_a_config_that_is_no_object(folder: Path, content: bytes, message: str) -> None:
    (folder / "config.json").write_bytes(content)
    assert message in fails(folder)


def test_missing_files(folder: Path, tmp_path: Path) -> None:
    assert fails(tmp_path / "nothing") == f"{tmp_path / 'nothing'} is not a folder"
    (folder / "tokenizer.json").unlink()
    assert "has no tokenizer: neither tokenizer.json, nor tokenizer.model, nor vocab.json" in fails(folder)
    (folder / "model.safetensors").unlink()
    assert "has no weights: neither model.safetensors" in fails(folder)
    (folder / "config.json").unlink()
    assert fails(folder) == f"{folder / 'config.json'} is missing"
    (folder / "config.json").mkdir()
    assert fails(folder) == f"{folder / 'config.json'} is no regular file"


# Where the file goes


def test_an_existing_file_is_kept(folder: Path) -> None:
    path = converted(folder)
    before = path.read_bytes()
    assert fails(folder) == f"{path} exists already; --force (force=True) replaces it"
    (folder / "model.safetensors").unlink()
    assert "has no weights" in fails(folder, force=True)
    assert path.read_bytes() == before


def test_impossible_targets(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConvertError, match="is a folder, not a file to write"):
        convert_model(folder, tmp_path)
    with pytest.raises(ConvertError, match=r"folder .*/none does not exist"):
        convert_model(folder, tmp_path / "none" / "out.gguf")


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_an_interruption_leaves_nothing(folder: Path, error: type[BaseException]) -> None:
    path = folder.with_suffix(".gguf")
    path.write_bytes(b"old")
    steps: list[str] = []

    def stop(name: str, done: int, total: int) -> None:
        steps.append(name)
        assert 0 < done <= total
        if len(steps) == 5:
            raise error

    with pytest.raises(error):
        convert_model(folder, path, force=True, progress=stop)
    assert len(steps) == 5
    assert path.read_bytes() == b"old"
    assert sorted(entry.name for entry in folder.parent.iterdir()) == ["model", "model.gguf"]


def test_the_file_is_not_for_its_owner_alone(folder: Path) -> None:
    mode = converted(folder).stat().st_mode & 0o777
    reference = folder.parent / "reference"
    reference.touch()
    assert mode == reference.stat().st_mode & 0o777


def test_progress_ends_at_the_sum(folder: Path) -> None:
    seen: list[tuple[int, int]] = []
    path = converted(folder, progress=lambda name, done, total: seen.append((done, total)))
    assert seen == sorted(seen)
    assert seen[-1][0] == seen[-1][1] == sum(values.nbytes for values in tensors_of(path).values())


def change_weights(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    weights = llama_weights(LLAMA)
    change(weights)
    save_file(weights, folder / "model.safetensors")


def test_tensors_that_are_missing_or_strange(folder: Path) -> None:
    change_weights(folder, lambda weights: weights.pop("model.layers.1.mlp.up_proj.weight"))
    assert fails(folder) == "tensor model.layers.1.mlp.up_proj.weight is missing in the weights"
    change_weights(folder, lambda weights: weights.pop("model.embed_tokens.weight"))
    assert "tensor model.embed_tokens.weight or transformer.embed_tokens.weight or embed_tokens" in fails(folder)
    change_weights(folder, lambda weights: weights.update(extra=np.ones(3, np.float32)))
    assert "tensor extra has no place in a llama model with this config" in fails(folder)
    change_weights(folder, lambda weights: weights.update({"model.norm.weight": np.ones((4, 4), np.float32)}))
    assert "tensor model.norm.weight has shape [4, 4], but the config needs [16]" in fails(folder)


def test_buffers_and_tied_outputs_are_left_out(folder: Path) -> None:
    expected = converted(folder).read_bytes()

    def add(weights: dict[str, Any]) -> None:
        weights["lm_head.weight"] = weights["model.embed_tokens.weight"].copy()
        weights["model.layers.0.self_attn.rotary_emb.inv_freq"] = np.ones(4, np.float32)
        weights["position_ids"] = np.arange(4)

    change_weights(folder, add)
    assert converted(folder, force=True).read_bytes() == expected


def test_a_folder_whose_name_is_no_text(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / os.fsdecode(b"m\xff"))
    convert_model(folder, tmp_path / "x.gguf")
    assert fields_of(tmp_path / "x.gguf")["general.name"] == "m?"


def test_a_file_that_libivg_runs(folder: Path) -> None:
    write_json(folder / "tokenizer.json", small_tokenizer())
    with ivg.Model(converted(folder), threads=1) as model:
        assert model.tokenize("abcab") == [21, 20]
        assert len(model.generate("abc", max_tokens=3, seed=1, ignore_end=True).token_ids) == 3
