"""Hugging Face folders as GGUF files.

    ivg.convert.convert_model("Llama-3.2-1B-Instruct", "llama.gguf", type="f16")

Needs `pip install ivg[convert]`. Nothing in a folder is executed, and tensors are read one at a time.
"""

from __future__ import annotations

from ._errors import ConvertError
from ._model import convert_model

__all__ = ["ConvertError", "convert_model"]
