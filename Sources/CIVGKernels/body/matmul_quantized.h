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
 * half has high parts, so they cost one instruction a half. (In words both parts are one number.)
 *
 * One or two rows: a block is unpacked into registers and used at once; memory is the limit. More rows share an
 * unpacked slice of a few tiles in scratch that stays in the first cache; accumulators wait in scratch between
 * slices. Both ways run the same chain.
 */
#ifndef CIVG_MATMUL_QUANTIZED_H
#define CIVG_MATMUL_QUANTIZED_H

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

/* Writes out all rows as whole numbers in words, of each block the even columns first: [rows][columns]. */
static __attribute__((noinline, unused)) void expand_rows(const civg_rows *x, uint8_t *words) {
  typedef int8_t v32b __attribute__((vector_size(32)));
  typedef int16_t v16s __attribute__((vector_size(32)));
  const size_t blocks = x->rows * (x->columns / 32);
  for (size_t k = 0; k < blocks; k++, words += 64) {
    const civg_block *b = x->blocks + k;
    v32b low, high = {0};
    __builtin_memcpy(&low, b->low, sizeof low);
    uint8_t wide[32] = {0};
    CIVG_UNROLL for (int half = 0; half < 2; half++) {
      __builtin_memcpy(wide + b->group[half] / CIVG_TILE, b->high[half], 4);
    }
    __builtin_memcpy(&high, wide, sizeof high);
    v16s even = (((v16s)low << 8) >> 8) + ((((v16s)high << 8) >> 8) << 7);
    v16s odd = ((v16s)low >> 8) + (((v16s)high >> 8) << 7);
    __builtin_memcpy(words, &even, sizeof even);
    __builtin_memcpy(words + 32, &odd, sizeof odd);
  }
}

