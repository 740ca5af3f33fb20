"""Writes pretokenizers.json: where regular expressions cut texts, for the tests of `PreTokenizer`.

usage: make_pretokenizers.py

Needs regex. The expressions are those of the models' tokenizer.json, or of llama.cpp where it has others; each is
applied to what the one before left, as `tokenizers` and llama.cpp do: matches become pieces, and what is between.
Texts: some that are nasty on purpose, and 400 from pieces at random. Each has for every rule the lengths of its
words, in bytes.
"""

# ruff: noqa: RUF001, E501

import json
import random
from pathlib import Path

import regex

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
SHORT = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
SPACES = r"\s*[\r\n]+|\s+(?!\S)|\s+"
# llama.cpp's reading of [\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}] and its like: letters beyond ASCII are of both cases, marks
# of none.
UPPER, LOWER = r"(?:(?=\p{L})[^a-z])", r"(?:(?=\p{L})[^A-Z])"
UPPER_OWN, LOWER_OWN = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
UPPER_M, LOWER_M = r"(?:(?=[\p{L}\p{M}])[^a-z])", r"(?:(?=[\p{L}\p{M}])[^A-Z])"
LEAD = r"[^\r\n\p{L}\p{N}]?"
HAN_KANA = "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+"
# All of U+0800 to U+9FA5 and U+AC00 to U+D7FF, but for white space, which llama.cpp replaces first.
EAST_ASIAN = "(?:(?!\\s)[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff])+"
CASED = (
    "A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝ"
    "\u1f5f-\u1f7dᾀ-ᾴᾶ-ᾼ\u1fbeῂ-ῄῆ-ῌ\u1fd0-\u1fd3\u1fd6-\u1fdb\u1fe0-\u1fecῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤ\u2126ℨ\u212a-ℭℯ-ℴℹ"
    "ℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃"
)
WIDE = "(?:(?!\\s)[!-/:-~！-／：-～‘-‟\u3000-\u3002])+"


def lines(digits: str, letters: str = r"\p{L}", others: str = r"[^\s\p{L}\p{N}]+[\r\n]*", short: str = SHORT) -> str:
    """The shape of Llama 3's rules."""
    return "|".join(filter(None, [short, rf"{LEAD}{letters}+", rf"\p{{N}}{digits}", f" ?{others}", SPACES]))


def cased(upper: str, lower: str, digits: str, short: str) -> str:
    """The shape of GPT-4o's rules."""
    return rf"{LEAD}{upper}*{lower}+{short}|{LEAD}{upper}+{lower}*{short}|\p{{N}}{digits}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|{SPACES}"


