"""Hugging Face folders as GGUF files.

    ivg.convert.convert_model("Llama-3.2-1B-Instruct", "llama.gguf", type="f16")
    ivg.convert.convert_adapter("dpo-adapter", "dpo.gguf", base="Llama-3.2-1B-Instruct")
    ivg.convert.convert_value_model("gpt2-imdb-token-rm", "rm.gguf", "rm-head.gguf")

Needs `pip install ivg[convert]`. Nothing in a folder is executed, and tensors are read one at a time.
"""

from __future__ import annotations

from ._adapter import convert_adapter
from ._any import FolderKind, folder_kind
from ._errors import ConvertError
from ._model import convert_model
from ._value import convert_value_model, default_head_path
from ._write import Progress

__all__ = [
    "ConvertError",
    "FolderKind",
    "Progress",
    "convert_adapter",
    "convert_model",
    "convert_value_model",
    "default_head_path",
    "folder_kind",
]
