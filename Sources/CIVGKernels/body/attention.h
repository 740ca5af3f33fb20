/* SPDX-License-Identifier: Apache-2.0
 *
 * attention.h - one token's look at the keys and values of its sequence.
 *
 * Lanes are tokens while scores are formed and dimensions while values are mixed, so neither needs a sum over
 * lanes. The order of every sum follows token positions alone: a sequence gives the same bits wherever its
 * pages lie and whatever else is in them.
 */
#ifndef CIVG_ATTENTION_H
#define CIVG_ATTENTION_H

/* The page that holds token `token`. */
CIVG_INLINE const uint8_t *page_of(const civg_attention *a, size_t token) {
  return a->pool + (size_t)a->page_ids[token / CIVG_PAGE] * a->page_bytes;
}

/* Scores of H heads from `head` for the page of tokens that starts at `token`; unattended lanes get -inf.
 * Two chains over even and odd dimensions. */
CIVG_INLINE void score_page(int H, const civg_attention *a, size_t head, size_t token, size_t stride) {
  const uint8_t *keys = page_of(a, token) + a->k_offset;
  const float *q = a->q + head * a->head_dim;
  v16f even[CIVG_HEADS], odd[CIVG_HEADS];
  CIVG_UNROLL for (int h = 0; h < H; h++) even[h] = odd[h] = splat(0);
  for (size_t d = 0; d < a->head_dim; d += 2) {
    v16f first = half16(load16h(keys + d * 32)), second = half16(load16h(keys + d * 32 + 32));
    CIVG_UNROLL for (int h = 0; h < H; h++) {
      even[h] = fma16(first, splat(q[(size_t)h * a->head_dim + d]), even[h]);
      odd[h] = fma16(second, splat(q[(size_t)h * a->head_dim + d + 1]), odd[h]);
    }
  }
  const v16i lane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  int32_t from = a->first > token ? (int32_t)(a->first - token) : 0;
  int32_t to = a->length - token < 16 ? (int32_t)(a->length - token) : 16;
  v16i use = (lane >= splat_i(from)) & (lane < splat_i(to));
  CIVG_UNROLL for (int h = 0; h < H; h++) {
    v16f s = (even[h] + odd[h]) * splat(a->scale);
    if (a->softcap > 0) s = tanh16(s / splat(a->softcap)) * splat(a->softcap);
    store16f(a->scores + (head + (size_t)h) * stride + token, choose(use, s, splat(-__builtin_inff())));
  }
}

/* Scores become weights that are not yet divided by their sum, which is returned. */
CIVG_INLINE float weigh(float *scores, size_t start, size_t end) {
  v16f most = splat(-__builtin_inff()), total = splat(0);
  for (size_t t = start; t < end; t += 16) most = larger(load16f(scores + t), most);
  v16f top = splat(max_lanes(most));
  for (size_t t = start; t < end; t += 16) {
    v16f w = exp16(load16f(scores + t) - top);
    store16f(scores + t, w);
    total = total + w;
  }
  return sum_lanes(total);
}

/* Adds the values of tokens [from, to) of one page to H heads' outputs. */
CIVG_INLINE void mix_page(int H, const civg_attention *a, size_t head, size_t from, size_t to, size_t stride) {
  const size_t dim = a->head_dim;
  const uint8_t *values = page_of(a, from) + a->v_offset;
  const float *weight = a->scores + head * stride;
  float *out = a->out + head * dim;
  size_t d = 0;
  for (; d + 16 <= dim; d += 16) {
    v16f acc[CIVG_HEADS];
    CIVG_UNROLL for (int h = 0; h < H; h++) acc[h] = load16f(out + (size_t)h * dim + d);
    for (size_t t = from; t < to; t++) {
      v16f v = half16(load16h(values + ((t % CIVG_PAGE) * dim + d) * 2));
      CIVG_UNROLL for (int h = 0; h < H; h++) {
        acc[h] = fma16(splat(weight[(size_t)h * stride + t]), v, acc[h]);
      }
    }
    CIVG_UNROLL for (int h = 0; h < H; h++) store16f(out + (size_t)h * dim + d, acc[h]);
  }
  if (d == dim) return;
  CIVG_UNROLL for (int h = 0; h < H; h++) {
    v16f acc = load_some(out + (size_t)h * dim + d, dim - d, 0);
    for (size_t t = from; t < to; t++) {
      uint16_t row[16] = {0};
      for (size_t i = 0; i < dim - d; i++) row[i] = load_u16(values + ((t % CIVG_PAGE) * dim + d + i) * 2);
      acc = fma16(splat(weight[(size_t)h * stride + t]), half16(load16h(row)), acc);
    }
    store_some(out + (size_t)h * dim + d, dim - d, acc);
  }
}

/* All of it for H heads from `head`. */
CIVG_INLINE void attend_heads(int H, const civg_attention *a, size_t head) {
  size_t stride = (a->length + 15) / 16 * 16, start = a->first / 16 * 16;
  float *out = a->out + head * a->head_dim;
  for (size_t i = 0; i < (size_t)H * a->head_dim; i++) out[i] = 0;
  if (a->first >= a->length) return;
  for (size_t t = start; t < a->length; t += CIVG_PAGE) score_page(H, a, head, t, stride);
  float total[CIVG_HEADS];
  CIVG_UNROLL for (int h = 0; h < H; h++) {
    total[h] = weigh(a->scores + (head + (size_t)h) * stride, start, a->length);
  }
  for (size_t t = start; t < a->length; t += CIVG_PAGE) {
    size_t from = t < a->first ? a->first : t, to = t + 16 < a->length ? t + 16 : a->length;
    mix_page(H, a, head, from, to, stride);
  }
  for (int h = 0; h < H; h++) {
    float inverse = 1.0f / total[h];
    for (size_t i = 0; i < a->head_dim; i++) out[(size_t)h * a->head_dim + i] *= inverse;
  }
}

static void attend(const civg_attention *a) {
  size_t head = 0;
  for (; head + CIVG_HEADS <= a->heads; head += CIVG_HEADS) attend_heads(CIVG_HEADS, a, head);
  for (; CIVG_HEADS > 4 && head + 4 <= a->heads; head += 4) attend_heads(4, a, head);
  for (; CIVG_HEADS > 3 && head + 3 <= a->heads; head += 3) attend_heads(3, a, head);
  for (; CIVG_HEADS > 2 && head + 2 <= a->heads; head += 2) attend_heads(2, a, head);
  for (; CIVG_HEADS > 1 && head < a->heads; head++) attend_heads(1, a, head);
}

static void store_key_value(const float *k, const float *v, size_t head_dim, size_t slot, uint16_t *k_page,
                            uint16_t *v_page) {
  for (size_t d = 0; d < head_dim; d += 16) {
    size_t n = head_dim - d < 16 ? head_dim - d : 16;
    uint16_t keys[16], values[16];
    v16h key = to_half16(load_some(k + d, n, 0)), value = to_half16(load_some(v + d, n, 0));
    __builtin_memcpy(keys, &key, sizeof keys);
    __builtin_memcpy(values, &value, sizeof values);
    for (size_t i = 0; i < n; i++) {
      k_page[(d + i) * CIVG_PAGE + slot] = keys[i];
      v_page[slot * head_dim + d + i] = values[i];
    }
  }
}

#endif /* CIVG_ATTENTION_H */
