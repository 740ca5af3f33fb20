#!/usr/bin/env python3
"""Makes `hugging-face/`: small folders as people download them, and what their models compute.

    pip install -r requirements.txt -e ../../bindings/python[convert] && python make_hugging_face.py

For the tests of `ivg.convert`, which then need neither torch nor transformers: value models (the classes are written
after the description of IVG's: a trunk and `score_head`), PEFT adapters for the models of `architectures/`, and
tokenizers. `hugging-face/expected.json` holds what torch, peft, tokenizers and sentencepiece make of them.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import peft
import sentencepiece
import tokenizers
import torch
import transformers
from make_architectures import CASES, CONTROL, CORPUS, VOCABULARY, make_model, make_tokenizer, numbers, save, values_of
from torch import nn
from transformers import GPT2Model, GPT2PreTrainedModel, LlamaForSequenceClassification, LlamaModel
from transformers.models.llama.modeling_llama import LlamaPreTrainedModel

HERE = Path(__file__).parent / "hugging-face"
PROMPT = "The value of"
TEXTS = [" a text", " the model is a guide.", " which next word?"]
SAMPLES = [
    "Hello world", "The value of the model is 42.", "it's  two   spaces\n\n\tand a tab", "naïve café — 東京 🙂",
    "x<|im_start|>user\nHi<|im_end|>\n", "", "IT'S 1234567 x_y", "<mark>here</mark>", "a<mark>b",
]


# Value models


class GPT2ModelForTokenScore(GPT2PreTrainedModel):
    """A number for every next token."""

    def __init__(self, config):
        super().__init__(config)
        self.transformer = GPT2Model(config)
        self.score_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def end_score(self, ids: torch.Tensor) -> float:
        """What the state before the last token says about it."""
        return self.score_head(self.transformer(ids[None]).last_hidden_state)[0, -2, ids[-1]].item()


class LlamaModelForTokenScore(LlamaPreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.model = LlamaModel(config)
        self.score_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def end_score(self, ids: torch.Tensor) -> float:
        return self.score_head(self.model(ids[None]).last_hidden_state)[0, -2, ids[-1]].item()


class LlamaModelForScore(LlamaPreTrainedModel):
    """A number for the text so far."""

    def __init__(self, config):
        super().__init__(config)
        self.model = LlamaModel(config)
        self.score_head = nn.Linear(config.hidden_size, config.score_dim, bias=config.bias)
        self.post_init()

    def end_score(self, ids: torch.Tensor) -> float:
        return self.score_head(self.model(ids[None]).last_hidden_state)[0, -1, 0].item()


def make_value_model(kind: type, seed: int, dtype: torch.dtype = torch.float32, **settings) -> nn.Module:
    common = {"vocab_size": VOCABULARY, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    if kind is GPT2ModelForTokenScore:
        config = transformers.GPT2Config(n_embd=32, n_layer=1, n_head=4, n_positions=64, **common, **settings)
    else:
        config = transformers.LlamaConfig(
            hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=4, num_key_value_heads=2,
            max_position_embeddings=128, **common, **settings)
    config._attn_implementation = "eager"
    model = kind(config)
    random = np.random.default_rng(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            shape = tuple(parameter.shape)
            values = values_of(name, shape, "GPT2" if "transformer." in name else "Llama", random)
            parameter.copy_(torch.from_numpy(values).to(dtype))
    return model.eval()


def rewrite_as_pickle(folder: Path) -> None:
    """The weights as torch itself saves them."""
    state = transformers.modeling_utils.load_state_dict(folder / "model.safetensors")
    torch.save(state, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def expect_scores(model: nn.Module, tokenizer: tokenizers.Tokenizer) -> list:
    found = []
    for text in TEXTS:
        ids = tokenizer.encode(PROMPT + text).ids
        with torch.no_grad():
            ids_tensor = torch.tensor(ids)
            if hasattr(model, "end_score"):
                score = model.end_score(ids_tensor)
            else:
                score = model(ids_tensor[None]).logits[0, 0].item()
        found.append({"prompt": PROMPT, "text": text, "ids": ids, "end_score": float(f"{score:.7g}")})
    return found


def make_value_models(tokenizer: tokenizers.Tokenizer) -> list:
    found = []
    for name, kind, dtype, settings in [
        ("gpt2-token-score", GPT2ModelForTokenScore, torch.float32, {}),
        ("llama-token-score", LlamaModelForTokenScore, torch.float32, {}),
        ("llama-score", LlamaModelForScore, torch.float32, {"score_dim": 1, "bias": True}),
        ("llama-sequence-classification", LlamaForSequenceClassification, torch.bfloat16, {"num_labels": 1}),
    ]:
        model = make_value_model(kind, len(found), dtype, **settings)
        folder = HERE / name
        expected = expect_scores(model, tokenizer)
        save(model.to(dtype), tokenizer, folder)
        if name.startswith("gpt2"):
            rewrite_as_pickle(folder)
        if dtype is torch.bfloat16:
            (folder / "model.safetensors").unlink()
            model.save_pretrained(folder, max_shard_size="8KB")
        kind_of_head = "vocabulary" if "token" in name else "scalar"
        found.append({"folder": name, "kind": kind_of_head, "scores": expected})
    return found


# Adapters


def make_adapters(prompt: list[int]) -> list:
    cases = {case.name: case for case in CASES}
    llama = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    found = []
    for name, base, settings in [
        ("lora-llama", "llama", {"target_modules": llama}),
        ("lora-llama-rslora", "llama", {"target_modules": ["q_proj", "k_proj"], "use_rslora": True}),
        ("lora-llama-patterns", "llama", {
            "target_modules": ["q_proj", "k_proj", "v_proj"], "alpha_pattern": {"q_proj": 3},
            "rank_pattern": {"layers.1.self_attn.k_proj": 2}}),
        ("lora-gpt2", "gpt2", {"target_modules": ["c_attn", "c_proj", "c_fc"], "fan_in_fan_out": True}),
    ]:
        torch.manual_seed(len(found))
        model = peft.get_peft_model(make_model(cases[base]), peft.LoraConfig(
            r=4, lora_alpha=8, task_type="CAUSAL_LM", init_lora_weights=False, **settings)).eval()
        model.peft_config["default"].base_model_name_or_path = base
        model.save_pretrained(HERE / name)
        (HERE / name / "README.md").unlink()
        with torch.no_grad():
            logits = model(torch.tensor([prompt])).logits[0, -1].numpy()
        # Sets and dictionaries come out in any order.
        path = HERE / name / "adapter_config.json"
        config = json.loads(path.read_text())
        config["target_modules"].sort()
        path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
        found.append({"folder": name, "base": base, "ids": prompt, "logits": numbers(logits)})
    return found


# Tokenizers


def save_tokenizer(name: str, tokenizer: tokenizers.Tokenizer | None, settings: dict, size: int) -> Path:
    folder = HERE / name
    folder.mkdir()
    if tokenizer is not None:
        tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n")
    (folder / "config.json").write_text(json.dumps({
        "model_type": "llama", "vocab_size": size, "hidden_size": 32, "bos_token_id": 1, "eos_token_id": 2}) + "\n")
    return folder


def encoded(tokenizer: tokenizers.Tokenizer) -> list:
    return [{"text": text, "ids": tokenizer.encode(text).ids} for text in SAMPLES]


def make_tokenizers() -> list:
    """Llama 2's kind as tokenizer.model and as tokenizer.json, and Llama 3's kind."""
    writer = HERE / "sentencepiece.tmp"
    with writer.open("wb") as file:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter([CORPUS] * 3), model_writer=file, model_type="bpe", vocab_size=330,
            byte_fallback=True, character_coverage=1.0, normalization_rule_name="identity",
            remove_extra_whitespaces=False, num_threads=1, minloglevel=2)
    settings = {"tokenizer_class": "LlamaTokenizer", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>",
                "add_bos_token": True, "add_eos_token": False, "legacy": True}
    added = {str(330 + index): {"content": text, "special": special, "normalized": False, "lstrip": False,
                                "rstrip": False, "single_word": False}
             for index, (text, special) in enumerate([("<|im_start|>", True), ("<mark>", False)])}
    folder = save_tokenizer("sentencepiece", None, {**settings, "added_tokens_decoder": added}, 336)
    shutil.move(writer, folder / "tokenizer.model")
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
    from transformers import LlamaTokenizer
    fast = LlamaTokenizer.from_pretrained(folder)._tokenizer
    save_tokenizer("sentencepiece-json", fast, settings, 336)
    byte_level = tokenizers.Tokenizer(tokenizers.models.BPE())
    byte_level.pre_tokenizer = tokenizers.pre_tokenizers.Sequence([
        tokenizers.pre_tokenizers.Split(tokenizers.Regex(LLAMA3_SPLIT), "isolated"),
        tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    byte_level.train_from_iterator([CORPUS] * 2, tokenizers.trainers.BpeTrainer(
        vocab_size=300, special_tokens=CONTROL, show_progress=False,
        initial_alphabet=sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())))
    byte_level.add_tokens([tokenizers.AddedToken("<mark>", normalized=False)])
    byte_level.post_processor = tokenizers.processors.TemplateProcessing(
        single="<|im_start|> $A", special_tokens=[("<|im_start|>", 1)])
    state = json.loads(byte_level.to_str())
    state["model"]["ignore_merges"] = True
    byte_level = tokenizers.Tokenizer.from_str(json.dumps(state))
    save_tokenizer("byte-level", byte_level, {
        "bos_token": "<|im_start|>", "eos_token": {"content": "<|im_end|>"}, "chat_template": "{{ messages }}"}, 304)
    return [
        {"folder": "sentencepiece", "texts": encoded(fast), "pieces": [
            [pieces.id_to_piece(index), round(pieces.get_score(index), 6)] for index in range(330)]},
        {"folder": "sentencepiece-json", "texts": encoded(fast)},
        {"folder": "byte-level", "texts": encoded(byte_level)},
    ]


LLAMA3_SPLIT = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
                r"|\s*[\r\n]+|\s+(?!\S)|\s+")


def main() -> None:
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(1)
    shutil.rmtree(HERE, ignore_errors=True)
    HERE.mkdir()
    expected = {
        "values": make_value_models(make_tokenizer()),
        "adapters": make_adapters(list(range(20, 45))),
        "tokenizers": make_tokenizers(),
    }
    text = json.dumps(expected, ensure_ascii=False, separators=(",", ":")).replace('{"', '\n{"')
    (HERE / "expected.json").write_text(text + "\n", encoding="utf-8")
    print(f"{sum(path.stat().st_size for path in HERE.rglob('*') if path.is_file()):,} bytes")


if __name__ == "__main__":
    main()
