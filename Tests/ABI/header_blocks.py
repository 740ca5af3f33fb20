#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks that `include/ivg.h` is a manual: every declaration has its block, and the block says what a caller needs.

    python3 header_blocks.py [HEADER]             # prints what is missing, line by line; exit status 1 if anything is
    python3 header_blocks.py --self-test          # breaks the header in every way the check knows: each must be noticed
    python3 header_blocks.py --programs FOLDER    # writes the complete programs of the header's text to FOLDER

What the header keeps to:

  functions   a block directly before, `/* ivg_name(): what it does. Since X.Y.`, with `Threads:`; `Returns:` unless it
              returns nothing, for a status `IVG_OK` and each other status by its name; `Ownership:` where memory or a
              reference passes between caller and library.
  types       a block directly before with `Since X.Y`; of handles and callbacks also with `Threads:`.
  members     a comment behind each field and enum constant, or above the group that it stands in.
  options     what zero means: `0: ...` behind a number, `NULL: ...` behind a pointer, or `required`, or `must be 0`.

Needs nothing but Python 3.10. The header is read as text: masks take comments and the preprocessor away, what is left
are declarations, and one that is none of the kinds above is a fault, too.
"""

from __future__ import annotations

import re
import sys
from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from header_text import Declaration, Header, Member, split

HERE = Path(__file__).resolve().parent
HEADER = HERE.parent.parent / "include" / "ivg.h"
EXPORTS = HERE / "exports.txt"

SINCE = re.compile(r"\bSince \d+\.\d+\b")
ZERO = {
    "number": re.compile(r"(?<![\w.])0(?: or [\w.]+)?: |\brequired\b|\bmust be 0\b"),
    "pointer": re.compile(r"\bNULL: |\brequired\b"),
}


@dataclass
class Problem:
    line: int
    name: str
    what: str

    def __str__(self) -> str:
        return f"{self.line}: {self.name}: {self.what}"


# What a block must say


class Checker:
    def __init__(self, text: str, exports: list[str]) -> None:
        self.header = Header(text)
        self.exports = exports
        self.problems: list[Problem] = []
        declarations = self.header.declarations
        self.handles = {found.name for found in declarations if found.kind == "handle"}
        self.callbacks = {found.name for found in declarations if found.kind == "callback"}
        self.structs = {found.name: found for found in declarations if found.kind == "struct"}
        self.statuses = {
            member.name.removeprefix("IVG_ERROR_")
            for found in declarations
            for member in found.members
            if member.name.startswith("IVG_ERROR_")
        }

    def check(self) -> list[Problem]:
        for found in self.header.declarations:
            if found.kind == "unknown":
                self.report(found.offset, found.name, "a declaration of no known kind")
                continue
            self.check_block(found)
            if found.kind == "function":
                self.check_function(found)
            for member in found.members:
                self.check_member(found, member)
        functions = [found.name for found in self.header.declarations if found.kind == "function"]
        for name in sorted(set(self.exports) ^ set(functions)):
            self.report(0, name, "is not both declared and in exports.txt")
        return sorted(self.problems, key=lambda problem: problem.line)

    def report(self, offset: int, name: str, what: str) -> None:
        self.problems.append(Problem(self.header.line(offset), name, what))

    def check_block(self, found: Declaration) -> None:
        if found.block is None:
            self.report(found.offset, found.name, "has no block directly before it")
            return
        if found.kind == "function" and not found.block.startswith(f"{found.name}():"):
            self.report(found.offset, found.name, f"its block does not begin with '{found.name}():'")
        if not SINCE.search(found.block):
            self.report(found.offset, found.name, "its block lacks 'Since X.Y'")
        if found.kind in ("function", "handle", "callback") and "Threads: " not in found.block:
            self.report(found.offset, found.name, "its block lacks 'Threads:'")

    def check_function(self, found: Declaration) -> None:
        block = found.block or ""
        result, name, parameters = self.signature(found)
        if result != "void" and "Returns: " not in block:
            self.report(found.offset, name, "its block lacks 'Returns:'")
        if result == "ivg_status" and name != "ivg_error_status":
            returns = re.split(r"\b(?:Ownership|Threads): ", block.partition("Returns: ")[2])[0]
            for status in sorted({"IVG_OK"} | self.expected_statuses(parameters)):
                if not re.search(rf"\b{status}\b", returns):
                    self.report(found.offset, name, f"'Returns:' does not name {status}")
            for status in set(re.findall(r"\bIVG_ERROR_(\w+)", returns)) - self.statuses:
                self.report(found.offset, name, f"'Returns:' names IVG_ERROR_{status}, which is not declared")
        reason = self.passes_ownership(result, name, parameters)
        if reason and "Ownership: " not in block:
            self.report(found.offset, name, f"its block lacks 'Ownership:' ({reason})")

    @staticmethod
    def signature(found: Declaration) -> tuple[str, str, list[tuple[str, str]]]:
        """Result, name, and parameters as pairs of type and name."""
        match = re.match(r"IVG_API\s+(.*?)\b(ivg_\w+)\s*\((.*)\)$", " ".join(found.code.split()))
        if not match:
            raise ValueError(f"{found.name}: not a function: {found.code}")
        parameters = []
        for _, part in split(match.group(3), ",", "(", ")"):
            if "(*" in part:
                parameters.append((part, re.sub(r".*?\(\*\s*(\w+)\).*", r"\1", part)))
            elif part != "void":
                kind, _, name = part.replace("*", " * ").rpartition(" ")
                parameters.append((" ".join(kind.split()), name))
        return match.group(1).strip(), match.group(2), parameters

    def expected_statuses(self, parameters: list[tuple[str, str]]) -> set[str]:
        """What follows from the rules that hold everywhere: sizes of structs and buffers and flags are checked."""
        expected = set()
        for kind, name in parameters:
            struct = self.structs.get(kind.replace("const", "").strip(" *"))
            if struct and struct.members[0].name == "struct_size":
                expected.add("INVALID_ARGUMENT")
            if name == "flags":
                expected.add("UNSUPPORTED")
            if name == "capacity":
                expected.add("BUFFER_TOO_SMALL")
        return expected

    def passes_ownership(self, result: str, name: str, parameters: list[tuple[str, str]]) -> str:
        """Why the block must speak of ownership; "" if nothing changes hands."""
        if name.endswith("_init"):
            return ""
        if "*" in result:
            return "it returns a pointer"
        if name.endswith("_free"):
            return "it frees"
        receiver = max((handle for handle in self.handles if name.startswith(handle + "_")), key=len, default="")
        for kind, parameter in parameters:
            base = kind.replace("const", "").replace("*", "").strip()
            if kind.count("*") == 2 and parameter != "error" and "* const *" not in kind:
                return f"'{parameter}' gives a pointer out"
            if "(*" in kind or base in self.callbacks or parameter == "user_data":
                return f"'{parameter}' is kept"
            if base in self.handles and base != receiver and kind.count("*") == 1:
                return f"it is given '{parameter}'"
            if base in self.structs and self.lends(self.structs[base], is_input=kind.startswith("const")):
                return f"'{parameter}' holds pointers"
        return ""

    def lends(self, struct: Declaration, is_input: bool) -> bool:
        """Whether pointers in it outlive the call: strings that come out; handles and callbacks that go in."""
        for member in struct.members:
            if not is_input and "*" in member.type:
                return True
            base = re.sub(r"\bconst\b|\*.*", "", member.type).strip()
            is_kept = base in self.handles or base.split(" ")[0] in self.callbacks or member.name == "user_data"
            if is_input and is_kept:
                return True
        return False

    def check_member(self, owner: Declaration, member: Member) -> None:
        name = f"{owner.name}.{member.name}" if owner.kind == "struct" else member.name
        if not member.comment:
            self.report(member.offset, name, "has no comment")
        elif owner.kind == "struct" and owner.name.endswith("_options") and member.name != "struct_size":
            is_pointer = "*" in member.type or member.type.split(" ")[0] in self.callbacks
            kind = "pointer" if is_pointer else "number"
            if not ZERO[kind].search(member.comment):
                self.report(member.offset, name, f"does not say what {'NULL' if is_pointer else '0'} means")


def check(text: str) -> list[Problem]:
    return Checker(text, EXPORTS.read_text().split()).check()


# Programs in the header's text


def programs(text: str) -> list[str]:
    """Complete programs: indented text of a comment from `#include <ivg.h>` to the last indented line."""
    found = []
    for match in re.finditer(r"(?m)^ \*     #include <ivg\.h>\n(?: \*(?:     .*)?\n)*", text):
        lines = [line[7:] for line in match.group().rstrip("\n").split("\n")]
        found.append("\n".join(lines).rstrip() + "\n")
    return found


def write_programs(text: str, folder: Path) -> int:
    found = programs(text)
    for number, program in enumerate(found, start=1):
        (folder / f"header_program_{number}.c").write_text(program)
        print(folder / f"header_program_{number}.c")
    return 0 if found else 1


# The check of the check


@dataclass
class Mutation:
    """One thing taken out of the header: what, from which declaration or member, and the edit that does it."""

    what: str
    name: str
    start: int
    end: int
    replacement: str


def mutations(header: Header) -> Iterator[Mutation]:
    """Everything that the check must miss when it is gone."""
    text = header.text
    checker = Checker(text, [])

    def without(what: str, pattern: str, found: Declaration, start: int) -> Mutation:
        return Mutation(what, found.name, start, found.offset, re.sub(pattern, "", text[start : found.offset]))

    for found in header.declarations:
        if found.kind == "constant":
            start = found.offset + found.code.index("/*")
            yield Mutation("comment", found.name, start, found.offset + len(found.code), "")
            continue
        start = header.starts[bisect_left(header.starts, found.offset) - 1]
        yield Mutation("block", found.name, start, found.offset, "")
        yield Mutation("block directly before", found.name, found.offset, found.offset, "\n")
        yield without("Since", r"Since\s[\s*]*[\d.]+", found, start)
        if found.kind in ("function", "handle", "callback"):
            yield without("Threads:", "Threads:", found, start)
        if found.kind == "function":
            yield without("name", found.name, found, start)
            for mark in ("Returns:", "Ownership:", "IVG_OK"):
                if mark in (found.block or "") and not is_voluntary(checker, found, mark):
                    yield without(mark, mark, found, start)
        for member in found.members:
            yield from member_mutations(header, found, member)
    yield Mutation("undocumented function", "ivg_new", len(text), len(text), "\nIVG_API int32_t ivg_new(void);\n")
    yield Mutation("unknown kind", "extern int ivg_new", len(text), len(text), "\nextern int ivg_new;\n")


def is_voluntary(checker: Checker, found: Declaration, mark: str) -> bool:
    """Whether a block says more than it must: its loss is no fault."""
    result, name, parameters = checker.signature(found)
    if mark == "IVG_OK":
        return result != "ivg_status"
    if mark == "Returns:":
        return result == "void"
    return not checker.passes_ownership(result, name, parameters)


def member_mutations(header: Header, owner: Declaration, member: Member) -> Iterator[Mutation]:
    name = f"{owner.name}.{member.name}" if owner.kind == "struct" else member.name
    end = member.offset + len(member.type)
    comment = header.comments[bisect_left(header.starts, end)]
    if "\n" in header.text[end : comment.start]:
        return  # one comment for a group
    yield Mutation("comment", name, comment.start, comment.end, "")
    if owner.name.endswith("_options") and member.name != "struct_size":
        words = re.sub(r"0|NULL|required", "x", header.text[comment.start : comment.end])
        yield Mutation("zero", name, comment.start, comment.end, words)


def self_test(text: str) -> int:
    """Exit status 0 if the header is without fault and everything that is taken out of it is missed.

    Of each kind every second mutation is made at once: the check must name exactly what was broken.
    """
    problems = [str(problem) for problem in check(text)]
    kinds: dict[str, list[Mutation]] = {}
    for mutation in mutations(Header(text)):
        kinds.setdefault(mutation.what, []).append(mutation)
    for what, made in kinds.items():
        for half in filter(None, (made[::2], made[1::2])):
            broken = text
            for mutation in sorted(half, key=lambda mutation: mutation.start, reverse=True):
                broken = broken[: mutation.start] + mutation.replacement + broken[mutation.end :]
            expected, reported = {mutation.name for mutation in half}, {problem.name for problem in check(broken)}
            problems += [f"{name}: its {what} is gone, and is not missed" for name in sorted(expected - reported)]
            problems += [f"{name}: reported, but not its {what} is gone" for name in sorted(reported - expected)]
    ways = {
        "block",
        "block directly before",
        "Since",
        "Threads:",
        "name",
        "Returns:",
        "Ownership:",
        "IVG_OK",
        "comment",
    }
    problems += [f"nothing was broken in this way: {what}" for what in sorted((ways | {"zero"}) - kinds.keys())]
    for line in problems:
        print(line)
    counts = ", ".join(f"{what} {len(made)}" for what, made in sorted(kinds.items()))
    print(f"{sum(map(len, kinds.values()))} mutations, {len(problems)} problems ({counts})")
    return 1 if problems else 0


def main(arguments: list[str]) -> int:
    modes: dict[str, Callable[[], int]] = {
        "--self-test": lambda: self_test(HEADER.read_text()),
        "--programs": lambda: write_programs(HEADER.read_text(), Path(arguments[1])),
    }
    expected = {"--self-test": 1, "--programs": 2}
    if arguments and arguments[0].startswith("-"):
        if arguments[0] not in modes or len(arguments) != expected[arguments[0]]:
            print(__doc__, file=sys.stderr)
            return 2
        return modes[arguments[0]]()
    if len(arguments) > 1:
        print(__doc__, file=sys.stderr)
        return 2
    path = Path(arguments[0]) if arguments else HEADER
    problems = check(path.read_text())
    for problem in problems:
        print(f"{path.name}:{problem}")
    count = len(Header(path.read_text()).declarations)
    print(f"{count} declarations, {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
