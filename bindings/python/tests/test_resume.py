# SPDX-License-Identifier: Apache-2.0
"""Files that grow prompt by prompt: what each prompt costs, and what a run is known by."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from ivg._records import Prompt, PromptsDigest
from ivg._resume import GrowingFiles

PROMPTS = [Prompt(f"Prompt {number} é", str(number)) for number in range(200)]


class Counted(list[Prompt]):
    """Prompts that count how many of them were looked at."""

    looked_at = 0

    def __getitem__(self, place: Any) -> Any:
        found = super().__getitem__(place)
        self.looked_at += len(found) if isinstance(place, slice) else 1
        return found


def test_each_prompt_is_hashed_once(tmp_path: Path) -> None:
    prompts = Counted(PROMPTS)
    for begun, ended in ((0, 150), (150, 200)):
        prompts.looked_at = 0
        with GrowingFiles([tmp_path / "out.jsonl"], prompts, {"seed": 1}, force=False) as files:
            assert files.done == begun
            for number in range(begun, ended):
                files.append([[{"prompt": number}]], 1)
        assert prompts.looked_at == ended  # those of the earlier run once more, to see that they are the same


def test_the_digest_of_a_part_is_that_of_the_list() -> None:
    """Runs that an earlier version has begun go on."""
    digest = PromptsDigest()
    for count in (0, 1, 3, 200):
        pairs = [[prompt.id, prompt.text] for prompt in PROMPTS[:count]]
        whole = PromptsDigest()
        whole.add(PROMPTS[:count])
        digest.add(PROMPTS[{0: 0, 1: 0, 3: 1, 200: 3}[count] : count])
        assert digest.text() == whole.text() == hashlib.sha256(json.dumps(pairs).encode()).hexdigest()[:16]
