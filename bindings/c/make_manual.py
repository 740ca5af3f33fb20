#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes man pages of ivg.h: ivg(3) from its first comment, and a page from each of its sections.

make_manual.py HEADER FOLDER      writes FOLDER/ivg.3, FOLDER/ivg_sessions.3, ..., and for every function a link to its
                                  section's page: FOLDER/ivg_session_next.3

The header is the manual; nothing is said here. A comment before a declaration describes it, one that stands alone
describes what follows. Within a comment an indented block after an empty line is shown as it is, all else is filled.
The date is $SOURCE_DATE_EPOCH, if set, else the header's.
"""

import os
import re
import sys
import textwrap
import time
from pathlib import Path
from typing import NamedTuple

# The page's name of each section, by its number in the header.
PAGES = {
    1: "ivg_versions", 2: "ivg_errors", 3: "ivg_logs", 4: "ivg_files", 5: "ivg_models", 6: "ivg_adapters",
    7: "ivg_guidances", 8: "ivg_sessions", 9: "ivg_generating", 10: "ivg_results", 11: "ivg_sequences",
    12: "ivg_scoring", 13: "ivg_hosted_models", 14: "ivg_training", 15: "ivg_quantising",
}  # fmt: skip

BANNER = re.compile(r"^/\* -+ (\d+) (.+?) -+ \*/$", re.MULTILINE)
MARKS = re.compile(r" IVG_NOEXCEPT\b|\b(IVG_API|IVG_MUST_USE|IVG_NULLABLE|IVG_NONNULL)\b ?")
FUNCTION = re.compile(r"\b(ivg_\w+)\(")


class Entry(NamedTuple):
    """A comment and the declarations that follow it."""

    comment: str
    code: str


def escaped(text: str) -> str:
    """`text` as roff shows it literally."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("`", "\\(ga")
    text = text.replace("^", "\\(ha").replace("~", "\\(ti")
    return "\n".join("\\&" + line if line.startswith((".", "\\(aq")) else line for line in text.split("\n"))


def filled(text: str) -> str:
    """Prose, with functions, constants and quoted words set as such."""
    words = []
    for piece in re.split(r"(`[^`]+`|\bivg_\w+(?:\(\))?|\bIVG_[A-Z0-9_]+\b)", " ".join(text.split())):
        if piece.startswith("`"):
            words.append(f"\\fI{escaped(piece[1:-1])}\\fR")
        elif piece.startswith(("ivg_", "IVG_")):
            words.append(f"\\fB\\%{escaped(piece)}\\fR")  # not to be divided
        else:
            words.append(escaped(piece))
    folded = textwrap.wrap("".join(words), 79, break_long_words=False, break_on_hyphens=False)
    return "\n".join("\\&" + line if line.startswith((".", "\\(aq")) else line for line in folded)


def verbatim(lines: list[str]) -> list[str]:
    """Lines as they are, in the typewriter's hand."""
    margin = min(len(line) - len(line.lstrip()) for line in lines if line.strip())
    return [".PP", ".in +4n", ".EX", *(escaped(line[margin:].rstrip()) for line in lines), ".EE", ".in"]


def comment_lines(comment: str) -> list[str]:
    """The text of a comment without its stars."""
    lines = comment.removeprefix("/*").removesuffix("*/").rstrip().split("\n")
    return [lines[0].strip(), *(re.sub(r"^ \* ?", "", line) for line in lines[1:])]


def prose(lines: list[str]) -> list[str]:
    """roff of a comment's lines."""
    page: list[str] = []
    paragraphs = re.split(r"\n(?:[ \t]*\n)+", "\n".join(lines).strip("\n"))
    for paragraph in paragraphs:
        rows = paragraph.split("\n")
        if not paragraph.strip():
            continue
        # A table or a formula may follow its sentence without an empty line between them.
        plain = next((i for i, row in enumerate(rows) if row.startswith("    ") and not labelled(rows, i)), len(rows))
        rest = next((i for i in range(plain, len(rows)) if not rows[i].startswith("    ")), len(rows))
        for part in labels(rows[:plain]):
            page += part
        if plain < len(rows):
            page += verbatim(rows[plain:rest])
            page += prose(rows[rest:])
    return page


