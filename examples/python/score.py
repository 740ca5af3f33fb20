"""Values texts: by a value head, or by how much likelier one prompt makes them.

python score.py MODEL [VALUE_HEAD]
"""

import sys

import ivg

model = ivg.Model(sys.argv[1])
texts = ["What a wonderful film!", "It was a waste of time."]
value = (
    model.value_head(sys.argv[2])
    if len(sys.argv) > 2
    else ivg.Implicit(tuned_template="I loved it. {prompt}", untuned_template="{prompt}")
)
for score, text in zip(model.score(value, "My review: ", texts), texts, strict=True):
    print(f"{score:8.3f}  {text}")
