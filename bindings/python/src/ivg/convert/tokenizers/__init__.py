"""Tokenizers: from the files of a Hugging Face folder to the fields of a GGUF file."""

from __future__ import annotations

from pathlib import Path

from ivg.convert._config import Config
from ivg.convert._errors import ConvertError

from ._json_bpe import (
    is_sentencepiece,
    prepare_text,
    read_byte_level,
    read_sentencepiece_json,
    read_vocab_and_merges,
    require_plain_words,
)
from ._sentencepiece import read_sentencepiece, vocabulary_of
from ._special import add_added_tokens, read_chat_template, read_optional, set_named_tokens, set_special_tokens
from ._text_rules import read_text_rules
from ._vocabulary import Vocabulary


def read_vocabulary(folder: Path, config: Config, size: int, pre: str | None = None) -> Vocabulary:
    """The tokenizer of a folder as a table of `size` tokens, one for each row of the embeddings.

    Of several descriptions the one is taken that says most: byte-level BPE in tokenizer.json, then tokenizer.model,
    then tokenizer.json of SentencePiece's kind, then vocab.json with merges.txt.
    """
    json_path, model_path = folder / "tokenizer.json", folder / "tokenizer.model"
    tokenizer = read_optional(json_path)
    if tokenizer and not is_sentencepiece(tokenizer):
        require_plain_words(folder, tokenizer, config, pre)
        found = read_byte_level(tokenizer, size, pre, str(json_path))
    elif model_path.exists():
        found = vocabulary_of(read_sentencepiece(model_path), size, str(model_path))
        if tokenizer:
            prepare_text(found, tokenizer, str(json_path))
    elif tokenizer:
        found = read_sentencepiece_json(tokenizer, size, str(json_path))
    elif (folder / "vocab.json").exists():
        require_plain_words(folder, tokenizer, config, pre)
        found = read_vocab_and_merges(folder, size, pre)
        set_named_tokens(found, folder)
    else:
        raise ConvertError(
            f"{folder} has no tokenizer: neither tokenizer.json, nor tokenizer.model, nor vocab.json with merges.txt"
        )
    add_added_tokens(found, folder, tokenizer)
    set_special_tokens(found, folder, tokenizer, config)
    read_text_rules(found, folder, tokenizer, pre)
    found.chat_template = read_chat_template(folder)
    return found


__all__ = ["Vocabulary", "read_vocabulary"]
