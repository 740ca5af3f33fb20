"""Answers messages with the model's own chat template.    python chat.py MODEL [QUESTION]"""

import sys

import ivg

model = ivg.Model(sys.argv[1])
question = sys.argv[2] if len(sys.argv) > 2 else "What is the capital of France?"
messages = [{"role": "system", "content": "You are a helpful assistant."}, {"role": "user", "content": question}]
for step in model.stream_chat(messages, max_tokens=40, temperature=0):
    print(step.text, end="", flush=True)
print()
