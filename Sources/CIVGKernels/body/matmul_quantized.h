/* SPDX-License-Identifier: Apache-2.0
 *
 * matmul_quantized.h - products of int8 activations with quantised weights.
 *
 * For every output and row one chain runs over the 32-column blocks in order:
 *
 *   acc = fma(float(isum), d dx, acc)            isum: exact integer sum of (q - o) x
 *   acc = fma(m, dx xsum, acc)                   forms with a minimum
 *
 * In the halves forms isum and xsum are the two halves' sums weighted by s (n). Those are whole numbers below
 * 2^24, so the float arithmetic that forms them is exact in any order.
 *
 * Paired rows are two rows of activations each, and their product the sum of the two chains.
 *
 * Up to CIVG_FUSED rows, a block is unpacked into registers and used at once. More rows share an unpacked slice
 * of the tile in scratch that stays in the first cache; accumulators wait in scratch between slices. Both ways
 * run the same chain.
 */
#ifndef CIVG_MATMUL_QUANTIZED_H
#define CIVG_MATMUL_QUANTIZED_H

/* Where R rows of activations stand at one block. Scales and sums of a block are 4 bytes each and its elements
 * 32, so one offset per row serves all three. */
typedef struct row_cursor {
  const uint8_t *q, *d, *sums;
  size_t row[CIVG_MOST_ROWS]; /* bytes from the first row's scale to that of row r */
} row_cursor;

/* The R rows from `first` at block `k`. */
CIVG_INLINE row_cursor rows_open(int R, const civg_rows *x, size_t first, size_t k) {
  size_t stride = x->columns / 8;
  row_cursor c = {(const uint8_t *)x->q + first * x->columns + k * 32,
                  (const uint8_t *)x->d + first * stride + k * 4,
                  (const uint8_t *)x->sums + first * stride + k * 4,
                  {0}};
  CIVG_UNROLL for (int r = 0; r < R; r++) c.row[r] = (size_t)r * stride;
  return c;
}

/* Steps to the next block. */
CIVG_INLINE void rows_advance(row_cursor *c) {
  c->q += 32;
  c->d += 4;
  c->sums += 4;
}

/* Adds one block's products to R accumulators, and the share of its minimum. */
CIVG_INLINE void add_products(int type, int R, const tile_block *b, const row_cursor *x, const v16i *isum, v16f *acc) {
  CIVG_UNROLL for (int r = 0; r < R; r++) {
    float scale = load_float(x->d + x->row[r]);
    acc[r] = fma16(to_float(isum[r]), b->d * splat(scale), acc[r]);
    if (civg_has_minimum(type)) {
      float sum = (float)(sum_at(x->sums + x->row[r], 0) + sum_at(x->sums + x->row[r], 1));
      acc[r] = fma16(b->m, splat(scale * sum), acc[r]);
    }
  }
}

/* Adds one block to the accumulators of R rows. */
CIVG_INLINE void block_rows(int type, int R, const tile_block *b, const row_cursor *x, v16f *acc) {
  const int offset = civg_offset(type), bits = civg_bits(type);
  v16i low[CIVG_MOST_ROWS], high[CIVG_MOST_ROWS];
  if (!civg_has_halves(type)) {
    CIVG_UNROLL for (int r = 0; r < R; r++) low[r] = start_sums(offset, x->sums + x->row[r], 3);
    dot_rows(R, low, b->w, 8, x->q, x->row, bits);
    add_products(type, R, b, x, low, acc);
    return;
  }
  CIVG_UNROLL for (int r = 0; r < R; r++) {
    low[r] = start_sums(offset, x->sums + x->row[r], 1);
    high[r] = start_sums(offset, x->sums + x->row[r], 2);
  }
  dot_rows(R, low, b->w, 4, x->q, x->row, bits);
  dot_rows(R, high, b->w + 4, 4, x->q + 16, x->row, bits);
  CIVG_UNROLL for (int r = 0; r < R; r++) {
    v16f scale = splat(load_float(x->d + x->row[r]));
    v16f total = to_float(low[r]) * b->s[0] + to_float(high[r]) * b->s[1];
    acc[r] = fma16(total, b->d * scale, acc[r]);
    if (civg_has_minimum(type)) {
      v16f a = splat((float)sum_at(x->sums + x->row[r], 0));
      v16f c = splat((float)sum_at(x->sums + x->row[r], 1));
      acc[r] = fma16(b->n[0] * a + b->n[1] * c, b->m * scale, acc[r]);
    }
  }
}

/* What to ask for while a piece is read: as many bytes further on, at least a tile and at least so far that memory
 * has answered by then. */
