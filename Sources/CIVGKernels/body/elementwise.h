/* SPDX-License-Identifier: Apache-2.0
 *
 * elementwise.h - activations between the products: rounding to int8, norms, gates, sums, rotation.
 */
#ifndef CIVG_ELEMENTWISE_H
#define CIVG_ELEMENTWISE_H

/* Rounds the block of 32 numbers in x[0], x[1] and leaves there what the rounding left. */
CIVG_INLINE void quantize_block(v16f x[2], int8_t *q, float *d, int16_t *sums) {
  const v16f magic = splat(12582912.0f);
  const v16i infinite = splat_i(0x7f800000);
  v16i bad = (((v16i)x[0] & infinite) == infinite) | (((v16i)x[1] & infinite) == infinite);
  float most = any_lane(bad) ? 0 : max_lanes(larger(absolute(x[0]), absolute(x[1])));
  /* Below this 127 / most would overflow; such numbers are zero beside any other. */
  float inverse = most < 1e-36f ? 0 : 127.0f / most;
  *d = any_lane(bad) ? __builtin_nanf("") : inverse == 0 ? 0 : most / 127.0f;
  typedef int8_t v16b __attribute__((vector_size(16)));
  v16b bytes[2];
  CIVG_UNROLL for (int half = 0; half < 2; half++) {
    v16f value = any_lane(bad) ? splat(0) : x[half];
    v16i whole = (v16i)(value * splat(inverse) + magic) - (v16i)magic;
    bytes[half] = __builtin_convertvector(whole, v16b);
    sums[half] = (int16_t)__builtin_reduce_add(whole);
    x[half] = fma16(to_float(whole), splat(-*d), x[half]);
  }
  __builtin_memcpy(q, bytes, 32);
}

static void quantize_row(const float *x, size_t columns, int8_t *q, float *d, int16_t *sums) {
  for (size_t k = 0; k < columns / 32; k++) {
    v16f block[2] = {load16f(x + 32 * k), load16f(x + 32 * k + 16)};
    quantize_block(block, q + 32 * k, d + k, sums + 2 * k);
  }
}

static void quantize_pair(const float *x, size_t columns, int8_t *q, float *d, int16_t *sums) {
  for (size_t k = 0; k < columns / 32; k++) {
    v16f block[2] = {load16f(x + 32 * k), load16f(x + 32 * k + 16)};
    quantize_block(block, q + 32 * k, d + k, sums + 2 * k);
    quantize_block(block, q + columns + 32 * k, d + columns / 32 + k, sums + columns / 16 + 2 * k);
  }
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

static void silu_multiply(float *gate, const float *up, size_t n) {
  for (size_t i = 0; i < n; i += 16) {
    v16f g = load_some(gate + i, n - i, 0);
    v16f y = g / (splat(1.0f) + exp16(-g));
    store_some(gate + i, n - i, y * load_some(up + i, n - i, 0));
  }
}

/* gelu_tanh(x) = x (1 + tanh u) / 2 = x / (1 + e^-2u),  u = sqrt(2 / pi) (x + 0.044715 x^3) */
static void gelu_multiply(float *gate, const float *up, size_t n) {
  for (size_t i = 0; i < n; i += 16) {
    v16f g = load_some(gate + i, n - i, 0);
    v16f u = fma16(g * g * splat(0.044715f), g, g) * splat(0.7978845608f);
    v16f y = g / (splat(1.0f) + exp16(splat(-2.0f) * u));
    if (up) y = y * load_some(up + i, n - i, 0);
    store_some(gate + i, n - i, y);
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
