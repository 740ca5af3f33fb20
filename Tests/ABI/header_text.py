# SPDX-License-Identifier: Apache-2.0
"""Reads `include/ivg.h` as text: masks take comments and the preprocessor away, what is left are declarations."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field

# Macros that are no values.
PLUMBING = {"IVG_H", "IVG_API", "IVG_MUST_USE", "IVG_NONNULL", "IVG_NULLABLE", "IVG_NOEXCEPT"}


@dataclass
class Comment:
    start: int
    end: int
    text: str  # without its marks, on one line
    stands_alone: bool  # nothing else is on its lines


@dataclass
class Member:
    """A field of a struct or a constant of an enum."""

    name: str
    type: str
    offset: int
    comment: str  # behind it, or above its group; "" if there is none


@dataclass
class Declaration:
    kind: str  # function, struct, handle, callback, enum, alias, constant
    name: str
    offset: int
    code: str
    block: str | None
    members: list[Member] = field(default_factory=list)


def blank(text: str) -> str:
    """Spaces in place of all characters but ends of lines."""
    return re.sub(r"[^\n]", " ", text)


def find_comments(text: str) -> list[Comment]:
    comments = []
    for match in re.finditer(r"/\*.*?\*/", text, re.DOTALL):
        before = text[text.rfind("\n", 0, match.start()) + 1 : match.start()]
        end = text.find("\n", match.end())
        after = text[match.end() : end if end >= 0 else len(text)]
        words = re.sub(r"(?m)^\s*\*(?!/)", " ", match.group()[2:-2])
        comments.append(
            Comment(match.start(), match.end(), " ".join(words.split()), not before.strip() and not after.strip())
        )
    return comments


def mask(text: str) -> str:
    """The declarations alone, everything at its place: without comments, the preprocessor, and what only C++ sees."""
    text = re.sub(r"/\*.*?\*/", lambda match: blank(match.group()), text, flags=re.DOTALL)
    text = re.sub(r"(?m)^#ifdef __cplusplus\n(?:.*\n)*?#(?:else|endif)", lambda match: blank(match.group()), text)
    text = re.sub(r"(?m)^ *#(?:.*\\\n)*.*", lambda match: blank(match.group()), text)
    # Marks for compilers say nothing of their own here.
    return re.sub(r"\bIVG_(?:NONNULL|NULLABLE|NOEXCEPT|MUST_USE)\b", lambda match: blank(match.group()), text)


def split(code: str, separator: str, opening: str, closing: str) -> Iterator[tuple[int, str]]:
    """Parts of `code` between separators outside all brackets, with the offset of their first character."""
    depth, start = 0, 0
    for mark in re.finditer(f"[{re.escape(opening + closing + separator)}]", code + separator):
        depth += (mark.group() in opening) - (mark.group() in closing)
        if mark.group() == separator and depth == 0:
            part = code[start : mark.start()]
            if part.strip():
                yield start + len(part) - len(part.lstrip()), part.strip()
            start = mark.end()


class Header:
    """The header's declarations, in order."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.comments = find_comments(text)
        self.starts = [comment.start for comment in self.comments]
        self.masked = mask(text)
        self.declarations = [self.declaration(*part) for part in split(self.masked, ";", "{(", "})")]
        self.declarations += self.constants()

    def line(self, offset: int) -> int:
        return self.text.count("\n", 0, offset) + 1

    def block_before(self, offset: int) -> str | None:
        """The comment that ends on the line before the one at `offset`."""
        place = bisect_left(self.starts, offset)
        if place == 0 or not self.comments[place - 1].stands_alone:
            return None
        between = self.text[self.comments[place - 1].end : offset]
        return self.comments[place - 1].text if between.count("\n") == 1 and not between.strip() else None

    def declaration(self, offset: int, code: str) -> Declaration:
        patterns = [
            ("function", r"IVG_API\b.*?\b(ivg_\w+)\s*\("),
            ("struct", r"typedef struct (ivg_\w+)\s*\{"),
            ("handle", r"typedef struct (ivg_\w+)\s+\w+$"),
            ("callback", r"typedef [\w ]+\(\*\s*(ivg_\w+)\)"),
            ("alias", r"typedef \w+ (ivg_\w+)$"),
            ("enum", r"enum\s*\{\s*(IVG_\w+)"),
        ]
        for kind, pattern in patterns:
            if match := re.match(pattern, code, re.DOTALL):
                found = Declaration(kind, match.group(1), offset, code, self.block_before(offset))
                if kind in ("struct", "enum"):
                    found.members = list(self.members(found))
                return found
        return Declaration("unknown", code.split("\n")[0], offset, code, None)

    def members(self, owner: Declaration) -> Iterator[Member]:
        start = owner.offset + owner.code.index("{") + 1
        body = owner.code[owner.code.index("{") + 1 : owner.code.rindex("}")]
        separator = ";" if owner.kind == "struct" else ","
        for place, code in split(body, separator, "(", ")"):
            pattern = r"\(\*\s*(\w+)\)" if "(*" in code else r"(\w+)(?:\[\d+\])?$"
            match = re.search(pattern if owner.kind == "struct" else r"(\w+)", code)
            name = match.group(1) if match else code
            offset, end = start + place, start + place + len(code)
            yield Member(name, code, offset, self.member_comment(offset, end, start))

    def member_comment(self, offset: int, end: int, body: int) -> str:
        """What stands behind a member on its last line, or alone above the group of lines that it belongs to."""
        place = bisect_left(self.starts, end)
        if place < len(self.starts) and "\n" not in self.text[end : self.starts[place]]:
            return self.comments[place].text
        for comment in reversed(self.comments[:place]):
            if comment.start < body or "\n\n" in self.text[comment.end : offset]:
                break
            if comment.stands_alone:
                return comment.text
        return ""

    def constants(self) -> Iterator[Declaration]:
        """Values that macros name. The block is a comment before, or one behind on the line."""
        for match in re.finditer(r"(?m)^#define (IVG_\w+)\b(?!\().*$", self.text):
            if match.group(1) not in PLUMBING and not match.group(1).startswith("IVG_VERSION_"):
                comment = self.member_comment(match.start(), match.start(), match.end()) or None
                yield Declaration("constant", match.group(1), match.start(), match.group(), comment)
