# SPDX-License-Identifier: Apache-2.0
"""Generates a text, token by token.

python generate.py MODEL PROMPT
"""

import sys

import ivg


def generate(path: str, prompt: str) -> None:
    """Prints the prompt and what the model makes of it, as it comes."""
    with ivg.Model(path) as model, model.stream(prompt, max_tokens=64, seed=1) as steps:
        print(prompt, end="", flush=True)
        for step in steps:
            print(step.text, end="", flush=True)
        print()


def main(arguments: list[str]) -> int:
    """The exit status."""
    if len(arguments) != 3:
        print(f"usage: {arguments[0]} MODEL PROMPT", file=sys.stderr)
        return 2
    sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape")  # a prompt need not be UTF-8
    try:
        generate(*arguments[1:])
    except (ivg.Error, OSError) as error:
        print(f"{arguments[0]}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
