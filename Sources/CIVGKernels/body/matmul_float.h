/* SPDX-License-Identifier: Apache-2.0
 *
 * matmul_float.h - products of float activations with F32, F16 and BF16 weights.
 *
 * For every output and row four chains run over the columns, chain c taking columns k with k mod 4 = c:
 * acc[c] = fma(w, x, acc[c]); the result is (acc[0] + acc[1]) + (acc[2] + acc[3]).
 */
#ifndef CIVG_MATMUL_FLOAT_H
#define CIVG_MATMUL_FLOAT_H

/* Columns that 16 bytes of a row hold: one step of the transpose. */
CIVG_INLINE int float_step(int type) { return type == F32 ? 4 : 8; }

/* Sixteen bytes of sixteen rows, as one vector per column. */
CIVG_INLINE void float_columns(int type, const tile_rows *t, size_t offset, v16f *column) {
  v16i raw[4];
  transpose16(t, offset, raw);
  CIVG_UNROLL for (int j = 0; j < 4; j++) {
    if (type == F32) {
      column[j] = (v16f)raw[j];
    } else if (type == F16) {
      column[2 * j] = low_half(raw[j]);
      column[2 * j + 1] = high_half(raw[j]);
    } else {
      column[2 * j] = (v16f)(raw[j] << 16);
      column[2 * j + 1] = (v16f)(raw[j] & splat_i((int32_t)0xffff0000));
    }
  }
}

/* The last columns of a row, fewer than a step: copied first, so that nothing past the row is read. */
CIVG_INLINE void float_tail(int type, const tile_rows *t, size_t offset, size_t columns, v16f *column) {
  uint8_t copy[CIVG_TILE][16];
  size_t bytes = columns * (type == F32 ? 4 : 2);
  tile_rows tail = {{copy[0], copy[4], copy[8], copy[12]}, sizeof copy[0]};
  for (int i = 0; i < CIVG_TILE; i++) {
    for (size_t b = 0; b < 16; b++) copy[i][b] = b < bytes ? tile_at(t, i, offset)[b] : 0;
  }
  float_columns(type, &tail, 0, column);
}

/* One piece, R rows, nothing kept in memory. */
CIVG_INLINE void float_tile_fused(int type, int R, const tile_piece *p, const civg_rows *x, float *out,
                                  size_t out_stride, int mode, float scale) {
  const tile_rows t = p->rows;
  const size_t columns = x->columns, step = (size_t)float_step(type), whole = columns / step * step;
  const uint8_t *ahead = piece_ahead(p, 1);
  const float *f = x->f;
  v16f acc[4 * CIVG_MOST_ROWS], column[8];
  CIVG_UNROLL for (int i = 0; i < R * 4; i++) acc[i] = splat(0);
  for (size_t k = 0; k < whole; k += step) {
    prefetch_ahead(ahead + k / step * 256, 256);
    float_columns(type, &t, k / step * 16, column);
    CIVG_UNROLL for (int j = 0; j < float_step(type); j++) {
      CIVG_UNROLL for (int r = 0; r < R; r++) {
        float value = f[(size_t)r * x->f_stride + k + (size_t)j];
        acc[r * 4 + j % 4] = fma16(column[j], splat(value), acc[r * 4 + j % 4]);
      }
    }
  }
  if (whole < columns) {
    float_tail(type, &t, whole / step * 16, columns - whole, column);
    CIVG_UNROLL for (int j = 0; j < float_step(type); j++) {
      if (whole + (size_t)j >= columns) break;
      CIVG_UNROLL for (int r = 0; r < R; r++) {
        float value = f[(size_t)r * x->f_stride + whole + (size_t)j];
        acc[r * 4 + j % 4] = fma16(column[j], splat(value), acc[r * 4 + j % 4]);
      }
    }
  }
  CIVG_UNROLL for (int r = 0; r < R; r++) {
    v16f y = (acc[r * 4] + acc[r * 4 + 1]) + (acc[r * 4 + 2] + acc[r * 4 + 3]);
    finish_row(y, out + (size_t)r * out_stride, p, mode, scale);
  }
}

