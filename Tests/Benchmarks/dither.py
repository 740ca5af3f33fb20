#!/usr/bin/env python3
"""Takes the weights of a model off the grid on which they were once rounded, for quantize.py to start from.

    python dither.py SmolLM2-135M-Instruct.Q4_1.gguf SmolLM2-135M-Instruct.F16.gguf dithered.F16.gguf

Models at hand may be known only as quantised files. In F16 form their weights still lie on that grid, which the type
they were in, and some others, meet exactly: no quantiser can be judged by it. Every weight is moved by a number drawn
evenly from half a step down to half a step up. What comes out is a model a little worse, and its own reference.
Reads Q4_1 and Q8_0.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import gguf
import numpy as np

# Bytes of a block of 32; the scale is its first half-precision number.
BLOCK_BYTES = {"Q4_1": 20, "Q8_0": 34}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("quantized", type=Path)
    parser.add_argument("decoded", type=Path, help="the same model in F16")
    parser.add_argument("output", type=Path)
    chosen = parser.parse_args()
    shutil.copyfile(chosen.decoded, chosen.output)
    stored = {tensor.name: tensor for tensor in gguf.GGUFReader(chosen.quantized).tensors}
    output = gguf.GGUFReader(chosen.output, "r+")
    random = np.random.default_rng(7)
    for tensor in output.tensors:
        if tensor.tensor_type.name != "F16":
            continue
        old = stored[tensor.name]
        blocks = old.data.reshape(-1, BLOCK_BYTES[old.tensor_type.name])
        steps = np.abs(blocks[:, :2].copy().view(np.float16).astype(np.float32))
        values = tensor.data.reshape(-1, 32).astype(np.float32)
        values += (random.random(values.shape, dtype=np.float32) - 0.5) * steps
        tensor.data[:] = values.astype(np.float16).reshape(tensor.data.shape)
    output.data.flush()


if __name__ == "__main__":
    main()
