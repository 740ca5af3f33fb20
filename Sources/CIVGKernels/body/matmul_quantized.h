/* SPDX-License-Identifier: Apache-2.0
 *
 * matmul_quantized.h - products of rounded activations (civg_block) with quantised weights.
 *
 * For every output and row one chain runs over the 32-column blocks in order:
 *
 *   acc = fma(float(isum), d dx, acc)            isum: exact integer sum of (q - o) x
 *   acc = fma(m, dx xsum, acc)                   forms with a minimum
 *
 * In the halves forms isum is fma(float(isum1), s[1], float(isum0) s[0]) and xsum likewise with n.
 *
 * isum takes the high parts of the activations first, 128 times, then the low parts. Only one group of four in each
 * half has high parts, so they cost one instruction a half.
 *
 * One or two rows: a block is unpacked into registers and used at once; memory is the limit. More rows share an
 * unpacked slice of a few tiles in scratch that stays in the first cache; accumulators wait in scratch between
 * slices. Both ways run the same chain.
 */
#ifndef CIVG_MATMUL_QUANTIZED_H
#define CIVG_MATMUL_QUANTIZED_H

/* Where R rows of activations stand: `at` bytes into each. */
typedef struct row_cursor {
  const uint8_t *row[CIVG_MOST_ROWS];
  size_t at;
} row_cursor;

/* A field of row r's block. */
#define CIVG_FIELD(x, r, field) ((x)->row[r] + (x)->at + offsetof(civg_block, field))

/* R rows from `first` on, at block `k`. Rows past the last repeat it. */
CIVG_INLINE row_cursor rows_open(int R, const civg_rows *x, size_t first, size_t k) {
  row_cursor c = {{0}, k * sizeof(civg_block)};
  CIVG_UNROLL for (int r = 0; r < R; r++) {
    size_t row = first + (size_t)r < x->rows ? first + (size_t)r : x->rows - 1;
    c.row[r] = (const uint8_t *)(x->blocks + row * (x->columns / 32));
  }
  return c;
}

/* Steps to the next block. */
CIVG_INLINE void rows_advance(row_cursor *c) { c->at += sizeof(civg_block); }

/* 128 times the high parts' sum, less what the offset adds: v - offset sum. The offset is a power of two. */
CIVG_INLINE v16i start_sum(int type, v16i high, const uint8_t *sum) {
  const int offset = civg_offset(type);
  v16i total = splat_i((int32_t)load_u32(sum));
  if (offset == 0) return high << 7;
  if (offset == 128) return (high - total) << 7;
  return (high << 7) - (total << __builtin_ctz((unsigned)offset));
}

/* Adds one block's sums to an accumulator, and the share of its minimum. */
CIVG_INLINE v16f add_block(int type, const tile_block *b, const row_cursor *x, int r, v16i isum, v16f acc) {
  acc = fma16(to_float(isum), b->d * splat(load_float(CIVG_FIELD(x, r, scale))), acc);
  if (civg_has_minimum(type)) acc = fma16(b->m, splat(load_float(CIVG_FIELD(x, r, scaled_sum))), acc);
  return acc;
}

/* The same for the halves forms. */
CIVG_INLINE v16f add_halves(int type, const tile_block *b, const row_cursor *x, int r, v16i low, v16i high, v16f acc) {
  v16f scale = splat(load_float(CIVG_FIELD(x, r, scale)));
  acc = fma16(fma16(to_float(high), b->s[1], to_float(low) * b->s[0]), b->d * scale, acc);
  if (civg_has_minimum(type)) {
    v16f a = splat((float)(int32_t)load_u32(CIVG_FIELD(x, r, sums[0])));
    v16f c = splat((float)(int32_t)load_u32(CIVG_FIELD(x, r, sums[1])));
    acc = fma16(fma16(b->n[1], c, b->n[0] * a), b->m * scale, acc);
  }
  return acc;
}

/* The high parts of one half of row r: v + 4 bytes of weights times the row's group of that half. */
CIVG_INLINE v16i dot_high(int type, v16i v, const tile_block *b, const row_cursor *x, int r, int half) {
  size_t group = load_u16(CIVG_FIELD(x, r, group[half]));
  v16i w;
  __builtin_memcpy(&w, (const uint8_t *)b->w + group, sizeof w);
  return dot_four(v, w, CIVG_FIELD(x, r, high[half]), civg_bits(type));
}

