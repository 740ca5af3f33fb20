/* SPDX-License-Identifier: Apache-2.0
 *
 * attention.h - what rows take from the keys and values of their sequences.
 *
 * A query is one head of one row. Lanes are tokens while scores are formed and dimensions while values are mixed, so
 * neither needs a sum over lanes. The order of every sum follows token positions alone: a query gives the same bits
 * wherever its pages lie, whatever else is in them, and whichever queries are worked on together.
 */
#ifndef CIVG_ATTENTION_H
#define CIVG_ATTENTION_H

/* The row of query n. */
CIVG_INLINE const civg_attending *row_of(const civg_attention *a, size_t n) { return &a->rows[n / a->heads]; }

/* Where page `page` of query n's row is. */
CIVG_INLINE const uint8_t *page_of(const civg_attention *a, size_t n, size_t page) {
  return a->pool + (size_t)row_of(a, n)->page_ids[page] * a->page_bytes;
}

/* Sixteen stored numbers. wide: floats, else halves. */
CIVG_INLINE v16f load_stored16(int wide, const uint8_t *p) {
  return wide ? load16f((const float *)(const void *)p) : half16(load16h(p));
}
CIVG_INLINE size_t stored_size(int wide) { return wide ? 4 : 2; }

/* Pages, or sixteens of dimensions, that H queries take at a time: as many accumulators as fit in registers. */
CIVG_INLINE int at_once(int H) { return CIVG_CHAINS / H >= 4 ? 4 : CIVG_CHAINS / H >= 2 ? 2 : 1; }

/* Scores of the H queries from n on for the P pages from `page` on; unattended lanes get -inf. One chain over the
 * dimensions. Pages lie anywhere, so what comes next is asked for here: the keys of the following pages before `end`,
 * and these pages' values. */
CIVG_INLINE void score_some(int wide, int H, int P, const civg_attention *a, size_t n, size_t page, size_t end, size_t stride) {
  const v16i lane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  const civg_attending *row = row_of(a, n);
  const size_t size = stored_size(wide);
  const uint8_t *keys[4], *next[4], *values[4];
  const float *q[CIVG_HEADS];
  v16f sum[CIVG_HEADS][4];
  CIVG_UNROLL for (int p = 0; p < P; p++) {
    size_t following = page + (size_t)(P + p);
    keys[p] = page_of(a, n, page + (size_t)p) + a->k_offset;
    next[p] = page_of(a, n, following < end ? following : page) + a->k_offset;
    values[p] = page_of(a, n, page + (size_t)p) + a->v_offset;
  }
  CIVG_UNROLL for (int h = 0; h < H; h++) {
    q[h] = row_of(a, n + (size_t)h)->q + (n + (size_t)h) % a->heads * a->head_dim;
    CIVG_UNROLL for (int p = 0; p < P; p++) sum[h][p] = splat(0);
  }
  for (size_t d = 0; d < a->head_dim; d++) {
    v16f key[4];
    CIVG_UNROLL for (int p = 0; p < P; p++) {
      key[p] = load_stored16(wide, keys[p] + d * 16 * size);
      if (wide || d % 2 == 0) {
        __builtin_prefetch(next[p] + d * 16 * size, 0, 3);
        __builtin_prefetch(values[p] + d * 16 * size, 0, 2);
      }
    }
    CIVG_UNROLL for (int h = 0; h < H; h++) {
      v16f value = splat(q[h][d]);
      CIVG_UNROLL for (int p = 0; p < P; p++) sum[h][p] = fma16(key[p], value, sum[h][p]);
    }
  }
  CIVG_UNROLL for (int p = 0; p < P; p++) {
    const size_t token = (page + (size_t)p) * CIVG_PAGE;
    int32_t from = row->first > token ? (int32_t)(row->first - token) : 0;
    int32_t to = row->length - token < 16 ? (int32_t)(row->length - token) : 16;
    v16i use = (lane >= splat_i(from)) & (lane < splat_i(to));
    CIVG_UNROLL for (int h = 0; h < H; h++) {
      v16f s = sum[h][p] * splat(a->scale);
      if (a->softcap > 0) s = tanh16(s / splat(a->softcap)) * splat(a->softcap);
      store16f(a->scores + (n + (size_t)h) * stride + token, choose(use, s, splat(-__builtin_inff())));
    }
  }
}

