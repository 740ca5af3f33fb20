"""libivg through plain ctypes: just what the benchmarks drive."""

import ctypes as c
import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
GREEDY = -1.0
IGNORE_END = 1
DONE = 1

Pointer, Size = c.c_void_p, c.c_size_t


class SessionOptions(c.Structure):
    _fields_ = [("struct_size", c.c_uint32), ("thread_count", c.c_uint32), ("context_length", c.c_uint32),
                ("reserved", c.c_uint32), ("memory_budget", c.c_uint64)]  # fmt: skip


class GuidanceOptions(c.Structure):
    _fields_ = [(name, c.c_uint32) for name in (
        "struct_size", "width", "successors", "chunk", "finished_rows", "dedupe", "candidates", "reserved")]  # fmt: skip


class GenerateOptions(c.Structure):
    _fields_ = [("struct_size", c.c_uint32), ("max_tokens", c.c_uint32), ("seed", c.c_uint64),
                ("temperature", c.c_float), ("top_p", c.c_float), ("min_p", c.c_float),
                ("repetition_penalty", c.c_float), ("top_k", c.c_uint32), ("flags", c.c_uint32),
                ("top_log_probabilities", c.c_uint32), ("reserved", c.c_uint32), ("prompt_template", c.c_char_p),
                ("stop_strings", Pointer), ("stop_string_count", Size), ("end_tokens", Pointer),
                ("end_token_count", Size), ("banned_tokens", Pointer), ("banned_token_count", Size),
                ("logits_processor", Pointer), ("logits_processor_data", Pointer)]  # fmt: skip


class Step(c.Structure):
    _fields_ = [("struct_size", c.c_uint32), ("kind", c.c_uint32), ("token", c.c_int32),
                ("finish_reason", c.c_uint32), ("log_probability", c.c_float), ("top_count", c.c_uint32),
                ("value", c.c_double), ("text", Pointer), ("text_length", Size), ("top_tokens", Pointer),
                ("top_log_probabilities", Pointer)]  # fmt: skip


class Result(c.Structure):
    _fields_ = [("struct_size", c.c_uint32), ("candidate_count", c.c_uint32), ("finish_reason", c.c_uint32),
                ("guide_count", c.c_uint32), ("prompt_token_count", c.c_uint64), ("reused_token_count", c.c_uint64),
                ("token_count", c.c_uint64), ("prompt_seconds", c.c_double), ("generate_seconds", c.c_double),
                ("memory_used", c.c_uint64)]  # fmt: skip


class ImplicitOptions(c.Structure):
    _fields_ = [("struct_size", c.c_uint32), ("role", c.c_uint32), ("tuned_model", Pointer), ("tuned_adapter", Pointer),
                ("tuned_template", c.c_char_p), ("untuned_model", Pointer), ("untuned_adapter", Pointer),
                ("untuned_template", c.c_char_p), ("length_average", c.c_uint32), ("reserved", c.c_uint32)]  # fmt: skip


class ExplicitOptions(c.Structure):
    _fields_ = [("struct_size", c.c_uint32), ("role", c.c_uint32), ("head", Pointer),
                ("template_text", c.c_char_p)]  # fmt: skip


class TensorInfo(c.Structure):
    _fields_ = [("struct_size", c.c_uint32), ("dimension_count", c.c_uint32), ("shape", c.c_uint64 * 4),
                ("offset", c.c_uint64), ("size", c.c_uint64), ("name", c.c_char_p), ("type", c.c_char_p)]  # fmt: skip


def make(kind, **fields):
    """A struct with its size set."""
    return kind(struct_size=c.sizeof(kind), **fields)


def find_library() -> Path:
    """`LIBIVG`, or what this tree's release build made."""
    if path := os.environ.get("LIBIVG"):
        return Path(path)
    for path in (ROOT / ".build/release/libivg.so", ROOT / ".build/libivg.so"):
        if path.exists():
            return path
    raise SystemExit("libivg.so is missing; run `swift build -c release --product ivg` or set LIBIVG")