/* Adds one unpacked block of T tiles, in memory, to the accumulators of R rows. b[t]: the block of tile t. */
CIVG_INLINE void block_rows(int type, int T, int R, const tile_block *const *b, const row_cursor *x,
                            v16f (*acc)[CIVG_MOST_ROWS]) {
  const uint8_t *q[CIVG_MOST_ROWS];
  v16i low[CIVG_TILES][CIVG_MOST_ROWS], high[CIVG_TILES][CIVG_MOST_ROWS];
  const v16i *w[CIVG_TILES];
  CIVG_UNROLL for (int r = 0; r < R; r++) q[r] = CIVG_FIELD(x, r, low);
  CIVG_UNROLL for (int t = 0; t < T; t++) {
    w[t] = b[t]->w;
    CIVG_UNROLL for (int r = 0; r < R; r++) {
      v16i v = dot_high(type, splat_i(0), b[t], x, r, 0);
      if (civg_has_halves(type)) {
        low[t][r] = start_sum(type, v, CIVG_FIELD(x, r, sums[0]));
        v = dot_high(type, splat_i(0), b[t], x, r, 1);
        high[t][r] = start_sum(type, v, CIVG_FIELD(x, r, sums[1]));
      } else {
        v = dot_high(type, v, b[t], x, r, 1);
        low[t][r] = start_sum(type, v, CIVG_FIELD(x, r, sum));
      }
    }
  }
  dot_rows(T, R, low, w, civg_has_halves(type) ? 4 : 8, q, civg_bits(type));
  if (civg_has_halves(type)) {
    CIVG_UNROLL for (int t = 0; t < T; t++) w[t] += 4;
    CIVG_UNROLL for (int r = 0; r < R; r++) q[r] += 16;
    dot_rows(T, R, high, w, 4, q, civg_bits(type));
  }
  CIVG_UNROLL for (int t = 0; t < T; t++) {
    CIVG_UNROLL for (int r = 0; r < R; r++) {
      if (civg_has_halves(type)) {
        acc[t][r] = add_halves(type, b[t], x, r, low[t][r], high[t][r], acc[t][r]);
      } else {
        acc[t][r] = add_block(type, b[t], x, r, low[t][r], acc[t][r]);
      }
    }
  }
}

/* The same for one tile whose block is in registers: all eight groups of the high parts, from `wide`, where the others
 * are zero. */
CIVG_INLINE void block_wide(int type, int R, const tile_block *b, const row_cursor *x, const uint8_t *const *wide,
                            v16f (*acc)[CIVG_MOST_ROWS]) {
  const int halves = civg_has_halves(type), n = halves ? 4 : 8;
  const uint8_t *q[CIVG_MOST_ROWS], *high[CIVG_MOST_ROWS];
  v16i sums[2][1][CIVG_MOST_ROWS];
  CIVG_UNROLL for (int half = 0; half < 1 + halves; half++) {
    const v16i *w = b->w + 4 * half;
    CIVG_UNROLL for (int r = 0; r < R; r++) {
      q[r] = CIVG_FIELD(x, r, low) + 16 * half;
      high[r] = wide[r] + 16 * half;
      sums[half][0][r] = splat_i(0);
    }
    dot_rows(1, R, sums[half], &w, n, high, civg_bits(type));
    CIVG_UNROLL for (int r = 0; r < R; r++) {
      const uint8_t *sum = halves ? CIVG_FIELD(x, r, sums[0]) + 4 * half : CIVG_FIELD(x, r, sum);
      sums[half][0][r] = start_sum(type, sums[half][0][r], sum);
    }
    dot_rows(1, R, sums[half], &w, n, q, civg_bits(type));
  }
  CIVG_UNROLL for (int r = 0; r < R; r++) {
    acc[0][r] = halves ? add_halves(type, b, x, r, sums[0][0][r], sums[1][0][r], acc[0][r])
                       : add_block(type, b, x, r, sums[0][0][r], acc[0][r]);
  }
}

/* What to ask for while a piece is read: as many bytes further on, at least a tile and at least so far that memory
 * has answered by then. */
