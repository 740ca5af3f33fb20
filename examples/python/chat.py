# SPDX-License-Identifier: Apache-2.0
"""Holds a conversation: reads messages, a line each, and answers them with the model's own chat template.

python chat.py MODEL < messages.txt
"""

import sys
from collections.abc import Iterable

import ivg


def chat(path: str, lines: Iterable[str]) -> None:
    """Prints every message and its answer, as it comes."""
    messages = [{"role": "system", "content": "You are a helpful assistant."}]
    with ivg.Model(path) as model:
        for line in lines:
            question = line.removesuffix("\n").removesuffix("\r")
            if not question:
                continue
            print(f"> {question}", flush=True)
            messages.append({"role": "user", "content": question})
            answer = ""
            # What the conversation has in common with the last request's is not computed again.
            with model.stream_chat(messages, max_tokens=60, temperature=0) as steps:
                for step in steps:
                    print(step.text, end="", flush=True)
                    answer += step.text
            print(flush=True)
            messages.append({"role": "assistant", "content": answer})


def main(arguments: list[str]) -> int:
    """The exit status."""
    if len(arguments) != 2:
        print(f"usage: {arguments[0]} MODEL", file=sys.stderr)
        return 2
    # What comes in need not be UTF-8, and goes out as it came.
    sys.stdin.reconfigure(encoding="utf-8", errors="surrogateescape", newline="\n")
    sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape")
    try:
        chat(arguments[1], sys.stdin)
    except (ivg.Error, OSError) as error:
        print(f"{arguments[0]}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
