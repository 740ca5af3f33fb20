/* SPDX-License-Identifier: Apache-2.0
 *
 * lanes_avx2.h - hooks that the two 256-bit instruction sets share. Sixteen lanes are two registers.
 */
#ifndef CIVG_LANES_AVX2_H
#define CIVG_LANES_AVX2_H

#define CIVG_TILES 1
#define CIVG_ROWS 4
#define CIVG_FLOAT_ROWS 1
#define CIVG_HEADS 4
#define CIVG_CHAINS 4
#define CIVG_CHAIN_ROWS 6
#define CIVG_CHAIN_VECTORS 1
#define CIVG_FUSED 2
#define CIVG_FLOAT_FUSED 2
#define CIVG_QUARTERS 1

CIVG_INLINE v16f fma16(v16f a, v16f b, v16f c) { return __builtin_elementwise_fma(a, b, c); }

/* The low, or high, eight lanes. */
CIVG_INLINE __m256i lanes_low(v16i v) {
  return (__m256i)__builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7);
}
CIVG_INLINE __m256i lanes_high(v16i v) {
  return (__m256i)__builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15);
}
CIVG_INLINE v16i lanes_join(__m256i low, __m256i high) {
  typedef int32_t v8i __attribute__((vector_size(32)));
  return __builtin_shufflevector((v8i)low, (v8i)high, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
}

CIVG_INLINE v16f half16(v16h h) {
  __m128i halves[2];
  __builtin_memcpy(halves, &h, sizeof halves);
  __m256 low = _mm256_cvtph_ps(halves[0]), high = _mm256_cvtph_ps(halves[1]);
  return (v16f)lanes_join(_mm256_castps_si256(low), _mm256_castps_si256(high));
}

CIVG_INLINE v16h to_half16(v16f f) {
  __m128i halves[2] = {_mm256_cvtps_ph(_mm256_castsi256_ps(lanes_low((v16i)f)), _MM_FROUND_TO_NEAREST_INT),
                       _mm256_cvtps_ph(_mm256_castsi256_ps(lanes_high((v16i)f)), _MM_FROUND_TO_NEAREST_INT)};
  v16h h;
  __builtin_memcpy(&h, halves, sizeof h);
  return h;
}

/* Two doublings of the distance between neighbours: 1 to 15, then 1 to 8. */
CIVG_INLINE v16i spread_bits(v16i v) {
  v = (v & splat_i(15)) << 4;
  v = v | v << 14;
  return (v | v << 7) & splat_i(0x10101010);
}

CIVG_INLINE v16i spread16(const uint8_t *x) {
  __m256i v = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)x));
  return lanes_join(v, v);
}

#endif /* CIVG_LANES_AVX2_H */
