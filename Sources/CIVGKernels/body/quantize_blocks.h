/* SPDX-License-Identifier: Apache-2.0
 *
 * quantize_blocks.h - rows of floats as stored: types without superblocks, and floats of other widths.
 *
 * Every function takes `rows` rows of `columns` finite numbers, which lie one behind the other, and the weights of
 * the columns in the error (NULL: all 1).
 */
#ifndef CIVG_QUANTIZE_BLOCKS_H
#define CIVG_QUANTIZE_BLOCKS_H

static void store_F32(const float *x, size_t rows, size_t columns, const float *weights, void *out) {
  (void)weights;
  __builtin_memcpy(out, x, rows * columns * sizeof *x);
}

static void store_F16(const float *x, size_t rows, size_t columns, const float *weights, void *out) {
  (void)weights;
  uint8_t *to = out;
  for (size_t i = 0, n = rows * columns; i < n; i += 16) {
    v16h h = to_half16(load_some(x + i, n - i, 0));
    __builtin_memcpy(to + 2 * i, &h, n - i < 16 ? 2 * (n - i) : sizeof h);
  }
}

/* To nearest, ties to even. */
static void store_BF16(const float *x, size_t rows, size_t columns, const float *weights, void *out) {
  (void)weights;
  uint8_t *to = out;
  for (size_t i = 0, n = rows * columns; i < n; i += 16) {
    v16u bits = (v16u)load_some(x + i, n - i, 0);
    v16h h = __builtin_convertvector((bits + 0x7fff + (bits >> 16 & 1)) >> 16, v16h);
    __builtin_memcpy(to + 2 * i, &h, n - i < 16 ? 2 * (n - i) : sizeof h);
  }
}

/* The whole numbers of sixteen blocks, and their scales and minima as halves. */
typedef struct stored16 {
  int8_t q[16][32];
  uint16_t d[16];
  uint16_t m[16];
} stored16;

CIVG_INLINE void store_halves(uint16_t *to, v16f v) {
  v16h h = to_half16(within(v, -65504, 65504));
  __builtin_memcpy(to, &h, sizeof h);
}

/* Rounds sixteen blocks of n with scales and minima that are halves; every q is lifted by `lift`. */
CIVG_INLINE void store_blocks(stored16 *out, const blocks16 *b, int n, v16f d, v16f m, float low, float high,
                              int lift) {
  const v16f inverse = reciprocal(d);
  for (int i = 0; i < n; i++) {
    v16i q = __builtin_convertvector(nearest(b->x[i], inverse, m, low, high), v16i) + splat_i(lift);
    for (int l = 0; l < 16; l++) out->q[l][i] = (int8_t)q[l];
  }
  store_halves(out->d, d);
  store_halves(out->m, m);
}

/* Nibble i is element i, nibble 16 + i the high half of byte i. */
CIVG_INLINE void store_nibbles(uint8_t *to, const int8_t *q) {
  for (int i = 0; i < 16; i++) to[i] = (uint8_t)((q[i] & 15) | (q[16 + i] & 15) << 4);
}

/* Bit 4 of every element, in a little-endian word. */
CIVG_INLINE void store_fifth_bits(uint8_t *to, const int8_t *q) {
  for (int k = 0; k < 4; k++) {
    to[k] = 0;
    for (int i = 0; i < 8; i++) to[k] |= (uint8_t)((q[8 * k + i] >> 4 & 1) << i);
  }
}

CIVG_INLINE void store_half(uint8_t *to, uint16_t half) {
  to[0] = (uint8_t)half;
  to[1] = (uint8_t)(half >> 8);
}

/* One type of 32 numbers a block: `bits` a number, `has_minimum` or centred around 0. */
CIVG_INLINE void store_rows(const float *x, size_t rows, size_t columns, const float *weights, uint8_t *to, int bits,
                            int has_minimum) {
  const size_t count = rows * columns / 32;
  const float high = has_minimum ? (float)((1 << bits) - 1) : (float)((1 << (bits - 1)) - 1);
  const float low = has_minimum ? 0 : bits == 8 ? -high : -high - 1;
  const int lift = has_minimum || bits == 8 ? 0 : 1 << (bits - 1);
  blocks16 b;
  stored16 s;
  for (size_t k = 0; k < count; k += 16) {
    const size_t here = count - k < 16 ? count - k : 16;
    take_blocks(&b, 32, x + 32 * k, here, weights, 32 * k % columns, columns);
    line16 line = {splat(0), splat(0)};
    if (has_minimum) {
      line = best_line(&b, 32, high, 4, bits == 4 ? 0.04f : 0.02f, 3, 1, 0);
    } else {
      emphasise(&b, 32, bits == 4 ? LARGE_FIRST : EVEN);
      line.d = bits == 8 ? best_scale(&b, 32, low, high, 15, 0.3f, 2, 1)
                         : best_scale(&b, 32, low, high, 9, bits == 4 ? 0.25f : 0.3f, 3, 1);
    }
    store_blocks(&s, &b, 32, line.d, line.m, low, high, lift);
    for (size_t l = 0; l < here; l++) {
      store_half(to, s.d[l]), to += 2;
      if (has_minimum) store_half(to, s.m[l]), to += 2;
      if (bits == 5) store_fifth_bits(to, s.q[l]), to += 4;
      if (bits == 8) {
        __builtin_memcpy(to, s.q[l], 32), to += 32;
      } else {
        store_nibbles(to, s.q[l]), to += 16;
      }
    }
  }
}

#define CIVG_STORE(type, bits, has_minimum)                                                                     \
  static void store_##type(const float *x, size_t rows, size_t columns, const float *weights, void *out) { \
    store_rows(x, rows, columns, weights, out, bits, has_minimum);                                              \
  }

CIVG_STORE(Q4_0, 4, 0)
CIVG_STORE(Q4_1, 4, 1)
CIVG_STORE(Q5_0, 5, 0)
CIVG_STORE(Q5_1, 5, 1)
CIVG_STORE(Q8_0, 8, 0)

#endif /* CIVG_QUANTIZE_BLOCKS_H */
