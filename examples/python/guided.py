"""Generates under guidance: a small tuned and an untuned model, or one model under two prompts, say what is better.

python guided.py MODEL [TUNED UNTUNED]      TUNED: a model, or an adapter for UNTUNED
"""

import sys

import ivg

base = ivg.Model(sys.argv[1])
if len(sys.argv) > 3:
    untuned = ivg.Model(sys.argv[3])
    with ivg.File(sys.argv[2]) as file:
        kind = file.kind
    tuned = untuned.adapter(sys.argv[2]) if kind == "adapter" else ivg.Model(sys.argv[2])
    value = ivg.Implicit(tuned=tuned, untuned=untuned)
else:
    value = ivg.Implicit(tuned_template="A review full of praise: {prompt}", untuned_template="A review: {prompt}")

guidance = ivg.Guidance(implicit=value, search=ivg.ChunkBeamSearch(width=2, successors=2, chunk=5))
for step in base.stream("This film", guidance=guidance, max_tokens=30, seed=1):
    print(f"{step.value:8.3f}  {step.text!r}", flush=True)