CIVG_INLINE const uint8_t *piece_ahead(const tile_piece *p) {
  const size_t tile = CIVG_TILE * p->rows.stride, least = 16 * 1024;
  return p->rows.quarter[0] + (tile < least ? least : tile);
}

/* Asks for a part of what is ahead, a little at a time: requests in bulk would wait for each other. Bytes past the
 * matrix are asked for too; a prefetch cannot fault. */
CIVG_INLINE void prefetch_ahead(const uint8_t *from, size_t bytes) {
  for (size_t i = 0; i < bytes; i += 64) __builtin_prefetch(from + i, 0, 3);
}

/* The types whose blocks a few rows of activations multiply without a transpose. */
CIVG_INLINE int civg_has_quarters(int type) {
  return type == Q8_0 || type == Q4_0 || type == Q4_1;
}

/* One block times a few rows of activations: every quarter of a vector holds 16 bytes of one weight row, so the dot
 * products come first and only their sums are transposed. The sums are exact, so both ways agree. Meanwhile as many
 * bytes at `next` are fetched. */
CIVG_INLINE void block_quarters(int type, int R, const tile_rows *t, const row_cursor *x, const uint8_t *next,
                                v16f *acc) {
  const size_t part = civg_block_bytes(type) * CIVG_TILE / 4;
  v16i sum[CIVG_MOST_ROWS][4], isum[CIVG_MOST_ROWS], low, high, head;
  tile_block b;
  CIVG_UNROLL for (int i = 0; i < 4; i++) {
    prefetch_ahead(next + (size_t)i * part, part);
    if (type == Q8_0) {
      low = four_rows(t, 2, i) ^ splat_i(CIVG_Q8_OFFSET * 0x01010101u);
      high = four_rows(t, 18, i) ^ splat_i(CIVG_Q8_OFFSET * 0x01010101u);
    } else {
      v16i raw = four_rows(t, type == Q4_0 ? 2 : 4, i);
      low = raw & splat_i(0x0f0f0f0f);
      high = shift_right(raw, 4) & splat_i(0x0f0f0f0f);
    }
    CIVG_UNROLL for (int r = 0; r < R; r++) {
      const uint8_t *q = x->q + 8 * x->row[r];
      sum[r][i] = dot_quarters(low, spread16(q), high, spread16(q + 16), civg_bits(type));
    }
  }
  CIVG_UNROLL for (int r = 0; r < R; r++) {
    isum[r] = sum_quarters(sum[r]) + start_sums(civg_offset(type), x->sums + x->row[r], 3);
  }
  if (type == Q4_1) {
    head = gather32(t, 0);
    b.d = low_half(head);
    b.m = high_half(head);
  } else {
    b.d = half16(gather16(t, 0));
  }
  add_products(type, R, &b, x, isum, acc);
}

/* Rows of activations: a paired row is two. */
CIVG_INLINE size_t parts_of(const civg_rows *x) { return x->paired ? 2 * x->rows : x->rows; }

/* Writes a piece's lanes of one row. */
CIVG_INLINE void finish_row(v16f y, float *out, const tile_piece *p, int mode, float scale) {
  if (p->lane) {
    float lanes[32] = {0};
    store16f(lanes, y);
    y = load16f(lanes + p->lane);
  }
  out += p->output;
  if (mode == CIVG_ADD) y = fma16(splat(scale), y, load_some(out, p->count, 0));
  store_some(out, p->count, y);
}

/* Writes a piece of `parts` rows of activations; the two parts of a paired row add up. */
CIVG_INLINE void finish_piece(const v16f *acc, size_t parts, int paired, const tile_piece *p, float *out,
                              size_t out_stride, int mode, float scale) {
  for (size_t r = 0; !paired && r < parts; r++) finish_row(acc[r], out + r * out_stride, p, mode, scale);
  for (size_t r = 0; paired && r < parts; r += 2) {
    finish_row(acc[r] + acc[r + 1], out + r / 2 * out_stride, p, mode, scale);
  }
}

