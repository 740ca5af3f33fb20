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
#define CIVG_WORDS 1

#include "lanes_avx2.h"

CIVG_INLINE __m256i pairs_of(__m256i w, __m256i x, int bits) {
  if (bits < 8) return _mm256_maddubs_epi16(w, x);
  return _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w));
}

CIVG_INLINE v16i dot_four(v16i sum, v16i w, const uint8_t *x, int bits) {
  const __m256i ones = _mm256_set1_epi16(1), y = _mm256_set1_epi32((int32_t)load_u32(x));
  return sum + lanes_join(_mm256_madd_epi16(pairs_of(lanes_low(w), y, bits), ones),
                          _mm256_madd_epi16(pairs_of(lanes_high(w), y, bits), ones));
}

/* Two of them at once: of up to 6 bits the sums of both stay within 16. */
#define CIVG_DOT_TWO
CIVG_INLINE v16i dot_two(v16i w, const uint8_t *x, v16i v, const uint8_t *y, int bits) {
  const __m256i ones = _mm256_set1_epi16(1), a = _mm256_set1_epi32((int32_t)load_u32(x));
  const __m256i b = _mm256_set1_epi32((int32_t)load_u32(y));
  __m256i low = _mm256_add_epi16(pairs_of(lanes_low(w), a, bits), pairs_of(lanes_low(v), b, bits));
  __m256i high = _mm256_add_epi16(pairs_of(lanes_high(w), a, bits), pairs_of(lanes_high(v), b, bits));
  return lanes_join(_mm256_madd_epi16(low, ones), _mm256_madd_epi16(high, ones));
}

/* Products of `group` vectors are added in 16 bits before they are widened. With |x| <= 127 a pair of products
 * of b-bit weights is at most 254 (2^b - 1): 8, 4 and 2 pairs of 4, 5 and 6 bits stay below 2^15. Signed bytes
 * give up their sign to x: 2 * 128 * 127 fits once. */
CIVG_INLINE void dot_rows(int T, int R, v16i (*sums)[CIVG_MOST_ROWS], const v16i *const *w, int n,
                          const uint8_t *const *x, int bits) {
  const int group = bits == 4 ? 8 : bits == 5 ? 4 : bits == 6 ? 2 : 1;
  const __m256i ones = _mm256_set1_epi16(1);
  __m256i low[CIVG_MOST_ROWS], high[CIVG_MOST_ROWS];
  (void)T; /* CIVG_TILES is 1 */
  CIVG_UNROLL for (int j = 0; j < n; j++) {
    CIVG_UNROLL for (int r = 0; r < R; r++) {
      __m256i y = _mm256_set1_epi32((int32_t)load_u32(x[r] + 4 * j));
      __m256i p = pairs_of(lanes_low(w[0][j]), y, bits), q = pairs_of(lanes_high(w[0][j]), y, bits);
      low[r] = j % group == 0 ? p : _mm256_add_epi16(low[r], p);
      high[r] = j % group == 0 ? q : _mm256_add_epi16(high[r], q);
      if (j % group == group - 1 || j == n - 1) {
        sums[0][r] += lanes_join(_mm256_madd_epi16(low[r], ones), _mm256_madd_epi16(high[r], ones));
      }
    }
    /* Left to itself the compiler goes row by row and keeps all weights, for which there are too few registers. */
    CIVG_UNROLL for (int r = 0; r < R; r++) __asm__("" : "+x"(low[r]), "+x"(high[r]));
  }
}

/* Pairs of products are added in 32 bits at once. */
CIVG_INLINE void dot_words(int R, v16i *sums, const v16i *w, const uint8_t *const *x) {
  __m256i low[CIVG_MOST_ROWS], high[CIVG_MOST_ROWS];
  CIVG_UNROLL for (int r = 0; r < R; r++) low[r] = lanes_low(sums[r]), high[r] = lanes_high(sums[r]);
  CIVG_UNROLL for (int j = 0; j < 16; j++) {
    CIVG_UNROLL for (int r = 0; r < R; r++) {
      __m256i y = _mm256_set1_epi32((int32_t)load_u32(x[r] + 4 * j));
      low[r] = _mm256_add_epi32(low[r], _mm256_madd_epi16(lanes_low(w[j]), y));
      high[r] = _mm256_add_epi32(high[r], _mm256_madd_epi16(lanes_high(w[j]), y));
    }
    CIVG_UNROLL for (int r = 0; r < R; r++) __asm__("" : "+x"(low[r]), "+x"(high[r]));
  }
  CIVG_UNROLL for (int r = 0; r < R; r++) sums[r] = lanes_join(low[r], high[r]);
}

/* One half of a vector: 4-bit weights share the 16-bit sums, signed bytes may not. */
CIVG_INLINE __m256i dot_half(__m256i a, __m256i x, __m256i b, __m256i y, int bits) {
  const __m256i ones = _mm256_set1_epi16(1);
  __m256i first = pairs_of(a, x, bits), second = pairs_of(b, y, bits);
  if (bits < 8) return _mm256_madd_epi16(_mm256_add_epi16(first, second), ones);
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
