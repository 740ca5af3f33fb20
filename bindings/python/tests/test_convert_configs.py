"""Converting configs: what their fields mean to transformers, and what files say of it."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hugging_face import (
    FOLDERS,
    Array,
    converted,
    fields_of,
    recover_folder,
    separated,
    tensors_of,
    write_json,
)
from safetensors.numpy import load_file, save_file

import ivg
from ivg.convert import ConvertError, convert_model
from ivg.convert._model import read_config

LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32}


def longrope(pairs: int, **fields: Any) -> dict[str, Any]:
    """LongRoPE with factors that differ."""
    factors = [1 + index / 7 for index in range(pairs)]
    return {
        "rope_type": "longrope",
        "long_factor": [3 * factor for factor in factors],
        "short_factor": factors,
        **fields,
    }


def changed(name: str, change: dict[str, Any]) -> dict[str, Any]:
    """The config of a file of `architectures/` with other fields; … stands for one that is not there."""
    config = {**copy.deepcopy(FOLDERS[name]["config"]), **change}
    return {key: value for key, value in config.items() if value is not ...}


def metadata(folder: Path, config: dict[str, Any]) -> dict[str, Any]:
    """The architecture's own metadata; only config.json is needed for it."""
    folder.mkdir(exist_ok=True)
    write_json(folder / "config.json", config)
    read, architecture = read_config(folder)
    return architecture.metadata(read, architecture.sizes(read))


def refusal(folder: Path, config: dict[str, Any]) -> str:
    with pytest.raises(ConvertError) as caught:
        metadata(folder, config)
    return str(caught.value)


def logits(path: Path, ids: list[int]) -> Array:
    with ivg.Model(path, threads=1) as model, model.session(context_length=len(ids)) as session:
        sequence = session.sequence()
        sequence.evaluate(ids)
        return np.array(sequence.logits())


# Rotations


#: Families whose heads rotate as a whole.
ROTATING = ["llama", "mistral", "mixtral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3", "olmo", "olmo2"]


def with_rope(name: str, rope: dict[str, Any]) -> dict[str, Any]:
    """The config with this rotation in layers that attend to everything."""
    rope = {"rope_theta": 10_000.0, **rope}
    if name == "gemma3":
        sliding = {"rope_type": "default", "rope_theta": 100.0}
        return changed(name, {"rope_parameters": {"full_attention": rope, "sliding_attention": sliding}})
    return changed(name, {"rope_parameters": rope})


