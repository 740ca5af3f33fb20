/* SPDX-License-Identifier: Apache-2.0
 *
 * training.h - what a backward pass needs beside the other kernels: products of floats for many rows, weights unpacked
 * for them in either direction, derivatives of what lies between the products, and the optimiser's step.
 *
 * Every sum of a product is made of portions of CIVG_CHAIN_TERMS terms: each is one chain of fused multiply-adds that
 * begins at zero, and portions are added up in order. So neither tiles, nor threads, nor the width of vectors change a
 * bit, and long sums do not drift.
 */
#ifndef CIVG_TRAINING_H
#define CIVG_TRAINING_H

/* The distance of the copied rows: not a power of two, so that they do not compete for the same places of the first
 * cache. */
#define CIVG_CHAIN_STRIDE (CIVG_CHAIN_TERMS + 16)

/* R rows of `a` [R][CIVG_CHAIN_STRIDE] by 16 V columns of b. */
CIVG_INLINE void chain_some(int R, int V, const float *a, const float *b, size_t b_step, size_t depth, float *out,
                            size_t stride, int continues) {
  v16f acc[CIVG_CHAIN_ROWS * 2];
  CIVG_UNROLL for (int i = 0; i < R * V; i++) acc[i] = splat(0);
  for (size_t k = 0; k < depth; k++) {
    v16f column[2];
    CIVG_UNROLL for (int v = 0; v < V; v++) column[v] = load16f(b + k * b_step + 16 * v);
    CIVG_UNROLL for (int r = 0; r < R; r++) {
      v16f x = splat(a[r * CIVG_CHAIN_STRIDE + k]);
      CIVG_UNROLL for (int v = 0; v < V; v++) acc[r * V + v] = fma16(column[v], x, acc[r * V + v]);
    }
  }
  CIVG_UNROLL for (int r = 0; r < R; r++) {
    CIVG_UNROLL for (int v = 0; v < V; v++) {
      float *place = out + (size_t)r * stride + 16 * v;
      store16f(place, continues ? load16f(place) + acc[r * V + v] : acc[r * V + v]);
    }
  }
}

/* The last columns, fewer than 16. */
static void chain_tail(size_t rows, const float *a, const float *b, size_t b_step, size_t depth, size_t columns,
                       float *out, size_t stride, int continues) {
  for (size_t r = 0; r < rows; r++) {
    v16f acc = splat(0);
    for (size_t k = 0; k < depth; k++) {
      acc = fma16(load_some(b + k * b_step, columns, 0), splat(a[r * CIVG_CHAIN_STRIDE + k]), acc);
    }
    if (continues) acc = load_some(out + r * stride, columns, 0) + acc;
    store_some(out + r * stride, columns, acc);
  }
}

/* R copied rows by all columns. Meanwhile asks for the rows that are copied next, from `next` on, a row's lines spread
 * over the panels; NULL: none. */
CIVG_INLINE void chain_rows(int R, const civg_chain *c, const float *a, size_t first, size_t depth, float *out,
                            int continues, const float *next) {
  const size_t panels = (c->columns + CIVG_PANEL_COLUMNS - 1) / CIVG_PANEL_COLUMNS, lines = CIVG_CHAIN_TERMS / 16;
  const size_t step = (lines + panels - 1) / panels;
  size_t j = 0, line = 0;
  for (; j < c->columns; j += CIVG_PANEL_COLUMNS) {
    for (size_t end = line + step; next && line < end && line < lines; line++) {
      CIVG_UNROLL for (int r = 0; r < R; r++) __builtin_prefetch(next + (size_t)r * c->a_row + line * 16, 0, 2);
    }
    const float *b = c->b + j / CIVG_PANEL_COLUMNS * c->b_panel + first * c->b_step;
    size_t count = c->columns - j < CIVG_PANEL_COLUMNS ? c->columns - j : CIVG_PANEL_COLUMNS, done = 0;
    if (CIVG_CHAIN_VECTORS == 2 && count == CIVG_PANEL_COLUMNS) {
      chain_some(R, 2, a, b, c->b_step, depth, out + j, c->out_stride, continues);
      continue;
    }
    for (; done + 16 <= count; done += 16) {
      chain_some(R, 1, a, b + done, c->b_step, depth, out + j + done, c->out_stride, continues);
    }
    if (done < count) {
      chain_tail((size_t)R, a, b + done, c->b_step, depth, count - done, out + j + done, c->out_stride, continues);
    }
  }
}

