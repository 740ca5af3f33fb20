/* SPDX-License-Identifier: Apache-2.0
 *
 * elementwise.h - activations between the products: rounding, norms, gates, sums, rotation.
 */
#ifndef CIVG_ELEMENTWISE_H
#define CIVG_ELEMENTWISE_H

/* The bits of 16 magnitudes, which compare like the magnitudes; every lane the largest of its group of four. */
CIVG_INLINE v16i group_maxima(v16f half) {
  v16i v = (v16i)half & splat_i(0x7fffffff);
  v = __builtin_elementwise_max(v, __builtin_shufflevector(v, v, 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14));
  return __builtin_elementwise_max(v,
                                   __builtin_shufflevector(v, v, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13));
}

/* Finds the group of a half with the largest magnitude, the first if there are several. Returns that magnitude's bits;
 * *rest is raised to those of the largest in the other groups. */
CIVG_INLINE int32_t largest_group(v16f half, int *group, int32_t *rest) {
  v16i v = group_maxima(half);
  int32_t a = v[0], b = v[4], c = v[8], d = v[12];
  int ab = b > a, cd = d > c;
  int32_t high_ab = ab ? b : a, low_ab = ab ? a : b, high_cd = cd ? d : c, low_cd = cd ? c : d;
  int last = high_cd > high_ab;
  *group = last ? 2 + cd : ab;
  int32_t second = last ? (high_ab > low_cd ? high_ab : low_cd) : (high_cd > low_ab ? high_cd : low_ab);
  if (second > *rest) *rest = second;
  return last ? high_cd : high_ab;
}

/* Rounds 32 numbers: see civg_block. */
CIVG_INLINE void quantize_block(const float *x, civg_block *out) {
  typedef int8_t v16b __attribute__((vector_size(16)));
  const v16f magic = splat(12582912.0f);
  const v16i groups = {0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3};
  v16f half[2] = {load16f(x), load16f(x + 16)};
  int group[2];
  int32_t rest = 0, first = largest_group(half[0], &group[0], &rest);
  int32_t second = largest_group(half[1], &group[1], &rest), largest = first > second ? first : second;
  float most, limit;
  __builtin_memcpy(&most, &largest, sizeof most);
  __builtin_memcpy(&limit, &rest, sizeof limit);
  const int is_finite = largest < 0x7f800000;
  limit = limit > most / 128 ? limit : most / 128;
  /* Below this 127 / limit would overflow; such numbers are zero beside any other. */
  const float inverse = is_finite && most >= 1e-33f ? 127.0f / limit : 0;
  out->scale = is_finite ? (inverse == 0 ? 0 : limit / 127.0f) : __builtin_nanf("");
  CIVG_UNROLL for (int h = 0; h < 2; h++) {
    v16i whole = (v16i)((inverse == 0 ? splat(0) : half[h]) * splat(inverse) + magic) - (v16i)magic;
    v16i high = ((whole + splat_i(64)) >> 7) & (v16i)(groups == splat_i(group[h]));
    v16b low = __builtin_convertvector(whole - (high << 7), v16b), bytes = __builtin_convertvector(high, v16b);
    int8_t lanes[16];
    __builtin_memcpy(lanes, &bytes, sizeof lanes);
    __builtin_memcpy(out->high[h], lanes + 4 * group[h], 4);
    __builtin_memcpy(out->low + 16 * h, &low, sizeof low);
    out->group[h] = (uint16_t)(64 * (4 * h + group[h]));
    out->sums[h] = __builtin_reduce_add(whole);
  }
  out->sum = out->sums[0] + out->sums[1];
  out->scaled_sum = out->scale * (float)out->sum;
}

static void quantize_row(const float *x, size_t columns, civg_block *blocks) {
  for (size_t k = 0; k < columns / 32; k++) quantize_block(x + 32 * k, blocks + k);
}

/* Sum of x y over n elements: sixteen chains of fused multiply-adds, then the tree. */
CIVG_INLINE float dot_lanes(const float *x, const float *y, size_t n) {
  v16f acc = splat(0);
  for (size_t i = 0; i < n; i += 16) {
    acc = fma16(load_some(x + i, n - i, 0), load_some(y + i, n - i, 0), acc);
  }
  return sum_lanes(acc);
}

static float dot(const float *x, const float *y, size_t n) { return dot_lanes(x, y, n); }

static void rms_norm(const float *x, const float *weight, size_t n, float epsilon, float *out) {
  float inverse = 1.0f / __builtin_sqrtf(dot_lanes(x, x, n) / (float)n + epsilon);
  for (size_t i = 0; i < n; i += 16) {
    v16f y = load_some(x + i, n - i, 0) * splat(inverse);
    if (weight) y = y * load_some(weight + i, n - i, 0);
    store_some(out + i, n - i, y);
  }
}