def head_of(config: dict[str, Any]) -> int:
    return int(config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"])


def plainly_stretched(head: int) -> list[float]:
    """The divisors of `LLAMA3`, by wave lengths as its paper has them."""
    found = []
    for pair in range(head // 2):
        length = 2 * math.pi * 10_000 ** (2 * pair / head)
        smooth = (16 / length - 1) / (4 - 1)
        blended = 1 / ((1 - smooth) / 8 + smooth)
        found.append(1.0 if length < 16 / 4 else 8.0 if length > 16 / 1 else blended)
    return found


@pytest.mark.parametrize("name", ROTATING)
def test_the_rotation_of_llama3_in_every_family(name: str, tmp_path: Path) -> None:
    folder = recover_folder(tmp_path / "model", name)
    plain = tensors_of(converted(folder))
    assert "rope_freqs.weight" not in plain
    before = logits(folder.with_suffix(".gguf"), list(range(3, 43)))
    config = with_rope(name, LLAMA3)
    write_json(folder / "config.json", config)
    path = converted(folder)
    expected = plainly_stretched(head_of(config))
    assert max(expected) == 8
    np.testing.assert_allclose(tensors_of(path)["rope_freqs.weight"], expected, rtol=1e-6)
    assert np.abs(logits(path, list(range(3, 43))) - before).max() > 1e-3


@pytest.mark.parametrize("name", ROTATING)
def test_longrope_in_every_family(name: str, tmp_path: Path) -> None:
    folder = recover_folder(tmp_path / "model", name)
    pairs = head_of(FOLDERS[name]["config"]) // 2
    rope = longrope(pairs, original_max_position_embeddings=32)
    write_json(folder / "config.json", with_rope(name, rope))
    path = converted(folder)
    fields, tensors = fields_of(path), tensors_of(path)
    prefix = f"{fields['general.architecture']}.rope.scaling."
    assert fields[prefix + "type"] == "longrope"
    assert fields[prefix + "original_context_length"] == 32
    # 128 positions, 4 times 32.
    assert fields[prefix + "attn_factor"] == pytest.approx(math.sqrt(1 + math.log(4) / math.log(32)))
    for length in ("long", "short"):
        np.testing.assert_allclose(tensors[f"rope_factors_{length}.weight"], rope[f"{length}_factor"], rtol=1e-6)
    short, long = logits(path, list(range(3, 35))), logits(path, list(range(3, 36)))
    assert np.isfinite(short).all()
    assert np.abs(short - long).max() > 1e-3


@pytest.mark.parametrize(
    ("change", "factor"),
    [
        ({"factor": 32.0}, 32.0),
        ({"factor": None}, 4.0),
        ({"factor": 1.0}, 1.0),
        ({"attention_factor": 1.25, "factor": 32.0}, None),
    ],
)
def test_the_scale_of_longrope(change: dict[str, Any], factor: float | None, tmp_path: Path) -> None:
    expected = 1.25 if factor is None else math.sqrt(1 + math.log(factor) / math.log(32))
    for name, outside in (("llama", {}), ("phi3-longrope", {"original_max_position_embeddings": 32})):
        inside = {} if outside else {"original_max_position_embeddings": 32}
        rope = {"rope_theta": 10_000.0, **longrope(4, **inside), **change}
        found = metadata(tmp_path, changed(name, {**outside, "rope_parameters": rope}))
        assert found["rope.scaling.attn_factor"] == pytest.approx(expected), name


def test_the_first_length_is_that_beside_the_parameters(tmp_path: Path) -> None:
    def original(name: str, rope: dict[str, Any], **change: Any) -> Any:
        config = changed(name, {"rope_parameters": {"rope_theta": 1e4, **rope}, **change})
        return metadata(tmp_path, config)["rope.scaling.original_context_length"]

    assert original("llama", YARN) == 32
    assert original("llama", YARN, original_max_position_embeddings=64) == 64
    assert original("llama", {"rope_type": "yarn", "factor": 4.0}) == 128
    inside = longrope(4, original_max_position_embeddings=32)
    assert original("phi3", inside, original_max_position_embeddings=64) == 64
    # Phi-3's config has a length even where it is not written.
    assert original("phi3", inside, original_max_position_embeddings=...) == 4096

    def divisors(length: int | None) -> Array:
        rope = {**LLAMA3, "original_max_position_embeddings": length}
        write_json(tmp_path / "config.json", with_rope("llama", rope))
        read, architecture = read_config(tmp_path)
        return architecture.computed(read, architecture.sizes(read))["rope_freqs.weight"]

    np.testing.assert_array_equal(divisors(None), divisors(128))
    assert np.abs(divisors(128) - divisors(16)).max() > 1


def test_of_both_layouts_the_former_one_counts(tmp_path: Path) -> None:
    linear = {"rope_type": "linear", "factor": 4.0}
    both = {"rope_parameters": {"rope_type": "default", "rope_theta": 77.0}, "rope_theta": 500.0}
    found = metadata(tmp_path, changed("llama", {**both, "rope_scaling": linear}))
    assert (found["rope.freq_base"], found["rope.scaling.type"], found["rope.scaling.factor"]) == (500, "linear", 4)
    empty: dict[str, Any] | None
    for empty in (None, {}):
        found = metadata(tmp_path, changed("llama", {**both, "rope_scaling": empty}))
        assert found["rope.freq_base"] == 77
        assert "rope.scaling.type" not in found
    # In Gemma 3 the two are put together.
    full = {"full_attention": {"rope_type": "default", "rope_theta": 55.0}}
    found = metadata(tmp_path, changed("gemma3", {"rope_parameters": full, "rope_scaling": linear}))
    assert (found["rope.freq_base"], found["rope.scaling.factor"]) == (55, 4)


@pytest.mark.parametrize(
    ("change", "bases"),
    [
        ({"rope_parameters": ...}, (1e6, 1e4)),
        ({"rope_parameters": {"full_attention": {"rope_theta": 55.0}}}, (55, 1e4)),
        ({"rope_parameters": {"sliding_attention": {"rope_theta": 55.0}}}, (1e6, 55)),
        ({"rope_parameters": {"full_attention": {}, "sliding_attention": {"rope_type": "default"}}}, (1e6, 1e4)),
        ({"rope_parameters": {"full_attention": {}}, "rope_theta": 7.0, "rope_local_base_freq": 8.0}, (7, 8)),
        # Only what is listed by layers is looked at.
        ({"rope_parameters": {"rope_type": "default", "rope_theta": 55.0}}, (1e6, 1e4)),
        ({"rope_parameters": ..., "rope_theta": 7.0, "rope_local_base_freq": 8.0}, (7, 8)),
    ],
)
def test_the_bases_of_gemma3(change: dict[str, Any], bases: tuple[float, float], tmp_path: Path) -> None:
    found = metadata(tmp_path, changed("gemma3", change))
    assert (found["rope.freq_base"], found["rope.freq_base_swa"]) == bases


def test_scales_of_yarn_that_are_nothing(tmp_path: Path) -> None:
    def attention(**fields: Any) -> Any:
        return metadata(tmp_path, with_rope("llama", {**YARN, **fields})).get("rope.scaling.attn_factor")

    usual = 0.1 * math.log(4) + 1
    assert attention() is None
    assert attention(mscale=0.5, mscale_all_dim=0) is None
    assert attention(mscale=0.5) is None
    assert attention(mscale=0.5, mscale_all_dim=1.0) == pytest.approx((0.05 * math.log(4) + 1) / usual / usual)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        (
            "llama",
            {"rope_parameters": {**YARN, "partial_rotary_factor": 0.5}},
            "partial_rotary_factor is 0.5, but must",
        ),
        (
            "olmo",
            {"rope_parameters": LLAMA3, "partial_rotary_factor": 0.5},
            "partial_rotary_factor is 0.5, but must be 1",
        ),
        ("phi3", {"partial_rotary_factor": 0.4, "rope_parameters": ...}, "of 8 elements an even number rotates"),
        ("qwen2", {"rope_parameters": {"full_attention": YARN}}, "layers of this architecture rotate alike"),
        ("llama", {"rope_parameters": {**YARN, "attention_factor": 1e4}}, "attention_factor is 10000.0, but must be"),
        ("llama", {"rope_parameters": {"rope_theta": 1.0}}, "rope_theta is 1.0, but must be above 1"),
        (
            "gemma3",
            {"rope_parameters": {"full_attention": {**YARN, "factor": 0.5}}},
            "factor is 0.5, but must be at least",
        ),
        (
            "gemma3",
            {"rope_parameters": {"full_attention": {"rope_type": "dynamic"}}},
            "rope_type is 'dynamic', which is",
        ),
        ("gemma3", {"rope_parameters": {"sliding_attention": YARN}}, "rope_type is 'yarn', but must be default for"),
    ],
)
def test_rotations_that_are_refused(name: str, change: dict[str, Any], message: str, tmp_path: Path) -> None:
    found = refusal(tmp_path, changed(name, change))
    assert message in found
    assert found.startswith(f"{tmp_path / 'config.json'}: ")