/* Terms [first, first + depth) of `rows` rows, side by side. */
CIVG_INLINE void chain_copy(const civg_chain *c, size_t row, size_t rows, size_t first, size_t depth, float *copy) {
  for (size_t r = 0; r < rows; r++) {
    const float *from = c->a + (row + r) * c->a_row + first * c->a_step;
    float *to = copy + r * CIVG_CHAIN_STRIDE;
    if (c->a_step == 1) {
      __builtin_memcpy(to, from, depth * sizeof(float));
    } else {
      for (size_t k = 0; k < depth; k++) to[k] = from[k * c->a_step];
    }
  }
}

static void chain(const civg_chain *c) {
  float copy[CIVG_CHAIN_ROWS * CIVG_CHAIN_STRIDE] __attribute__((aligned(64)));
  for (size_t row = 0, taken; row < c->rows; row += taken) {
    size_t left = c->rows - row;
    taken = left >= CIVG_CHAIN_ROWS ? CIVG_CHAIN_ROWS : left >= 8 ? 8 : left >= 4 ? 4 : left >= 2 ? 2 : 1;
    if (taken > CIVG_CHAIN_ROWS) taken = CIVG_CHAIN_ROWS;
    for (size_t first = 0; first < c->depth || first == 0; first += CIVG_CHAIN_TERMS) {
      size_t depth = c->depth - first < CIVG_CHAIN_TERMS ? c->depth - first : CIVG_CHAIN_TERMS;
      float *out = c->out + row * c->out_stride;
      const float *next = NULL;
      if (c->a_step == 1 && first + 2 * CIVG_CHAIN_TERMS <= c->depth) {
        next = c->a + row * c->a_row + first + CIVG_CHAIN_TERMS;
      } else if (c->a_step == 1 && c->depth >= CIVG_CHAIN_TERMS && left >= 2 * taken) {
        next = c->a + (row + taken) * c->a_row;
      }
      int continues = c->continues || first > 0;
      chain_copy(c, row, taken, first, depth, copy);
      if (taken == CIVG_CHAIN_ROWS) chain_rows(CIVG_CHAIN_ROWS, c, copy, first, depth, out, continues, next);
      else if (CIVG_CHAIN_ROWS > 8 && taken == 8) chain_rows(8, c, copy, first, depth, out, continues, next);
      else if (CIVG_CHAIN_ROWS > 4 && taken == 4) chain_rows(4, c, copy, first, depth, out, continues, next);
      else if (CIVG_CHAIN_ROWS > 2 && taken == 2) chain_rows(2, c, copy, first, depth, out, continues, next);
      else chain_rows(1, c, copy, first, depth, out, continues, next);
    }
  }
}

/* ---- Weights as operands of products -------------------------------------------------------------------------- */

static void (*const decoders[32])(const void *, size_t, float *) = CIVG_DEQUANTIZE;

/* Where column `column` of output `output` is stored; `column` begins a block. */
CIVG_INLINE const uint8_t *stored_at(const civg_matrix *w, size_t output, size_t column) {
  return (const uint8_t *)w->data + output * w->row_bytes + column * w->row_bytes / w->columns;
}

static void unpack_rows(const civg_matrix *w, size_t output, size_t outputs, size_t column, size_t columns,
                        float *panel) {
  float rows[16][CIVG_CHAIN_STRIDE] __attribute__((aligned(64)));
  const tile_rows tile = {{(uint8_t *)rows[0], (uint8_t *)rows[4], (uint8_t *)rows[8], (uint8_t *)rows[12]},
                          sizeof rows[0]};
  for (size_t half = 0; half < CIVG_PANEL_COLUMNS; half += 16) {
    for (size_t k = 0; k < columns; k += CIVG_CHAIN_TERMS) {
      size_t count = columns - k < CIVG_CHAIN_TERMS ? columns - k : CIVG_CHAIN_TERMS;
      for (size_t i = 0; i < 16; i++) {
        if (half + i < outputs) {
          decoders[w->type](stored_at(w, output + half + i, column + k), count, rows[i]);
        } else {
          __builtin_memset(rows[i], 0, sizeof rows[i]);
        }
      }
      for (size_t j = 0; j < count; j += 4) {
        v16f lanes[8];
        float_columns(F32, &tile, j * sizeof(float), lanes);
        for (size_t n = 0; n < 4 && j + n < count; n++) store16f(panel + (k + j + n) * CIVG_PANEL_COLUMNS + half, lanes[n]);
      }
    }
  }
}