def labelled(rows: list[str], index: int) -> bool:
    """Whether row `index` continues a "Returns: ..." or "Threads.  ..." of a row above it."""
    above = next((row for row in reversed(rows[:index]) if not row.startswith("  ")), "")
    return bool(re.match(r"[A-Z]\w+(:|\.  )", above))


def labels(rows: list[str]) -> list[list[str]]:
    """Paragraphs of rows, of which those that begin "Returns:" or "Threads.   " hang from that word."""
    parts: list[tuple[str, list[str]]] = []
    sentences = [part for row in rows for part in re.split(r"(?<=\.) (?=(?:Returns|Ownership|Threads): )", row)]
    for row in sentences:
        label = re.match(r"([A-Z]\w+)\.  +(.*)", row) or re.match(r"(Returns|Ownership|Threads): (.*)", row)
        if label:
            parts.append((label[1], [label[2]]))
        elif parts:
            parts[-1][1].append(row)
        else:
            parts.append(("", [row]))
    return [
        [".TP", f"\\fB{label}\\fR", filled(" ".join(text))] if label else [".PP", filled(" ".join(text))]
        for label, text in parts
    ]


def declarations(code: str) -> str:
    """Declarations as a reader wants them: without marks for compilers, and each argument list as it fits a line."""
    rows = []
    for row in code.split("\n"):
        declared, star, remark = row.partition("/*")
        bare = MARKS.sub("", declared)
        # Remarks that stand below each other go on doing so.
        rows.append((bare.ljust(len(declared)) if bare.strip() and star else bare) + star + remark)
    code = "\n".join(rows)

    def prototype(match: re.Match[str]) -> str:
        text = " ".join(match[0].split())
        if len(text) <= 78:
            return text
        head, _, arguments = text.partition("(")
        lines, line = [], f"{head}("
        for argument in re.split(r"(?<=,) (?![^(]*\)\()", arguments):
            if len(line) + len(argument) > 78 and not line.endswith("("):
                lines.append(line.rstrip())
                line = "    "
            line += argument + " "
        return "\n".join([*lines, line.rstrip()])

    return re.sub(r"^[a-z][^\n{;]*\([^;{]*\);", prototype, code, flags=re.MULTILINE).strip("\n")


def entries(section: str) -> list[Entry]:
    """The comments of a section at the left margin, each with the declarations up to the next."""
    found = []
    pieces = re.split(r"^(/\*(?:(?!\*/).)*\*/)$", section, flags=re.MULTILINE | re.DOTALL)
    for comment, code in zip(["", *pieces[1::2]], pieces[0::2], strict=True):
        if comment or code.strip():
            found.append(Entry(comment, declarations(code)))
    return found


def head(name: str, version: str, date: str, names: list[str], what: str) -> list[str]:
    """The first lines of a page."""
    listed = textwrap.fill(escaped(", ".join([name, *names])), 79, break_long_words=False, break_on_hyphens=False)
    return [
        '.\\" Made of ivg.h by make_manual.py.',
        f'.TH {name.upper()} 3 "{date}" "libivg {version}"',
        ".SH NAME",
        listed,
        f"\\- {escaped(what)}",
    ]


def split_code(code: str, declared: list[str]) -> tuple[list[str], list[str]]:
    """roff of an entry's prototypes, and of the rest of its declarations."""
    parts = code.split("\n\n") if declared else [code]
    has_prototype = [any(f"{name}(" in part for name in declared) for part in parts]
    above = [part for part, has in zip(parts, has_prototype, strict=True) if has]
    below = [part for part, has in zip(parts, has_prototype, strict=True) if not has and part.strip()]
    shown = [verbatim("\n\n".join(group).split("\n")) if group else [] for group in (above, below)]
    return shown[0], shown[1]


def functions(entry: Entry) -> list[str]:
    """The functions that an entry declares; types of callbacks are none."""
    return [
        name
        for line in re.findall(r"^(?!typedef)[a-z][^\n]*", entry.code, flags=re.MULTILINE)
        for name in FUNCTION.findall(line)[:1]
    ]