# What is assumed where a config is silent


def test_what_mistral_and_mixtral_assume(tmp_path: Path) -> None:
    silent = {"rope_parameters": ..., "rms_norm_eps": ..., "num_key_value_heads": ..., "sliding_window": ...}
    wide = {**silent, "num_attention_heads": 16, "head_dim": 4, "max_position_embeddings": ...}
    mistral, mixtral = (metadata(tmp_path, changed(name, wide)) for name in ("mistral", "mixtral"))
    assert (mistral["rope.freq_base"], mixtral["rope.freq_base"]) == (1e4, 1e6)
    epsilon = "attention.layer_norm_rms_epsilon"
    assert (mistral[epsilon], mixtral[epsilon]) == (1e-6, 1e-5)
    assert (mistral["attention.sliding_window"], mixtral.get("attention.sliding_window")) == (4096, None)
    for found in (mistral, mixtral):
        assert (found["attention.head_count_kv"], found["context_length"]) == (8, 131_072)
    assert metadata(tmp_path, changed("mistral", {"num_key_value_heads": None}))["attention.head_count_kv"] == 4


def test_nulls_that_are_no_defaults(tmp_path: Path) -> None:
    caps = ("attn_logit_softcapping", "final_logit_softcapping")
    for value, expected in ((None, (0, 0)), (..., (50, 30)), (7.0, (7, 7))):
        found = metadata(tmp_path, changed("gemma2", dict.fromkeys(caps, value)))
        assert tuple(found[name] for name in caps) == expected
    window = {"use_sliding_window": True, "max_window_layers": 0, "layer_types": ...}
    found = metadata(tmp_path, changed("qwen2", {**window, "sliding_window": None}))
    assert "attention.sliding_window" not in found
    assert metadata(tmp_path, changed("qwen2", {**window, "sliding_window": ...}))["attention.sliding_window"] == 4096
    message = "sliding_window is None, but must be a whole number: some layers have a window"
    assert message in refusal(tmp_path, changed("gemma2", {"sliding_window": None}))


