/* SPDX-License-Identifier: Apache-2.0
 *
 * mathematics.h - exp, tanh and the tail of a normal distribution on sixteen lanes, log on one number.
 *
 * Own polynomials rather than libm: the same bits on every CPU and every system.
 */
#ifndef CIVG_MATHEMATICS_H
#define CIVG_MATHEMATICS_H

/* e^x to about one unit in the last place. 0 below -103.98, infinity above 88.73, NaN for NaN.
 *
 * x = n ln 2 + r with |r| <= ln 2 / 2; e^r is a polynomial; 2^n is applied in two halves, so that neither
 * factor leaves the range of exponents and results below the normal range round once. */
CIVG_INLINE v16f exp16(v16f x) {
  const v16f magic = splat(12582912.0f); /* 1.5 * 2^23: adding it rounds to a whole number */
  v16i tiny = x < splat(-104.0f);
  x = choose(x > splat(90.0f), splat(90.0f), x);
  x = choose(tiny, splat(-104.0f), x);
  v16f shifted = fma16(x, splat(1.44269504f), magic);
  v16f n = shifted - magic;
  v16i whole = (v16i)shifted - (v16i)magic;
  v16f r = fma16(n, splat(-0.693359375f), x);
  r = fma16(n, splat(2.12194440e-4f), r);
  v16f p = splat(1.9875691500e-4f);
  p = fma16(p, r, splat(1.3981999507e-3f));
  p = fma16(p, r, splat(8.3334519073e-3f));
  p = fma16(p, r, splat(4.1665795894e-2f));
  p = fma16(p, r, splat(1.6666665459e-1f));
  p = fma16(p, r, splat(5.0000001201e-1f));
  p = fma16(p * r, r, r) + splat(1.0f);
  v16i half = whole >> 1;
  v16f a = (v16f)((half + splat_i(127)) << 23), b = (v16f)((whole - half + splat_i(127)) << 23);
  return choose(tiny, splat(0), (p * a) * b);
}

/* tanh x. Near zero a polynomial, since 1 - 2 / (e^2x + 1) would cancel there. */
CIVG_INLINE v16f tanh16(v16f x) {
  v16f size = absolute(x), square = x * x;
  v16f p = splat(-5.70498872745e-3f);
  p = fma16(p, square, splat(2.06390887954e-2f));
  p = fma16(p, square, splat(-5.37397155531e-2f));
  p = fma16(p, square, splat(1.33314422036e-1f));
  p = fma16(p, square, splat(-3.33332819422e-1f));
  v16f near = fma16(p * square, x, x);
  v16f far = splat(1.0f) - splat(2.0f) / (exp16(size + size) + splat(1.0f));
  far = (v16f)((v16i)far | ((v16i)x & splat_i((int32_t)0x80000000)));
  return choose(size < splat(0.625f), near, far);
}

/* The share of a normal distribution beyond x >= 0: erfc(x / sqrt 2) / 2. Below 6e-8 of one half off near zero, below
 * 2e-6 of itself further out; 0 from sqrt 32 on, where 1 - erfc(x / sqrt 2) rounds to 1. NaN for NaN.
 *
 * With t = x / sqrt 2, erf t is t times a polynomial in t^2 for t < 1; log erfc t is one in t - 2.5 up to 4. */
CIVG_INLINE v16f normal_tail16(v16f x) {
  v16f t = x * splat(0.70710678f), square = t * t;
  v16f p = splat(-9.67359028e-6f);
  p = fma16(p, square, splat(1.12682537e-4f));
  p = fma16(p, square, splat(-8.48439639e-4f));
  p = fma16(p, square, splat(5.22105349e-3f));
  p = fma16(p, square, splat(-2.68654376e-2f));
  p = fma16(p, square, splat(1.12837829e-1f));
  p = fma16(p, square, splat(-3.76126379e-1f));
  p = fma16(p, square, splat(1.12837923f));
  v16f near = fma16(p * t, splat(-0.5f), splat(0.5f));
  v16f u = t - splat(2.5f);
  v16f q = splat(-1.61406160e-6f);
  q = fma16(q, u, splat(1.33093899e-5f));
  q = fma16(q, u, splat(-7.73944266e-5f));
  q = fma16(q, u, splat(4.20144555e-4f));
  q = fma16(q, u, splat(-2.16516037e-3f));
  q = fma16(q, u, splat(1.08585171e-2f));
  q = fma16(q, u, splat(9.43893611e-1f));
  q = fma16(q, u, splat(5.35268068f));
  q = fma16(q, u, splat(7.80681515f));
  v16f far = choose(t < splat(4.0f), splat(0.5f) * exp16(-q), splat(0));
  return choose(t < splat(1.0f), near, choose(t == t, far, t));
}

/* Natural logarithm of a finite x >= 1. With x = m 2^e, log m = 2 artanh((m - 1) / (m + 1)) as a series. */
CIVG_INLINE double log_scalar(double x) {
  uint64_t bits;
  __builtin_memcpy(&bits, &x, sizeof bits);
  int64_t exponent = (int64_t)(bits >> 52) - 1023;
  bits = (bits & 0x000fffffffffffffull) | 0x3ff0000000000000ull;
  double m;
  __builtin_memcpy(&m, &bits, sizeof m);
  if (m > 1.4142135623730951) {
    m = m * 0.5;
    exponent += 1;
  }
  double s = (m - 1) / (m + 1), z = s * s, p = 0;
  for (int k = 23; k >= 1; k -= 2) p = p * z + 1.0 / k;
  return (double)exponent * 0.693147180559945309417 + 2 * s * p;
}

#endif /* CIVG_MATHEMATICS_H */
