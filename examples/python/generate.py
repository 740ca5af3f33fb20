"""Generates a text, token by token.    python generate.py MODEL [PROMPT]"""

import sys

import ivg

path, prompt = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "Once upon a time"

with ivg.Model(path) as model, model.stream(prompt, max_tokens=40, seed=1) as stream:
    print(prompt, end="")
    for step in stream:
        print(step.text, end="", flush=True)
    completion = stream.completion
    print(f"\n[{completion.finish_reason}, {completion.tokens_per_second:.0f} tokens/s, seed {completion.seed}]")
