"""Writes gemma-tokens.json: the ids that llama.cpp gives nasty texts with a real SentencePiece vocabulary.

usage: make_llama_cpp_tokens.py gemma-3-270m-q4_k_m.gguf

Needs xllamacpp, whose server is asked, without BOS and with special tokens as text or parsed. Texts with `</s>` are
left out: llama.cpp takes that for a control token in any file, and here it is what the file says.
"""

# ruff: noqa: RUF001

import json
import random
import sys
import urllib.request
from pathlib import Path

import xllamacpp

PARTS = [
    "'s",
    "’s",
    "don't",
    "a",
    "Z",
    "hello",
    " the",
    "WORLD",
    "é",
    "É",
    "ß",
    "Я",
    "Привет",
    "中",
    "文字",
    "ひら",
    "カナ",
    "한국어",
    "ไทย",
    "नम",
    "مرحبا",
    "\u0301",
    "\u200d",
    "\u00a0",
    "\u3000",
    "1",
    "12",
    "1234567",
    "½",
    "🦙",
    "👍🏽",
    "$",
    "~",
    "`",
    "...",
    "。",
    "…",
    "-",
    "_",
    "(",
    "//",
    "\\",
    '"',
    "#",
    " ",
    "  ",
    "     ",
    "\t",
    "\t\t",
    "\n",
    "\n\n",
    "\n\n\n",
    "\r\n",
    " \n",
    "\x00",
    "\x7f",
    "ﬁ",
    "𝟘",
    "\ue000",
    "▁",
    "▁▁",
    "<bos>",
    "<start_of_turn>",
    "<end_of_turn>",
    "<unused3>",
    "<table>",
    "</table>",
    "<h1>",
    "[multimodal]",
]


def main() -> None:
    """Writes the file."""
    parameters = xllamacpp.CommonParams()
    parameters.model.path = sys.argv[1]
    parameters.n_ctx = 64
    parameters.warmup = False
    server = xllamacpp.Server(parameters)
    address = server.listening_address

    def ids(text: str, special: bool) -> list[int]:
        body = json.dumps({"content": text, "add_special": False, "parse_special": special}).encode()
        request = urllib.request.Request(f"{address}/tokenize", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request) as reply:
            return list(json.load(reply)["tokens"])

    chance = random.Random(11)
    texts = ["".join(chance.choices(PARTS, k=chance.randint(1, 15))) for _ in range(300)]
    cases = [{"text": text, "plain": ids(text, False), "special": ids(text, True)} for text in texts]
    content = ",\n".join(" " + json.dumps(case, separators=(",", ":")) for case in cases)
    (Path(__file__).parent / "gemma-tokens.json").write_text(f"[\n{content}\n]\n")


if __name__ == "__main__":
    main()
