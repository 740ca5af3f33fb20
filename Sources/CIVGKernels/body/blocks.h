/* SPDX-License-Identifier: Apache-2.0
 *
 * blocks.h - one block of weights, sixteen rows or several such tiles of it, times some rows of activations. The
 * formulas are those of matmul_quantized.h.
 */
#ifndef CIVG_BLOCKS_H
#define CIVG_BLOCKS_H

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

#ifndef CIVG_DOT_TWO
/* Dot of w with the 4 bytes at x, and of v with those at y. For types that are not in words. */
CIVG_INLINE v16i dot_two(v16i w, const uint8_t *x, v16i v, const uint8_t *y, int bits) {
  return dot_four(dot_four(splat_i(0), w, x, bits), v, y, bits);
}
#endif

/* The weights that meet the high parts of one half of row r. */
CIVG_INLINE v16i high_weights(const tile_block *b, const row_cursor *x, int r, int half) {
  v16i w;
  __builtin_memcpy(&w, (const uint8_t *)b->w + load_u16(CIVG_FIELD(x, r, group[half])), sizeof w);
  return w;
}

/* The high parts of one half of row r: 4 bytes of weights times the row's group of that half. */
CIVG_INLINE v16i dot_high(int type, const tile_block *b, const row_cursor *x, int r, int half) {
  return dot_four(splat_i(0), high_weights(b, x, r, half), CIVG_FIELD(x, r, high[half]), civg_bits(type));
}

/* Those of both halves. */
CIVG_INLINE v16i dot_highs(int type, const tile_block *b, const row_cursor *x, int r) {
  return dot_two(high_weights(b, x, r, 0), CIVG_FIELD(x, r, high[0]), high_weights(b, x, r, 1),
                 CIVG_FIELD(x, r, high[1]), civg_bits(type));
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
      if (civg_has_halves(type)) {
        low[t][r] = start_sum(type, dot_high(type, b[t], x, r, 0), CIVG_FIELD(x, r, sums[0]));
        high[t][r] = start_sum(type, dot_high(type, b[t], x, r, 1), CIVG_FIELD(x, r, sums[1]));
      } else {
        low[t][r] = start_sum(type, dot_highs(type, b[t], x, r), CIVG_FIELD(x, r, sum));
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

/* The same for one tile in words, which high parts are part of. words[r]: those of row r's block, see expand_rows. */
CIVG_INLINE void block_words(int type, int R, const tile_block *b, const row_cursor *x, const uint8_t *const *words,
                             v16f (*acc)[CIVG_MOST_ROWS]) {
#if CIVG_WORDS
  v16i sums[CIVG_MOST_ROWS];
  CIVG_UNROLL for (int r = 0; r < R; r++) sums[r] = splat_i(0);
  dot_words(R, sums, b->w, words);
  CIVG_UNROLL for (int r = 0; r < R; r++) acc[0][r] = add_block(type, b, x, r, sums[r], acc[0][r]);
#else
  (void)type, (void)R, (void)b, (void)x, (void)words, (void)acc;
#endif
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

/* Bytes to ask for while something else is computed, `step` at a time. */
typedef struct fetch_plan {
  const uint8_t *next, *end;
  size_t step;
} fetch_plan;

/* The bytes [from, end) in `turns` turns. */
CIVG_INLINE fetch_plan fetch_open(const uint8_t *from, const uint8_t *end, size_t turns) {
  return (fetch_plan){from, end, ((size_t)(end - from) / 64 / turns + 1) * 64};
}

/* One turn, into the first cache, or for what is needed later into the second. */
CIVG_INLINE void fetch_turn(fetch_plan *plan, int later) {
  if (plan->next >= plan->end) return;
  for (size_t i = 0; i < plan->step; i += 64) {
    if (later) __builtin_prefetch(plan->next + i, 0, 2);
    else __builtin_prefetch(plan->next + i, 0, 3);
  }
  plan->next += plan->step;
}

/* The part of what the caller needs next that is asked for during outputs [from, to) of [first, end). */
CIVG_INLINE fetch_plan fetch_later(const civg_matrix *w, size_t first, size_t end, size_t from, size_t to,
                                   size_t turns) {
  const uint8_t *ahead = w->ahead;
  if (!ahead) return (fetch_plan){0};
  const size_t all = end - first, lines = w->ahead_bytes / 64;
  return fetch_open(ahead + lines * (from - first) / all * 64, ahead + lines * (to - first) / all * 64, turns);
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

#endif /* CIVG_BLOCKS_H */