/* The same for the pages [from, to). */
CIVG_INLINE void score_pages(int wide, int H, const civg_attention *a, size_t n, size_t from, size_t to, size_t stride) {
  const size_t P = (size_t)at_once(H);
  for (; from + P <= to; from += P) score_some(wide, H, at_once(H), a, n, from, to, stride);
  for (; P > 1 && from < to; from++) score_some(wide, H, 1, a, n, from, to, stride);
}

/* Scores become weights. */
CIVG_INLINE void weigh(float *scores, size_t start, size_t end) {
  v16f most = splat(-__builtin_inff()), total = splat(0);
  for (size_t t = start; t < end; t += 16) most = larger(load16f(scores + t), most);
  v16f top = splat(max_lanes(most));
  for (size_t t = start; t < end; t += 16) {
    v16f w = exp16(load16f(scores + t) - top);
    store16f(scores + t, w);
    total = total + w;
  }
  const v16f inverse = splat(1.0f / sum_lanes(total));
  for (size_t t = start; t < end; t += 16) store16f(scores + t, load16f(scores + t) * inverse);
}

/* Adds the values of pages [from, to) to D sixteens of the outputs of the H queries from n on, as far as they are
 * attended to. The sixteens begin at dimension `d`, the last has `count` dimensions. */
CIVG_INLINE void mix_some(int wide, int H, int D, const civg_attention *a, size_t n, size_t from, size_t to,
                          size_t stride, size_t d, size_t count) {
  const civg_attending *row = row_of(a, n);
  const size_t size = stored_size(wide);
  const float *weight[CIVG_HEADS];
  float *out[CIVG_HEADS];
  v16f acc[CIVG_HEADS][4];
  CIVG_UNROLL for (int h = 0; h < H; h++) {
    weight[h] = a->scores + (n + (size_t)h) * stride;
    out[h] = row_of(a, n + (size_t)h)->out + (n + (size_t)h) % a->heads * a->head_dim + d;
    CIVG_UNROLL for (int i = 0; i < D; i++) acc[h][i] = load_some(out[h] + 16 * i, count, 0);
  }
  for (size_t page = from; page < to; page++) {
    const uint8_t *values = page_of(a, n, page) + a->v_offset + d * size;
    size_t t = page * CIVG_PAGE, end = t + CIVG_PAGE < row->length ? t + CIVG_PAGE : row->length;
    for (t = t < row->first ? row->first : t; t < end; t++) {
      const uint8_t *value = values + (t % CIVG_PAGE) * a->head_dim * size;
      uint8_t copy[64] = {0};
      if (count < 16) {
        for (size_t i = 0; i < count * size; i++) copy[i] = value[i];
        value = copy;
      }
      v16f v[4];
      CIVG_UNROLL for (int i = 0; i < D; i++) v[i] = load_stored16(wide, value + 16 * size * (size_t)i);
      CIVG_UNROLL for (int h = 0; h < H; h++) {
        v16f w = splat(weight[h][t]);
        CIVG_UNROLL for (int i = 0; i < D; i++) acc[h][i] = fma16(w, v[i], acc[h][i]);
      }
    }
  }
  CIVG_UNROLL for (int h = 0; h < H; h++) {
    CIVG_UNROLL for (int i = 0; i < D; i++) store_some(out[h] + 16 * i, count, acc[h][i]);
  }
}

/* The same for all dimensions. */
CIVG_INLINE void mix_pages(int wide, int H, const civg_attention *a, size_t n, size_t from, size_t to, size_t stride) {
  const size_t D = (size_t)at_once(H), dim = a->head_dim;
  size_t d = 0;
  for (; d + 16 * D <= dim; d += 16 * D) mix_some(wide, H, at_once(H), a, n, from, to, stride, d, 16);
  for (; d < dim; d += 16) mix_some(wide, H, 1, a, n, from, to, stride, d, dim - d < 16 ? dim - d : 16);
}