static void unpack_columns(const civg_matrix *w, size_t output, size_t outputs, size_t column, size_t columns,
                           float *panels) {
  float row[256 + CIVG_PANEL_COLUMNS] __attribute__((aligned(64)));
  for (size_t o = 0; o < outputs; o++) {
    for (size_t j = 0; j < columns; j += 256) {
      size_t count = columns - j < 256 ? columns - j : 256;
      decoders[w->type](stored_at(w, output + o, column + j), count, row);
      for (size_t i = count; i % CIVG_PANEL_COLUMNS != 0; i++) row[i] = 0;
      for (size_t i = 0; i < count; i += CIVG_PANEL_COLUMNS) {
        float *to = panels + ((j + i) / CIVG_PANEL_COLUMNS * outputs + o) * CIVG_PANEL_COLUMNS;
        store16f(to, load16f(row + i));
        store16f(to + 16, load16f(row + i + 16));
      }
    }
  }
}

/* ---- Derivatives ----------------------------------------------------------------------------------------------- */

static void rms_norm_backward(const float *x, const float *weight, const float *dy, size_t n, float epsilon, float *dx) {
  float inverse = 1.0f / __builtin_sqrtf(dot_lanes(x, x, n) / (float)n + epsilon);
  v16f acc = splat(0);
  for (size_t i = 0; i < n; i += 16) {
    v16f g = load_some(dy + i, n - i, 0) * load_some(weight + i, n - i, 0);
    acc = fma16(g, load_some(x + i, n - i, 0), acc);
  }
  float pull = sum_lanes(acc) / (float)n * inverse * inverse * inverse;
  for (size_t i = 0; i < n; i += 16) {
    v16f g = load_some(dy + i, n - i, 0) * load_some(weight + i, n - i, 0) * splat(inverse);
    g = fma16(splat(-pull), load_some(x + i, n - i, 0), g);
    store_some(dx + i, n - i, load_some(dx + i, n - i, 0) + g);
  }
}

static void silu_multiply_backward(const float *gate, const float *up, float *dgate, float *dup, float *product,
                                   size_t n) {
  for (size_t i = 0; i < n; i += 16) {
    v16f g = load_some(gate + i, n - i, 0), u = load_some(up + i, n - i, 0), d = load_some(dgate + i, n - i, 0);
    v16f s = splat(1.0f) / (splat(1.0f) + exp16(-g)), silu = g * s;
    store_some(product + i, n - i, silu * u);
    store_some(dup + i, n - i, d * silu);
    store_some(dgate + i, n - i, d * u * (s * (splat(1.0f) + g * (splat(1.0f) - s))));
  }
}

static void softmax(float *x, size_t n, size_t width, float scale) {
  const v16f lowest = splat(-__builtin_inff());
  v16f most = lowest, total = splat(0);
  for (size_t i = 0; i < n; i += 16) most = larger(load_some(x + i, n - i, -__builtin_inff()), most);
  float largest = max_lanes(most);
  for (size_t i = 0; i < n; i += 16) {
    v16f e = exp16((load_some(x + i, n - i, -__builtin_inff()) - splat(largest)) * splat(scale));
    total = total + e;
    store_some(x + i, n - i, e);
  }
  float inverse = 1.0f / sum_lanes(total);
  for (size_t i = 0; i < n; i += 16) store_some(x + i, n - i, load_some(x + i, n - i, 0) * splat(inverse));
  for (size_t i = n; i < width; i++) x[i] = 0;
}