def test_gemma2_without_bounds_computes_so(tmp_path: Path) -> None:
    folder = recover_folder(tmp_path / "model", "gemma2")
    found = []
    for cap in (None, 5.0, ...):
        write_json(folder / "config.json", changed("gemma2", {"final_logit_softcapping": cap}))
        found.append(logits(converted(folder), list(range(3, 33))))
    free, narrow, usual = found
    assert np.abs(free).max() > 10
    np.testing.assert_allclose(narrow, 5 * np.tanh(free / 5), rtol=0, atol=1e-4)
    np.testing.assert_allclose(usual, 30 * np.tanh(free / 30), rtol=0, atol=1e-4)


def test_gemma2_without_windows(tmp_path: Path) -> None:
    # Readers take one of 4096 where a file is silent.
    found = metadata(tmp_path, changed("gemma2", {"layer_types": ["full_attention"] * 3}))
    assert found["attention.sliding_window"] == 0
    assert "attention.sliding_window" not in metadata(
        tmp_path, changed("gemma3", {"sliding_window_pattern": 1, "layer_types": ...})
    )


# Gemma's attention


@pytest.mark.parametrize(("name", "largest"), [("gemma2", 46), ("gemma3", 62)])
def test_the_scale_of_models_that_readers_take_for_the_largest(name: str, largest: int, tmp_path: Path) -> None:
    def scale(layers: int, scalar: int, **change: Any) -> Any:
        change = {"num_hidden_layers": layers, "query_pre_attn_scalar": scalar, "layer_types": ..., **change}
        return metadata(tmp_path, changed(name, change)).get("attention.scale")

    # Hidden 32, 4 heads of 16: an even share has 8.
    assert scale(largest, 16) == 1 / 4
    assert scale(largest, 8) == pytest.approx(1 / math.sqrt(8))
    assert scale(largest - 1, 16) is None
    assert scale(largest, 16, num_attention_heads=2) is None


