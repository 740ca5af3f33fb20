"""Added tokens, special tokens and the chat template: what stands around the vocabulary itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ivg.convert._config import Config, read_json, read_small
from ivg.convert._errors import ConvertError, shown

from ._steps import steps_of
from ._vocabulary import SPACE, Kind, Vocabulary

#: Special tokens: GGUF's name by transformers'.
_NAMES = {"bos": "bos", "eos": "eos", "unk": "unknown", "pad": "padding"}
_ADDED_SCORE = -1000.0
#: The special token of GPT-2's tokenizer.
_GPT2_SPECIAL = "<|endoftext|>"


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
    for index, entry in described_tokens(folder, tokenizer):
        yield index, entry.text("content"), entry.flag("special", False), entry.place


def described_tokens(folder: Path, tokenizer: dict[str, Any]) -> Iterator[tuple[int, Config]]:
    """Added tokens with their settings: those of tokenizer_config.json, then those of tokenizer.json, which count more
    where both have a token."""
    path = folder / "tokenizer_config.json"
    decoder = Config(read_optional(path), str(path)).section("added_tokens_decoder", {})
    for key in decoder.values:
        entry = decoder.section(key)
        yield _id(int(key) if key.isascii() and key.isdigit() else key, path), entry
    path = folder / "tokenizer.json"
    for listed in Config(tokenizer, str(path)).items("added_tokens", []):
        entry = Config({"entry": listed}, f"{path}: added_tokens").section("entry")
        yield _id(entry.raw("id"), path), entry


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
    bos, eos = (_token(vocabulary, name) for name in ("bos", "eos"))
    before, after = _surrounding(tokenizer)
    vocabulary.add_bos = _adds(before, "bos", bos, settings, f"{folder / 'tokenizer.json'}")
    vocabulary.add_eos = _adds(after, "eos", eos, settings, f"{folder / 'tokenizer.json'}")
    if not tokenizer.get("post_processor"):
        # A SentencePiece model alone begins texts as Llama's tokenizer does.
        vocabulary.add_bos = vocabulary.model == "llama" and bos is not None
    if vocabulary.model == "llama" and not tokenizer and settings.has("add_prefix_space"):
        vocabulary.add_space_prefix = settings.flag("add_prefix_space")
    for name in ("bos", "eos"):
        if settings.has(f"add_{name}_token"):
            setattr(vocabulary, f"add_{name}", settings.flag(f"add_{name}_token"))
    if vocabulary.add_bos and bos is None:
        text = _special_text(settings, "bos") or _special_text(fallback, "bos")
        if text is not None:
            raise ConvertError(f"{path}: add_bos_token is true, but bos_token {shown(text)} is not in the vocabulary")
        vocabulary.add_bos = False  # As in transformers: what does not exist is not put before a text.


def set_named_tokens(vocabulary: Vocabulary, folder: Path) -> None:
    """Makes control tokens of the tokens that a folder without tokenizer.json names as special, as GPT-2's tokenizer
    does."""
    paths = (folder / "tokenizer_config.json", folder / "special_tokens_map.json")
    files = [Config(read_optional(path), str(path)) for path in paths]
    texts = {_special_text(file, role) for file in files for role in (*_NAMES, "sep", "cls", "mask")}
    texts |= {_content(item) for file in files for item in file.items("additional_special_tokens", [])}
    if not all(any(file.has(f"{role}_token") for file in files) for role in ("bos", "eos", "unk")):
        texts.add(_GPT2_SPECIAL)  # What each of them is if no file says.
    for index, text in enumerate(vocabulary.tokens):
        if text is not None and text in texts:
            vocabulary.kinds[index] = Kind.CONTROL


def _adds(tokens: list[str], name: str, special: str | None, settings: Config, place: str) -> bool:
    """Whether the post-processor puts the token `special` at one end of a text; throws if it puts others there, unless
    the settings say what counts."""
    if not tokens or tokens == [special]:
        return bool(tokens)
    if settings.has(f"add_{name}_token"):
        return False
    where = "before" if name == "bos" else "behind"
    raise ConvertError(
        f"{place}: post_processor puts {shown(' '.join(tokens))} {where} a text; a GGUF file can only say so of "
        f"{name}_token, which is {'missing' if special is None else shown(special)}"
    )


def _special_text(settings: Config, name: str) -> str | None:
    return _content(settings.raw(f"{name}_token", None))


def _content(value: Any) -> str | None:
    """The text of a token, from either spelling."""
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


def _surrounding(tokenizer: dict[str, Any]) -> tuple[list[str], list[str]]:
    """The tokens that the post-processor puts before and behind a single text."""
    before: list[str] = []
    after: list[str] = []
    for step in steps_of(tokenizer, "post_processor"):
        found = _around(step) if isinstance(step, dict) else ([], [])
        before, after = found[0] + before, after + found[1]
    return before, after


def _around(step: dict[str, Any]) -> tuple[list[str], list[str]]:
    if step.get("type") in ("RobertaProcessing", "BertProcessing"):
        # Pairs of a text and an id.
        ends = [value[0] for value in (step.get("cls"), step.get("sep")) if isinstance(value, list) and value]
        return ends[:1], ends[1:2]
    single = step.get("single")
    if step.get("type") != "TemplateProcessing" or not isinstance(single, list):
        return [], []
    names = [_template_token(item) for item in single]
    at = names.index(None) if None in names else len(names)
    return [name for name in names[:at] if name], [name for name in names[at:] if name]


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
