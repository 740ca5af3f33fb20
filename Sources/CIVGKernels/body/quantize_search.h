/* SPDX-License-Identifier: Apache-2.0
 *
 * quantize_search.h - floats to stored blocks: the search for scales.
 *
 * A block is n numbers x that share a scale d, and in some types a minimum m; each becomes the whole number q for
 * which d q (+ m) is nearest. Which d and m are best is no convex question, since q depends on them. The search
 * starts from many, and improves each in turns: the nearest q for d and m, then the d and m that are best for those q,
 * by weighted least squares. What counts is the error with d and m as they will be stored.
 *
 * A lane is a block: sixteen of them are searched side by side, and nothing is ever summed across lanes but
 * what the blocks of a superblock share (quantize_k.h).
 */
#ifndef CIVG_QUANTIZE_SEARCH_H
#define CIVG_QUANTIZE_SEARCH_H

/* What a block's numbers count for, beside the weights of their columns: all the same, or, by the root of their square
 * plus the block's mean square, large ones for more. Where there are few whole numbers and none of them is far from 0,
 * an even count gives large numbers away for small ones, which costs a model more than the error says: measured by
 * Tests/Benchmarks/quantize.py. */
enum { EVEN = 0, LARGE_FIRST = 1 };

/* Sixteen blocks: element i of block l is x[i][l], and counts w[i][l] in the error. */
typedef struct blocks16 {
  v16f x[32];
  v16f w[32];
} blocks16;

/* What one look at sixteen blocks tells: the error sum(w (x - d q - m)^2), and what least squares need. */
typedef struct fit16 {
  v16f error;
  v16f xq, qq, q; /* sums of w x q, w q q, w q */
} fit16;

/* Nearest whole numbers, ties to even, of |v| < 2^22. */
CIVG_INLINE v16f whole16(v16f v) { return (v + splat(12582912.0f)) - splat(12582912.0f); }

/* v within low ... high. */
CIVG_INLINE v16f within(v16f v, float low, float high) {
  v = choose(v > splat(low), v, splat(low));
  return choose(v < splat(high), v, splat(high));
}

/* 1 / v, and 0 for 0: a block of zeros. */
CIVG_INLINE v16f reciprocal(v16f v) {
  v16i is_zero = v == splat(0);
  return choose(is_zero, splat(0), splat(1) / choose(is_zero, splat(1), v));
}

/* The number that a half holds of v, which is brought into its range. */
CIVG_INLINE v16f as_half(v16f v) { return half16(to_half16(within(v, -65504, 65504))); }

/* Whole numbers low ... high nearest to (x - m) / d, given 1 / d. */
CIVG_INLINE v16f nearest(v16f x, v16f inverse, v16f m, float low, float high) {
  return whole16(within((x - m) * inverse, low, high));
}

CIVG_INLINE fit16 look(const blocks16 *b, int n, v16f d, v16f m, float low, float high) {
  fit16 fit = {splat(0), splat(0), splat(0), splat(0)};
  const v16f inverse = reciprocal(d);
  for (int i = 0; i < n; i++) {
    v16f x = b->x[i], q = nearest(x, inverse, m, low, high), wq = b->w[i] * q, rest = (x - m) - d * q;
    fit.error = fit.error + b->w[i] * rest * rest;
    fit.xq = fit.xq + wq * x;
    fit.qq = fit.qq + wq * q;
    fit.q = fit.q + wq;
  }
  return fit;
}

/* Takes up to sixteen blocks of n from `x`, of which the first begins at column `column` of a row. Weights are those of
 * the columns (NULL: 1). Blocks that are not there are zero. */
CIVG_INLINE void take_blocks(blocks16 *b, int n, const float *x, size_t count, const float *weights, size_t column,
                             size_t columns) {
  float *to = (float *)b->x, *w = (float *)b->w;
  for (size_t l = 0; l < 16; l++) {
    const float *from = x + l * (size_t)n, *weight = weights ? weights + column : 0;
    for (int i = 0; i < n; i++) {
      to[16 * i + (int)l] = l < count ? from[i] : 0;
      w[16 * i + (int)l] = weight ? weight[i] : 1.0f;
    }
    column += (size_t)n;
    if (column == columns) column = 0;
  }
}

/* Multiplies the weights by what the numbers count for. */
CIVG_INLINE void emphasise(blocks16 *b, int n, int emphasis) {
  if (emphasis == EVEN) return;
  v16f squares = splat(0);
  for (int i = 0; i < n; i++) squares = squares + b->x[i] * b->x[i];
  squares = squares / splat((float)n);
  for (int i = 0; i < n; i++) b->w[i] = b->w[i] * __builtin_elementwise_sqrt(squares + b->x[i] * b->x[i]);
}