def section_page(name: str, title: str, section: str, version: str, date: str) -> tuple[str, list[str]]:
    """The page of a section, and the functions on it."""
    body, names = [], []
    for entry in entries(section):
        declared = functions(entry)
        names += declared
        lines = comment_lines(entry.comment) if entry.comment else []
        if declared:
            body.append(f".SS {escaped(', '.join(f'{function}()' for function in declared))}")
            first = lines[0] if lines else ""
            lines[:1] = [re.sub(r"^[\w.]+\(\): (.)", lambda match: match[1].upper(), first)]
        # Prototypes stand above what is said of them, types below.
        prototypes, types = split_code(entry.code, declared)
        body += prototypes + prose(lines) + types
    page = head(name, version, date, names, f"libivg: {title[0].lower()}{title[1:]}")
    page += [".SH SYNOPSIS", ".nf", ".B #include <ivg.h>", ".fi", ".SH DESCRIPTION"]
    return "\n".join([*page, *tidied(body), ".SH SEE ALSO", ".BR ivg (3)", ""]), names


def tidied(lines: list[str]) -> list[str]:
    """Without a .PP directly under a heading."""
    kept = [line for i, line in enumerate(lines) if not (line == ".PP" and (i == 0 or lines[i - 1].startswith(".S")))]
    return kept


def overview_page(comment: str, titles: dict[int, str], version: str, date: str) -> str:
    """ivg(3)."""
    text = "\n".join(comment_lines(comment))
    match = re.search(
        r"ivg\.h - (.*?)\n\n(.*?)\n\nContents:.*?\n\n+Rules that hold everywhere\n\n(.*)", text, re.DOTALL
    )
    if not match:
        raise SystemExit("make_manual.py: the header's first comment is not as it was: no title, Contents or Rules")
    what, introduction, rules = match.groups()
    page = head("ivg", version, date, [], " ".join(what.split()).rstrip("."))
    page += [
        ".SH SYNOPSIS",
        ".nf",
        ".B #include <ivg.h>",
        ".PP",
        "cc program.c $(pkg\\-config \\-\\-cflags \\-\\-libs ivg)",
        ".fi",
    ]
    page += [".SH DESCRIPTION", *tidied(prose(introduction.split("\n")))]
    page += [".SH RULES THAT HOLD EVERYWHERE", *tidied(prose(rules.split("\n")))]
    page += [".SH PAGES"]
    for number, title in titles.items():
        page += [".TP", f".BR {PAGES[number]} (3)", escaped(title)]
    page += [".SH SEE ALSO"]
    page += [f".BR {name} (3){',' if i + 1 < len(titles) else ''}" for i, name in enumerate(PAGES[n] for n in titles)]
    return "\n".join([*page, ""])


def main(header: str, folder: str) -> None:
    text = Path(header).read_text(encoding="utf-8")
    numbers = [re.search(rf"#define IVG_VERSION_{part} (\d+)", text) for part in ("MAJOR", "MINOR", "PATCH")]
    version = ".".join(number[1] for number in numbers if number)
    seconds = int(os.environ.get("SOURCE_DATE_EPOCH") or Path(header).stat().st_mtime)
    date = time.strftime("%Y-%m-%d", time.gmtime(seconds))

    out = Path(folder)
    out.mkdir(parents=True, exist_ok=True)
    pieces = BANNER.split(text.split("\n#ifdef __cplusplus\n}")[0])
    titles = {int(number): title for number, title in zip(pieces[1::3], pieces[2::3], strict=True)}
    if list(titles) != list(PAGES):
        raise SystemExit("make_manual.py: the header's sections are not those of PAGES")
    first = pieces[0][: pieces[0].index("*/")]
    (out / "ivg.3").write_text(overview_page(first, titles, version, date), encoding="utf-8")
    for (number, title), section in zip(titles.items(), pieces[3::3], strict=True):
        page, names = section_page(PAGES[number], title, section, version, date)
        (out / f"{PAGES[number]}.3").write_text(page, encoding="utf-8")
        for name in names:
            link = out / f"{name}.3"
            link.unlink(missing_ok=True)
            link.symlink_to(f"{PAGES[number]}.3")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    main(sys.argv[1], sys.argv[2])
