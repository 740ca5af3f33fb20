/* SPDX-License-Identifier: Apache-2.0
 *
 * kernels_avxvnni.c - x86-64 with AVX2 and the 256-bit integer dot product (client CPUs since 2021).
 */
#if defined(__x86_64__)
#include <immintrin.h>

#include "tables.h"

#pragma clang attribute push(__attribute__((target("avx2,fma,f16c,bmi,bmi2,avxvnni"))), apply_to = function)

#include "body/lanes.h"

/* The instruction multiplies unsigned by signed bytes: signed weights travel biased. */
#define CIVG_Q8_OFFSET 128
#define CIVG_WORDS 0

#include "lanes_avx2.h"

CIVG_INLINE v16i dot_four(v16i sum, v16i w, const uint8_t *x, int bits) {
  (void)bits;
  __m256i y = _mm256_set1_epi32((int32_t)load_u32(x));
  return lanes_join(_mm256_dpbusd_avx_epi32(lanes_low(sum), lanes_low(w), y),
                    _mm256_dpbusd_avx_epi32(lanes_high(sum), lanes_high(w), y));
}

CIVG_INLINE void dot_rows(int T, int R, v16i (*sums)[CIVG_MOST_ROWS], const v16i *const *w, int n,
                          const uint8_t *const *x, int bits) {
  CIVG_UNROLL for (int j = 0; j < n; j++) {
    CIVG_UNROLL for (int r = 0; r < R; r++) {
      CIVG_UNROLL for (int t = 0; t < T; t++) sums[t][r] = dot_four(sums[t][r], w[t][j], x[r] + 4 * j, bits);
    }
  }
}

CIVG_INLINE v16i dot_quarters(v16i a, v16i x, v16i b, v16i y, int bits) {
  (void)bits;
  __m256i low = _mm256_dpbusd_avx_epi32(_mm256_setzero_si256(), lanes_low(a), lanes_low(x));
  __m256i high = _mm256_dpbusd_avx_epi32(_mm256_setzero_si256(), lanes_high(a), lanes_high(x));
  return lanes_join(_mm256_dpbusd_avx_epi32(low, lanes_low(b), lanes_low(y)),
                    _mm256_dpbusd_avx_epi32(high, lanes_high(b), lanes_high(y)));
}

#include "body/all.h"

CIVG_DEFINE_TABLE(civg_kernels_avxvnni, "avxvnni");

#pragma clang attribute pop
#endif
