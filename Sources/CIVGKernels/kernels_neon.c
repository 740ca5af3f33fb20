/* SPDX-License-Identifier: Apache-2.0
 *
 * kernels_neon.c - 64-bit ARM with the integer dot product. Sixteen lanes are four registers.
 */
#if defined(__aarch64__)
#include <arm_neon.h>

#include "tables.h"

#pragma clang attribute push(__attribute__((target("dotprod"))), apply_to = function)

#include "body/lanes.h"

/* The instruction multiplies signed bytes. */
#define CIVG_Q8_OFFSET 0
#define CIVG_WORDS 0
#define CIVG_TILES 1
#define CIVG_ROWS 4
#define CIVG_FLOAT_ROWS 1
#define CIVG_HEADS 4
#define CIVG_CHAINS 4
#define CIVG_CHAIN_ROWS 6
#define CIVG_CHAIN_VECTORS 1
#define CIVG_FUSED 2
#define CIVG_FLOAT_FUSED 2
#define CIVG_QUARTERS 0

CIVG_INLINE v16f fma16(v16f a, v16f b, v16f c) { return __builtin_elementwise_fma(a, b, c); }

CIVG_INLINE v16f half16(v16h h) {
  uint16x4_t quarter[4];
  float32x4_t lanes[4];
  __builtin_memcpy(quarter, &h, sizeof h);
  CIVG_UNROLL for (int i = 0; i < 4; i++) lanes[i] = vcvt_f32_f16(vreinterpret_f16_u16(quarter[i]));
  v16f f;
  __builtin_memcpy(&f, lanes, sizeof f);
  return f;
}

CIVG_INLINE v16h to_half16(v16f f) {
  float32x4_t lanes[4];
  uint16x4_t quarter[4];
  __builtin_memcpy(lanes, &f, sizeof f);
  CIVG_UNROLL for (int i = 0; i < 4; i++) quarter[i] = vreinterpret_u16_f16(vcvt_f16_f32(lanes[i]));
  v16h h;
  __builtin_memcpy(&h, quarter, sizeof h);
  return h;
}

CIVG_INLINE v16i spread_bits(v16i v) {
  v = (v & splat_i(15)) << 4;
  v = v | v << 14;
  return (v | v << 7) & splat_i(0x10101010);
}

/* Adds four products per lane; x is one of the four groups of `quad`. */
CIVG_INLINE v16i dot_lane(v16i sum, v16i w, int8x16_t quad, int group) {
  int32x4_t s[4];
  int8x16_t b[4];
  __builtin_memcpy(s, &sum, sizeof s);
  __builtin_memcpy(b, &w, sizeof b);
  CIVG_UNROLL for (int i = 0; i < 4; i++) {
    switch (group) {
      case 0: s[i] = vdotq_laneq_s32(s[i], b[i], quad, 0); break;
      case 1: s[i] = vdotq_laneq_s32(s[i], b[i], quad, 1); break;
      case 2: s[i] = vdotq_laneq_s32(s[i], b[i], quad, 2); break;
      default: s[i] = vdotq_laneq_s32(s[i], b[i], quad, 3); break;
    }
  }
  __builtin_memcpy(&sum, s, sizeof s);
  return sum;
}

CIVG_INLINE v16i dot_four(v16i sum, v16i w, const uint8_t *x, int bits) {
  (void)bits;
  return dot_lane(sum, w, vreinterpretq_s8_u32(vdupq_n_u32(load_u32(x))), 0);
}

CIVG_INLINE void dot_rows(int T, int R, v16i (*sums)[CIVG_MOST_ROWS], const v16i *const *w, int n,
                          const uint8_t *const *x, int bits) {
  (void)bits, (void)T; /* CIVG_TILES is 1 */
  CIVG_UNROLL for (int part = 0; part < n / 4; part++) {
    int8x16_t quad[CIVG_MOST_ROWS];
    CIVG_UNROLL for (int r = 0; r < R; r++) quad[r] = vld1q_s8((const int8_t *)x[r] + 16 * part);
    CIVG_UNROLL for (int j = 0; j < 4; j++) {
      CIVG_UNROLL for (int r = 0; r < R; r++) sums[0][r] = dot_lane(sums[0][r], w[0][4 * part + j], quad[r], j);
    }
  }
}

/* Not used: CIVG_QUARTERS is 0. */
CIVG_INLINE v16i spread16(const uint8_t *x) { return splat_i((int32_t)load_u32(x)); }
CIVG_INLINE v16i dot_quarters(v16i a, v16i x, v16i b, v16i y, int bits) {
  (void)x, (void)b, (void)y, (void)bits;
  return a;
}

#include "body/all.h"

CIVG_DEFINE_TABLE(civg_kernels_neon_dotprod, "neon-dotprod");

#pragma clang attribute pop
#endif