/* One piece, R rows, nothing kept in memory. wide: [R][columns], see widen_rows. */
CIVG_INLINE void tile_fused(int type, int R, const tile_piece *p, const civg_rows *x, const uint8_t *wide,
                            fetch_plan later, float *out, size_t out_stride, int mode, float scale) {
  tile_rows t = p->rows;
  const uint8_t *ahead = piece_ahead(p, 1), *high[CIVG_MOST_ROWS];
  const size_t bytes = civg_block_bytes(type), blocks = x->columns / civg_block_columns(type);
  row_cursor at = rows_open(R, x, 0, 0);
  v16f acc[1][CIVG_MOST_ROWS];
  CIVG_UNROLL for (int r = 0; r < R; r++) acc[0][r] = splat(0);
  for (size_t k = 0; k < blocks; k++) {
    tile_block b;
    const uint8_t *next = ahead + k * bytes * CIVG_TILE;
    fetch_turn(&later, 1);
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
    for (size_t k = 0; k < blocks; k++) {
      unpack_small(type, t, (from + k) * bytes, &slice[k]);
      if (civg_in_words(type)) words_of_block(&slice[k]);
    }
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

/* What goes on while slices are multiplied. */
typedef struct slice_plan {
  fetch_plan own, later; /* what later tiles, and later products, need: asked for here, where memory has time to answer */
  const uint8_t *words;  /* [rows][columns], see expand_rows; for types in words */
} slice_plan;

/* R rows from `first` over an unpacked slice of T tiles; `acc` holds their accumulators, [T][rows]. */
CIVG_INLINE void slice_rows(int type, int T, int R, const tile_block *slice, size_t from, size_t blocks,
                            const civg_rows *x, size_t first, slice_plan *plan, v16f *acc) {
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
    fetch_turn(&plan->own, 0);
    fetch_turn(&plan->later, 1);
    if (civg_in_words(type)) {
      const uint8_t *words[CIVG_MOST_ROWS];
      CIVG_UNROLL for (int r = 0; r < R; r++) {
        size_t row = first + (size_t)r < x->rows ? first + (size_t)r : x->rows - 1;
        words[r] = plan->words + (row * x->columns + (from + k) * 32) * 2;
      }
      block_words(type, R, b[0], &at, words, a);
    } else {
      block_rows(type, T, R, b, &at, a);
    }
  }
  CIVG_UNROLL for (int t = 0; t < T; t++) {
    CIVG_UNROLL for (int r = 0; r < R; r++) *home[t][r] = a[t][r];
  }
}

/* All rows over an unpacked slice, as many at a time as fit in registers. */
CIVG_INLINE void slice_all(int type, int T, const tile_block *slice, size_t from, size_t blocks, const civg_rows *x,
                           slice_plan *plan, v16f *acc) {
  size_t r = 0;
  for (; r < x->rows && (CIVG_ROWS <= 2 || x->rows - r > 2); r += CIVG_ROWS) {
    slice_rows(type, T, CIVG_ROWS, slice, from, blocks, x, r, plan, acc);
  }
  if (CIVG_ROWS > 2 && r < x->rows) slice_rows(type, T, 2, slice, from, blocks, x, r, plan, acc);
}

typedef void (*unpack_fn)(const tile_rows *t, size_t from, size_t blocks, tile_block *slice);
typedef void (*slice_fn)(int tiles, const tile_block *slice, size_t from, size_t blocks, const civg_rows *x,
                         slice_plan *plan, v16f *acc);

/* Turns of multiplying `blocks` blocks with all rows. */
CIVG_INLINE size_t turns_of(const civg_rows *x, size_t blocks) {
  return blocks * ((x->rows + CIVG_ROWS - 1) / CIVG_ROWS);
}

/* Where in scratch the words of all rows are: behind an unpacked slice and the accumulators. */
CIVG_INLINE uint8_t *words_in(void *scratch, const civg_rows *x) {
  return (uint8_t *)scratch + CIVG_SCRATCH_BYTES + x->rows * 256;
}

/* One to CIVG_TILES pieces, any number of rows. */
static __attribute__((noinline)) void tile_sliced(unpack_fn unpack, slice_fn multiply, const tile_piece *p, int tiles,
                                                  const civg_rows *x, fetch_plan later, float *out, size_t out_stride,
                                                  int mode, float scale, void *scratch) {
  tile_block *slice = scratch;
  v16f *acc = (v16f *)((uint8_t *)scratch + CIVG_SCRATCH_BYTES);
  const size_t blocks = x->columns / 32, rows = x->rows, bytes = (size_t)tiles * CIVG_TILE * p->rows.stride;
  const uint8_t *ahead = piece_ahead(p, tiles);
  slice_plan plan = {.later = later, .words = words_in(scratch, x)};
  for (size_t i = 0; i < (size_t)tiles * rows; i++) acc[i] = splat(0);
  for (size_t from = 0; from < blocks; from += CIVG_SLICE_BLOCKS) {
    size_t count = blocks - from < CIVG_SLICE_BLOCKS ? blocks - from : CIVG_SLICE_BLOCKS;
    for (int t = 0; t < tiles; t++) {
      unpack(&p[t].rows, from, count, slice + t * CIVG_SLICE_BLOCKS);
    }
    plan.own = fetch_open(ahead + bytes * from / blocks, ahead + bytes * (from + count) / blocks, turns_of(x, count));
    multiply(tiles, slice, from, count, x, &plan, acc);
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
                                                        size_t blocks, const civg_rows *x, slice_plan *plan,  \
                                                        v16f *acc) {                                          \
    if (tiles == CIVG_TILES) slice_all(type, CIVG_TILES, slice, from, blocks, x, plan, acc);                  \
    else slice_all(type, 1, slice, from, blocks, x, plan, acc);                                               \
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
    const size_t rows = x->rows, first = tile_first * CIVG_TILE, end = tile_limit(w, tile_end);               \
    const size_t blocks = x->columns / 32, stored = x->columns / civg_block_columns(type);                    \
    const int fused = rows <= CIVG_FUSED && x->columns <= wide_limit(CIVG_FUSED);                             \
    tile_piece p[CIVG_TILES];                                                                                 \
    if (fused) widen_rows(x, scratch);                                                                        \
    else if (civg_in_words(type)) expand_rows(x, words_in(scratch, x));                                       \
    for (size_t from = first; from < end && rows;) {                                                          \
      size_t start = from;                                                                                    \
      p[0] = tile_open(w, from, end);                                                                         \
      from += p[0].count;                                                                                     \
      if (CIVG_FUSED >= 1 && fused && rows == 1) {                                                            \
        fetch_plan later = fetch_later(w, first, end, start, from, stored);                                   \
        tile_fused(type, 1, p, x, scratch, later, out, out_stride, mode, scale);                              \
      } else if (CIVG_FUSED >= 2 && fused) {                                                                  \
        fetch_plan later = fetch_later(w, first, end, start, from, stored);                                   \
        tile_fused(type, 2, p, x, scratch, later, out, out_stride, mode, scale);                              \
      } else {                                                                                                \
        int tiles = 1;                                                                                        \
        for (; tiles < CIVG_TILES && from < end; tiles++) {                                                   \
          p[tiles] = tile_open(w, from, end);                                                                 \
          from += p[tiles].count;                                                                             \
        }                                                                                                     \
        fetch_plan later = fetch_later(w, first, end, start, from, turns_of(x, blocks));                      \
        tile_sliced(unpack_##type, multiply, p, tiles, x, later, out, out_stride, mode, scale, scratch);      \
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
