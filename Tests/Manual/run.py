#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the programs in the manual (bindings/manual/*.md) and in README.md, so that what readers copy works.

    python Tests/Manual/run.py [--list] [PAGE...]     e.g. guidance.md README.md:25; without any, all of them

Every fenced block is run in a folder of its own, which holds the files that it names. A comment before the fence says
what is not usual:

    <!-- run: no (reason) -->     not at all; the reason is printed
    <!-- run: parse -->           sh: the options of each `ivg ...` are parsed, nothing is done
    <!-- run: body -->            c: statements, which declare what they use and leave a `status`
                                 cpp, rust: statements after the includes and uses that they need
    <!-- run: body session -->    c: statements that find `model`, `session`, `guidance`, `error`, `status` and `step`
    <!-- run: args A B -->        c, cpp: a whole program, and its arguments; without it, model.gguf "The film"
    <!-- run: data dpo -->        jsonl: read as data of this trainer (sft, dpo, reward, value), with every line

Run it with a Python that has the package `ivg` with its command line; IVG_LIBRARY names the library for C
(.build/release/libivg.so). Real models are in .build/models or $IVG_TEST_MODELS. What is missing on a machine (a model,
a compiler) is skipped with a line that says so. Ends with "N passed, N failed, N skipped".
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from blocks import Block, blocks_of, broken_links, commands_of, written_files
from files import ROOT, Missing, library, provide
from wrappers import BODY, CPP_BODY, PARSE, READ_DATA, RUST_BODY, SESSION_BODY

# `{sizeof step}` sets struct_size and leaves the rest zero, as the header's own programs do.
WARNINGS = ["-Wall", "-Wextra", "-pedantic", "-Werror", "-Wno-missing-field-initializers"]
SECONDS = 600
#: How blocks of README.md are to be treated, which carries no marks: a piece of text in them, and a mark.
README_MARKS = {
    "make demo": "no (builds the library and fetches a model)",
    "ivg_model *model = NULL; ivg_session *session = NULL;": "body",
    'const ivg::model model("model.gguf");': "body",
    'let model = Model::open("model.gguf")?;': "body",
}


class Failed(Exception):
    """A block did not do what it should; the text says what it did."""


class Skipped(Exception):
    """A block cannot be run here."""


def run(command: list[str], folder: Path, **variables: str) -> str:
    """Runs a command that must succeed; returns what it printed."""
    environment = {**os.environ, **variables}
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS
        )
    except FileNotFoundError as error:
        raise Skipped(f"there is no {error.filename}") from None
    except subprocess.TimeoutExpired:
        raise Failed(f"{shlex.join(command)}\ntook more than {SECONDS} s") from None
    printed = (done.stdout + done.stderr).decode("utf-8", "replace")
    if done.returncode != 0:
        raise Failed(f"{shlex.join(command)}\nended with {done.returncode}\n{printed}")
    return printed


def run_python(block: Block, folder: Path) -> None:
    (folder / "block.py").write_text(block.code)
    run([sys.executable, "block.py"], folder)


def run_shell(block: Block, folder: Path) -> None:
    commands = commands_of(block)
    if not commands:
        raise Failed("no command")
    if block.mark == "parse":
        for command in commands:
            words = shlex.split(command)
            if words[0] != "ivg":
                raise Failed(f"only options of ivg can be parsed: {command}")
            run([sys.executable, "-c", PARSE, *words[1:]], folder)
        return
    # The command line of the interpreter at hand, whatever else is installed.
    tools = folder / ".tools"
    tools.mkdir()
    (tools / "ivg").write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m ivg "$@"\n')
    (tools / "ivg").chmod(0o755)
    for name in ("python", "python3"):
        (tools / name).symlink_to(sys.executable)
    path = f"{tools}{os.pathsep}{os.environ.get('PATH', '')}"
    run(["bash", "-euo", "pipefail", "-c", "\n".join(commands)], folder, PATH=path)


def library_folder(folder: Path) -> Path:
    """A folder that holds the library under both of its names. Throws Skipped."""
    if not library().exists():
        raise Skipped(f"there is no {library()}: make lib, or set IVG_LIBRARY")
    place = folder / ".lib"
    place.mkdir()
    for name in ("libivg.so", "libivg.so.0"):
        (place / name).symlink_to(library())
    return place


def run_native(block: Block, folder: Path) -> None:
    """C and C++: a whole program, or the body of one."""
    code, arguments = block.code, ["model.gguf", "The film"]
    if block.mark.startswith("args"):
        arguments = shlex.split(block.mark)[1:]
    elif block.mark == "body":
        code, arguments = (BODY if block.language == "c" else CPP_BODY) % code, []
    elif block.mark.startswith("body"):
        code, arguments = BODY % (SESSION_BODY % code), []
    is_c = block.language == "c"
    if not is_c and "ivg.hpp" in code and not (ROOT / "include/ivg.hpp").exists():
        raise Skipped("there is no include/ivg.hpp")
    provide(f"{code} {' '.join(arguments)}", folder, set())
    place = library_folder(folder)
    source = folder / ("block.c" if is_c else "block.cc")
    source.write_text(code)
    compiler = ["gcc", "-std=c11"] if is_c else ["g++", "-std=c++17"]
    found = [f"-I{ROOT / 'include'}", f"-L{place}", "-livg", f"-Wl,-rpath,{place}"]
    run([*compiler, *WARNINGS, source.name, "-o", "block", *found], folder)
    run([str(folder / "block"), *arguments], folder)