/* Queries [n, end), as many at a time as fit in registers, over pages [from, to). */
#define CIVG_QUERIES(name, some, wide)                                                                              \
  static __attribute__((noinline)) void name(const civg_attention *a, size_t n, size_t end, size_t from, size_t to, \
                                             size_t stride) {                                                       \
    for (; n + CIVG_HEADS <= end; n += CIVG_HEADS) some(wide, CIVG_HEADS, a, n, from, to, stride);                  \
    for (; CIVG_HEADS > 4 && n + 4 <= end; n += 4) some(wide, 4, a, n, from, to, stride);                           \
    for (; CIVG_HEADS > 3 && n + 3 <= end; n += 3) some(wide, 3, a, n, from, to, stride);                           \
    for (; CIVG_HEADS > 1 && n < end; n++) some(wide, 1, a, n, from, to, stride);                                   \
  }
CIVG_QUERIES(score_queries, score_pages, 0)
CIVG_QUERIES(mix_queries, mix_pages, 0)
CIVG_QUERIES(score_queries_wide, score_pages, 1)
CIVG_QUERIES(mix_queries_wide, mix_pages, 1)
#undef CIVG_QUERIES

typedef void (*query_fn)(const civg_attention *a, size_t n, size_t end, size_t from, size_t to, size_t stride);

/* Each row's own pages before the shared ones, those of all rows at once, each row's own behind: every query meets its
 * pages in their order. */
static void visit_pages(query_fn visit, const civg_attention *a, size_t stride) {
  const size_t heads = a->heads, shared = a->shared_from < a->shared_to;
  for (size_t part = 0; part < 3; part++) {
    if (part == 1) {
      if (shared) visit(a, 0, a->row_count * heads, a->shared_from, a->shared_to, stride);
      continue;
    }
    for (size_t r = 0; r < a->row_count; r++) {
      const civg_attending *row = &a->rows[r];
      size_t from = row->first / CIVG_PAGE, to = (row->length + CIVG_PAGE - 1) / CIVG_PAGE;
      if (shared && part == 0) to = a->shared_from;
      if (part == 2) from = shared ? a->shared_to : to;
      if (from < to) visit(a, r * heads, (r + 1) * heads, from, to, stride);
    }
  }
}

static void attend(const civg_attention *a) {
  size_t longest = 0;
  for (size_t r = 0; r < a->row_count; r++) {
    const civg_attending *row = &a->rows[r];
    if (row->length > longest) longest = row->length;
    for (size_t i = 0; i < a->heads * a->head_dim; i++) row->out[i] = 0;
  }
  const size_t stride = (longest + 15) / 16 * 16;
  visit_pages(a->wide ? score_queries_wide : score_queries, a, stride);
  for (size_t n = 0; n < a->row_count * a->heads; n++) {
    const civg_attending *row = row_of(a, n);
    if (row->first >= row->length) continue;
    weigh(a->scores + n * stride, row->first / 16 * 16, row->length);
  }
  visit_pages(a->wide ? mix_queries_wide : mix_queries, a, stride);
}

static void store_key_value(const float *k, const float *v, size_t head_dim, size_t slot, int wide, void *k_page,
                            void *v_page) {
  if (wide) {
    for (size_t d = 0; d < head_dim; d++) {
      ((float *)k_page)[d * CIVG_PAGE + slot] = k[d];
      ((float *)v_page)[slot * head_dim + d] = v[d];
    }
    return;
  }
  for (size_t d = 0; d < head_dim; d += 16) {
    size_t n = head_dim - d < 16 ? head_dim - d : 16;
    uint16_t keys[16], values[16];
    v16h key = to_half16(load_some(k + d, n, 0)), value = to_half16(load_some(v + d, n, 0));
    __builtin_memcpy(keys, &key, sizeof keys);
    __builtin_memcpy(values, &value, sizeof values);
    for (size_t i = 0; i < n; i++) {
      ((uint16_t *)k_page)[(d + i) * CIVG_PAGE + slot] = keys[i];
      ((uint16_t *)v_page)[slot * head_dim + d + i] = values[i];
    }
  }
}

#endif /* CIVG_ATTENTION_H */