/* One piece, R rows, nothing kept in memory. */
CIVG_INLINE void tile_fused(int type, int R, const tile_piece *p, const civg_rows *x, float *out,
                            size_t out_stride, int mode, float scale) {
  tile_rows t = p->rows;
  const uint8_t *ahead = piece_ahead(p);
  const size_t bytes = civg_block_bytes(type), blocks = x->columns / civg_block_columns(type);
  row_cursor at = rows_open(R, x, 0, 0);
  v16f acc[CIVG_MOST_ROWS];
  CIVG_UNROLL for (int r = 0; r < R; r++) acc[r] = splat(0);
  for (size_t k = 0; k < blocks; k++) {
    tile_block b;
    const uint8_t *next = ahead + k * bytes * CIVG_TILE;
    if (!civg_is_super(type)) {
      if (R <= CIVG_QUARTERS && civg_has_quarters(type)) {
        block_quarters(type, R, &t, &at, next, acc);
      } else {
        prefetch_ahead(next, bytes * CIVG_TILE);
        unpack_small(type, &t, 0, &b);
        block_rows(type, R, &b, &at, acc);
      }
      rows_advance(&at);
      tile_advance(&t, bytes);
      continue;
    }
    tile_super u;
    unpack_open(type, &t, 0, &u);
    const int each = civg_step_blocks(type);
    const size_t part = bytes * CIVG_TILE / 8;
    for (int step = 0; step < 8 / each; step++) {
      CIVG_UNROLL for (int i = 0; i < each; i++) {
        prefetch_ahead(next + (size_t)(step * each + i) * part, part);
        unpack_step(type, &t, 0, step, i, &u, &b);
        block_rows(type, R, &b, &at, acc);
        rows_advance(&at);
      }
    }
    tile_advance(&t, bytes);
  }
  finish_piece(acc, (size_t)R, x->paired, p, out, out_stride, mode, scale);
}

/* Unpacks `blocks` 32-column blocks from block `from` on; both are multiples of a stored block. Meanwhile the
 * same part of the tile at `ahead` is fetched. */
CIVG_INLINE void unpack_blocks(int type, const tile_rows *t, const uint8_t *ahead, size_t from, size_t blocks,
                               tile_block *slice) {
  const size_t bytes = civg_block_bytes(type);
  if (!civg_is_super(type)) {
    for (size_t k = 0; k < blocks; k++) {
      prefetch_ahead(ahead + (from + k) * bytes * CIVG_TILE, bytes * CIVG_TILE);
      unpack_small(type, t, (from + k) * bytes, &slice[k]);
    }
    return;
  }
  const int each = civg_step_blocks(type);
  const size_t part = bytes * CIVG_TILE / 8;
  for (size_t k = 0; k < blocks; k += 8) {
    tile_super u;
    size_t offset = (from + k) / 8 * bytes;
    unpack_open(type, t, offset, &u);
    for (int step = 0; step < 8 / each; step++) {
      CIVG_UNROLL for (int i = 0; i < each; i++) {
        size_t block = (size_t)(step * each + i);
        prefetch_ahead(ahead + offset * CIVG_TILE + block * part, part);
        unpack_step(type, t, offset, step, i, &u, &slice[k + block]);
      }
    }
  }
}

/* R rows from `first` over an unpacked slice; `acc` holds their accumulators. */
CIVG_INLINE void slice_rows(int type, int R, const tile_block *slice, size_t from, size_t blocks,
                            const civg_rows *x, size_t first, v16f *acc) {
  row_cursor at = rows_open(R, x, first, from);
  v16f a[CIVG_MOST_ROWS];
  CIVG_UNROLL for (int r = 0; r < R; r++) a[r] = acc[r];
  for (size_t k = 0; k < blocks; k++, rows_advance(&at)) block_rows(type, R, &slice[k], &at, a);
  CIVG_UNROLL for (int r = 0; r < R; r++) acc[r] = a[r];
}

/* All rows over an unpacked slice, as many at a time as fit in registers. */
CIVG_INLINE void slice_all(int type, const tile_block *slice, size_t from, size_t blocks, const civg_rows *x,
                           v16f *acc) {
  size_t r = 0, rows = parts_of(x);
  for (; r + CIVG_ROWS <= rows; r += CIVG_ROWS) {
    slice_rows(type, CIVG_ROWS, slice, from, blocks, x, r, acc + r);
  }
  if (CIVG_ROWS > 4 && rows - r >= 4) {
    slice_rows(type, 4, slice, from, blocks, x, r, acc + r);
    r += 4;
  }
  if (CIVG_ROWS > 2 && rows - r >= 2) {
    slice_rows(type, 2, slice, from, blocks, x, r, acc + r);
    r += 2;
  }
  if (CIVG_ROWS > 1 && rows - r >= 1) slice_rows(type, 1, slice, from, blocks, x, r, acc + r);
}

typedef void (*unpack_fn)(const tile_rows *t, const uint8_t *ahead, size_t from, size_t blocks, tile_block *slice);
typedef void (*slice_fn)(const tile_block *slice, size_t from, size_t blocks, const civg_rows *x, v16f *acc);

