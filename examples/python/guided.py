# SPDX-License-Identifier: Apache-2.0
"""Generates under guidance: an implicit value from one model under two prompts steers every token, and ranks the
rows of a chunk-level beam search.

python guided.py MODEL PROMPT
"""

import sys

import ivg


def guided(path: str, prompt: str) -> None:
    """Prints the text as it comes, and then the rows that were kept."""
    # Models that are not named are the session's own. A trained pair would be tuned= and untuned= here:
    # two models, or a model and an adapter for it.
    value = ivg.Implicit(
        tuned_template="A review by someone who loved it: {prompt}",
        untuned_template="A review: {prompt}",
        weight=1.0,
        role="both",
    )
    guidance = ivg.Guidance(implicit=value, search=ivg.ChunkBeamSearch(width=2, successors=2, chunk=10))
    with ivg.Model(path) as model, model.stream(prompt, guidance=guidance, max_tokens=40, seed=1) as steps:
        for step in steps:
            print(step.text, end="", flush=True)
        print()
        for number, row in enumerate(steps.completion.candidates):
            print(f"{number}: score {row.score:.3f}, {len(row.token_ids)} tokens")


def main(arguments: list[str]) -> int:
    """The exit status."""
    if len(arguments) != 3:
        print(f"usage: {arguments[0]} MODEL PROMPT", file=sys.stderr)
        return 2
    sys.stdout.reconfigure(encoding="utf-8")
    try:
        guided(*arguments[1:])
    except (ivg.Error, OSError) as error:
        print(f"{arguments[0]}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
