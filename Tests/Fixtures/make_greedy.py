#!/usr/bin/env python3
"""Records what llama.cpp generates greedily with real models: `greedy/<model>.json`.

    pip install llama-cpp-python==0.3.36 numpy
    python make_greedy.py FOLDER        # holds the models' files

Each prompt with its ids (BOS where the file asks for it), the tokens that follow, and by how much the logit of each
exceeds the next best one: where that is little, two right programs may part.
"""

import ctypes
import json
import sys
from pathlib import Path

import llama_cpp as llama
import numpy as np

MODELS = [
    "gemma-3-270m-q4_k_m.gguf",
    "Qwen2.5-Coder-0.5B-Instruct-Q4_K_M.gguf",
    "Qwen2.5-Coder-1.5B-Instruct-Q4_K_M.gguf",
]
PROMPTS = [
    "The capital of France is",
    "def fib(n):\n    ",
    "Once upon a time, in a village by the sea,",
    "The three laws of thermodynamics are:\n1.",
    "Die Hauptstadt von Österreich ist",
    "1, 1, 2, 3, 5, 8,",
]
LENGTH = 48


class Model:
    """A model of llama.cpp on one thread, one sequence at a time."""

    def __init__(self, path: Path) -> None:
        self.model = llama.llama_model_load_from_file(str(path).encode(), llama.llama_model_default_params())
        self.vocabulary = llama.llama_model_get_vocab(self.model)
        self.size = llama.llama_vocab_n_tokens(self.vocabulary)
        self.batch = llama.llama_batch_init(512, 0, 1)

    def tokenize(self, text: str) -> list[int]:
        raw, out = text.encode(), (llama.llama_token * 512)()
        begins = llama.llama_vocab_get_add_bos(self.vocabulary)
        return list(out[: llama.llama_tokenize(self.vocabulary, raw, len(raw), out, 512, begins, True)])

    def generate(self, ids: list[int]) -> tuple[list[int], list[float]]:
        parameters = llama.llama_context_default_params()
        parameters.n_ctx, parameters.n_threads, parameters.n_threads_batch = 512, 1, 1
        context = llama.llama_init_from_model(self.model, parameters)
        tokens, gaps, position, pending = [], [], 0, ids
        while len(tokens) < LENGTH:
            self.batch.n_tokens = len(pending)
            for index, token in enumerate(pending):
                self.batch.token[index], self.batch.pos[index] = token, position + index
                self.batch.n_seq_id[index], self.batch.seq_id[index][0] = 1, 0
                self.batch.logits[index] = index == len(pending) - 1
            assert llama.llama_decode(context, self.batch) == 0
            position += len(pending)
            logits = np.ctypeslib.as_array(llama.llama_get_logits_ith(context, -1), shape=(self.size,))
            second, first = np.argsort(logits)[-2:]
            tokens.append(int(first))
            gaps.append(round(float(logits[first] - logits[second]), 4))
            pending = [int(first)]
        llama.llama_free(context)
        return tokens, gaps


@llama.llama_log_callback
def quiet(level: int, text: bytes, data: ctypes.c_void_p) -> None:
    """llama.cpp's log goes nowhere."""


def main() -> None:
    llama.llama_log_set(quiet, ctypes.c_void_p(0))
    folder = Path(__file__).parent / "greedy"
    folder.mkdir(exist_ok=True)
    for name in MODELS:
        model = Model(Path(sys.argv[1]) / name)
        prompts = []
        for text in PROMPTS:
            ids = model.tokenize(text)
            tokens, gaps = model.generate(ids)
            prompts.append({"text": text, "prompt_ids": ids, "gen_ids": tokens, "top1_gap_per_step": gaps})
        record = {"model": name, "llama_cpp_python": llama.__version__, "prompts": prompts}
        (folder / name.replace(".gguf", ".json")).write_text(json.dumps(record, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
