/* SPDX-License-Identifier: Apache-2.0
 *
 * tables.h - what the units of this room share: one table per instruction set, and the dequantisers.
 */
#ifndef CIVG_TABLES_H
#define CIVG_TABLES_H

#include "CIVGKernels.h"

extern const civg_kernels civg_kernels_portable;
#if defined(__x86_64__)
extern const civg_kernels civg_kernels_avx2;
extern const civg_kernels civg_kernels_avxvnni;
extern const civg_kernels civg_kernels_avx512vnni;
#elif defined(__aarch64__)
extern const civg_kernels civg_kernels_neon_dotprod;
#endif

/* Rows are decoded seldom (embeddings), so one plain decoder per type serves every table. */
void civg_dequantize_f32(const void *row, size_t columns, float *out);
void civg_dequantize_f16(const void *row, size_t columns, float *out);
void civg_dequantize_bf16(const void *row, size_t columns, float *out);
void civg_dequantize_q4_0(const void *row, size_t columns, float *out);
void civg_dequantize_q4_1(const void *row, size_t columns, float *out);
void civg_dequantize_q5_0(const void *row, size_t columns, float *out);
void civg_dequantize_q5_1(const void *row, size_t columns, float *out);
void civg_dequantize_q8_0(const void *row, size_t columns, float *out);
void civg_dequantize_q2_k(const void *row, size_t columns, float *out);
void civg_dequantize_q3_k(const void *row, size_t columns, float *out);
void civg_dequantize_q4_k(const void *row, size_t columns, float *out);
void civg_dequantize_q5_k(const void *row, size_t columns, float *out);
void civg_dequantize_q6_k(const void *row, size_t columns, float *out);

#define CIVG_DEQUANTIZE                                                                              \
  {[0] = civg_dequantize_f32,   [1] = civg_dequantize_f16,   [30] = civg_dequantize_bf16,            \
   [2] = civg_dequantize_q4_0,  [3] = civg_dequantize_q4_1,  [6] = civg_dequantize_q5_0,             \
   [7] = civg_dequantize_q5_1,  [8] = civg_dequantize_q8_0,  [10] = civg_dequantize_q2_k,            \
   [11] = civg_dequantize_q3_k, [12] = civg_dequantize_q4_k, [13] = civg_dequantize_q5_k,            \
   [14] = civg_dequantize_q6_k}

#endif /* CIVG_TABLES_H */
