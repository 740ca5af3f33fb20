# SPDX-License-Identifier: Apache-2.0
"""Fenced blocks of code in Markdown, what the comments before them say, and links between pages."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

#: Languages of fences that hold no code.
PROSE = ("", "text")
_FENCE = re.compile(r"^(```+)\s*([\w+-]*)\s*$")
_MARK = re.compile(r"^<!--\s*run:\s*(.*?)\s*-->\s*$")
_REFUSED = re.compile(r"^no \((.+)\)$")


@dataclass(frozen=True)
class Block:
    """A fenced block."""

    #: The page, by its path in the repository.
    name: str
    #: Of the first line of code; 1 is the first of the page.
    line: int
    language: str
    code: str
    #: What the comment before the fence says, e.g. "parse"; "" without one.
    mark: str = ""

    @property
    def place(self) -> str:
        """Where it is, for a person."""
        return f"{self.name}:{self.line}"

    @property
    def refusal(self) -> str | None:
        """Why it is not to be run, if its mark says so."""
        found = _REFUSED.match(self.mark)
        return found[1] if found else None


def blocks_of(page: Path, root: Path) -> list[Block]:
    """The blocks of code of a page below `root`, in order.

    Throws ValueError at a fence that is never closed, and at a mark that stands before no fence."""
    found: list[Block] = []
    name = page.relative_to(root).as_posix()
    fence, language, mark, start = "", "", "", 0
    code: list[str] = []
    for number, line in enumerate(page.read_text("utf-8").split("\n"), 1):
        opened = _FENCE.match(line)
        if fence:
            if opened and opened[1] == fence and not opened[2]:
                if language not in PROSE:
                    found.append(Block(name, start, language, "\n".join(code) + "\n", mark))
                fence, mark, code = "", "", []
            else:
                code.append(line)
        elif opened:
            fence, language, start = opened[1], opened[2], number + 1
        elif marked := _MARK.match(line):
            mark = marked[1]
        elif mark and line.strip():
            raise ValueError(f"{name}:{number}: the comment 'run: {mark}' stands before no block of code")
    if fence:
        raise ValueError(f"{name}:{start}: this block never ends")
    return found


def commands_of(block: Block) -> list[str]:
    """The commands of a block for the shell: lines without comments, those that go on joined."""
    lines = [re.sub(r"(^|\s)#.*$", "", line) for line in block.code.replace("\\\n", " ").split("\n")]
    # Several commands may stand beside each other, in columns.
    return [part.strip() for line in lines for part in re.split(r"\s{3,}(?=ivg )", line) if part.strip()]


def written_files(block: Block) -> set[str]:
    """The files that the commands of a block write, as far as options name them."""
    return set(re.findall(r"(?:^|\s)(?:-o|--output|--rewards|--log|--head-out|--checkpoint)[ =]([\w./-]+)", block.code))


def _anchors(page: Path) -> set[str]:
    """What links may name behind a #: headings, as code forges make them."""
    headings = re.findall(r"^#+ +(.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(page: Path) -> list[str]:
    """The links of a page to files and headings that are not there. Addresses on the web are not looked up."""
    found = []
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")):
        path, _, anchor = target.partition("#")
        if "://" in target:
            continue
        file = page.parent / path if path else page
        if not file.exists() or (anchor and anchor not in _anchors(file)):
            found.append(target)
    return found
