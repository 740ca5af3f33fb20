/* SPDX-License-Identifier: Apache-2.0
 *
 * tile.h - sixteen weight rows side by side.
 *
 * Rows are read where the file has them. A transpose of 4-byte groups turns sixteen rows into vectors whose
 * lane i belongs to row i, so that every lane of every later step is one output and no lane ever has to be
 * added to its neighbour.
 */
#ifndef CIVG_TILE_H
#define CIVG_TILE_H

/* Sixteen rows: row i begins at quarter[i / 4] + (i % 4) * stride. Few numbers, so that they stay in registers. */
typedef struct tile_rows {
  const uint8_t *quarter[4];
  size_t stride;
} tile_rows;

/* Rows that are worked on together. Lanes [lane, lane + count) are the outputs from `output` on; the others
 * repeat rows that belong to another piece. */
typedef struct tile_piece {
  tile_rows rows;
  size_t output, lane, count;
} tile_piece;

/* The next piece of the outputs [from, end); `from` is a multiple of 16 or follows on the piece before. All reads
 * stay inside the matrix: at its end a piece reaches back, and fewer than sixteen rows come in fours and ones. */
CIVG_INLINE tile_piece tile_open(const civg_matrix *w, size_t from, size_t end) {
  tile_piece p = {.output = from, .lane = 0, .count = end - from < CIVG_TILE ? end - from : CIVG_TILE};
  size_t first = from, group = 4;
  p.rows.stride = w->row_bytes;
  if (w->outputs >= CIVG_TILE) {
    if (from + CIVG_TILE > w->outputs) first = w->outputs - CIVG_TILE;
    p.lane = from - first;
  } else {
    group = 0;
    p.count = end - from < 4 ? 1 : 4;
    if (p.count == 1) p.rows.stride = 0;
  }
  for (size_t i = 0; i < 4; i++) {
    p.rows.quarter[i] = (const uint8_t *)w->data + (first + i * group) * w->row_bytes;
  }
  return p;
}

/* The end of the outputs in tiles [.., tile_end). */
CIVG_INLINE size_t tile_limit(const civg_matrix *w, size_t tile_end) {
  return tile_end * CIVG_TILE < w->outputs ? tile_end * CIVG_TILE : w->outputs;
}

/* Byte `offset` of row i. */
CIVG_INLINE const uint8_t *tile_at(const tile_rows *t, int i, size_t offset) {
  return t->quarter[i / 4] + offset + (size_t)(i % 4) * t->stride;
}

/* Steps all rows forward. The empty statement hides from the compiler how the four pointers hang together: it would
 * otherwise keep, and count up, sixteen. */
CIVG_INLINE void tile_advance(tile_rows *t, size_t bytes) {
  CIVG_UNROLL for (int i = 0; i < 4; i++) {
    t->quarter[i] += bytes;
    __asm__("" : "+r"(t->quarter[i]));
  }
}

CIVG_INLINE v4i load4i(const uint8_t *p) {
  v4i v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}

typedef int32_t v8i __attribute__((vector_size(32)));
CIVG_INLINE v8i load8i(const uint8_t *p) {
  v8i v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}

/* 16 bytes of four rows, one row per 128-bit quarter. */
CIVG_INLINE v16i four_rows(const tile_rows *t, size_t offset, int first) {
  v4i a = load4i(tile_at(t, first, offset)), b = load4i(tile_at(t, first + 4, offset));
  v4i c = load4i(tile_at(t, first + 8, offset)), d = load4i(tile_at(t, first + 12, offset));
  v8i ab = __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7);
  v8i cd = __builtin_shufflevector(c, d, 0, 1, 2, 3, 4, 5, 6, 7);
  return __builtin_shufflevector(ab, cd, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
}

#define CIVG_LOW32(p, q) \
  __builtin_shufflevector(p, q, 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29)
#define CIVG_HIGH32(p, q) \
  __builtin_shufflevector(p, q, 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31)
#define CIVG_LOW64(p, q) \
  __builtin_shufflevector(p, q, 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29)
#define CIVG_HIGH64(p, q) \
  __builtin_shufflevector(p, q, 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31)

