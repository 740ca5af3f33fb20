"""Has a small instruct model nudge a base model, of whatever family, and shows who wrote what.

python nudged.py BASE NUDGER
"""

import sys

import ivg

base, nudger = ivg.Model(sys.argv[1]), ivg.Model(sys.argv[2])
guidance = ivg.Guidance(nudging=ivg.Nudging(nudger, threshold=0.3))
answer = base.generate("Why is the sky blue?", guidance=guidance, max_tokens=60)
for start, end in answer.nudges:
    print(f"{start:4} nudged  {answer.text[start:end]!r}")
print(f"{answer.nudged_share:.0%} nudged, ended by {answer.finish_reason}: {answer.text}")
