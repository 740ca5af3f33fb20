/* SPDX-License-Identifier: Apache-2.0
 *
 * kernels_portable.c - any CPU, in the compiler's own vectors: baseline x86-64 has neither fused multiply-adds
 * nor half precision, so both are put together from what there is, to the same bits.
 */
#include "tables.h"

#include "body/lanes.h"

#define CIVG_Q8_OFFSET 0
#define CIVG_WORDS 0
#define CIVG_TILES 1
#define CIVG_ROWS 1
#define CIVG_FLOAT_ROWS 1
#define CIVG_HEADS 1
#define CIVG_CHAINS 1
#define CIVG_CHAIN_ROWS 1
#define CIVG_CHAIN_VECTORS 1
#define CIVG_FUSED 0
#define CIVG_FLOAT_FUSED 0
#define CIVG_QUARTERS 0

#if defined(__FP_FAST_FMAF) || defined(__aarch64__)
CIVG_INLINE v16f fma16(v16f a, v16f b, v16f c) { return __builtin_elementwise_fma(a, b, c); }
#else
/* A product of floats is exact in double. The sum is rounded to odd: where it was inexact, the neighbour with an
 * odd last bit stands for "somewhere between", and so rounding to float does not round twice. */
static __attribute__((noinline)) v16f fma16(v16f a, v16f b, v16f c) {
  v16d p = __builtin_convertvector(a, v16d) * __builtin_convertvector(b, v16d);
  v16d e = __builtin_convertvector(c, v16d);
  v16d s = p + e, back = s - p;
  v16d error = (p - (s - back)) + (e - back);
  v16l zero = {0}, bits = (v16l)s, one = zero + 1;
  v16l inexact = (error < (v16d)zero) | (error > (v16d)zero);
  v16l same_sign = ((error > (v16d)zero) & (s > (v16d)zero)) | ((error < (v16d)zero) & (s < (v16d)zero));
  v16l even = (bits & one) - one; /* all ones where the last bit is zero */
  v16l step = (same_sign & one) | (~same_sign & -one);
  bits = bits + (step & even & inexact);
  return __builtin_convertvector((v16d)bits, v16f);
}
#endif

/* Shifted into place, a half is a float 2^112 too small. The product also puts numbers below the normal range
 * right. */
CIVG_INLINE v16f half16(v16h h) {
  v16i bits = __builtin_convertvector(h, v16i);
  v16i sign = (bits & splat_i(0x8000)) << 16, size = (bits & splat_i(0x7fff)) << 13;
  v16f value = (v16f)size * splat(0x1p112f);
  v16i special = size >= splat_i(0x0f800000);
  return (v16f)((v16i)value | sign | (special & splat_i(0x7f800000)));
}

CIVG_INLINE v16h to_half16(v16f f) {
  v16h h;
  for (int i = 0; i < 16; i++) h[i] = civg_float_to_half(f[i]);
  return h;
}

CIVG_INLINE v16i spread_bits(v16i v) {
  v = (v & splat_i(15)) << 4;
  v = v | v << 14;
  return (v | v << 7) & splat_i(0x10101010);
}

/* Bytes are widened to 16 bits in two sets, even and odd. Two products of at most 128 * 127 fit in 16 bits. */
CIVG_INLINE v16i dot_four(v16i sum, v16i w, const uint8_t *x, int bits) {
  (void)bits;
  v32s y = (v32s)splat_i((int32_t)load_u32(x));
  v32s pair = (((v32s)w << 8) >> 8) * ((y << 8) >> 8) + ((v32s)w >> 8) * (y >> 8);
  return sum + (((v16i)pair << 16) >> 16) + ((v16i)pair >> 16);
}

CIVG_INLINE void dot_rows(int T, int R, v16i (*sums)[CIVG_MOST_ROWS], const v16i *const *w, int n,
                          const uint8_t *const *x, int bits) {
  CIVG_UNROLL for (int j = 0; j < n; j++) {
    CIVG_UNROLL for (int r = 0; r < R; r++) {
      CIVG_UNROLL for (int t = 0; t < T; t++) sums[t][r] = dot_four(sums[t][r], w[t][j], x[r] + 4 * j, bits);
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

CIVG_DEFINE_TABLE(civg_kernels_portable, "portable");
