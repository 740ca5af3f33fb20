"""JSON Lines files that grow prompt by prompt, and go on after being killed as if nothing had happened."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from ._errors import InvalidArgumentError
from ._records import Prompt, PromptsDigest, Record, difference, json_line, write_whole


class GrowingFiles:
    """Files that get their records together, one prompt after the other.

    Beside the first file, FILE.progress.json says with which settings they are made, how many prompts are in, and how
    long the files were then. Whatever was written after that is cut off when a run goes on, a torn line included; so
    an interrupted and resumed run leaves the same bytes as one that was never interrupted.
    """

    def __init__(self, paths: Sequence[Path], prompts: Sequence[Prompt], settings: Record, *, force: bool) -> None:
        self._paths = list(paths)
        self._prompts = prompts
        self._settings = settings
        self._progress = paths[0].with_name(paths[0].name + ".progress.json")
        #: How many prompts are in.
        self.done = 0
        self._digest, self._digested = PromptsDigest(), 0
        sizes = [0] * len(paths)
        if not force and (self._progress.exists() or any(_filled(path) for path in paths)):
            self.done, sizes = self._earlier()
        self._files: list[BinaryIO] = []
        try:
            if self.done == 0:
                self._note(0, sizes)
            for path, size in zip(self._paths, sizes, strict=True):
                self._files.append(open(path, "ab"))  # noqa: SIM115
                if self._files[-1].tell() > size:
                    self._files[-1].truncate(size)
        except BaseException:
            self.close()
            raise

    def _earlier(self) -> tuple[int, list[int]]:
        """How far an earlier run came, if it was one with the same settings and prompts."""
        first = self._paths[0]
        advice = "pass --force to start anew, or write to another file"
        if not self._progress.exists():
            taken = next(path for path in self._paths if _filled(path))
            raise InvalidArgumentError(f"{taken} exists, and {self._progress.name} is not beside {first}; {advice}")
        try:
            found = json.loads(self._progress.read_text(encoding="utf-8"))
            done, digest, settings = int(found["prompts"]), str(found["digest"]), dict(found["settings"])
            sizes = {str(name): int(size) for name, size in found["sizes"].items()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InvalidArgumentError(f"{self._progress} cannot be read ({error}); {advice}") from None
        foreign = [path for path in self._paths if path.name not in sizes and _filled(path)]
        if foreign:
            raise InvalidArgumentError(f"{foreign[0]} exists, and was not made with {first}; {advice}")
        if done == 0:
            return 0, [0] * len(self._paths)
        if sizes.keys() != {path.name for path in self._paths}:
            raise InvalidArgumentError(f"{first} was made together with {', '.join(sizes)} and no other; {advice}")
        changed = difference(settings, self._settings)
        if changed is not None:
            raise InvalidArgumentError(f"{first} was made with other settings: {changed}; {advice}")
        if done > len(self._prompts) or digest != self._digest_of(done):
            raise InvalidArgumentError(f"{first} was made from other prompts; {advice}")
        for path in self._paths:
            if (path.stat().st_size if path.exists() else 0) < sizes[path.name]:
                raise InvalidArgumentError(f"{path} is shorter than it was left; {advice}")
        return done, [sizes[path.name] for path in self._paths]

    def append(self, records: Sequence[Sequence[Record]], count: int) -> None:
        """Adds the records of the next `count` prompts: one list for each file; lists beyond the last file are left."""
        for file, some in zip(self._files, records, strict=False):
            file.write("".join(map(json_line, some)).encode("utf-8", "surrogatepass"))
            file.flush()
        self.done += count
        self._note(self.done, [file.tell() for file in self._files])

    def _note(self, done: int, sizes: Sequence[int]) -> None:
        digest = self._digest_of(done)
        lengths = {path.name: size for path, size in zip(self._paths, sizes, strict=True)}
        found = {"prompts": done, "digest": digest, "sizes": lengths, "settings": self._settings}
        write_whole(self._progress, json.dumps(found, ensure_ascii=False, indent=1) + "\n")

    def _digest_of(self, count: int) -> str:
        """The digest of the first prompts; `count` never gets smaller."""
        self._digest.add(self._prompts[self._digested : count])
        self._digested = count
        return self._digest.text()

    def close(self) -> None:
        """Closes the files."""
        for file in self._files:
            file.close()

    def __enter__(self) -> GrowingFiles:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _filled(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 0
