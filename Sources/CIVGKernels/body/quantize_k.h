/* SPDX-License-Identifier: Apache-2.0
 *
 * quantize_k.h - rows of floats as stored: K types.
 *
 * A superblock is 256 numbers: 8 or 16 blocks, whose scales (and minima) are small whole numbers times one half, d
 * (times another, e), for all of them. First each block gets the scale and minimum that are best for itself; d and e
 * take the largest of those to the end of their range. Then, in rounds: every block looks at the whole scales and
 * minima around its own best ones, by the error that its numbers would have; and d and e become, by least squares
 * over the superblock, the best for what was chosen. The round with the least error stays.
 */
#ifndef CIVG_QUANTIZE_K_H
#define CIVG_QUANTIZE_K_H

/* A K type: blocks of n numbers low ... high, whole scales scale_low ... scale_high, and for lines whole minima up to
 * the same. */
typedef struct k_form {
  int n;
  float low, high;
  float scale_low, scale_high;
  int has_minimum;
} k_form;

/* Sixteen blocks, of one superblock or two, in the making. */
typedef struct k_choice {
  v16f d, e;            /* the halves; equal in all lanes of a superblock */
  v16f scale, minimum;  /* whole */
} k_choice;

/* The sum, or the largest, over the lanes of each superblock (of `width` lanes), in all of them. */
CIVG_INLINE v16f sum_super(v16f v, int width) {
  float a[16];
  store16f(a, v);
  for (int first = 0; first < 16; first += width) {
    float sum = 0;
    for (int i = 0; i < width; i++) sum = sum + a[first + i];
    for (int i = 0; i < width; i++) a[first + i] = sum;
  }
  return load16f(a);
}

/* The lane of largest size of each superblock, with its sign. */
CIVG_INLINE v16f largest_super(v16f v, int width) {
  float a[16];
  store16f(a, v);
  for (int first = 0; first < 16; first += width) {
    float most = 0;
    for (int i = 0; i < width; i++) {
      if (__builtin_fabsf(a[first + i]) > __builtin_fabsf(most)) most = a[first + i];
    }
    for (int i = 0; i < width; i++) a[first + i] = most;
  }
  return load16f(a);
}

/* Every block's best whole scale and minimum for given d and e, around `wish`; the error goes to *least, and the
 * line that would be better still to *wish. */
CIVG_INLINE void choose_wholes(const blocks16 *b, k_form f, totals16 t, k_choice *c, line16 *wish, v16f *least) {
  const int reach = 1;
  const v16f scale = whole16(within(wish->d * reciprocal(c->d), f.scale_low, f.scale_high));
  const v16f minimum = whole16(within(splat(0) - wish->m * reciprocal(c->e), 0, f.scale_high));
  *least = splat(__builtin_inff());
  fit16 chosen = {splat(0), splat(0), splat(0), splat(0)};
  for (int i = -reach; i <= reach; i++) {
    for (int j = f.has_minimum ? -reach : 0; j <= (f.has_minimum ? reach : 0); j++) {
      v16f s = within(scale + splat((float)i), f.scale_low, f.scale_high);
      v16f m = f.has_minimum ? within(minimum + splat((float)j), 0, f.scale_high) : splat(0);
      fit16 fit = look(b, f.n, c->d * s, splat(0) - c->e * m, f.low, f.high);
      v16i is_better = fit.error < *least;
      *least = choose(is_better, fit.error, *least);
      c->scale = choose(is_better, s, c->scale);
      c->minimum = choose(is_better, m, c->minimum);
      chosen.xq = choose(is_better, fit.xq, chosen.xq);
      chosen.qq = choose(is_better, fit.qq, chosen.qq);
      chosen.q = choose(is_better, fit.q, chosen.q);
    }
  }
  line16 now = {c->d * c->scale, splat(0) - c->e * c->minimum};
  if (f.has_minimum) {
    *wish = line_of(chosen, t, now, 1);
  } else {
    v16f d = chosen.xq * reciprocal(chosen.qq);
    wish->d = choose(chosen.qq > splat(0), d, now.d);
  }
  /* Least squares over the superblock for x = d (scale q) - e minimum. */
  const int width = 256 / f.n;
  v16f aa = sum_super(c->scale * c->scale * chosen.qq, width), ax = sum_super(c->scale * chosen.xq, width);
  if (!f.has_minimum) {
    c->d = choose(aa > splat(0), ax * reciprocal(aa), c->d);
    return;
  }
  v16f ab = sum_super(c->scale * c->minimum * chosen.q, width), bb = sum_super(c->minimum * c->minimum * t.w, width);
  v16f bx = sum_super(c->minimum * t.x, width);
  v16f det = aa * bb - ab * ab;
  v16i is_pair = det > splat(1e-6f) * aa * bb;
  v16f inverse = reciprocal(choose(is_pair, det, splat(0)));
  v16f d = (ax * bb - ab * bx) * inverse, e = (ab * ax - aa * bx) * inverse;
  v16i is_right = is_pair & (d > splat(0)) & (e > splat(0));
  v16i is_single = ~is_right & (bb == splat(0)) & (aa > splat(0));
  c->d = choose(is_right, d, choose(is_single, ax * reciprocal(aa), c->d));
  c->e = choose(is_right, e, c->e);
}