static void layer_norm(const float *x, const float *weight, const float *bias, size_t n, float epsilon,
                       float *out) {
  v16f total = splat(0), squares = splat(0);
  for (size_t i = 0; i < n; i += 16) total = total + load_some(x + i, n - i, 0);
  float mean = sum_lanes(total) / (float)n;
  for (size_t i = 0; i < n; i += 16) {
    v16f y = load_some(x + i, n - i, mean) - splat(mean);
    squares = fma16(y, y, squares);
  }
  float inverse = 1.0f / __builtin_sqrtf(sum_lanes(squares) / (float)n + epsilon);
  for (size_t i = 0; i < n; i += 16) {
    v16f y = (load_some(x + i, n - i, mean) - splat(mean)) * splat(inverse);
    if (weight) y = y * load_some(weight + i, n - i, 0);
    if (bias) y = y + load_some(bias + i, n - i, 0);
    store_some(out + i, n - i, y);
  }
}

CIVG_INLINE v16f silu16(v16f x) { return x / (splat(1.0f) + exp16(-x)); }

/* x (1 + tanh u) / 2 = x / (1 + e^-2u),  u = sqrt(2 / pi) (x + 0.044715 x^3) */
CIVG_INLINE v16f gelu_tanh16(v16f x) {
  v16f u = fma16(x * x * splat(0.044715f), x, x) * splat(0.7978845608f);
  return x / (splat(1.0f) + exp16(splat(-2.0f) * u));
}

/* x times the share of a normal distribution below x. */
CIVG_INLINE v16f gelu16(v16f x) {
  v16f tail = normal_tail16(absolute(x));
  return x * choose(x < splat(0), tail, splat(1.0f) - tail);
}

/* x / (1 + e^-1.702x) */
CIVG_INLINE v16f gelu_quick16(v16f x) { return x / (splat(1.0f) + exp16(splat(-1.702f) * x)); }

#define CIVG_GATE(name)                                                  \
  static void name##_multiply(float *gate, const float *up, size_t n) {  \
    for (size_t i = 0; i < n; i += 16) {                                 \
      v16f y = name##16(load_some(gate + i, n - i, 0));                  \
      if (up) y = y * load_some(up + i, n - i, 0);                       \
      store_some(gate + i, n - i, y);                                    \
    }                                                                    \
  }
CIVG_GATE(silu)
CIVG_GATE(gelu_tanh)
CIVG_GATE(gelu)
CIVG_GATE(gelu_quick)
#undef CIVG_GATE

static void soft_cap(float *x, size_t n, float cap) {
  for (size_t i = 0; i < n; i += 16) {
    store_some(x + i, n - i, tanh16(load_some(x + i, n - i, 0) / splat(cap)) * splat(cap));
  }
}

static void add(float *x, const float *y, size_t n) {
  for (size_t i = 0; i < n; i += 16) {
    store_some(x + i, n - i, load_some(x + i, n - i, 0) + load_some(y + i, n - i, 0));
  }
}

static void add_scaled(float *x, const float *y, float scale, size_t n) {
  for (size_t i = 0; i < n; i += 16) {
    v16f sum = fma16(splat(scale), load_some(y + i, n - i, 0), load_some(x + i, n - i, 0));
    store_some(x + i, n - i, sum);
  }
}

static void tilt(float *x, const float *tuned, const float *untuned, float weight, size_t n) {
  const v16f lowest = splat(-__builtin_inff());
  for (size_t i = 0; i < n; i += 16) {
    v16f t = load_some(tuned + i, n - i, 0), u = load_some(untuned + i, n - i, 0);
    v16f value = load_some(x + i, n - i, 0);
    v16f tilted = fma16(splat(weight), t - u, value);
    tilted = choose(u == lowest, value, tilted);
    store_some(x + i, n - i, choose(t == lowest, lowest, tilted));
  }
}

static void rotate(float *head, const float *cosine, const float *sine, size_t pairs, int interleaved) {
  for (size_t i = 0; i < pairs; i += 16) {
    size_t n = pairs - i < 16 ? pairs - i : 16;
    v16f c = load_some(cosine + i, n, 0), s = load_some(sine + i, n, 0), a, b;
    float even[16] = {0}, odd[16] = {0};
    if (interleaved) {
      for (size_t j = 0; j < n; j++) {
        even[j] = head[2 * (i + j)];
        odd[j] = head[2 * (i + j) + 1];
      }
      a = load16f(even);
      b = load16f(odd);
    } else {
      a = load_some(head + i, n, 0);
      b = load_some(head + pairs + i, n, 0);
    }
    v16f first = fma16(a, c, -(b * s)), second = fma16(a, s, b * c);
    if (interleaved) {
      store16f(even, first);
      store16f(odd, second);
      for (size_t j = 0; j < n; j++) {
        head[2 * (i + j)] = even[j];
        head[2 * (i + j) + 1] = odd[j];
      }
    } else {
      store_some(head + i, n, first);
      store_some(head + pairs + i, n, second);
    }
  }
}

#endif /* CIVG_ELEMENTWISE_H */