JAIS = "|".join([rf"\s{{{2**n}}}(?!\S)" for n in range(9, 1, -1)] + [r"\s{1,2}(?!\S)", r"\s{1}"])
RULES = {
    "gpt-2": [GPT2],
    "smollm": [r"\p{N}", GPT2],
    "default": [r"[\p{P}$+<=>^~|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"],
    "falcon": [r"[\p{P}$+<=>^~|`]+", GPT2, "[0-9][0-9][0-9]"],
    "llama-bpe": [lines("{1,3}")],
    "qwen2": [lines("")],
    "bailingmoe": [lines("").replace(r"\s*[\r\n]+", r"\s*[\r\n]")],
    "seed-coder": [lines("", others=r"[^\s\p{L}\p{N}\r\n]+")],
    "ufakzeka": [lines("", short="")],
    "qwen35": [lines("", letters=r"[\p{L}\p{M}]", others=r"[^\s\p{L}\p{M}\p{N}]+[\r\n]*")],
    "jais-2": [lines("{1,3}").replace(r"\s+(?!\S)|\s+", JAIS)],
    "minicpm5": [r"\p{N}{1,3}", lines("+")],
    "laguna": [r"[^\n]+|[\n]+", lines("")],
    "tekken": [cased(UPPER, LOWER, "", "")],
    "gpt-4o": [cased(UPPER, LOWER, "{1,3}", f"{SHORT}?")],
    # The same as in the models' tokenizer.json (tokenizer.ivg.exact_case).
    "tekken!": [cased(UPPER_OWN, LOWER_OWN, "", "")],
    "gpt-4o!": [cased(UPPER_OWN, LOWER_OWN, "{1,3}", f"{SHORT}?")],
    "granite-embed-multi-97m": [cased(UPPER_M, LOWER_M, "{1,3}", f"{SHORT}?")],
    "bloom": [r" ?[^(\s|.,!?…。，、।۔،)]+"],
    "viking": [r" ?[^(\s|.,!?…。，、।۔،)]+", r"\p{N}"],
    "deepseek-llm": [r"[\r\n]", rf"\s?[{CASED}]+", rf"\s?{WIDE}", r"\s+\Z", EAST_ASIAN, r"\p{N}+"],
    "deepseek-coder": [r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", EAST_ASIAN, r"\p{N}"],
    "deepseek-v3": [
        r"\p{N}{1,3}",
        HAN_KANA,
        r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|"
        + SPACES,
    ],
    "chameleon": [
        "<sentinel:[0-9]+>",
        "(?:IMGIMG)(?:(?:A|B|C|D|E|F|G|H|I){1,4})Z",
        r"[\t\n]|    |  ",
        r"\p{N}",
        r"[\p{P}!-/:-@\[-`{-~]",
        GPT2,
    ],
}
TEXTS = [
    "Hello, y'all! I'VE told 'em: DON'T, he'Ll. it’s it’S",
    "x=1;y=22;z=333;w=4444 3.14159 1,000,000 ٣٤ ½ Ⅳ",
    "東京は日本の首都です。人口は1400万人、と言う！",
    "e\u0301cole cafe\u0301 नमस्ते ไทยสวัสดี हिन्दी",
    "a\u00a0b\u3000c\u2003d\u0085e\u1680f",
    "line\n  \n\n indented\r\n\ttab \r\n  ",
    "👍🏽🇩🇪😶‍🌫️ (ok)!!! ~~ ``x`` <|y|>",
    "HTTPServer camelCaseWord ÀB ÉcoleÉ éÉé McDonald's ABC'S/\n/",
    "\x00\x01 \x1b[0m\x7f\u200b\ufeff",
    "IMGIMGABCZ <sentinel:12> IMGIMGJ <sentinel:>    four  two",
    " " * 700 + "x" + " " * 6,
]
PARTS = [
    "'s",
    "'S",
    "’s",
    "'RE",
    "'ll",
    "don't",
    "a",
    "Z",
    "Ab",
    "aB",
    "WORLD",
    "é",
    "É",
    "ß",
    "ǅ",
    "ʰ",
    "Я",
    "中",
    "ひ",
    "カナ",
    "한국",
    "ไทย",
    "नम",
    "مر",
    "ש",
    "\u0301",
    "\u200d",
    "\u00a0",
    "\u3000",
    "\u0085",
    "1",
    "12",
    "1234567",
    "٣",
    "²",
    "Ⅳ",
    "🦙",
    "$",
    "+",
    "~",
    "`",
    "!",
    "...",
    "。",
    "，",
    "“",
    "…",
    "·",
    "-",
    "_",
    "(",
    "/",
    "//",
    "\\",
    '"',
    "#",
    "|",
    " ",
    "  ",
    "     ",
    "\t",
    "\n",
    "\n\n",
    "\r\n",
    " \n",
    "\n ",
    "\x00",
    "\x7f",
    "\u00ad",
    "ﬁ",
    "Ａ",
    "０",
    "𝟘",
    "µ",
    "\u2028",
    "\ue000",
]


def words(passes: list[str], text: str) -> list[int]:
    """Lengths in bytes of what `passes` leave of `text`."""
    pieces = [text]
    for source in passes:
        expression = regex.compile(source, regex.V0)
        fresh: list[str] = []
        for piece in pieces:
            start = 0
            for match in expression.finditer(piece):
                fresh += [piece[start : match.start()], match.group()]
                start = match.end()
            fresh.append(piece[start:])
        pieces = [piece for piece in fresh if piece]
    return [len(piece.encode()) for piece in pieces]


def main() -> None:
    """Writes the file."""
    chance = random.Random(7)
    texts = TEXTS + ["".join(chance.choices(PARTS, k=chance.randint(1, 14))) for _ in range(400)]
    rules = {name: [words(passes, text) for text in texts] for name, passes in RULES.items()}
    lines_of = [
        f"  {json.dumps(name)}: {json.dumps(lengths, separators=(',', ':'))}" for name, lengths in rules.items()
    ]
    content = '{\n "texts": ' + json.dumps(texts) + ',\n "rules": {\n' + ",\n".join(lines_of) + "\n }\n}\n"
    (Path(__file__).parent / "pretokenizers.json").write_text(content)


if __name__ == "__main__":
    main()