CIVG_INLINE k_choice choose_super(const blocks16 *b, k_form f, int rounds, int starts, float step) {
  const int width = 256 / f.n;
  const totals16 t = totals_of(b, f.n);
  line16 own;
  if (f.has_minimum) {
    own = best_line(b, f.n, f.high, 4, f.high > 20 ? 0.02f : f.high > 10 ? 0.04f : 0.1f, 3, 0, 1);
  } else {
    own.d = best_scale(b, f.n, f.low, f.high, 9, f.high > 20 ? 0.4f : 0.2f, 2, 0);
    own.m = splat(0);
  }
  const v16f largest_d = largest_super(own.d, width), largest_m = largest_super(own.m, width);
  k_choice best = {splat(0), splat(0), splat(0), splat(0)};
  v16f best_error = splat(__builtin_inff());
  for (int start = 0; start < starts; start++) {
    const float stretch = 1.0f - (float)start * step;
    k_choice c = best;
    line16 wish = own;
    c.d = largest_d * splat(stretch / (f.has_minimum ? f.scale_high : f.scale_low));
    c.e = largest_m * splat(-stretch / f.scale_high);
    for (int round = 0; round < rounds; round++) {
      c.d = as_half(c.d);
      c.e = as_half(c.e);
      const v16f d = c.d, e = c.e;
      v16f error;
      choose_wholes(b, f, t, &c, &wish, &error);
      error = sum_super(error, width);
      v16i is_better = error < best_error;
      best_error = choose(is_better, error, best_error);
      best.d = choose(is_better, d, best.d);
      best.e = choose(is_better, e, best.e);
      best.scale = choose(is_better, c.scale, best.scale);
      best.minimum = choose(is_better, c.minimum, best.minimum);
    }
  }
  return best;
}

/* A superblock's numbers in their order, lifted to be at least 0, with scales and minima. */
typedef struct superblock {
  uint8_t q[256];
  int8_t scale[16];
  uint8_t minimum[16];
  uint16_t d, e;
} superblock;

typedef void (*pack_fn)(const superblock *s, uint8_t *to);

CIVG_INLINE void store_super_rows(const float *x, size_t rows, size_t columns, const float *weights, uint8_t *to,
                                  k_form f, int emphasis, size_t bytes, pack_fn pack) {
  const size_t count = rows * columns / (size_t)f.n, width = 256 / (size_t)f.n;
  blocks16 b;
  superblock s;
  for (size_t k = 0; k < count; k += 16) {
    const size_t here = count - k < 16 ? count - k : 16;
    take_blocks(&b, f.n, x + (size_t)f.n * k, here, weights, (size_t)f.n * k % columns, columns);
    emphasise(&b, f.n, emphasis);
    k_choice c = choose_super(&b, f, 3, 3, 0.03f);
    v16f d = c.d * c.scale, m = splat(0) - c.e * c.minimum, inverse = reciprocal(d);
    uint8_t q[16][32];
    for (int i = 0; i < f.n; i++) {
      v16i v = __builtin_convertvector(nearest(b.x[i], inverse, m, f.low, f.high) - splat(f.low), v16i);
      for (int l = 0; l < 16; l++) q[l][i] = (uint8_t)v[l];
    }
    uint16_t ds[16], es[16];
    store_halves(ds, c.d);
    store_halves(es, c.e);
    for (size_t first = 0; first < here; first += width, to += bytes) {
      for (size_t l = 0; l < width; l++) {
        __builtin_memcpy(s.q + l * (size_t)f.n, q[first + l], (size_t)f.n);
        s.scale[l] = (int8_t)c.scale[first + l];
        s.minimum[l] = (uint8_t)c.minimum[first + l];
      }
      s.d = ds[first];
      s.e = es[first];
      pack(&s, to);
    }
  }
}

/* Two bits of each number: byte 32 h + i has those of the numbers 128 h + i + 0, 32, 64, 96. */
CIVG_INLINE void pack_pairs(const uint8_t *q, uint8_t *to) {
  for (int i = 0; i < 64; i++) {
    const uint8_t *p = q + i / 32 * 128 + i % 32;
    to[i] = (uint8_t)((p[0] & 3) | (p[32] & 3) << 2 | (p[64] & 3) << 4 | (p[96] & 3) << 6);
  }
}

