"""Writes what the tokenizer knows about canonical composition (NFC), and a fixture for its tests.

usage: make_normalization.py

Needs tokenizers. Writes Sources/Tokenizer/CanonicalTables.swift and normalization.json. Characters are those that
`tokenizers` knows (its tables are of an older Unicode than Python's): so texts become what they become there. The
fixture holds texts and what `tokenizers` makes of them.
"""

import json
import random
import unicodedata
from pathlib import Path

from tokenizers import normalizers

ROOT = Path(__file__).parent.parent.parent
NFC, NFD = normalizers.NFC().normalize_str, normalizers.NFD().normalize_str
HANGUL = range(0xAC00, 0xD7A4)
ALL = [code for code in range(0x110000) if not 0xD800 <= code < 0xE000 and code not in HANGUL]


def combining_class(code: int) -> int:
    """The class of a character, 0 for one that `tokenizers` does not know to have another."""
    found = unicodedata.combining(chr(code))
    # Something that would have to change places with it, before it or behind it.
    before, behind = chr(0x345) + chr(code), chr(code) + chr(0x334)
    moves = (found < 240 and NFD(before) != before) or (found > 1 and NFD(behind) != behind)
    return found if moves else 0


def decompositions() -> list[tuple[int, int, int, bool]]:
    """(character, first, second or 0, whether the two become it again)."""
    found = []
    for code in ALL:
        text = chr(code)
        if NFD(text) == text:
            continue
        parts = [int(part, 16) for part in unicodedata.decomposition(text).split()]
        assert len(parts) in (1, 2)
        assert NFD("".join(map(chr, parts))) == NFD(text)
        found.append((code, parts[0], parts[1] if len(parts) == 2 else 0, NFC(text) == text))
    return found


def class_ranges() -> list[tuple[int, int, int]]:
    """(first, last, class), ascending."""
    found: list[tuple[int, int, int]] = []
    for code in ALL:
        value = combining_class(code)
        if not value:
            continue
        if found and found[-1][1] == code - 1 and found[-1][2] == value:
            found[-1] = (found[-1][0], code, value)
        else:
            found.append((code, code, value))
    return found


def table(name: str, comment: str, rows: list[tuple[int, ...]]) -> str:
    """A Swift array of numbers, some rows a line."""
    words = [", ".join(f"0x{value:X}" for value in row) + "," for row in rows]
    lines, line = [], ""
    for word in words:
        if len(line) + len(word) > 112:
            lines.append("    " + line.strip())
            line = ""
        line += " " + word
    lines.append("    " + line.strip())
    return f"  /// {comment}\n  static let {name}: [UInt32] = [\n" + "\n".join(lines) + "\n  ]\n"


def texts() -> list[str]:
    """Nasty ones, every character that changes, and random ones of such."""
    changing = [row[0] for row in decompositions()] + [code for row in class_ranges() for code in row[:2]]
    parts = [chr(code) for code in changing] + list("aAeEoOuU ñé中ไกि가각") + [chr(0x1100), chr(0x1161), chr(0x11A8)]
    marks = [chr(code) for code in (0x300, 0x301, 0x302, 0x307, 0x308, 0x323, 0x327, 0x328, 0x338, 0x345, 0x334, 0x93C)]
    chance = random.Random(11)
    found = [
        "",
        "a",
        "e\u0301",
        "\u0301",
        "a\u0323\u0302",
        "a\u0302\u0323",
        "\u1100\u1161\u11a8",
        "\uac00\u11a8",
        "Å\u212b",
    ]
    found += ["".join(map(chr, changing[at : at + 40])) for at in range(0, len(changing), 40)]
    for _ in range(600):
        length = chance.randint(1, 12)
        found.append("".join(chance.choice(marks if chance.random() < 0.5 else parts) for _ in range(length)))
    return found


def main() -> None:
    """Writes both files."""
    rows = [(code | (0 if again else 1 << 31), first, second) for code, first, second, again in decompositions()]
    swift = (
        "// Written by Tests/Fixtures/make_normalization.py.\n\n"
        "/// What is known of characters for canonical composition, but for Hangul, which is computed.\n"
        "enum CanonicalTables {\n"
        + table("classes", "First character, last character, combining class; ascending.", class_ranges())
        + "\n"
        + table(
            "decompositions",
            "A character, the two it stands for (or one, and 0); top bit: these do not become it again.",
            rows,
        )
        + "}\n"
    )
    (ROOT / "Sources/Tokenizer/CanonicalTables.swift").write_text(swift, "utf-8")
    pairs = [[text, NFC(text)] for text in texts()]
    content = "[\n" + ",\n".join(json.dumps(pair) for pair in pairs) + "\n]\n"
    (Path(__file__).parent / "normalization.json").write_text(content, "utf-8")


if __name__ == "__main__":
    main()