CIVG_INLINE const uint8_t *piece_ahead(const tile_piece *p, int tiles) {
  const size_t piece = (size_t)tiles * CIVG_TILE * p->rows.stride, least = 16 * 1024;
  return p->rows.quarter[0] + (piece < least ? least : piece);
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
CIVG_INLINE void block_quarters(int type, int R, const tile_rows *t, const row_cursor *x, const uint8_t *const *wide,
                                const uint8_t *next, v16f (*acc)[CIVG_MOST_ROWS]) {
  const size_t part = civg_block_bytes(type) * CIVG_TILE / 4;
  const int bits = civg_bits(type);
  v16i high_sum[CIVG_MOST_ROWS][4], low_sum[CIVG_MOST_ROWS][4], low, high, head;
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
      const uint8_t *q = CIVG_FIELD(x, r, low);
      high_sum[r][i] = dot_quarters(low, spread16(wide[r]), high, spread16(wide[r] + 16), bits);
      low_sum[r][i] = dot_quarters(low, spread16(q), high, spread16(q + 16), bits);
    }
  }
  if (type == Q4_1) {
    head = gather32(t, 0);
    b.d = low_half(head);
    b.m = high_half(head);
  } else {
    b.d = half16(gather16(t, 0));
  }
  CIVG_UNROLL for (int r = 0; r < R; r++) {
    CIVG_UNROLL for (int i = 0; i < 4; i++) low_sum[r][i] += high_sum[r][i] << 7;
    v16i isum = sum_quarters(low_sum[r]) + start_sum(type, splat_i(0), CIVG_FIELD(x, r, sum));
    acc[0][r] = add_block(type, &b, x, r, isum, acc[0][r]);
  }
}

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

/* The most columns of R rows whose high parts fit in scratch. */
CIVG_INLINE size_t wide_limit(int R) { return CIVG_SCRATCH_BYTES / (size_t)R; }

/* Writes out the high parts of all rows, with the zeros between them: [rows][columns]. */
static __attribute__((noinline)) void widen_rows(const civg_rows *x, uint8_t *wide) {
  const size_t blocks = x->rows * (x->columns / 32);
  for (size_t k = 0; k < blocks; k++, wide += 32) {
    const civg_block *b = x->blocks + k;
    __builtin_memset(wide, 0, 32);
    CIVG_UNROLL for (int half = 0; half < 2; half++) {
      __builtin_memcpy(wide + b->group[half] / CIVG_TILE, b->high[half], 4);
    }
  }
}

/* One piece, R rows, nothing kept in memory. wide: [R][columns], see widen_rows. */
CIVG_INLINE void tile_fused(int type, int R, const tile_piece *p, const civg_rows *x, const uint8_t *wide, float *out,
                            size_t out_stride, int mode, float scale) {
  tile_rows t = p->rows;
  const uint8_t *ahead = piece_ahead(p, 1), *high[CIVG_MOST_ROWS];
  const size_t bytes = civg_block_bytes(type), blocks = x->columns / civg_block_columns(type);
  row_cursor at = rows_open(R, x, 0, 0);
  v16f acc[1][CIVG_MOST_ROWS];
  CIVG_UNROLL for (int r = 0; r < R; r++) acc[0][r] = splat(0);
  for (size_t k = 0; k < blocks; k++) {
    tile_block b;
    const uint8_t *next = ahead + k * bytes * CIVG_TILE;
    if (!civg_is_super(type)) {
      CIVG_UNROLL for (int r = 0; r < R; r++) high[r] = wide + (size_t)r * x->columns + k * 32;
      if (R <= CIVG_QUARTERS && civg_has_quarters(type)) {
        block_quarters(type, R, &t, &at, high, next, acc);
      } else {
        prefetch_ahead(next, bytes * CIVG_TILE);
        unpack_small(type, &t, 0, &b);
        block_wide(type, R, &b, &at, high, acc);
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
        size_t block = (size_t)(step * each + i);
        CIVG_UNROLL for (int r = 0; r < R; r++) high[r] = wide + (size_t)r * x->columns + (k * 8 + block) * 32;
        prefetch_ahead(next + block * part, part);
        unpack_step(type, &t, 0, step, i, &u, &b);
        block_wide(type, R, &b, &at, high, acc);
        rows_advance(&at);
      }
    }
    tile_advance(&t, bytes);
  }
  CIVG_UNROLL for (int r = 0; r < R; r++) finish_row(acc[0][r], out + (size_t)r * out_stride, p, mode, scale);
}