static void pack_q2_k(const superblock *s, uint8_t *to) {
  for (int i = 0; i < 16; i++) to[i] = (uint8_t)(s->scale[i] | s->minimum[i] << 4);
  pack_pairs(s->q, to + 16);
  store_half(to + 80, s->d);
  store_half(to + 82, s->e);
}

static void pack_q3_k(const superblock *s, uint8_t *to) {
  for (int i = 0; i < 32; i++) {
    to[i] = 0;
    for (int k = 0; k < 8; k++) to[i] |= (uint8_t)((s->q[32 * k + i] >> 2) << k);
  }
  pack_pairs(s->q, to + 32);
  uint8_t *scales = to + 96;
  __builtin_memset(scales, 0, 12);
  for (int i = 0; i < 16; i++) {
    int v = s->scale[i] + 32;
    scales[i % 8] |= (uint8_t)((v & 15) << (i / 8 * 4));
    scales[8 + i % 4] |= (uint8_t)(v >> 4 << (i / 4 * 2));
  }
  store_half(to + 108, s->d);
}

/* Eight scales and minima of six bits: the first four plain, the others split. */
CIVG_INLINE void pack_sixes(const superblock *s, uint8_t *to) {
  for (int i = 0; i < 4; i++) {
    int scale = s->scale[i + 4], minimum = s->minimum[i + 4];
    to[i] = (uint8_t)(s->scale[i] | scale >> 4 << 6);
    to[i + 4] = (uint8_t)(s->minimum[i] | minimum >> 4 << 6);
    to[i + 8] = (uint8_t)((scale & 15) | (minimum & 15) << 4);
  }
}

CIVG_INLINE void pack_nibbles_k(const uint8_t *q, uint8_t *to) {
  for (int i = 0; i < 128; i++) {
    const uint8_t *p = q + i / 32 * 64 + i % 32;
    to[i] = (uint8_t)((p[0] & 15) | (p[32] & 15) << 4);
  }
}

static void pack_q4_k(const superblock *s, uint8_t *to) {
  store_half(to, s->d);
  store_half(to + 2, s->e);
  pack_sixes(s, to + 4);
  pack_nibbles_k(s->q, to + 16);
}

static void pack_q5_k(const superblock *s, uint8_t *to) {
  store_half(to, s->d);
  store_half(to + 2, s->e);
  pack_sixes(s, to + 4);
  for (int i = 0; i < 32; i++) {
    to[16 + i] = 0;
    for (int k = 0; k < 8; k++) to[16 + i] |= (uint8_t)((s->q[32 * k + i] >> 4) << k);
  }
  pack_nibbles_k(s->q, to + 48);
}

static void pack_q6_k(const superblock *s, uint8_t *to) {
  for (int i = 0; i < 128; i++) {
    const uint8_t *p = s->q + i / 64 * 128 + i % 64;
    to[i] = (uint8_t)((p[0] & 15) | (p[64] & 15) << 4);
  }
  for (int i = 0; i < 64; i++) {
    const uint8_t *p = s->q + i / 32 * 128 + i % 32;
    to[128 + i] = (uint8_t)(p[0] >> 4 | p[32] >> 4 << 2 | p[64] >> 4 << 4 | p[96] >> 4 << 6);
  }
  for (int i = 0; i < 16; i++) to[192 + i] = (uint8_t)s->scale[i];
  store_half(to + 208, s->d);
}

#define CIVG_STORE_K(type, pack, bytes, n, low, high, scale_low, scale_high, has_minimum, emphasis)             \
  static void store_##type(const float *x, size_t rows, size_t columns, const float *weights, void *out) { \
    const k_form f = {n, low, high, scale_low, scale_high, has_minimum};                                        \
    store_super_rows(x, rows, columns, weights, out, f, emphasis, bytes, pack);                                 \
  }

CIVG_STORE_K(Q2_K, pack_q2_k, 84, 16, 0, 3, 0, 15, 1, EVEN)
CIVG_STORE_K(Q3_K, pack_q3_k, 110, 16, -4, 3, -32, 31, 0, LARGE_FIRST)
CIVG_STORE_K(Q4_K, pack_q4_k, 144, 32, 0, 15, 0, 63, 1, EVEN)
CIVG_STORE_K(Q5_K, pack_q5_k, 176, 32, 0, 31, 0, 63, 1, EVEN)
CIVG_STORE_K(Q6_K, pack_q6_k, 210, 16, -32, 31, -128, 127, 0, EVEN)

#endif /* CIVG_QUANTIZE_K_H */
