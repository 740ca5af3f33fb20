/* SPDX-License-Identifier: Apache-2.0
 *
 * kernels_avx512.c - x86-64 with AVX-512 and its integer dot products: one register is sixteen lanes.
 */
#if defined(__x86_64__)
#include <immintrin.h>

#include "tables.h"

#pragma clang attribute push(                                                                              \
    __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c,bmi,bmi2"))),       \
    apply_to = function)

#include "body/lanes.h"

/* The instruction multiplies unsigned by signed bytes: signed weights travel biased. */
#define CIVG_Q8_OFFSET 128
#define CIVG_WORDS 0
#define CIVG_TILES 2
#define CIVG_ROWS 4
#define CIVG_FLOAT_ROWS 4
#define CIVG_HEADS 8
#define CIVG_CHAINS 16
#define CIVG_CHAIN_ROWS 14
#define CIVG_CHAIN_VECTORS 2
#define CIVG_FUSED 2
#define CIVG_FLOAT_FUSED 4
#define CIVG_QUARTERS 2

CIVG_INLINE v16f fma16(v16f a, v16f b, v16f c) { return __builtin_elementwise_fma(a, b, c); }

CIVG_INLINE v16f half16(v16h h) { return (v16f)_mm512_cvtph_ps((__m256i)h); }

CIVG_INLINE v16h to_half16(v16f f) {
  return (v16h)_mm512_cvtps_ph((__m512)f, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

/* A table of all sixteen answers, looked up in one instruction. */
CIVG_INLINE v16i spread_bits(v16i v) {
  const v16i table = {0x00000000, 0x00000010, 0x00001000, 0x00001010, 0x00100000, 0x00100010,
                      0x00101000, 0x00101010, 0x10000000, 0x10000010, 0x10001000, 0x10001010,
                      0x10100000, 0x10100010, 0x10101000, 0x10101010};
  return (v16i)_mm512_permutexvar_epi32((__m512i)v, (__m512i)table);
}

CIVG_INLINE v16i dot_four(v16i sum, v16i w, const uint8_t *x, int bits) {
  (void)bits;
  return (v16i)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)w, _mm512_set1_epi32((int32_t)load_u32(x)));
}

/* Row by row within each vector, so that neighbouring instructions do not wait for each other. */
CIVG_INLINE void dot_rows(int T, int R, v16i (*sums)[CIVG_MOST_ROWS], const v16i *const *w, int n,
                          const uint8_t *const *x, int bits) {
  CIVG_UNROLL for (int j = 0; j < n; j++) {
    CIVG_UNROLL for (int r = 0; r < R; r++) {
      CIVG_UNROLL for (int t = 0; t < T; t++) sums[t][r] = dot_four(sums[t][r], w[t][j], x[r] + 4 * j, bits);
    }
  }
}

CIVG_INLINE v16i spread16(const uint8_t *x) {
  return (v16i)_mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)x));
}

CIVG_INLINE v16i dot_quarters(v16i a, v16i x, v16i b, v16i y, int bits) {
  (void)bits;
  __m512i sum = _mm512_dpbusd_epi32(_mm512_setzero_si512(), (__m512i)a, (__m512i)x);
  return (v16i)_mm512_dpbusd_epi32(sum, (__m512i)b, (__m512i)y);
}

#include "body/all.h"

CIVG_DEFINE_TABLE(civg_kernels_avx512vnni, "avx512vnni");

#pragma clang attribute pop
#endif