/* Unpacks `blocks` 32-column blocks from block `from` on; both are multiples of a stored block. */
CIVG_INLINE void unpack_blocks(int type, const tile_rows *t, size_t from, size_t blocks, tile_block *slice) {
  const size_t bytes = civg_block_bytes(type);
  if (!civg_is_super(type)) {
    for (size_t k = 0; k < blocks; k++) unpack_small(type, t, (from + k) * bytes, &slice[k]);
    return;
  }
  const int each = civg_step_blocks(type);
  for (size_t k = 0; k < blocks; k += 8) {
    tile_super u;
    size_t offset = (from + k) / 8 * bytes;
    unpack_open(type, t, offset, &u);
    for (int step = 0; step < 8 / each; step++) {
      CIVG_UNROLL for (int i = 0; i < each; i++) {
        unpack_step(type, t, offset, step, i, &u, &slice[k + (size_t)(step * each + i)]);
      }
    }
  }
}

/* Bytes to ask for while something else is computed, `step` at a time. */
typedef struct fetch_plan {
  const uint8_t *next, *end;
  size_t step;
} fetch_plan;

/* R rows from `first` over an unpacked slice of T tiles; `acc` holds their accumulators, [T][rows]. Memory has time to
 * answer while this computes, so what later tiles need is asked for here. */
CIVG_INLINE void slice_rows(int type, int T, int R, const tile_block *slice, size_t from, size_t blocks,
                            const civg_rows *x, size_t first, fetch_plan *fetch, v16f *acc) {
  row_cursor at = rows_open(R, x, first, from);
  v16f a[CIVG_TILES][CIVG_MOST_ROWS];
  v16f *home[CIVG_TILES][CIVG_MOST_ROWS];
  CIVG_UNROLL for (int t = 0; t < T; t++) {
    CIVG_UNROLL for (int r = 0; r < R; r++) {
      size_t row = first + (size_t)r < x->rows ? first + (size_t)r : x->rows - 1;
      home[t][r] = acc + (size_t)t * x->rows + row;
      a[t][r] = *home[t][r];
    }
  }
  for (size_t k = 0; k < blocks; k++, rows_advance(&at)) {
    const tile_block *b[CIVG_TILES];
    CIVG_UNROLL for (int t = 0; t < T; t++) b[t] = slice + t * CIVG_SLICE_BLOCKS + k;
    if (fetch->next < fetch->end) prefetch_ahead(fetch->next, fetch->step);
    fetch->next += fetch->step;
    block_rows(type, T, R, b, &at, a);
  }
  CIVG_UNROLL for (int t = 0; t < T; t++) {
    CIVG_UNROLL for (int r = 0; r < R; r++) *home[t][r] = a[t][r];
  }
}

/* All rows over an unpacked slice, as many at a time as fit in registers. */
CIVG_INLINE void slice_all(int type, int T, const tile_block *slice, size_t from, size_t blocks, const civg_rows *x,
                           fetch_plan fetch, v16f *acc) {
  size_t r = 0;
  for (; r < x->rows && (CIVG_ROWS <= 2 || x->rows - r > 2); r += CIVG_ROWS) {
    slice_rows(type, T, CIVG_ROWS, slice, from, blocks, x, r, &fetch, acc);
  }
  if (CIVG_ROWS > 2 && r < x->rows) slice_rows(type, T, 2, slice, from, blocks, x, r, &fetch, acc);
}

typedef void (*unpack_fn)(const tile_rows *t, size_t from, size_t blocks, tile_block *slice);
typedef void (*slice_fn)(int tiles, const tile_block *slice, size_t from, size_t blocks, const civg_rows *x,
                         fetch_plan fetch, v16f *acc);

