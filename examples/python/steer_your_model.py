# SPDX-License-Identifier: Apache-2.0
"""Steers a model that libivg does not own: its logits come from your function.

python steer_your_model.py MODEL [TEXTFILE | FOLDER]

MODEL lends its vocabulary, and under two prompts says what is better. The model that is steered is a small n-gram model
in numpy, which learns from TEXTFILE, or without one from the lines below; or, where torch and transformers are
installed, the causal language model in FOLDER, whose vocabulary must be MODEL's.
"""

import sys
from collections import Counter, defaultdict
from pathlib import Path

import numpy

import ivg

SENTENCES = """I saw the film with my sister. The film was long and the music was loud. The music was lovely and bright.
I saw the play with my friend. The play was bad and the room was cold. The room was full of joy and light.
The film was great and I loved the end. The end was sad and dull. The story was dull and I hated the end.
The story was fun and the people were kind. The people were rude and the seats were hard. I loved the film.
I hated the play and the noise. The actors were wonderful and the story was warm. I loved the warm light.
The actors were bored and the jokes were old. I hated the old jokes. The seats were hard and the end was long.
"""


class NgramModel:
    """Probabilities of the next token from the last two, the last one, and none, interpolated."""

    def __init__(self, tokens: list[int], vocabulary_size: int) -> None:
        self.vocabulary_size = vocabulary_size
        self.counts: dict[tuple[int, ...], Counter[int]] = defaultdict(Counter)
        for position, token in enumerate(tokens):
            for length in range(3):
                if position >= length:
                    self.counts[tuple(tokens[position - length : position])][token] += 1

    def logits(self, rows: list[list[int]]) -> numpy.ndarray:
        """What libivg asks for: the tokens so far of each row in, [rows, vocabulary] out."""
        return numpy.log(numpy.stack([self.probabilities(row) for row in rows])).astype(numpy.float32)

    def probabilities(self, row: list[int]) -> numpy.ndarray:
        """Of every token of the vocabulary; none is impossible."""
        mixture = numpy.full(self.vocabulary_size, 1e-6 / self.vocabulary_size)
        for length, share in ((0, 0.03), (1, 0.27), (2, 0.7)):
            seen = self.counts.get(tuple(row[len(row) - length :]))
            if seen and len(row) >= length:
                mixture[list(seen)] += share * numpy.array(list(seen.values())) / seen.total()
        return mixture / mixture.sum()


class TransformersModel:
    """Any causal language model of transformers."""

    def __init__(self, folder: str) -> None:
        import torch
        from transformers import AutoModelForCausalLM

        self.torch = torch
        self.model = AutoModelForCausalLM.from_pretrained(folder)

    def logits(self, rows: list[list[int]]) -> numpy.ndarray:
        """As above. One that keeps states of earlier tokens would look for each row's longest known beginning."""
        with self.torch.no_grad():
            return numpy.stack([self.model(self.torch.tensor([row])).logits[0, -1].float().numpy() for row in rows])


def own_model(small: ivg.Model, source: Path | None) -> NgramModel | TransformersModel:
    """The model that is steered."""
    if source is not None and source.is_dir():
        return TransformersModel(str(source))
    text = SENTENCES if source is None else source.read_text(encoding="utf-8", errors="replace")
    return NgramModel(small.tokenize(text, begin=False), small.info.vocabulary_size)


def steer(path: str, source: Path | None) -> None:
    """Prints what the model writes alone, and under guidance, with the values of both."""
    with ivg.Model(path) as small:
        base = ivg.HostedModel(small, logits=own_model(small, source).logits)
        # The base cannot be a guide of itself here: it would not know what the prompts mean. So the guides are named.
        value = ivg.Implicit(
            tuned=small,
            untuned=small,
            tuned_template="I loved every minute of it, it was wonderful! {prompt}",
            untuned_template="I hated every minute of it, it was terrible! {prompt}",
            role="both",
        )
        search = ivg.ChunkBeamSearch(width=4, successors=4, chunk=5)
        for name, guidance in (("alone", None), ("guided", ivg.Guidance(implicit=value, search=search))):
            completion = base.generate("The film was", guidance=guidance, max_tokens=40, seed=1, ignore_end=True)
            score = small.score(value, "The film was", [completion.text], ended=False)[0]
            print(f"{name}, value {score:+.2f}: The film was{completion.text}")


def main(arguments: list[str]) -> int:
    """The exit status."""
    if len(arguments) not in (2, 3):
        print(f"usage: {arguments[0]} MODEL [TEXTFILE | FOLDER]", file=sys.stderr)
        return 2
    sys.stdout.reconfigure(encoding="utf-8")
    try:
        steer(arguments[1], Path(arguments[2]) if len(arguments) == 3 else None)
    except (ivg.Error, OSError, ImportError, ValueError) as error:
        print(f"{arguments[0]}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
