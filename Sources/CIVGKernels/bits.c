/* SPDX-License-Identifier: Apache-2.0
 *
 * bits.c - half precision in integer arithmetic: the same on every CPU, whatever its rounding mode.
 */
#include "CIVGKernels.h"

float civg_half_to_float(uint16_t half) {
  uint32_t sign = (uint32_t)(half & 0x8000) << 16, exponent = (half >> 10) & 31, fraction = half & 0x3ff, bits;
  if (exponent == 31) {
    /* infinity, or a NaN made quiet */
    bits = sign | 0x7f800000 | fraction << 13 | (fraction ? 0x00400000 : 0);
  } else if (exponent != 0) {
    bits = sign | (exponent + 112) << 23 | fraction << 13;
  } else if (fraction == 0) {
    bits = sign;
  } else {
    /* shift the leading one into its place; float has exponents to spare */
    uint32_t shift = (uint32_t)__builtin_clz(fraction) - 21;
    bits = sign | (113 - shift) << 23 | (fraction << shift & 0x3ff) << 13;
  }
  float value;
  __builtin_memcpy(&value, &bits, sizeof value);
  return value;
}

uint16_t civg_float_to_half(float value) {
  uint32_t bits;
  __builtin_memcpy(&bits, &value, sizeof bits);
  uint32_t sign = bits >> 16 & 0x8000, size = bits & 0x7fffffff;
  if (size > 0x7f800000) return (uint16_t)(sign | 0x7e00 | (size >> 13 & 0x3ff));
  if (size >= 0x477ff000) return (uint16_t)(sign | 0x7c00);
  if (size < 0x33000000) return (uint16_t)sign;
  uint32_t drop = 13, fraction = size;
  if (size < 0x38800000) {
    /* below the normal range: the exponent becomes a further shift of the whole fraction */
    drop = 126 - (size >> 23);
    fraction = (size & 0x7fffff) | 0x800000;
  } else {
    fraction -= 112u << 23;
  }
  uint32_t kept = fraction >> drop, rest = fraction & ((1u << drop) - 1), middle = 1u << (drop - 1);
  if (rest > middle || (rest == middle && (kept & 1))) kept++;
  return (uint16_t)(sign | kept);
}