LIBRARY = c.CDLL(str(find_library()))
LIBRARY.ivg_error_message.restype = c.c_char_p
LIBRARY.ivg_error_message.argtypes = [Pointer]
LIBRARY.ivg_error_free.argtypes = [Pointer]
LIBRARY.ivg_kernels_name.restype = c.c_char_p
LIBRARY.ivg_version_string.restype = c.c_char_p
LIBRARY.ivg_file_tensor_count.restype = c.c_uint64


def call(name: str, *arguments) -> int:
    """Calls a fallible function; its error becomes an exception."""
    error = Pointer()
    status = getattr(LIBRARY, name)(*arguments, c.byref(error))
    if status < 0:
        message = LIBRARY.ivg_error_message(error).decode()
        LIBRARY.ivg_error_free(error)
        raise RuntimeError(f"{name}: {message}")
    return status


class Handle:
    """An opaque handle and the name of what frees it."""

    def __init__(self, noun: str, create: str, *arguments):
        self.noun = noun
        self.pointer = Pointer()
        call(create, c.byref(self.pointer), *arguments)

    def free(self) -> None:
        getattr(LIBRARY, f"ivg_{self.noun}_free")(self.pointer)
        self.pointer = Pointer()


class Model(Handle):
    def __init__(self, path: str):
        super().__init__("model", "ivg_model_open", path.encode(), None)

    def tokenize(self, text: str) -> list[int]:
        data = text.encode()
        tokens, count = (c.c_int32 * (len(data) + 8))(), Size()
        call("ivg_model_tokenize", self.pointer, data, Size(len(data)), 3, tokens, Size(len(tokens)), c.byref(count))
        return tokens[: count.value]

    def detokenize(self, tokens: list[int]) -> str:
        buffer, needed = c.create_string_buffer(64 * len(tokens) + 64), Size()
        call("ivg_model_detokenize", self.pointer, (c.c_int32 * len(tokens))(*tokens), Size(len(tokens)), 0, buffer,
             Size(len(buffer)), c.byref(needed))  # fmt: skip
        return buffer.raw[: needed.value].decode()


class Session(Handle):
    def __init__(self, model: Model, threads: int, context: int):
        options = make(SessionOptions, thread_count=threads, context_length=context)
        super().__init__("session", "ivg_session_create", model.pointer, c.byref(options))
        self.step = make(Step)

    def begin(self, prompt: str, guidance: Handle | None = None, **options) -> None:
        data = prompt.encode()
        call("ivg_session_begin", self.pointer, data, Size(len(data)), c.byref(make(GenerateOptions, **options)),
             guidance.pointer if guidance else None)  # fmt: skip

    def next(self) -> bool:
        """One token, or one chunk of several rows; False when the text has ended."""
        return call("ivg_session_next", self.pointer, c.byref(self.step)) != DONE

    def result(self) -> Result:
        result = make(Result)
        call("ivg_session_result", self.pointer, c.byref(result))
        return result


class Guidance(Handle):
    def __init__(self, width: int, successors: int, chunk: int):
        options = make(GuidanceOptions, width=width, successors=successors, chunk=chunk)
        super().__init__("guidance", "ivg_guidance_create", c.byref(options))

    def add(self, kind: str, options, **fields) -> None:
        call(f"ivg_guidance_add_{kind}", self.pointer, c.byref(make(options, **fields)), c.c_double(1))


class Sequence(Handle):
    def __init__(self, session: Session):
        super().__init__("sequence", "ivg_sequence_create", session.pointer, None)

    def evaluate(self, tokens) -> None:
        call("ivg_sequence_evaluate", self.pointer, tokens, Size(len(tokens)))

    def truncate(self, length: int) -> None:
        call("ivg_sequence_truncate", self.pointer, Size(length))


def weight_bytes(path: str) -> int:
    """Bytes of weights that decoding one token reads: every matrix, of an untied embedding only a row."""
    file = Handle("file", "ivg_file_open", path.encode())
    sizes = {}
    for index in range(LIBRARY.ivg_file_tensor_count(file.pointer)):
        info = make(TensorInfo)
        call("ivg_file_tensor", file.pointer, c.c_uint64(index), c.byref(info))
        sizes[info.name.decode()] = info.size
    file.free()
    if "output.weight" in sizes:
        sizes.pop("token_embd.weight")
    return sum(sizes.values())