def test_the_pattern_of_windows_is_a_field_of_one_name(tmp_path: Path) -> None:
    def pattern(**change: Any) -> Any:
        found = metadata(tmp_path, changed("gemma3", {"layer_types": ..., "_sliding_window_pattern": ..., **change}))
        return found["attention.sliding_window_pattern"]

    assert pattern() == 6
    assert pattern(sliding_window_pattern=2) == 2
    assert pattern(_sliding_window_pattern=2) == 6


def test_bounds_that_gemma3_does_not_apply(tmp_path: Path) -> None:
    config = changed("gemma3", {"attn_logit_softcapping": 3.0, "final_logit_softcapping": 4.0})
    found = metadata(tmp_path, config)
    assert (found.get("attn_logit_softcapping"), found.get("final_logit_softcapping")) == (None, 4)
    found = metadata(tmp_path, {"model_type": "gemma3", "text_config": config})
    assert (found.get("attn_logit_softcapping"), found.get("final_logit_softcapping")) == (None, None)


# Biases and GPT-2


@pytest.mark.parametrize("name", ["qwen3", "gemma", "gemma2", "gemma3", "olmo", "olmo2"])
def test_biases_of_attention_in_every_family(name: str, tmp_path: Path) -> None:
    folder = recover_folder(tmp_path / "model", name)
    ids = list(range(3, 23))
    before = logits(converted(folder), ids)
    weights: dict[str, Any] = load_file(folder / "model.safetensors")
    random = np.random.default_rng(5)
    stored: dict[str, Any] = {}
    for stem in [key.removesuffix(".weight") for key in weights if key.endswith(("q_proj.weight", "k_proj.weight"))]:
        for part in (stem, stem.replace("q_proj", "v_proj").replace("k_proj", "o_proj")):
            stored[f"{part}.bias"] = random.standard_normal(weights[f"{part}.weight"].shape[0], dtype=np.float32)
    save_file({**weights, **stored}, folder / "model.safetensors")
    write_json(folder / "config.json", changed(name, {"attention_bias": True}))
    path = converted(folder)
    found = tensors_of(path)
    config = FOLDERS[name]["config"]
    for layer in range(config["num_hidden_layers"]):
        for part, size in (("q", "num_attention_heads"), ("k", "num_key_value_heads"), ("v", ""), ("output", "")):
            values = found[f"blk.{layer}.attn_{part}.bias"]
            if name == "olmo" and size:
                values = separated(values, config[size])
            source = f"model.layers.{layer}.self_attn.{part[0]}_proj.bias"
            np.testing.assert_array_equal(values, stored[source])
    assert np.abs(logits(path, ids) - before).max() > 1e-2
    write_json(folder / "config.json", changed(name, {}))
    with pytest.raises(ConvertError, match=r"_proj\.bias has no place in a .* model with this config"):
        convert_model(folder, tmp_path / "none.gguf")


def test_heads_that_readers_do_not_know(tmp_path: Path) -> None:
    for hidden, heads in ((15, 3), (4, 4), (1028, 2)):
        found = refusal(tmp_path, changed("gpt2", {"n_embd": hidden, "n_head": heads}))
        assert f"n_head is {heads}, but must be such that heads have an even number of elements" in found
    assert "head_dim is 514, but must be within 2...512" in refusal(tmp_path, changed("llama", {"head_dim": 514}))


def test_scores_that_are_not_scaled(tmp_path: Path) -> None:
    assert "attention.scale" not in metadata(tmp_path, changed("gpt2", {}))
    assert metadata(tmp_path, changed("gpt2", {"scale_attn_weights": False}))["attention.scale"] == 1
    assert "scale_attn_by_inverse_layer_idx is true" in refusal(
        tmp_path, changed("gpt2", {"scale_attn_by_inverse_layer_idx": True})
    )
