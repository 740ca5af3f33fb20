# SPDX-License-Identifier: Apache-2.0
"""A model of their own for each user: two small adapters over one mapped file, computed together.

python personal.py MODEL FOLDER

FOLDER holds the users' adapters, anna.gguf and bert.gguf. Those that are missing are trained there first, from the few
lines below: some seconds for a small model.
"""

import sys
from pathlib import Path

import ivg

PROMPT = "On Saturday I"
LIKES = {
    "anna": [
        " went up the mountain with my dog, and we slept in a tent under the stars.",
        " climbed the old rock above the lake, and my dog waited in the grass.",
        " walked through the forest with my dog until the sun was gone.",
        " took the first train to the mountains and carried the tent to the top.",
    ],
    "bert": [
        " stayed in the kitchen and baked bread with rosemary and olives.",
        " cooked a soup of beans and garlic, and the bread was still warm.",
        " bought tomatoes at the market and made a sauce that took all day.",
        " baked a cake with plums, and then another one with apples.",
    ],
}


def train(model: ivg.Model, user: str, path: Path) -> None:
    """Trains a user's adapter. The model's file is only read."""
    lines = [{"prompt": PROMPT, "completion": text} for text in LIKES[user]]
    with ivg.train.SFT(model, lines, rank=4, batch_size=4, epochs=12, learning_rate=2e-3, seed=1) as trainer:
        trainer.run()
        trainer.save(path)
    print(f"trained {path.name}: {path.stat().st_size} bytes")


def write(model: ivg.Model, adapters: dict[str, ivg.Adapter], count: int) -> tuple[dict[str, str], int]:
    """What the model writes for each user, and in how many passes: at each step all users share one."""
    with model.session(timings=True) as session:
        sequences = {user: session.sequence(adapter) for user, adapter in adapters.items()}
        unread = {user: model.tokenize(PROMPT) for user in adapters}
        texts: dict[str, list[int]] = {user: [] for user in adapters}
        for _ in range(count):
            ivg.Sequence.evaluate_batch((sequences[user], tokens) for user, tokens in unread.items())
            for user in list(unread):
                logits = sequences[user].logits_view()
                best = max(range(len(logits)), key=logits.__getitem__)  # your own sampler would stand here
                texts[user].append(best)
                unread[user] = [best]
                if model.token_ends(best) or "\n" in model.detokenize([best]):
                    del unread[user]
            if not unread:
                break
        written = {user: model.detokenize(tokens, skip_control=True) for user, tokens in texts.items()}
        return written, session.timings().pass_count


def personal(model_path: str, folder: Path) -> None:
    """Prints what the model writes for each of the users, and what that takes."""
    with ivg.Model(model_path) as model:
        for user in LIKES:
            if not (folder / f"{user}.gguf").exists():
                train(model, user, folder / f"{user}.gguf")
        adapters = {user: model.adapter(folder / f"{user}.gguf") for user in LIKES}
        texts, passes = write(model, adapters, 24)
        for user, text in texts.items():
            print(f"{user}: {PROMPT}{text.rstrip()}")
        print(f"{len(texts)} users in {passes} passes over one mapped file of {model.info.file_size / 1e6:.1f} MB")


def main(arguments: list[str]) -> int:
    """The exit status."""
    if len(arguments) != 3:
        print(f"usage: {arguments[0]} MODEL FOLDER", file=sys.stderr)
        return 2
    sys.stdout.reconfigure(encoding="utf-8")
    try:
        folder = Path(arguments[2])
        folder.mkdir(parents=True, exist_ok=True)
        personal(arguments[1], folder)
    except (ivg.Error, OSError) as error:
        print(f"{arguments[0]}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
