#!/usr/bin/env python3
"""Writes F16, Q8_0 and Q4_0 versions of a GGUF model, for tests and benchmarks on real weights.

    python make_model_variants.py SmolLM2-135M-Instruct.Q4_1.gguf OUTPUT_FOLDER [--types F16 Q8_0 Q4_0]

Every matrix is dequantised to float32 and encoded again; vectors (norms, biases) stay F32, and a matrix
whose rows do not divide into blocks falls back to F16. Metadata is copied verbatim, except
`general.file_type`. The file type in the name is replaced: `X.Q4_1.gguf` becomes `X.F16.gguf`.

Requirements: gguf==0.19.0, numpy>=2.
"""

import argparse
import os
import re
from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType, GGUFReader, GGUFValueType, GGUFWriter, LlamaFileType
from gguf.constants import GGML_QUANT_SIZES
from gguf.quants import dequantize, quantize

FILE_TYPES = {
    "F16": (GGMLQuantizationType.F16, LlamaFileType.MOSTLY_F16),
    "Q8_0": (GGMLQuantizationType.Q8_0, LlamaFileType.MOSTLY_Q8_0),
    "Q4_0": (GGMLQuantizationType.Q4_0, LlamaFileType.MOSTLY_Q4_0),
}


def copy_metadata(reader: GGUFReader, writer: GGUFWriter, file_type: LlamaFileType) -> None:
    """Copies every key in file order; `GGUFWriter` itself has written `general.architecture`."""
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name == "general.architecture":
            continue
        value = int(file_type) if field.name == "general.file_type" else field.contents()
        sub_type = field.types[-1] if field.types[0] == GGUFValueType.ARRAY else None
        writer.add_key_value(field.name, value, field.types[0], sub_type)
    if "general.file_type" not in reader.fields:
        writer.add_file_type(int(file_type))


def encode(tensor, target: GGMLQuantizationType) -> tuple[np.ndarray, GGMLQuantizationType]:
    """The bytes of one tensor in its new type: F32 for vectors, `target` for matrices."""
    values = dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
    if values.ndim < 2:
        return values, GGMLQuantizationType.F32
    if values.shape[-1] % GGML_QUANT_SIZES[target][0] != 0:
        target = GGMLQuantizationType.F16
    if target == GGMLQuantizationType.F16:
        return values.astype(np.float16), target
    return quantize(values, target), target


def write_variant(source: Path, destination: Path, name: str) -> None:
    """Writes one version, under a temporary name until it is complete."""
    target, file_type = FILE_TYPES[name]
    reader = GGUFReader(source)
    temporary = destination.with_suffix(".partial")
    writer = GGUFWriter(temporary, reader.fields["general.architecture"].contents())
    copy_metadata(reader, writer, file_type)
    for tensor in reader.tensors:
        data, stored = encode(tensor, target)
        writer.add_tensor(tensor.name, data, raw_dtype=stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    os.replace(temporary, destination)
    print(f"{destination}: {destination.stat().st_size:,} bytes")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--types", nargs="+", choices=FILE_TYPES, default=list(FILE_TYPES))
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    stem = re.sub(r"[.-](F16|F32|BF16|I?Q\d\w*)$", "", arguments.source.stem)
    for name in arguments.types:
        write_variant(arguments.source, arguments.folder / f"{stem}.{name}.gguf", name)


if __name__ == "__main__":
    main()
