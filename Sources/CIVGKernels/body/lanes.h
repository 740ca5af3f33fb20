/* SPDX-License-Identifier: Apache-2.0
 *
 * lanes.h - vectors of sixteen lanes, and the few operations on them that every instruction set shares.
 *
 * This file and the others in body/ are compiled once per instruction set: each kernels_*.c opens a target
 * attribute, includes lanes.h, defines its hooks and then includes all.h. Nothing here has external linkage,
 * so code for one instruction set cannot reach a CPU that lacks it.
 */
#ifndef CIVG_LANES_H
#define CIVG_LANES_H

#include <stddef.h>
#include <stdint.h>

#define CIVG_INLINE static inline __attribute__((always_inline, unused))
#define CIVG_UNROLL _Pragma("clang loop unroll(full)")
/* Rows of activations that any code takes at a time, at most. */
#define CIVG_MOST_ROWS 8

/* Vectors wider than a register travel in memory between functions that are not inlined. All of them are
 * private to one unit, so no two units can disagree about it. */
#pragma clang diagnostic ignored "-Wpsabi"

typedef float v16f __attribute__((vector_size(64)));
typedef int32_t v16i __attribute__((vector_size(64)));
typedef uint32_t v16u __attribute__((vector_size(64)));
typedef double v16d __attribute__((vector_size(128)));
typedef int64_t v16l __attribute__((vector_size(128)));
typedef uint16_t v16h __attribute__((vector_size(32)));
typedef int16_t v32s __attribute__((vector_size(64)));
typedef int32_t v4i __attribute__((vector_size(16)));

/* Loads from any address. */
CIVG_INLINE v16f load16f(const void *p) {
  v16f v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}

CIVG_INLINE v16h load16h(const void *p) {
  v16h v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}

CIVG_INLINE uint32_t load_u32(const void *p) {
  uint32_t v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}

CIVG_INLINE uint16_t load_u16(const void *p) {
  uint16_t v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}

CIVG_INLINE float load_float(const void *p) {
  float v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}

/* Stores to any address. */
CIVG_INLINE void store16f(void *p, v16f v) { __builtin_memcpy(p, &v, sizeof v); }

/* The first `n` lanes from memory (all 16 when n is larger), the others `fill`. */
CIVG_INLINE v16f load_some(const float *p, size_t n, float fill) {
  if (n >= 16) return load16f(p);
  float lanes[16];
  for (size_t i = 0; i < 16; i++) lanes[i] = i < n ? p[i] : fill;
  return load16f(lanes);
}

/* Stores the first `n` lanes (all 16 when n is larger). */
CIVG_INLINE void store_some(float *p, size_t n, v16f v) {
  if (n >= 16) {
    store16f(p, v);
    return;
  }
  float lanes[16];
  store16f(lanes, v);
  for (size_t i = 0; i < n; i++) p[i] = lanes[i];
}

CIVG_INLINE v16f splat(float x) {
  return (v16f){x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x};
}

CIVG_INLINE v16i splat_i(int32_t x) {
  return (v16i){x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x};
}

/* Logical shift right of every lane. */
CIVG_INLINE v16i shift_right(v16i v, int count) { return (v16i)((v16u)v >> (uint32_t)count); }

CIVG_INLINE v16f to_float(v16i v) { return __builtin_convertvector(v, v16f); }

/* a where the mask lane is all ones, b where it is zero. */
CIVG_INLINE v16f choose(v16i mask, v16f a, v16f b) {
  return (v16f)(((v16i)a & mask) | ((v16i)b & ~mask));
}

/* Lane maxima; a NaN in `a` loses to b. */
CIVG_INLINE v16f larger(v16f a, v16f b) { return choose(a > b, a, b); }

CIVG_INLINE v16f absolute(v16f v) { return (v16f)((v16i)v & splat_i(0x7fffffff)); }

/* True if any lane of a mask is set. */
CIVG_INLINE int any_lane(v16i mask) { return __builtin_reduce_or(mask) != 0; }

/* The one tree in which sixteen lanes are added: halves, quarters, pairs. */
CIVG_INLINE float sum_lanes(v16f v) {
  float a[16];
  store16f(a, v);
  for (int width = 8; width > 0; width /= 2)
    for (int i = 0; i < width; i++) a[i] = a[i] + a[i + width];
  return a[0];
}

CIVG_INLINE double sum_lanes_d(v16d v) {
  double a[16];
  __builtin_memcpy(a, &v, sizeof a);
  for (int width = 8; width > 0; width /= 2)
    for (int i = 0; i < width; i++) a[i] = a[i] + a[i + width];
  return a[0];
}

/* The largest lane. No lane may be NaN. */
CIVG_INLINE float max_lanes(v16f v) {
  float a[16];
  store16f(a, v);
  float best = a[0];
  for (int i = 1; i < 16; i++) best = a[i] > best ? a[i] : best;
  return best;
}

#endif /* CIVG_LANES_H */