/* ---- One scale -------------------------------------------------------------------------------------------- */

/* The number of largest size of every block, with its sign. */
CIVG_INLINE v16f largest16(const blocks16 *b, int n) {
  v16f most = splat(0);
  for (int i = 0; i < n; i++) most = choose(absolute(b->x[i]) > absolute(most), b->x[i], most);
  return most;
}

/* The scales with the least error among those looked at: `starts` of them on either side of the one that takes the
 * largest number to an end of the range, each improved `turns` times. `rounds`: scales are stored as halves. */
CIVG_INLINE v16f best_scale(const blocks16 *b, int n, float low, float high, int starts, float step, int turns,
                            int rounds) {
  const v16f most = largest16(b, n);
  v16f best = splat(0), least = splat(__builtin_inff());
  /* In a range that is the same on both sides of 0 so are its ends. */
  for (int end = low == -high; end < 2; end++) {
    for (int s = 0; s < starts; s++) {
      v16f d = most / splat((end ? high : low) + (float)(s - starts / 2) * step);
      for (int turn = 0; turn < turns; turn++) {
        if (rounds) d = as_half(d);
        fit16 fit = look(b, n, d, splat(0), low, high);
        v16i is_better = fit.error < least;
        best = choose(is_better, d, best);
        least = choose(is_better, fit.error, least);
        d = fit.xq * reciprocal(fit.qq);
      }
    }
  }
  return best;
}

/* ---- A scale and a minimum ---------------------------------------------------------------------------------- */

typedef struct line16 {
  v16f d;
  v16f m;
} line16;

/* Sums of a block that no search changes. */
typedef struct totals16 {
  v16f w, x; /* sums of w, w x */
} totals16;

CIVG_INLINE totals16 totals_of(const blocks16 *b, int n) {
  totals16 t = {splat(0), splat(0)};
  for (int i = 0; i < n; i++) {
    t.w = t.w + b->w[i];
    t.x = t.x + b->w[i] * b->x[i];
  }
  return t;
}

/* The line through the q by least squares; `negative`: its minimum is at most 0. Where all q are one, `old` stays. */
CIVG_INLINE line16 line_of(fit16 fit, totals16 t, line16 old, int negative) {
  v16f det = t.w * fit.qq - fit.q * fit.q;
  v16i is_line = det > splat(1e-6f) * t.w * fit.qq;
  v16f inverse = reciprocal(choose(is_line, det, splat(0)));
  line16 line = {(t.w * fit.xq - t.x * fit.q) * inverse, (t.x * fit.qq - fit.q * fit.xq) * inverse};
  if (negative) {
    v16i is_above = line.m > splat(0);
    line.d = choose(is_above, fit.xq * reciprocal(fit.qq), line.d);
    line.m = choose(is_above, splat(0), line.m);
  }
  line.d = choose(is_line & (line.d > splat(0)), line.d, old.d);
  line.m = choose(is_line & (line.d > splat(0)), line.m, old.m);
  return line;
}

/* The scales and minima with the least error among those looked at: starts * starts ways to cut the ends of the
 * range off, or to leave room there, each improved `turns` times. */
CIVG_INLINE line16 best_line(const blocks16 *b, int n, float high, int starts, float step, int turns, int rounds,
                             int negative) {
  const totals16 t = totals_of(b, n);
  v16f bottom = b->x[0], top = b->x[0];
  for (int i = 1; i < n; i++) {
    bottom = choose(b->x[i] < bottom, b->x[i], bottom);
    top = choose(b->x[i] > top, b->x[i], top);
  }
  if (negative) bottom = choose(bottom > splat(0), splat(0), bottom);
  const v16f range = top - bottom;
  line16 best = {splat(0), rounds ? as_half(bottom) : bottom};
  v16f least = splat(__builtin_inff());
  for (int s = 0; s < starts * starts; s++) {
    float below = (float)(s / starts) * step - step, above = (float)(s % starts) * step - step;
    line16 line = {range * splat((1.0f - below - above) / high), bottom + range * splat(below)};
    if (negative) line.m = choose(line.m > splat(0), splat(0), line.m);
    for (int turn = 0; turn < turns; turn++) {
      if (rounds) line = (line16){as_half(line.d), as_half(line.m)};
      fit16 fit = look(b, n, line.d, line.m, 0, high);
      v16i is_better = fit.error < least;
      best.d = choose(is_better, line.d, best.d);
      best.m = choose(is_better, line.m, best.m);
      least = choose(is_better, fit.error, least);
      line = line_of(fit, t, line, negative);
    }
  }
  return best;
}
#endif /* CIVG_QUANTIZE_SEARCH_H */
