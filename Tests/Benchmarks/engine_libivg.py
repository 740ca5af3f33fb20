"""The benchmark's jobs on libivg."""

import ctypes as c
import time

import libivg

CONTEXT = 1024


class Engine:
    def __init__(self):
        self.model = self.session = None
        self.files, self.handles = {}, []

    def describe(self) -> str:
        version = libivg.LIBRARY.ivg_version_string().decode()
        return f"libivg {version}, {libivg.LIBRARY.ivg_kernels_name().decode()}"

    def load(self, model: str, threads: int, rows: int) -> None:
        self.unload()
        self.model = libivg.Model(model)
        self.handles = [self.model]
        self.session = libivg.Session(self.model, threads, CONTEXT)

    def unload(self) -> None:
        if self.session:
            self.session.free()
        for handle in reversed(self.handles):
            handle.free()
        self.model = self.session = None
        self.files, self.handles = {}, []

    def load_guided(self, files: dict, threads: int, rows: int) -> None:
        """Opens the base, the tuned and untuned model, the adapter and the head that `files` names."""
        self.unload()
        models = {}
        for name in ("base", "tuned", "untuned"):
            if path := files.get(name):
                if path not in models:
                    models[path] = libivg.Model(path)
                    self.handles.append(models[path])
                self.files[name] = models[path]
        base = self.files["base"]
        for name, noun in (("adapter", "adapter"), ("head", "value_head")):
            if path := files.get(name):
                self.files[name] = libivg.Handle(noun, f"ivg_{noun}_open", base.pointer, path.encode())
                self.handles.append(self.files[name])
        self.session = libivg.Session(base, threads, CONTEXT)

    def guide(self, text: str, method: str, width: int, successors: int, chunk: int, count: int) -> float:
        """Seconds for `count` tokens of every row. "plain": without values."""
        guidance = libivg.Guidance(width, successors, chunk)
        if method == "plain":
            pass
        elif head := self.files.get("head"):
            guidance.add("explicit", libivg.ExplicitOptions, head=head.pointer)
        else:
            named = {f"{side}_{noun}": self.files[name].pointer for side, noun, name in (
                ("tuned", "model", "tuned"), ("untuned", "model", "untuned"), ("tuned", "adapter", "adapter"))
                if name in self.files and self.files[name] is not self.files["base"]}  # fmt: skip
            role = {"EFTi": 1, "CBSi": 2, "IVG": 3}[method]
            guidance.add("implicit", libivg.ImplicitOptions, role=role, **named)
        self.session.begin(text, guidance, max_tokens=count, seed=1, flags=libivg.IGNORE_END)
        while self.session.next():
            pass
        seconds = self.session.result().generate_seconds
        guidance.free()
        return seconds

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

    def allocations(self, text: str, count: int) -> float:
        """Allocations for each of `count` tokens after the first eight. The process counts: see allocations.c."""
        counter = c.CDLL(None).allocation_count
        counter.restype = c.c_ulong
        self.session.begin(text, max_tokens=count + 8, seed=1, flags=libivg.IGNORE_END)
        total = 0
        for number in range(count + 8):
            before = counter()
            self.session.next()
            total += counter() - before if number >= 8 else 0
        return total / count
