# SPDX-License-Identifier: Apache-2.0
"""Values texts as answers to a prompt: how much likelier one prompt makes them than another.

python score.py MODEL PROMPT TEXT...
"""

import sys

import ivg


def score(path: str, prompt: str, texts: list[str]) -> None:
    """Prints a line for each text, in their order."""
    # A trained value head would be model.value_head(file) in the place of this.
    value = ivg.Implicit(tuned_template="I loved it. {prompt}", untuned_template="{prompt}", weight=1.0, role="score")
    with ivg.Model(path) as model:
        for number, text in zip(model.score(value, prompt, texts, ended=False), texts, strict=True):
            print(f"{number:8.3f}  {text}")


def main(arguments: list[str]) -> int:
    """The exit status."""
    if len(arguments) < 4:
        print(f"usage: {arguments[0]} MODEL PROMPT TEXT...", file=sys.stderr)
        return 2
    sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape")  # a text need not be UTF-8
    try:
        score(arguments[1], arguments[2], arguments[3:])
    except (ivg.Error, OSError) as error:
        print(f"{arguments[0]}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
