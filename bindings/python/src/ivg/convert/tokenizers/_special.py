"""Added tokens, special tokens and the chat template: what stands around the vocabulary itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ivg.convert._config import Config, read_json, read_small
from ivg.convert._errors import ConvertError, shown

from ._vocabulary import SPACE, Kind, Vocabulary

#: Special tokens: GGUF's name by transformers'.
_NAMES = {"bos": "bos", "eos": "eos", "unk": "unknown", "pad": "padding"}
_ADDED_SCORE = -1000.0


def read_optional(path: Path) -> dict[str, Any]:
    """The JSON object in a file, or an empty one if there is no such file."""
    return read_json(path) if path.exists() else {}


def add_added_tokens(vocabulary: Vocabulary, folder: Path, tokenizer: dict[str, Any]) -> None:
    """Puts added tokens into the table: special ones become control tokens, others user-defined."""
    for index, text, special, place in _added(folder, tokenizer):
        if index >= len(vocabulary.tokens):
            # A token without an embedding can neither be read nor written by the model.
            continue
        kind = Kind.CONTROL if special else Kind.USER_DEFINED
        if vocabulary.model == "llama":
            if vocabulary.kinds[index] is Kind.UNKNOWN and vocabulary.tokens[index] == text:
                continue
            if kind is Kind.USER_DEFINED:
                text = text.replace(SPACE, " ")
        vocabulary.put(index, text, kind, _ADDED_SCORE, place)


def _added(folder: Path, tokenizer: dict[str, Any]) -> Iterator[tuple[int, str, bool, str]]:
    """(id, text, special, file) from all places where they may be listed."""
    path = folder / "added_tokens.json"
    for text, index in read_optional(path).items():
        yield _id(index, path), text, False, str(path)
    path = folder / "tokenizer_config.json"
    decoder = Config(read_optional(path), str(path)).section("added_tokens_decoder", {})
    for key in decoder.values:
        entry = decoder.section(key)
        yield _id(int(key) if key.isascii() and key.isdigit() else key, path), *_text(entry), str(path)
    path = folder / "tokenizer.json"
    for entry in Config(tokenizer, str(path)).items("added_tokens", []):
        added = Config({"entry": entry}, f"{path}: added_tokens").section("entry")
        yield _id(added.raw("id"), path), *_text(added), str(path)


def _text(entry: Config) -> tuple[str, bool]:
    return entry.text("content"), entry.flag("special", False)


def _id(value: Any, path: Path) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ConvertError(f"{path}: an added token has the id {shown(value)}")
    return value


def set_special_tokens(vocabulary: Vocabulary, folder: Path, tokenizer: dict[str, Any], config: Config) -> None:
    """Which tokens begin, end and pad a text, and which are put around it.

    tokenizer_config.json is asked first, then special_tokens_map.json, then config.json.
    """
    path = folder / "tokenizer_config.json"
    settings = Config(read_optional(path), str(path))
    fallback_path = folder / "special_tokens_map.json"
    fallback = Config(read_optional(fallback_path), str(fallback_path))
    by_text = {text: index for index, text in reversed(list(enumerate(vocabulary.tokens)))}
    for name, label in _NAMES.items():
        text = _special_text(settings, name) or _special_text(fallback, name)
        index = by_text.get(text) if text is not None else None
        if index is None:
            index = _configured(config, name, len(vocabulary.tokens))
        if index is not None:
            vocabulary.special[label] = index
    unknown = vocabulary.special.get("unknown")
    if vocabulary.model == "llama" and unknown is not None:
        vocabulary.kinds[unknown] = Kind.UNKNOWN
    first, last = _surrounding(tokenizer)
    bos, eos = (_token(vocabulary, name) for name in ("bos", "eos"))
    vocabulary.add_bos = first is not None and first == bos
    vocabulary.add_eos = last is not None and last == eos
    if not tokenizer.get("post_processor"):
        # A SentencePiece model alone begins texts as Llama's tokenizer does.
        vocabulary.add_bos = vocabulary.model == "llama" and bos is not None
    if vocabulary.model == "llama" and not tokenizer and settings.has("add_prefix_space"):
        vocabulary.add_space_prefix = settings.flag("add_prefix_space")
    for name in ("bos", "eos"):
        if settings.has(f"add_{name}_token"):
            setattr(vocabulary, f"add_{name}", settings.flag(f"add_{name}_token"))


def _special_text(settings: Config, name: str) -> str | None:
    value = settings.raw(f"{name}_token", None)
    if isinstance(value, dict):
        value = value.get("content")
    return value if isinstance(value, str) else None


def _configured(config: Config, name: str, size: int) -> int | None:
    """The id in config.json; of several the first; None if the model has no such token."""
    value = config.raw(f"{name}_token_id", None)
    if isinstance(value, list) and value:
        value = value[0]
    valid = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < size
    return value if valid else None


def _token(vocabulary: Vocabulary, name: str) -> str | None:
    index = vocabulary.special.get(name)
    return None if index is None else vocabulary.tokens[index]


def _surrounding(tokenizer: dict[str, Any]) -> tuple[str | None, str | None]:
    """The tokens that a template puts before and behind a single text."""
    processor = tokenizer.get("post_processor")
    if not isinstance(processor, dict):
        return None, None
    inner = processor.get("processors")
    for step in inner if isinstance(inner, list) else [processor]:
        if not isinstance(step, dict) or step.get("type") != "TemplateProcessing":
            continue
        single = step.get("single")
        if isinstance(single, list) and len(single) > 1:
            return _template_token(single[0]), _template_token(single[-1])
    return None, None


def _template_token(item: Any) -> str | None:
    token = item.get("SpecialToken") if isinstance(item, dict) else None
    name = token.get("id") if isinstance(token, dict) else None
    return name if isinstance(name, str) else None


def read_chat_template(folder: Path) -> str | None:
    """The chat template; of several the one called default."""
    path = folder / "chat_template.jinja"
    if path.is_file():
        try:
            return read_small(path).decode("utf-8")
        except UnicodeDecodeError as error:
            raise ConvertError(f"{path} is not UTF-8 at byte {error.start}") from None
    for name in ("tokenizer_config.json", "chat_template.json"):
        value = read_optional(folder / name).get("chat_template")
        if isinstance(value, str):
            return value
        if isinstance(value, list):
            for choice in value:
                if isinstance(choice, dict) and choice.get("name") == "default":
                    template = choice.get("template")
                    return template if isinstance(template, str) else None
    return None
