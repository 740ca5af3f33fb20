/* SPDX-License-Identifier: Apache-2.0
 *
 * dequantize.c - stored rows to floats, one plain loop per type.
 *
 * Each value is a product of scales, rounded, times a whole number, rounded, and where the type has a minimum
 * one subtraction or addition, rounded.
 */
#include "tables.h"

static uint16_t u16_at(const uint8_t *p) { return (uint16_t)(p[0] | p[1] << 8); }
static float half_at(const uint8_t *p) { return civg_half_to_float(u16_at(p)); }

void civg_dequantize_f32(const void *row, size_t columns, float *out) {
  __builtin_memcpy(out, row, columns * sizeof(float));
}

void civg_dequantize_f16(const void *row, size_t columns, float *out) {
  const uint8_t *p = row;
  for (size_t i = 0; i < columns; i++) out[i] = half_at(p + 2 * i);
}

void civg_dequantize_bf16(const void *row, size_t columns, float *out) {
  const uint8_t *p = row;
  for (size_t i = 0; i < columns; i++) {
    uint32_t bits = (uint32_t)u16_at(p + 2 * i) << 16;
    __builtin_memcpy(out + i, &bits, sizeof bits);
  }
}

void civg_dequantize_q8_0(const void *row, size_t columns, float *out) {
  const uint8_t *p = row;
  for (size_t k = 0; k < columns; k += 32, p += 34) {
    float d = half_at(p);
    for (int i = 0; i < 32; i++) out[k + i] = d * (float)(int8_t)p[2 + i];
  }
}

void civg_dequantize_q4_0(const void *row, size_t columns, float *out) {
  const uint8_t *p = row;
  for (size_t k = 0; k < columns; k += 32, p += 18) {
    float d = half_at(p);
    for (int i = 0; i < 16; i++) {
      out[k + i] = d * (float)((p[2 + i] & 15) - 8);
      out[k + 16 + i] = d * (float)((p[2 + i] >> 4) - 8);
    }
  }
}

void civg_dequantize_q4_1(const void *row, size_t columns, float *out) {
  const uint8_t *p = row;
  for (size_t k = 0; k < columns; k += 32, p += 20) {
    float d = half_at(p), m = half_at(p + 2);
    for (int i = 0; i < 16; i++) {
      out[k + i] = d * (float)(p[4 + i] & 15) + m;
      out[k + 16 + i] = d * (float)(p[4 + i] >> 4) + m;
    }
  }
}

/* The five bits of column i: a nibble and one bit of a little-endian word. */
static int five_bits(const uint8_t *nibbles, const uint8_t *word, int i) {
  int low = i < 16 ? nibbles[i] & 15 : nibbles[i - 16] >> 4;
  return low | (word[i / 8] >> (i % 8) & 1) << 4;
}

void civg_dequantize_q5_0(const void *row, size_t columns, float *out) {
  const uint8_t *p = row;
  for (size_t k = 0; k < columns; k += 32, p += 22) {
    float d = half_at(p);
    for (int i = 0; i < 32; i++) out[k + i] = d * (float)(five_bits(p + 6, p + 2, i) - 16);
  }
}

void civg_dequantize_q5_1(const void *row, size_t columns, float *out) {
  const uint8_t *p = row;
  for (size_t k = 0; k < columns; k += 32, p += 24) {
    float d = half_at(p), m = half_at(p + 2);
    for (int i = 0; i < 32; i++) out[k + i] = d * (float)five_bits(p + 8, p + 4, i) + m;
  }
}

void civg_dequantize_q2_k(const void *row, size_t columns, float *out) {
  const uint8_t *p = row;
  for (size_t k = 0; k < columns; k += 256, p += 84) {
    float d = half_at(p + 80), least = half_at(p + 82);
    for (int i = 0; i < 256; i++) {
      int q = p[16 + i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3;
      out[k + i] = d * (float)(p[i / 16] & 15) * (float)q - least * (float)(p[i / 16] >> 4);
    }
  }
}

/* Scale i of sixteen: a nibble of the first eight bytes, two bits of the last four, less 32. */
static int q3_scale(const uint8_t *scales, int i) {
  int low = i < 8 ? scales[i] & 15 : scales[i - 8] >> 4;
  return (low | (scales[8 + i % 4] >> (i / 4 * 2) & 3) << 4) - 32;
}

void civg_dequantize_q3_k(const void *row, size_t columns, float *out) {
  const uint8_t *p = row;
  for (size_t k = 0; k < columns; k += 256, p += 110) {
    float d = half_at(p + 108);
    for (int i = 0; i < 256; i++) {
      int low = p[32 + i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3;
      int high = p[i % 32] >> (i / 32) & 1;
      out[k + i] = d * (float)q3_scale(p + 96, i / 16) * (float)(low + 4 * high - 4);
    }
  }
}

/* Scale and minimum i of eight, six bits each: the first four lie plain, the others are split. */
static void pair_at(const uint8_t *s, int i, int *scale, int *minimum) {
  *scale = i < 4 ? s[i] & 63 : (s[i + 4] & 15) | s[i - 4] >> 6 << 4;
  *minimum = i < 4 ? s[i + 4] & 63 : s[i + 4] >> 4 | s[i] >> 6 << 4;
}

void civg_dequantize_q4_k(const void *row, size_t columns, float *out) {
  const uint8_t *p = row;
  for (size_t k = 0; k < columns; k += 256, p += 144) {
    for (int b = 0; b < 8; b++) {
      int scale, minimum;
      pair_at(p + 4, b, &scale, &minimum);
      float d = half_at(p) * (float)scale, m = half_at(p + 2) * (float)minimum;
      for (int i = 0; i < 32; i++) {
        int q = p[16 + b / 2 * 32 + i] >> (b % 2 * 4) & 15;
        out[k + 32 * b + i] = d * (float)q - m;
      }
    }
  }
}

void civg_dequantize_q5_k(const void *row, size_t columns, float *out) {
  const uint8_t *p = row;
  for (size_t k = 0; k < columns; k += 256, p += 176) {
    for (int b = 0; b < 8; b++) {
      int scale, minimum;
      pair_at(p + 4, b, &scale, &minimum);
      float d = half_at(p) * (float)scale, m = half_at(p + 2) * (float)minimum;
      for (int i = 0; i < 32; i++) {
        int q = (p[48 + b / 2 * 32 + i] >> (b % 2 * 4) & 15) | (p[16 + i] >> b & 1) << 4;
        out[k + 32 * b + i] = d * (float)q - m;
      }
    }
  }
}

void civg_dequantize_q6_k(const void *row, size_t columns, float *out) {
  const uint8_t *p = row;
  for (size_t k = 0; k < columns; k += 256, p += 210) {
    float d = half_at(p + 208);
    for (int i = 0; i < 256; i++) {
      int half = i / 128, part = i % 128 / 32, at = i % 32;
      int low = p[64 * half + part % 2 * 32 + at] >> (part / 2 * 4) & 15;
      int high = p[128 + 32 * half + at] >> (2 * part) & 3;
      out[k + i] = d * (float)(int8_t)p[192 + i / 16] * (float)((low | high << 4) - 32);
    }
  }
}