static void softmax_backward(const float *p, float *dp, size_t n, size_t width, float scale) {
  float mean = dot_lanes(p, dp, n);
  for (size_t i = 0; i < n; i += 16) {
    v16f d = load_some(p + i, n - i, 0) * (load_some(dp + i, n - i, 0) - splat(mean)) * splat(scale);
    store_some(dp + i, n - i, d);
  }
  for (size_t i = n; i < width; i++) dp[i] = 0;
}

/* x = scale (one-hot(token) - softmax(x)), given log(sum(exp(x))). */
static void log_probability_backward(float *x, size_t n, size_t token, double log_sum, float scale) {
  const v16f shift = splat((float)log_sum);
  for (size_t i = 0; i < n; i += 16) {
    store_some(x + i, n - i, exp16(load_some(x + i, n - i, 0) - shift) * splat(-scale));
  }
  x[token] += scale;
}

/* Sum of squares, sixteen chains in double precision. */
static double sum_of_squares(const float *x, size_t n) {
  v16d acc = {0};
  for (size_t i = 0; i < n; i += 16) {
    v16d v = __builtin_convertvector(load_some(x + i, n - i, 0), v16d);
    acc = acc + v * v;
  }
  return sum_lanes_d(acc);
}

static double expectation(const float *logits, const float *x, size_t n, double log_sum) {
  const v16f shift = splat((float)log_sum);
  v16d acc = {0};
  for (size_t i = 0; i < n; i += 16) {
    v16f p = exp16(load_some(logits + i, n - i, -__builtin_inff()) - shift);
    acc = acc + __builtin_convertvector(p, v16d) * __builtin_convertvector(load_some(x + i, n - i, 0), v16d);
  }
  return sum_lanes_d(acc);
}

static void transpose(const float *x, size_t stride, size_t rows, size_t columns, float *out, size_t width) {
  for (size_t j = 0; j < columns; j++) {
    for (size_t i = 0; i < rows; i++) out[j * width + i] = x[i * stride + j];
    for (size_t i = rows; i < width; i++) out[j * width + i] = 0;
  }
}

static void adamw(const civg_adamw *a, float *parameters, const float *gradients, float *first, float *second,
                  size_t n) {
  for (size_t i = 0; i < n; i += 16) {
    v16f g = load_some(gradients + i, n - i, 0) * splat(a->gradient_scale);
    v16f m = load_some(first + i, n - i, 0), s = load_some(second + i, n - i, 0), p = load_some(parameters + i, n - i, 0);
    m = fma16(splat(a->beta1), m, splat(1.0f - a->beta1) * g);
    s = fma16(splat(a->beta2), s, splat(1.0f - a->beta2) * g * g);
    p = p - splat(a->decay) * p;
    p = p - splat(a->rate) * (m * splat(a->correction1)) / (__builtin_elementwise_sqrt(s * splat(a->correction2)) + splat(a->epsilon));
    store_some(first + i, n - i, m);
    store_some(second + i, n - i, s);
    store_some(parameters + i, n - i, p);
  }
}

/* A well mixed 32-bit number of each lane's counter. */
CIVG_INLINE v16u mix16(v16u x) {
  x = (x ^ (x >> 16)) * 0x21f0aaadu;
  x = (x ^ (x >> 15)) * 0x735a2d97u;
  return x ^ (x >> 15);
}

static void dropout(const float *x, float *out, size_t n, float rate, uint64_t key, int adds) {
  const v16u lane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  const v16u low = lane * 0u + (uint32_t)key, high = lane * 0u + (uint32_t)(key >> 32);
  const v16f keep = splat(1.0f / (1.0f - rate)), limit = splat(rate * 16777216.0f);
  for (size_t i = 0; i < n; i += 16) {
    v16u random = mix16(mix16((lane + (uint32_t)i) ^ low) + high);
    v16i kept = __builtin_convertvector((v16i)(random >> 8), v16f) >= limit;
    v16f y = choose(kept, load_some(x + i, n - i, 0) * keep, splat(0));
    if (adds) y = y + load_some(out + i, n - i, 0);
    store_some(out + i, n - i, y);
  }
}

#endif /* CIVG_TRAINING_H */
