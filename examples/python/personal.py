# SPDX-License-Identifier: Apache-2.0
"""A model of their own for each user: two small adapters over one mapped file, used at the same time.

python personal.py MODEL FOLDER

FOLDER holds the users' adapters, anna.gguf and bert.gguf. Those that are missing are trained there first, from the few
lines below: some seconds for a small model.
"""

import sys
import threading
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


def personal(model_path: str, folder: Path) -> None:
    """Prints what the model writes for each of the users, all of them at once, and what that takes."""
    with ivg.Model(model_path) as model:
        for user in LIKES:
            if not (folder / f"{user}.gguf").exists():
                train(model, user, folder / f"{user}.gguf")
        answers: dict[str, ivg.Completion] = {}

        def write(user: str) -> None:
            # Tuned is the model with the user's adapter, untuned the model itself: with weight 1 the user's own
            # distribution, with more of it an exaggeration. Both are rows of one pass over the same weights.
            taste = ivg.Implicit(tuned=model.adapter(folder / f"{user}.gguf"), weight=1.0)
            with model.session(threads=1) as session:
                guidance = ivg.Guidance(implicit=taste)
                answers[user] = session.generate(PROMPT, guidance=guidance, max_tokens=24, seed=1, stop="\n")

        threads = [threading.Thread(target=write, args=(user,)) for user in LIKES]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for user in LIKES:
            if user not in answers:
                raise ivg.Error(f"the request for {user} failed")  # its thread has said why
            print(f"{user}: {PROMPT}{answers[user].text}")
        own = max(answer.memory_used for answer in answers.values())
        print(f"one mapped file of {model.info.file_size / 1e6:.1f} MB, and at most {own / 1e6:.1f} MB for each user")


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
