"""The benchmark's jobs on libivg."""

import ctypes as c
import time

import libivg

CONTEXT = 1024


class Engine:
    def __init__(self):
        self.model = self.session = None

    def describe(self) -> str:
        version = libivg.LIBRARY.ivg_version_string().decode()
        return f"libivg {version}, {libivg.LIBRARY.ivg_kernels_name().decode()}"

    def load(self, model: str, threads: int, rows: int) -> None:
        self.unload()
        self.model = libivg.Model(model)
        self.session = libivg.Session(self.model, threads, CONTEXT)

    def unload(self) -> None:
        if self.model:
            self.session.free()
            self.model.free()
        self.model = self.session = None

    def open_first(self, model: str, threads: int, text: str) -> float:
        """Seconds from a closed file to the first token."""
        start = time.perf_counter()
        opened = libivg.Model(model)
        session = libivg.Session(opened, threads, CONTEXT)
        session.begin(text, max_tokens=1, temperature=libivg.GREEDY)
        session.next()
        seconds = time.perf_counter() - start
        session.free()
        opened.free()
        return seconds

    def prefill(self, tokens: list[int]) -> float:
        sequence = libivg.Sequence(self.session)
        ids = (c.c_int32 * len(tokens))(*tokens)
        start = time.perf_counter()
        sequence.evaluate(ids)
        seconds = time.perf_counter() - start
        sequence.free()
        return seconds

    def decode(self, text: str, count: int) -> float:
        """Seconds for `count` tokens after the first, drawn at temperature 0.7 from the 50 best."""
        self.session.begin(text, max_tokens=count + 1, seed=1, flags=libivg.IGNORE_END)
        self.session.next()
        start = time.perf_counter()
        for _ in range(count):
            self.session.next()
        return time.perf_counter() - start

    def decode_rows(self, text: str, rows: int, count: int) -> float:
        """Seconds for `count` tokens after the first of each of `rows` rows that share a prompt, drawn alike."""
        guidance = libivg.Guidance(1, rows, 0)
        self.session.begin(text, guidance, max_tokens=count + 1, seed=1, flags=libivg.IGNORE_END)
        while self.session.next():
            pass
        result = self.session.result()
        assert result.token_count == rows * (count + 1), result.token_count
        guidance.free()
        return result.generate_seconds
