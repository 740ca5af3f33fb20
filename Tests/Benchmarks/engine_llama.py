"""The benchmark's jobs on llama.cpp, through the low-level API of llama-cpp-python."""

import ctypes as c
import os
import time

import engine_llama_guided
import gguf
import llama_cpp as L
import numpy as np

CONTEXT = 4096  # all sequences together
_quiet = L.llama_log_callback(lambda level, text, data: None)
L.llama_log_set(_quiet, c.c_void_p(0))
L.llama_backend_init()


class Context:
    """A context on a model, and one batch that is filled again and again."""

    def __init__(self, model, threads: int, rows: int):
        self.model = model
        self.vocabulary_size = L.llama_vocab_n_tokens(L.llama_model_get_vocab(model))
        options = L.llama_context_default_params()
        options.n_ctx = CONTEXT
        options.n_batch = options.n_ubatch = 512
        options.n_seq_max = rows + 1
        options.kv_unified = True
        options.n_threads = options.n_threads_batch = threads
        options.no_perf = True
        self.pointer = L.llama_init_from_model(model, options)
        self.memory = L.llama_get_memory(self.pointer)
        self.batch = L.llama_batch_init(512, 0, 1)
        view = np.ctypeslib.as_array
        self.tokens = view(self.batch.token, (512,))
        self.positions = view(self.batch.pos, (512,))
        self.wanted = view(self.batch.logits, (512,))
        view(self.batch.n_seq_id, (512,))[:] = 1
        self.sequences = [view(self.batch.seq_id[i], (1,)) for i in range(512)]

    def decode(self, tokens, first, sequences, wanted):
        """Logits of all tokens (wanted: False), of the last (True), or of those at the places in an array:
        [rows, vocabulary]."""
        n = len(tokens)
        places = np.arange(n) if wanted is False else np.array([n - 1]) if wanted is True else wanted
        self.tokens[:n] = tokens
        self.positions[:n] = first
        for i, sequence in enumerate(sequences):
            self.sequences[i][0] = sequence
        self.wanted[:n] = 0
        self.wanted[places] = 1
        self.batch.n_tokens = n
        assert L.llama_decode(self.pointer, self.batch) == 0
        return np.ctypeslib.as_array(L.llama_get_logits(self.pointer), (len(places), self.vocabulary_size))

    def hidden(self, places) -> np.ndarray:
        """Final hidden states of the tokens at these places of the last batch: [rows, hidden]."""
        size = L.llama_model_n_embd(self.model)
        return np.stack([np.ctypeslib.as_array(L.llama_get_embeddings_ith(self.pointer, int(i)), (size,)) for i in places])

    def prefill(self, tokens):
        L.llama_memory_clear(self.memory, True)
        return self.decode(tokens, np.arange(len(tokens)), [0] * len(tokens), True)

    def free(self) -> None:
        L.llama_batch_free(self.batch)
        L.llama_free(self.pointer)


def open_model(path: str):
    options = L.llama_model_default_params()
    options.n_gpu_layers = 0
    return L.llama_model_load_from_file(path.encode(), options)


