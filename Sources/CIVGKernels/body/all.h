/* SPDX-License-Identifier: Apache-2.0
 *
 * all.h - every kernel for the instruction set whose hooks were defined above, and CIVG_TABLE, their table.
 *
 * Hooks (static inline functions and constants of the including file):
 *
 *   fma16(a, b, c)             a b + c, rounded once
 *   half16(h), to_half16(f)    half precision to float and, to nearest even, back
 *   spread_bits(v)             the low four bits of every lane, each to bit 4 of its own byte
 *   dot_four(sum, w, x, bits)  sum + dot of the 4 bytes of each lane of w with those at x
 *   dot_rows(T, R, sums, w, n, x, bits)
 *                              sums[t][r] += dot of the 4 n bytes of each lane of w[t] with those at x[r]
 *   CIVG_DOT_TWO               defined where there is a dot_two of its own, see blocks.h
 *   CIVG_WORDS                 1 where 8-bit weights are multiplied in words of 16 bits, by this:
 *   dot_words(R, sums, w, x)   sums[r] += dot of the 32 words of each lane of w[0] ... w[15] with those at x[r]; both have
 *                              the even columns of a block first
 *   CIVG_Q8_OFFSET             what a Q8_0 byte carries when it is multiplied: 128 (unsigned) or 0 (signed)
 *   CIVG_TILES, CIVG_ROWS      tiles and rows whose integer sums and accumulators fit in registers together
 *   CIVG_FLOAT_ROWS, CIVG_HEADS
 *                              rows of floats with four accumulators each, heads (a multiple of 4, or 1) that do
 *   CIVG_CHAINS                accumulators that fit in registers beside what they read
 *   CIVG_CHAIN_ROWS, CIVG_CHAIN_VECTORS
 *                              rows, and vectors (1 or 2) of columns, whose chains fit in registers together
 *   CIVG_QUARTERS              rows up to which dot products come before the transpose, by these two:
 *   spread16(x)                16 bytes in every quarter of a vector
 *   dot_quarters(a, x, b, y, bits)
 *                              every lane: dot of its 4 bytes of a and x, and of b and y
 *   CIVG_FUSED, CIVG_FLOAT_FUSED
 *                              rows (0, 1, 2, of floats also 4) up to which a product has code without scratch
 */
#ifndef CIVG_ALL_H
#define CIVG_ALL_H

/* 32-column blocks, or float columns, of a tile that are unpacked together: they stay in the first cache. */
#define CIVG_SLICE_BLOCKS (16 / CIVG_TILES)
#define CIVG_SLICE_COLUMNS 256

#include "tile.h"
#include "unpack.h"
#include "blocks.h"
#include "matmul_quantized.h"
#include "matmul_float.h"
#include "mathematics.h"
#include "elementwise.h"
#include "attention.h"
#include "vocabulary.h"
#include "training.h"
#include "quantize_search.h"
#include "quantize_blocks.h"
#include "quantize_k.h"

_Static_assert(CIVG_TILES * CIVG_SLICE_BLOCKS * sizeof(tile_block) <= CIVG_SCRATCH_BYTES, "a slice outgrows scratch");
_Static_assert(CIVG_SLICE_COLUMNS * sizeof(v16f) <= CIVG_SCRATCH_BYTES, "a slice outgrows scratch");
_Static_assert(!CIVG_WORDS || (CIVG_Q8_OFFSET == 0 && CIVG_TILES == 1), "words are signed, and one tile's");
_Static_assert(sizeof(civg_block) == 64 && sizeof(v16i) == 64, "a block of activations is one cache line");

#define CIVG_DEFINE_TABLE(symbol, text)                                                                    \
  const civg_kernels symbol = {                                                                            \
      .name = text,                                                                                        \
      .scratch_element = 2 * CIVG_WORDS,                                                                   \
      .matmul = {[F32] = matmul_F32, [F16] = matmul_F16, [BF16] = matmul_BF16, [Q4_0] = matmul_Q4_0,       \
                 [Q4_1] = matmul_Q4_1, [Q5_0] = matmul_Q5_0, [Q5_1] = matmul_Q5_1, [Q8_0] = matmul_Q8_0,   \
                 [Q2_K] = matmul_Q2_K, [Q3_K] = matmul_Q3_K, [Q4_K] = matmul_Q4_K, [Q5_K] = matmul_Q5_K,   \
                 [Q6_K] = matmul_Q6_K},                                                                    \
      .dequantize = CIVG_DEQUANTIZE,                                                                       \
      .quantize = {[F32] = store_F32, [F16] = store_F16, [BF16] = store_BF16, [Q4_0] = store_Q4_0,         \
                   [Q4_1] = store_Q4_1, [Q5_0] = store_Q5_0, [Q5_1] = store_Q5_1, [Q8_0] = store_Q8_0,     \
                   [Q2_K] = store_Q2_K, [Q3_K] = store_Q3_K, [Q4_K] = store_Q4_K, [Q5_K] = store_Q5_K,     \
                   [Q6_K] = store_Q6_K},                                                                   \
      .quantize_row = quantize_row,                                                                        \
      .rms_norm = rms_norm,                                                                                \
      .layer_norm = layer_norm,                                                                            \
      .silu_multiply = silu_multiply,                                                                      \
      .gelu_tanh_multiply = gelu_tanh_multiply,                                                            \
      .gelu_multiply = gelu_multiply,                                                                      \
      .gelu_quick_multiply = gelu_quick_multiply,                                                          \
      .soft_cap = soft_cap,                                                                                \
      .add = add,                                                                                          \
      .add_scaled = add_scaled,                                                                            \
      .tilt = tilt,                                                                                        \
      .rotate = rotate,                                                                                    \
      .store_key_value = store_key_value,                                                                  \
      .attend = attend,                                                                                    \
      .log_sum_exp = log_sum_exp,                                                                          \
      .argmax = argmax,                                                                                    \
      .top_k = top_k,                                                                                      \
      .is_clean = is_clean,                                                                                \
      .dot = dot,                                                                                          \
      .chain = chain,                                                                                      \
      .unpack_rows = unpack_rows,                                                                          \
      .unpack_columns = unpack_columns,                                                                    \
      .rms_norm_backward = rms_norm_backward,                                                              \
      .silu_multiply_backward = silu_multiply_backward,                                                    \
      .softmax = softmax,                                                                                  \
      .softmax_backward = softmax_backward,                                                                \
      .log_probability_backward = log_probability_backward,                                                \
      .sum_of_squares = sum_of_squares,                                                                    \
      .expectation = expectation,                                                                          \
      .transpose = transpose,                                                                              \
      .adamw = adamw,                                                                                      \
      .dropout = dropout,                                                                                  \
  }

#endif /* CIVG_ALL_H */
