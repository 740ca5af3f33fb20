# SPDX-License-Identifier: Apache-2.0
"""Which process this is. Handles stay with the process that opened them: a child after fork() has a copy of their
memory, but none of their threads, and locks as they happened to be.
"""

from __future__ import annotations

import os


class _Count:
    forks = 0


def generation() -> int:
    """A number that is another one in a child after fork()."""
    return _Count.forks


def _after_fork() -> None:
    _Count.forks += 1


os.register_at_fork(after_in_child=_after_fork)


def forked_error(name: str) -> RuntimeError:
    """What using a handle of the parent raises."""
    return RuntimeError(
        f"this {name} was made before fork() and belongs to the parent process: open the file in the child, or start "
        f'processes with multiprocessing.get_context("spawn")'
    )
