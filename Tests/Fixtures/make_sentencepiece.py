"""Writes tiny-sentencepiece.gguf, a vocabulary, and sentencepiece.json, texts with the ids that SentencePiece gives them.

usage: make_sentencepiece.py

Needs gguf, numpy and sentencepiece. The vocabulary is trained on a few lines: byte-pair encoding with byte fallback,
some user-defined tokens, all spaces kept. Ids come from `sentencepiece` itself, once with the space that it puts
before a text and once without (`add_dummy_prefix`). Two things are llama.cpp's where SentencePiece differs: `▁` in
text, and the space behind user-defined tokens; texts with `▁`, and ids of texts with user-defined tokens and a space
in front, are therefore left out.
"""

# ruff: noqa: E501

import json
import random
import tempfile
from pathlib import Path

import gguf
import sentencepiece
from sentencepiece import sentencepiece_model_pb2 as pb

HERE = Path(__file__).parent
CORPUS = """The value of a text is what a reader finds in it. A guide reads the same text as the model, and says which
word is better here; the model then writes the next word. There is no other secret to it: when the guide is small and
the model is large, the two of them together write better than either. Größe zählt nicht, und Maß halten hilft. Il était
une fois un petit modèle, très patient. 東京は日本の首都です。 1234567890 ... (a) [b] {c} == !=    spaces   and	tabs."""
USER = ["\n", "\n\n", "<turn>"]
TEXTS = [
    "",
    " ",
    "  ",
    "Hello world",
    " Hello world",
    "The value of the model is 42.",
    "it's  two   spaces    and more",
    "\t\ttabs",
    "naïve café — 東京 🙂",
    "étonné",
    "Größe",
    "<s>",
    "</s>",
    "<unk>",
    "<0x0A>",
    "<0x41>",
    "a\u0301",
    "\x00\x01\x7f",
    "\u3000\u00a0",
    "modelmodelmodel",
    "thethethe",
    "the the the",
    "x" * 100,
    "e" * 100,
    " " * 40,
    "ab" * 60,
    "日本日本日本",
]
PARTS = [
    "the",
    "The",
    " ",
    "  ",
    "value",
    "er",
    "e",
    "t",
    "model",
    "é",
    "ß",
    "東",
    "京は",
    "🙂",
    ".",
    "(",
    "12",
    "3",
    "\t",
    "x",
]


def train(directory: str) -> bytes:
    """The model file."""
    corpus = Path(directory) / "corpus.txt"
    corpus.write_text(CORPUS.replace("\n", " "))
    sentencepiece.SentencePieceTrainer.train(
        input=str(corpus),
        model_prefix=f"{directory}/model",
        model_type="bpe",
        vocab_size=400,
        byte_fallback=True,
        character_coverage=0.99,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        user_defined_symbols=USER,
        split_digits=True,
        allow_whitespace_only_pieces=True,
        minloglevel=2,
    )
    return (Path(directory) / "model.model").read_bytes()


def ids(model: bytes, text: str, prefix: bool) -> list[int]:
    """What SentencePiece makes of `text`."""
    proto = pb.ModelProto()
    proto.ParseFromString(model)
    proto.normalizer_spec.add_dummy_prefix = prefix
    processor = sentencepiece.SentencePieceProcessor(model_proto=proto.SerializeToString())
    return list(processor.encode(text))


def write(model: bytes, path: Path) -> None:
    """The vocabulary as llama.cpp's converter writes it."""
    proto = pb.ModelProto()
    proto.ParseFromString(model)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list([piece.piece for piece in proto.pieces])
    writer.add_token_scores([piece.score for piece in proto.pieces])
    writer.add_token_types([int(piece.type) for piece in proto.pieces])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()


def main() -> None:
    """Writes both files."""
    with tempfile.TemporaryDirectory() as directory:
        model = train(directory)
    write(model, HERE / "tiny-sentencepiece.gguf")
    chance = random.Random(3)
    texts = TEXTS + ["".join(chance.choices(PARTS, k=chance.randint(1, 20))) for _ in range(200)]
    cases = [{"text": text, "first": ids(model, text, True), "continued": ids(model, text, False)} for text in texts]
    marked = ["a\nb", "\n\n\n", "<turn>the\n\nvalue<turn>", "the <turn> value"]
    cases += [{"text": text, "continued": ids(model, text, False)} for text in marked]
    content = ",\n".join(" " + json.dumps(case, separators=(",", ":")) for case in cases)
    (HERE / "sentencepiece.json").write_text(f"[\n{content}\n]\n")


if __name__ == "__main__":
    main()
