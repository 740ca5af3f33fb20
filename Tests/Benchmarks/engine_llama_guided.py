"""Guided generation as a careful user composes it today: one context per model, batched sequences, `seq_cp` for what
beams share, numpy for the mix."""

import ctypes as c
import time

import llama_cpp as L
import numpy as np

TEMPERATURE, TOP_K = 0.7, 50


def log_probabilities(logits: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    most = logits.max(1, keepdims=True)
    total = np.log(np.exp(logits - most).sum(1))
    return logits[np.arange(len(tokens)), tokens] - most[:, 0] - total


class Guided:
    """A base context, and value contexts: tuned and untuned, or one whose hidden states a head scores."""

    def __init__(self, base, values: list, head: np.ndarray | None):
        self.base, self.values, self.head = base, values, head
        self.random = np.random.default_rng(0)

    def sample(self, logits: np.ndarray) -> np.ndarray:
        best = np.argpartition(logits, -TOP_K, axis=1)[:, -TOP_K:]
        scores = np.take_along_axis(logits, best, 1) / TEMPERATURE
        pick = (scores + self.random.gumbel(size=scores.shape)).argmax(1)
        return np.take_along_axis(best, pick[:, None], 1)[:, 0]

    def mix(self, logits: list[np.ndarray]) -> np.ndarray:
        """Constants of the softmaxes cancel, so raw logits will do."""
        out = logits[1] - logits[2]
        out += logits[0]
        return out

    def token_by_token(self, prompt: list[int], count: int) -> float:
        """EFTi: seconds for `count` tokens."""
        contexts = [self.base, *self.values]
        logits = [context.prefill(prompt) for context in contexts]
        position = len(prompt)
        start = time.perf_counter()
        for _ in range(count):
            token = self.sample(self.mix(logits))
            logits = [context.decode(token, position, [0], False) for context in contexts]
            position += 1
        return time.perf_counter() - start

    def search(self, prompt: list[int], width: int, successors: int, chunk: int, count: int, tilted: bool) -> float:
        """CBS, and IVG where `tilted`: seconds for `count` tokens of each of width × successors rows."""
        contexts, rows = [self.base, *self.values], width * successors
        last = [context.prefill(prompt).copy() for context in contexts]
        here, there = list(range(1, rows + 1)), list(range(rows + 1, 2 * rows + 1))
        start = time.perf_counter()
        for context in contexts:
            for sequence in here:
                L.llama_memory_seq_cp(context.memory, 0, sequence, -1, -1)
        parent, position, sums = np.zeros(rows, int), len(prompt), np.zeros(rows)
        for done in range(0, count, chunk):
            length = min(chunk, count - done)
            step = self.chunk_tilted if tilted else self.chunk_plain
            tokens, scores, ends = step(here, last, parent, position, length)
            sums = scores if self.head is not None else sums + scores
            keep = np.argsort(-sums)[:width]
            survivors = [here[k] for k in keep]
            # Only survivors need what comes after their last token.
            stale = contexts if tilted else [self.base]
            last = [context.decode(tokens[keep, -1], position + length - 1, survivors, False).copy() for context in stale]
            if not tilted:
                last += [end[keep].copy() for end in ends]
            for context in contexts:
                for rank, sequence in enumerate(survivors):
                    for k in range(successors):
                        L.llama_memory_seq_cp(context.memory, sequence, there[rank * successors + k], -1, -1)
                for sequence in here:
                    L.llama_memory_seq_rm(context.memory, sequence, -1, -1)
            here, there = there, here
            sums, parent = np.repeat(sums[keep], successors), np.repeat(np.arange(width), successors)
            position += length
        return time.perf_counter() - start

    def chunk_plain(self, sequences, last, parent, position, length):
        """Draws a chunk from the base, then scores all of it in one batch per value model."""
        rows = len(sequences)
        tokens = np.zeros((rows, length), np.int64)
        tokens[:, 0] = self.sample(last[0][parent])
        for j in range(1, length):
            tokens[:, j] = self.sample(self.base.decode(tokens[:, j - 1], position + j - 1, sequences, False))
        positions, owners = np.tile(np.arange(position, position + length), rows), np.repeat(sequences, length)
        if self.head is not None:
            ends = (np.arange(rows) + 1) * length - 1
            self.values[0].decode(tokens.reshape(-1), positions, owners, ends)
            return tokens, self.values[0].hidden(ends) @ self.head, []
        scores, outputs = [], []
        for i, context in enumerate(self.values):
            logits = context.decode(tokens.reshape(-1), positions, owners, False).reshape(rows, length, -1)
            score = log_probabilities(last[1 + i][parent], tokens[:, 0])
            if length > 1:
                flat = logits[:, :-1].reshape(rows * (length - 1), -1)
                score = score + log_probabilities(flat, tokens[:, 1:].reshape(-1)).reshape(rows, -1).sum(1)
            scores.append(score)
            outputs.append(logits[:, -1])
        return tokens, scores[0] - scores[1], outputs

    def chunk_tilted(self, sequences, last, parent, position, length):
        """Draws a chunk from the mixture; what the mixture needs also gives the scores."""
        contexts = [self.base, *self.values]
        tokens, scores = np.zeros((len(sequences), length), np.int64), np.zeros(len(sequences))
        logits = [rows[parent] for rows in last]
        for j in range(length):
            tokens[:, j] = pick = self.sample(self.mix(logits))
            scores += log_probabilities(logits[1], pick) - log_probabilities(logits[2], pick)
            if j + 1 < length:
                logits = [context.decode(pick, position + j, sequences, False) for context in contexts]
        return tokens, scores, []


def set_adapter(context, adapter) -> None:
    adapters, scales = (L.llama_adapter_lora_p_ctypes * 1)(adapter), (c.c_float * 1)(1.0)
    assert L.llama_set_adapters_lora(context.pointer, adapters, 1, scales) == 0