def run_rust(block: Block, folder: Path) -> None:
    crate = ROOT / "bindings/rust/ivg"
    if not crate.exists():
        raise Skipped("there is no bindings/rust")
    if not shutil.which("cargo"):
        raise Skipped("there is no cargo")
    place = library_folder(folder)
    (folder / "src").mkdir()
    (folder / "src/main.rs").write_text(RUST_BODY % block.code if block.mark == "body" else block.code)
    package = '[package]\nname = "block"\nversion = "0.0.0"\nedition = "2021"\n[workspace]\n'
    (folder / "Cargo.toml").write_text(f'{package}[dependencies]\nivg = {{ path = "{crate}" }}\n')
    target = str(ROOT / ".build/rust/manual")
    run(["cargo", "run", "--quiet", "--offline"], folder, IVG_LIB_DIR=str(place), CARGO_TARGET_DIR=target)


def run_data(block: Block, folder: Path) -> None:
    kind = block.mark.removeprefix("data ")
    if kind not in ("sft", "dpo", "reward", "value"):
        raise Failed("a comment before the fence must say whose data this is, e.g. <!-- run: data dpo -->")
    provide("model.gguf", folder, set())
    (folder / "data.jsonl").write_text(block.code)
    run([sys.executable, "-c", READ_DATA, kind], folder)


LANGUAGES = {
    "python": run_python,
    "sh": run_shell,
    "c": run_native,
    "cpp": run_native,
    "rust": run_rust,
    "jsonl": run_data,
}
#: Beginnings of the marks that mean something there.
MARKS = {"sh": ("parse",), "c": ("body", "args "), "cpp": ("body", "args "), "rust": ("body",), "jsonl": ("data ",)}


def run_block(block: Block) -> None:
    """Runs a block in a folder of its own. Throws Failed, Skipped."""
    if block.refusal is not None:
        raise Skipped(block.refusal)
    if block.language not in LANGUAGES:
        raise Failed(f"nobody knows how to run {block.language}; known: {', '.join(LANGUAGES)}")
    if block.mark and not block.mark.startswith(MARKS.get(block.language, ())):
        raise Failed(f"'run: {block.mark}' means nothing for {block.language}")
    with tempfile.TemporaryDirectory(prefix="ivg-manual-") as name:
        folder = Path(name).resolve()
        try:
            if block.mark != "parse" and LANGUAGES[block.language] is not run_native:
                provide(block.code, folder, written_files(block))
            LANGUAGES[block.language](block, folder)
        except Missing as error:
            raise Skipped(str(error)) from None


def readme_blocks(page: Path) -> Iterator[Block]:
    """The blocks of README.md, with the marks of the table where it has none itself."""
    unused = dict(README_MARKS)
    for block in blocks_of(page, ROOT):
        for piece, mark in README_MARKS.items():
            if piece in block.code and not block.mark:
                block = replace(block, mark=mark)
                unused.pop(piece, None)
        yield block
    for piece in unused:
        print(f"note: README_MARKS in {Path(__file__).name} names {piece!r}, which is in none of its blocks")


def manual_pages() -> list[Path]:
    """The pages of the manual."""
    return sorted((ROOT / "bindings/manual").glob("*.md"))


def check_links() -> None:
    """Throws Failed if a page links to what is not there."""
    broken = [f"{page.name}: {target}" for page in manual_pages() for target in broken_links(page)]
    if broken:
        raise Failed("\n".join(broken))


def chosen_blocks(wanted: list[str]) -> list[Block]:
    """All blocks, or those of the pages (PAGE) and places (PAGE:LINE) that are wanted."""
    found = [block for page in manual_pages() for block in blocks_of(page, ROOT)]
    found += readme_blocks(ROOT / "README.md")
    if not wanted:
        return found
    kept = [block for block in found if any(is_at(block, place) for place in wanted)]
    if not kept:
        raise SystemExit(f"run.py: no block in {' '.join(wanted)}")
    return kept


def is_at(block: Block, place: str) -> bool:
    """Whether a block is on a page or at a line; a page goes by its path or the end of it."""
    name, _, line = place.partition(":")
    is_there = block.name == name or (name != "README.md" and block.name.endswith("/" + name))
    return is_there and line in ("", str(block.line))


def main() -> int:
    parser = argparse.ArgumentParser(description="Runs the programs in the manual and in README.md.")
    parser.add_argument("--list", action="store_true", help="print the blocks, run none")
    parser.add_argument("pages", nargs="*", metavar="PAGE", help="e.g. guidance.md, or guidance.md:25")
    arguments = parser.parse_args()
    counts = {"passed": 0, "failed": 0, "skipped": 0}

    def check(label: str, test: Callable[[], None]) -> None:
        try:
            test()
        except Skipped as reason:
            counts["skipped"] += 1
            print(f"skip {label}: {reason}", flush=True)
        except Failed as reason:
            counts["failed"] += 1
            print("".join(f"     {line}\n" for line in str(reason).splitlines()) + f"FAIL {label}", flush=True)
        else:
            counts["passed"] += 1
            print(f"ok   {label}", flush=True)

    if not arguments.list and not arguments.pages:
        check("links between the manual's pages", check_links)
    for block in chosen_blocks(arguments.pages):
        label = f"{block.place} {block.language}" + (f" ({block.mark})" if block.mark and block.refusal is None else "")
        if arguments.list:
            print(label)
        else:
            check(label, lambda block=block: run_block(block))  # type: ignore[misc]
    if not arguments.list:
        print(", ".join(f"{count} {name}" for name, count in counts.items()))
    return 1 if counts["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