/* R rows from `first` over unpacked columns [from, from + count); acc: [rows][4]. */
CIVG_INLINE void float_slice_rows(int R, const v16f *slice, size_t from, size_t count, const civg_rows *x,
                                  size_t first, v16f *acc) {
  const float *f = x->f + first * x->f_stride + from;
  v16f a[4 * CIVG_MOST_ROWS];
  size_t k = 0;
  CIVG_UNROLL for (int i = 0; i < R * 4; i++) a[i] = acc[i];
  for (; k + 4 <= count; k += 4) {
    CIVG_UNROLL for (int j = 0; j < 4; j++) {
      v16f column = slice[k + (size_t)j];
      CIVG_UNROLL for (int r = 0; r < R; r++) {
        a[r * 4 + j] = fma16(column, splat(f[(size_t)r * x->f_stride + k + (size_t)j]), a[r * 4 + j]);
      }
    }
  }
  CIVG_UNROLL for (int j = 0; j < 3; j++) {
    if (k + (size_t)j >= count) break;
    CIVG_UNROLL for (int r = 0; r < R; r++) {
      a[r * 4 + j] = fma16(slice[k + (size_t)j], splat(f[(size_t)r * x->f_stride + k + (size_t)j]), a[r * 4 + j]);
    }
  }
  CIVG_UNROLL for (int i = 0; i < R * 4; i++) acc[i] = a[i];
}

/* One piece, any number of rows. */
CIVG_INLINE void float_tile_sliced(int type, const tile_piece *p, const civg_rows *x, float *out, size_t out_stride,
                                   int mode, float scale, void *scratch) {
  const size_t columns = x->columns, rows = x->rows, step = (size_t)float_step(type);
  v16f *slice = scratch, *acc = slice + CIVG_SLICE_COLUMNS;
  for (size_t i = 0; i < rows * 4; i++) acc[i] = splat(0);
  for (size_t from = 0; from < columns; from += CIVG_SLICE_COLUMNS) {
    size_t count = columns - from < CIVG_SLICE_COLUMNS ? columns - from : CIVG_SLICE_COLUMNS;
    for (size_t k = 0; k < count; k += step) {
      size_t offset = (from + k) / step * 16;
      if (count - k >= step) {
        float_columns(type, &p->rows, offset, slice + k);
      } else {
        float_tail(type, &p->rows, offset, count - k, slice + k);
      }
    }
    size_t r = 0;
    for (; r + CIVG_FLOAT_ROWS <= rows; r += CIVG_FLOAT_ROWS) {
      float_slice_rows(CIVG_FLOAT_ROWS, slice, from, count, x, r, acc + r * 4);
    }
    for (; r < rows; r++) float_slice_rows(1, slice, from, count, x, r, acc + r * 4);
  }
  for (size_t r = 0; r < rows; r++) {
    v16f y = (acc[r * 4] + acc[r * 4 + 1]) + (acc[r * 4 + 2] + acc[r * 4 + 3]);
    finish_row(y, out + r * out_stride, p, mode, scale);
  }
}

#define CIVG_FLOAT(type)                                                                                      \
  static void matmul_##type(const civg_matrix *w, const civg_rows *x, size_t tile_first, size_t tile_end,     \
                            float *out, size_t out_stride, int mode, float scale, void *scratch) {            \
    size_t end = tile_limit(w, tile_end);                                                                     \
    tile_piece p;                                                                                             \
    for (size_t from = tile_first * CIVG_TILE; from < end && x->rows; from += p.count) {                      \
      p = tile_open(w, from, end);                                                                            \
      if (CIVG_FLOAT_FUSED >= 1 && x->rows == 1) {                                                                  \
        float_tile_fused(type, 1, &p, x, out, out_stride, mode, scale);                                     \
      } else if (CIVG_FLOAT_FUSED >= 2 && x->rows == 2) {                                                           \
        float_tile_fused(type, 2, &p, x, out, out_stride, mode, scale);                                     \
      } else if (CIVG_FLOAT_FUSED >= 4 && x->rows == 3) {                                                     \
        float_tile_fused(type, 3, &p, x, out, out_stride, mode, scale);                                     \
      } else if (CIVG_FLOAT_FUSED >= 4 && x->rows == 4) {                                                     \
        float_tile_fused(type, 4, &p, x, out, out_stride, mode, scale);                                     \
      } else {                                                                                                \
        float_tile_sliced(type, &p, x, out, out_stride, mode, scale, scratch);                                \
      }                                                                                                       \
    }                                                                                                         \
  }
CIVG_FLOAT(F32)
CIVG_FLOAT(F16)
CIVG_FLOAT(BF16)
#undef CIVG_FLOAT

#endif /* CIVG_MATMUL_FLOAT_H */