/* The part of the tiles to come that is asked for during blocks [from, from + count) of `tiles` tiles. */
CIVG_INLINE fetch_plan plan_fetch(const tile_piece *p, int tiles, size_t from, size_t count, const civg_rows *x) {
  const size_t blocks = x->columns / 32, bytes = (size_t)tiles * CIVG_TILE * p->rows.stride;
  const size_t turns = count * ((x->rows + CIVG_ROWS - 1) / CIVG_ROWS);
  const uint8_t *ahead = piece_ahead(p, tiles);
  fetch_plan plan = {ahead + bytes * from / blocks, ahead + bytes * (from + count) / blocks, 0};
  plan.step = ((size_t)(plan.end - plan.next) / 64 / turns + 1) * 64;
  return plan;
}

/* One to CIVG_TILES pieces, any number of rows. */
static __attribute__((noinline)) void tile_sliced(unpack_fn unpack, slice_fn multiply, const tile_piece *p, int tiles,
                                                  const civg_rows *x, float *out, size_t out_stride, int mode,
                                                  float scale, void *scratch) {
  tile_block *slice = scratch;
  v16f *acc = (v16f *)((uint8_t *)scratch + CIVG_SCRATCH_BYTES);
  const size_t blocks = x->columns / 32, rows = x->rows;
  for (size_t i = 0; i < (size_t)tiles * rows; i++) acc[i] = splat(0);
  for (size_t from = 0; from < blocks; from += CIVG_SLICE_BLOCKS) {
    size_t count = blocks - from < CIVG_SLICE_BLOCKS ? blocks - from : CIVG_SLICE_BLOCKS;
    for (int t = 0; t < tiles; t++) {
      unpack(&p[t].rows, from, count, slice + t * CIVG_SLICE_BLOCKS);
    }
    multiply(tiles, slice, from, count, x, plan_fetch(p, tiles, from, count, x), acc);
  }
  for (int t = 0; t < tiles; t++) {
    for (size_t r = 0; r < rows; r++) {
      finish_row(acc[(size_t)t * rows + r], out + r * out_stride, &p[t], mode, scale);
    }
  }
}

/* Types of one form and width share the code that multiplies their slices. */
#define CIVG_MULTIPLY(name, type)                                                                             \
  static __attribute__((noinline)) void multiply_##name(int tiles, const tile_block *slice, size_t from,      \
                                                        size_t blocks, const civg_rows *x, fetch_plan fetch,  \
                                                        v16f *acc) {                                          \
    if (tiles == CIVG_TILES) slice_all(type, CIVG_TILES, slice, from, blocks, x, fetch, acc);                 \
    else slice_all(type, 1, slice, from, blocks, x, fetch, acc);                                              \
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
  static __attribute__((noinline)) void unpack_##type(const tile_rows *t, size_t from, size_t blocks,         \
                                                      tile_block *slice) {                                    \
    unpack_blocks(type, t, from, blocks, slice);                                                              \
  }                                                                                                           \
  static void matmul_##type(const civg_matrix *w, const civg_rows *x, size_t tile_first, size_t tile_end,     \
                            float *out, size_t out_stride, int mode, float scale, void *scratch) {            \
    const size_t rows = x->rows, end = tile_limit(w, tile_end);                                               \
    const int fused = rows <= CIVG_FUSED && x->columns <= wide_limit(CIVG_FUSED);                             \
    tile_piece p[CIVG_TILES];                                                                                 \
    if (fused) widen_rows(x, scratch);                                                                        \
    for (size_t from = tile_first * CIVG_TILE; from < end && rows;) {                                         \
      p[0] = tile_open(w, from, end);                                                                         \
      from += p[0].count;                                                                                     \
      if (CIVG_FUSED >= 1 && fused && rows == 1) {                                                            \
        tile_fused(type, 1, p, x, scratch, out, out_stride, mode, scale);                                     \
      } else if (CIVG_FUSED >= 2 && fused) {                                                                  \
        tile_fused(type, 2, p, x, scratch, out, out_stride, mode, scale);                                     \
      } else {                                                                                                \
        int tiles = 1;                                                                                        \
        for (; tiles < CIVG_TILES && from < end; tiles++) {                                                   \
          p[tiles] = tile_open(w, from, end);                                                                 \
          from += p[tiles].count;                                                                             \
        }                                                                                                     \
        tile_sliced(unpack_##type, multiply, p, tiles, x, out, out_stride, mode, scale, scratch);             \
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
