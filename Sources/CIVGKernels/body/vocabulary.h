/* SPDX-License-Identifier: Apache-2.0
 *
 * vocabulary.h - one pass over the scores of all tokens: the best one, the k best, their logarithmic sum.
 */
#ifndef CIVG_VOCABULARY_H
#define CIVG_VOCABULARY_H

#define CIVG_LEAST (-__builtin_inff())

static size_t argmax(const float *x, size_t n) {
  v16f most = splat(CIVG_LEAST);
  for (size_t i = 0; i < n; i += 16) most = larger(load_some(x + i, n - i, CIVG_LEAST), most);
  v16f top = splat(max_lanes(most));
  for (size_t i = 0; i < n; i += 16) {
    if (!any_lane(load_some(x + i, n - i, __builtin_nanf("")) == top)) continue;
    for (size_t j = i; j < n; j++)
      if (x[j] == top[0]) return j;
  }
  return 0;
}

static double log_sum_exp(const float *x, size_t n) {
  v16f most = splat(CIVG_LEAST);
  v16i bad = splat_i(0);
  for (size_t i = 0; i < n; i += 16) {
    v16f v = load_some(x + i, n - i, CIVG_LEAST);
    bad = bad | (v != v);
    most = larger(v, most);
  }
  if (any_lane(bad)) return __builtin_nan("");
  float top = max_lanes(most);
  if (top == CIVG_LEAST || top == -CIVG_LEAST) return (double)top;
  v16d total = {0};
  for (size_t i = 0; i < n; i += 16) {
    v16f e = exp16(load_some(x + i, n - i, CIVG_LEAST) - splat(top));
    total = total + __builtin_convertvector(e, v16d);
  }
  return (double)top + log_scalar(sum_lanes_d(total));
}

static int is_clean(const float *x, size_t n) {
  v16i good = splat_i(-1);
  for (size_t i = 0; i < n; i += 16) {
    good = good & (load_some(x + i, n - i, 0) < splat(__builtin_inff()));
  }
  return !any_lane(~good);
}

/* True if candidate a ranks below candidate b: smaller value, or the same and a larger index. */
CIVG_INLINE int ranks_below(float a_value, int32_t a_id, float b_value, int32_t b_id) {
  return a_value < b_value || (a_value == b_value && a_id > b_id);
}

/* Puts a candidate at the root of a heap of `count` whose root ranks lowest, and lets it sink. */
CIVG_INLINE void heap_replace(int32_t *ids, float *values, size_t count, int32_t id, float value) {
  size_t at = 0;
  for (;;) {
    size_t child = 2 * at + 1;
    if (child >= count) break;
    if (child + 1 < count && ranks_below(values[child + 1], ids[child + 1], values[child], ids[child])) child++;
    if (!ranks_below(values[child], ids[child], value, id)) break;
    values[at] = values[child];
    ids[at] = ids[child];
    at = child;
  }
  values[at] = value;
  ids[at] = id;
}

/* Adds a candidate to a heap of `count` and lets it rise. */
CIVG_INLINE void heap_add(int32_t *ids, float *values, size_t count, int32_t id, float value) {
  size_t at = count;
  while (at > 0) {
    size_t parent = (at - 1) / 2;
    if (!ranks_below(value, id, values[parent], ids[parent])) break;
    values[at] = values[parent];
    ids[at] = ids[parent];
    at = parent;
  }
  values[at] = value;
  ids[at] = id;
}

static size_t top_k(const float *x, size_t n, size_t k, int32_t *ids, float *values) {
  size_t count = 0;
  float least = CIVG_LEAST; /* a candidate must exceed this */
  if (k == 0) return 0;
  for (size_t i = 0; i < n; i += 16) {
    if (!any_lane(load_some(x + i, n - i, CIVG_LEAST) > splat(least))) continue;
    for (size_t j = i; j < n && j < i + 16; j++) {
      if (!(x[j] > least)) continue;
      if (count < k) {
        heap_add(ids, values, count++, (int32_t)j, x[j]);
        if (count == k) least = values[0];
      } else {
        heap_replace(ids, values, k, (int32_t)j, x[j]);
        least = values[0];
      }
    }
  }
  /* The lowest of the rest leaves the heap for the free place behind it, until all are in order. */
  for (size_t rest = count; rest > 1; rest--) {
    int32_t id = ids[rest - 1];
    float value = values[rest - 1];
    ids[rest - 1] = ids[0];
    values[rest - 1] = values[0];
    heap_replace(ids, values, rest - 1, id, value);
  }
  return count;
}

#undef CIVG_LEAST

#endif /* CIVG_VOCABULARY_H */