class Engine:
    def __init__(self):
        self.model = self.context = self.guided = None
        self.models, self.contexts = [], []

    def describe(self) -> str:
        import importlib.metadata

        flags = L.llama_print_system_info().decode().replace(" = 1", "").split("|")
        features = [flag.strip() for flag in flags if "AVX" in flag or "VNNI" in flag or "REPACK" in flag]
        return f"llama-cpp-python {importlib.metadata.version('llama-cpp-python')}, {' '.join(features)}"

    def load(self, model: str, threads: int, rows: int) -> None:
        self.unload()
        self.model = open_model(model)
        self.context = Context(self.model, threads, rows)
        self.models, self.contexts = [self.model], [self.context]

    def unload(self) -> None:
        for context in self.contexts:
            context.free()
        for model in self.models:
            L.llama_model_free(model)
        self.models, self.contexts, self.guided = [], [], None
        self.model = self.context = None

    def load_guided(self, files: dict, threads: int, rows: int) -> None:
        """A context per model of `files`: base, tuned and untuned, or base and scorer. Contexts of one file share it."""
        self.unload()
        opened = {}
        for name in ("base", "tuned", "untuned", "scorer"):
            if path := files.get(name):
                if path not in opened:
                    opened[path] = open_model(path)
                    self.models.append(opened[path])
                self.contexts.append(Context(opened[path], threads, 2 * rows))
        self.model = self.models[0]
        if adapter := files.get("adapter"):
            engine_llama_guided.set_adapter(self.contexts[1], L.llama_adapter_lora_init(self.models[0], adapter.encode()))
        head = None
        if files.get("head"):
            reader = gguf.GGUFReader(files["head"])
            head = np.array(next(t.data for t in reader.tensors if t.name == "score_head.weight")).reshape(-1)
            L.llama_set_embeddings(self.contexts[1].pointer, True)
        self.guided = engine_llama_guided.Guided(self.contexts[0], self.contexts[1:], head)

    def guide(self, text: str, method: str, width: int, successors: int, chunk: int, count: int) -> float:
        """Seconds for `count` tokens of every row."""
        tokens = self.tokenize(text)
        if method == "EFTi":
            return self.guided.token_by_token(tokens, count)
        return self.guided.search(tokens, width, successors, chunk, count, method == "IVG")

    def tokenize(self, text: str) -> list[int]:
        data = text.encode()
        ids = (L.llama_token * (len(data) + 8))()
        n = L.llama_tokenize(L.llama_model_get_vocab(self.model), data, len(data), ids, len(ids), False, True)
        return ids[:n]

    def open_first(self, model: str, threads: int, text: str) -> float:
        """Seconds from a closed file to the first token."""
        start = time.perf_counter()
        self.model = open_model(model)
        self.context = Context(self.model, threads, 1)
        self.models, self.contexts = [self.model], [self.context]
        int(self.context.prefill(self.tokenize(text))[0].argmax())
        seconds = time.perf_counter() - start
        self.unload()
        return seconds

    def prefill(self, tokens: list[int]) -> float:
        start = time.perf_counter()
        self.context.prefill(tokens)
        return time.perf_counter() - start

    def decode(self, text: str, count: int) -> float:
        """Seconds for `count` tokens after the first, the most probable ones: the cheapest choice there is."""
        tokens = self.tokenize(text)
        token, position = int(self.context.prefill(tokens)[0].argmax()), len(tokens)
        start = time.perf_counter()
        for _ in range(count):
            token = int(self.context.decode([token], position, [0], False)[0].argmax())
            position += 1
        return time.perf_counter() - start

    def decode_rows(self, text: str, rows: int, count: int) -> float:
        """Seconds for `count` tokens of each of `rows` sequences that share a prompt."""
        tokens = self.tokenize(text)
        self.context.prefill(tokens)
        for row in range(1, rows + 1):
            L.llama_memory_seq_cp(self.context.memory, 0, row, -1, -1)
        sequences, position = range(1, rows + 1), len(tokens)
        picks = np.arange(rows) + 100
        start = time.perf_counter()
        for _ in range(count):
            picks = self.context.decode(picks, position, sequences, False).argmax(axis=1)
            position += 1
        return time.perf_counter() - start

    def allocations(self, text: str, count: int) -> float:
        """Allocations for each of `count` tokens after the first eight. The process counts: see allocations.c."""
        counter = c.CDLL(None).allocation_count
        counter.restype = c.c_ulong
        tokens = self.tokenize(text)
        self.context.prefill(tokens)
        total = 0
        for number in range(count + 8):
            self.context.tokens[0], self.context.positions[0] = 100, len(tokens) + number
            self.context.batch.n_tokens = self.context.wanted[0] = 1
            self.context.sequences[0][0] = 0
            before = counter()
            assert L.llama_decode(self.context.pointer, self.context.batch) == 0
            L.llama_synchronize(self.context.pointer)
            total += counter() - before if number >= 8 else 0
        return total / count

    def quantize(self, source: str, destination: str, name: str) -> None:
        """Writes a file in one of the peer's mixtures of types."""
        options = L.llama_model_quantize_default_params()
        options.ftype = getattr(L, f"LLAMA_FTYPE_MOSTLY_{name}")
        partial = destination + ".partial"
        assert L.llama_model_quantize(source.encode(), partial.encode(), c.byref(options)) == 0
        os.replace(partial, destination)