/* out[j], lane i = dword j of row i, from vectors whose quarters are rows as in four_rows. */
CIVG_INLINE void transpose_quarters(const v16i v[4], v16i out[4]) {
  v16i ab_low = CIVG_LOW32(v[0], v[1]), ab_high = CIVG_HIGH32(v[0], v[1]);
  v16i cd_low = CIVG_LOW32(v[2], v[3]), cd_high = CIVG_HIGH32(v[2], v[3]);
  out[0] = CIVG_LOW64(ab_low, cd_low);
  out[1] = CIVG_HIGH64(ab_low, cd_low);
  out[2] = CIVG_LOW64(ab_high, cd_high);
  out[3] = CIVG_HIGH64(ab_high, cd_high);
}

/* out[j], lane i = bytes 4 j ... 4 j + 3 of the 16 bytes at `offset` in row i. */
CIVG_INLINE void transpose16(const tile_rows *t, size_t offset, v16i out[4]) {
  v16i v[4];
  CIVG_UNROLL for (int i = 0; i < 4; i++) v[i] = four_rows(t, offset, i);
  transpose_quarters(v, out);
}

/* The same, and of the 16 bytes before those the last four, before[1], and the four before them, before[0]. One load a
 * row brings all; 16 bytes of the matrix must lie before `offset`. */
CIVG_INLINE void transpose16_before(const tile_rows *t, size_t offset, v16i out[4], v16i before[2]) {
  v16i first[4], last[4];
  CIVG_UNROLL for (int i = 0; i < 4; i++) {
    v8i a = load8i(tile_at(t, i, offset - 16)), b = load8i(tile_at(t, i + 4, offset - 16));
    v8i c = load8i(tile_at(t, i + 8, offset - 16)), d = load8i(tile_at(t, i + 12, offset - 16));
    v16i ab = __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    v16i cd = __builtin_shufflevector(c, d, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    first[i] = __builtin_shufflevector(ab, cd, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27);
    last[i] = __builtin_shufflevector(ab, cd, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
  }
  transpose_quarters(last, out);
  v16i ab = CIVG_HIGH32(first[0], first[1]), cd = CIVG_HIGH32(first[2], first[3]);
  before[0] = CIVG_LOW64(ab, cd);
  before[1] = CIVG_HIGH64(ab, cd);
}

/* Lane i = the sum of the four lanes of row i, for vectors whose quarters are rows as in four_rows. */
CIVG_INLINE v16i sum_quarters(const v16i v[4]) {
  v16i ab = CIVG_LOW32(v[0], v[1]) + CIVG_HIGH32(v[0], v[1]);
  v16i cd = CIVG_LOW32(v[2], v[3]) + CIVG_HIGH32(v[2], v[3]);
  return CIVG_LOW64(ab, cd) + CIVG_HIGH64(ab, cd);
}

#undef CIVG_LOW32
#undef CIVG_HIGH32
#undef CIVG_LOW64
#undef CIVG_HIGH64

/* The same for 32 bytes per row. */
CIVG_INLINE void transpose32(const tile_rows *t, size_t offset, v16i out[8]) {
  transpose16(t, offset, out);
  transpose16(t, offset + 16, out + 4);
}

#define CIVG_EACH_ROW(f)                                                                             \
  f(0), f(1), f(2), f(3), f(4), f(5), f(6), f(7), f(8), f(9), f(10), f(11), f(12), f(13), f(14), f(15)

/* The 4 bytes at `offset` of every row. */
CIVG_INLINE v16i gather32(const tile_rows *t, size_t offset) {
#define CIVG_ONE(i) (int32_t)load_u32(tile_at(t, i, offset))
  return (v16i){CIVG_EACH_ROW(CIVG_ONE)};
#undef CIVG_ONE
}

/* The 2 bytes at `offset` of every row. */
CIVG_INLINE v16h gather16(const tile_rows *t, size_t offset) {
#define CIVG_ONE(i) load_u16(tile_at(t, i, offset))
  return (v16h){CIVG_EACH_ROW(CIVG_ONE)};
#undef CIVG_ONE
}

/* The half-precision number in the low, or high, 16 bits of every lane. */
CIVG_INLINE v16f low_half(v16i v) { return half16(__builtin_convertvector(v & splat_i(0xffff), v16h)); }
CIVG_INLINE v16f high_half(v16i v) { return half16(__builtin_convertvector(shift_right(v, 16), v16h)); }

#endif /* CIVG_TILE_H */
