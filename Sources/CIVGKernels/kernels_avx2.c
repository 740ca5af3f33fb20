/* SPDX-License-Identifier: Apache-2.0
 *
 * kernels_avx2.c - x86-64 with AVX2, FMA and F16C. Byte products are formed by an instruction that adds pairs
 * in 16 bits; every use below keeps them within range.
 */
#if defined(__x86_64__)
#include <immintrin.h>

#include "tables.h"

#pragma clang attribute push(__attribute__((target("avx2,fma,f16c,bmi,bmi2"))), apply_to = function)

#include "body/lanes.h"

#define CIVG_Q8_OFFSET 0

#include "lanes_avx2.h"

/* Products of `group` vectors are added in 16 bits before they are widened. With |x| <= 127 a pair of products
 * of b-bit weights is at most 254 (2^b - 1): 8, 4 and 2 pairs of 4, 5 and 6 bits stay below 2^15. Signed bytes
 * give up their sign to x: 2 * 128 * 127 fits once. */
CIVG_INLINE void dot_rows(int R, v16i *isum, const v16i *w, int n, const uint8_t *x, const size_t *row, int bits) {
  const int group = bits == 4 ? 8 : bits == 5 ? 4 : bits == 6 ? 2 : 1;
  const __m256i ones = _mm256_set1_epi16(1);
  __m256i low[CIVG_MOST_ROWS], high[CIVG_MOST_ROWS];
  CIVG_UNROLL for (int j = 0; j < n; j++) {
    __m256i a = lanes_low(w[j]), b = lanes_high(w[j]);
    CIVG_UNROLL for (int r = 0; r < R; r++) {
      __m256i y = _mm256_set1_epi32((int32_t)load_u32(x + 8 * row[r] + 4 * j));
      __m256i p, q;
      if (bits == 8) {
        p = _mm256_maddubs_epi16(_mm256_abs_epi8(a), _mm256_sign_epi8(y, a));
        q = _mm256_maddubs_epi16(_mm256_abs_epi8(b), _mm256_sign_epi8(y, b));
      } else {
        p = _mm256_maddubs_epi16(a, y);
        q = _mm256_maddubs_epi16(b, y);
      }
      low[r] = j % group == 0 ? p : _mm256_add_epi16(low[r], p);
      high[r] = j % group == 0 ? q : _mm256_add_epi16(high[r], q);
      if (j % group == group - 1 || j == n - 1) {
        isum[r] += lanes_join(_mm256_madd_epi16(low[r], ones), _mm256_madd_epi16(high[r], ones));
      }
    }
  }
}

/* One half of a vector: 4-bit weights share the 16-bit sums, signed bytes may not. */
CIVG_INLINE __m256i dot_half(__m256i a, __m256i x, __m256i b, __m256i y, int bits) {
  const __m256i ones = _mm256_set1_epi16(1);
  if (bits < 8) {
    __m256i pairs = _mm256_add_epi16(_mm256_maddubs_epi16(a, x), _mm256_maddubs_epi16(b, y));
    return _mm256_madd_epi16(pairs, ones);
  }
  __m256i first = _mm256_maddubs_epi16(_mm256_abs_epi8(a), _mm256_sign_epi8(x, a));
  __m256i second = _mm256_maddubs_epi16(_mm256_abs_epi8(b), _mm256_sign_epi8(y, b));
  return _mm256_add_epi32(_mm256_madd_epi16(first, ones), _mm256_madd_epi16(second, ones));
}

CIVG_INLINE v16i dot_quarters(v16i a, v16i x, v16i b, v16i y, int bits) {
  return lanes_join(dot_half(lanes_low(a), lanes_low(x), lanes_low(b), lanes_low(y), bits),
                    dot_half(lanes_high(a), lanes_high(x), lanes_high(b), lanes_high(y), bits));
}

#include "body/all.h"

CIVG_DEFINE_TABLE(civg_kernels_avx2, "avx2");

#pragma clang attribute pop
#endif