/* One piece, any number of rows. */
static __attribute__((noinline)) void tile_sliced(unpack_fn unpack, slice_fn multiply, const tile_piece *p,
                                                  const civg_rows *x, float *out, size_t out_stride, int mode,
                                                  float scale, void *scratch) {
  const uint8_t *ahead = piece_ahead(p);
  tile_block *slice = scratch;
  v16f *acc = (v16f *)(slice + CIVG_SLICE_BLOCKS);
  const size_t blocks = x->columns / 32, rows = parts_of(x);
  for (size_t r = 0; r < rows; r++) acc[r] = splat(0);
  for (size_t from = 0; from < blocks; from += CIVG_SLICE_BLOCKS) {
    size_t count = blocks - from < CIVG_SLICE_BLOCKS ? blocks - from : CIVG_SLICE_BLOCKS;
    unpack(&p->rows, ahead, from, count, slice);
    multiply(slice, from, count, x, acc);
  }
  finish_piece(acc, rows, x->paired, p, out, out_stride, mode, scale);
}

/* Types of one form and width share the code that multiplies their slices. */
#define CIVG_MULTIPLY(name, type)                                                                             \
  static __attribute__((noinline)) void multiply_##name(const tile_block *slice, size_t from, size_t blocks,  \
                                                        const civg_rows *x, v16f *acc) {                      \
    slice_all(type, slice, from, blocks, x, acc);                                                             \
  }
CIVG_MULTIPLY(signed, Q8_0)
CIVG_MULTIPLY(plain4, Q4_0)
CIVG_MULTIPLY(plain5, Q5_0)
CIVG_MULTIPLY(minimum4, Q4_1)
CIVG_MULTIPLY(minimum5, Q5_1)
CIVG_MULTIPLY(halves2, Q2_K)
CIVG_MULTIPLY(halves3, Q3_K)
CIVG_MULTIPLY(halves6, Q6_K)
#undef CIVG_MULTIPLY

/* A product of one type. Few rows: each tile's bytes are used as they arrive. */
#define CIVG_QUANTIZED(type, multiply)                                                                        \
  static __attribute__((noinline)) void unpack_##type(const tile_rows *t, const uint8_t *ahead, size_t from,  \
                                                      size_t blocks, tile_block *slice) {                     \
    unpack_blocks(type, t, ahead, from, blocks, slice);                                                       \
  }                                                                                                           \
  static void matmul_##type(const civg_matrix *w, const civg_rows *x, size_t tile_first, size_t tile_end,     \
                            float *out, size_t out_stride, int mode, float scale, void *scratch) {            \
    const size_t rows = parts_of(x), end = tile_limit(w, tile_end);                                           \
    tile_piece p;                                                                                             \
    for (size_t from = tile_first * CIVG_TILE; from < end && rows; from += p.count) {                      \
      p = tile_open(w, from, end);                                                                            \
      if (CIVG_FUSED >= 1 && rows == 1) {                                                                  \
        tile_fused(type, 1, &p, x, out, out_stride, mode, scale);                                           \
      } else if (CIVG_FUSED >= 2 && rows == 2) {                                                           \
        tile_fused(type, 2, &p, x, out, out_stride, mode, scale);                                           \
      } else if (CIVG_FUSED >= 4 && rows == 3) {                                                           \
        tile_fused(type, 3, &p, x, out, out_stride, mode, scale);                                           \
      } else if (CIVG_FUSED >= 4 && rows == 4) {                                                           \
        tile_fused(type, 4, &p, x, out, out_stride, mode, scale);                                           \
      } else {                                                                                                \
        tile_sliced(unpack_##type, multiply, &p, x, out, out_stride, mode, scale, scratch);                    \
      }                                                                                                       \
    }                                                                                                         \
  }
CIVG_QUANTIZED(Q4_0, multiply_plain4)
CIVG_QUANTIZED(Q4_1, multiply_minimum4)
CIVG_QUANTIZED(Q5_0, multiply_plain5)
CIVG_QUANTIZED(Q5_1, multiply_minimum5)
CIVG_QUANTIZED(Q8_0, multiply_signed)
CIVG_QUANTIZED(Q2_K, multiply_halves2)
CIVG_QUANTIZED(Q3_K, multiply_halves3)
CIVG_QUANTIZED(Q4_K, multiply_minimum4)
CIVG_QUANTIZED(Q5_K, multiply_minimum5)
CIVG_QUANTIZED(Q6_K, multiply_halves6)
#undef CIVG_QUANTIZED

#endif /* CIVG_MATMUL_QUANTIZED_H */
