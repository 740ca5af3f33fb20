/* SPDX-License-Identifier: Apache-2.0
 *
 * neon_test.c - the kernels without Swift around them: runs where only a cross compiler and an emulator are.
 *
 * Feeds the same pseudo-random numbers to every table this CPU can run and prints one line per table:
 * its name and a hash of all results. Every line, on every CPU, must show the same hash (run_neon.sh compares).
 * Products are also compared with a sum in double precision. Exit status 1 if anything differs.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "CIVGKernels.h"

static uint64_t state;

/* A deterministic stream of 64-bit words. */
static uint64_t next_word(void) {
  uint64_t z = state += 0x9e3779b97f4a7c15ull;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ z >> 27) * 0x94d049bb133111ebull;
  return z ^ z >> 31;
}

/* Uniform in [-1, 1), with 24 bits. */
static float next_float(void) { return (float)(int32_t)(next_word() >> 40) * 0x1p-23f - 1.0f; }

static uint64_t hash;

/* Mixes floats into the hash; every NaN counts as the same. */
static void mix_floats(const float *x, size_t n) {
  for (size_t i = 0; i < n; i++) {
    uint32_t bits;
    memcpy(&bits, x + i, 4);
    if (x[i] != x[i]) bits = 0x7fc00000;
    hash = (hash ^ bits) * 0x100000001b3ull;
  }
}

static void mix_bytes(const void *p, size_t n) {
  for (size_t i = 0; i < n; i++) hash = (hash ^ ((const uint8_t *)p)[i]) * 0x100000001b3ull;
}

/* A stored type: its id, elements and bytes per block, and the places of half-precision scales in a block. */
typedef struct stored_type {
  uint32_t type;
  size_t elements, bytes;
  int scales, at[2];
} stored_type;

static const stored_type types[] = {
    {0, 1, 4, 0, {0}},       {1, 1, 2, 0, {0}},         {30, 1, 2, 0, {0}},        {2, 32, 18, 1, {0}},
    {3, 32, 20, 2, {0, 2}},  {6, 32, 22, 1, {0}},       {7, 32, 24, 2, {0, 2}},    {8, 32, 34, 1, {0}},
    {10, 256, 84, 2, {80, 82}}, {11, 256, 110, 1, {108}}, {12, 256, 144, 2, {0, 2}}, {13, 256, 176, 2, {0, 2}},
    {14, 256, 210, 1, {208}},
};

/* Random rows of a type, with scales of ordinary size. */
static void *make_weights(const stored_type *t, size_t outputs, size_t columns) {
  size_t blocks = outputs * columns / t->elements;
  uint8_t *data = malloc(blocks * t->bytes);
  for (size_t b = 0; b < blocks; b++) {
    uint8_t *p = data + b * t->bytes;
    float value = next_float();
    uint16_t half = civg_float_to_half(value);
    uint32_t bits;
    memcpy(&bits, &value, 4);
    if (t->type == 0) memcpy(p, &value, 4);
    else if (t->type == 1) memcpy(p, &half, 2);
    else if (t->type == 30) memcpy(p, (uint8_t *)&bits + 2, 2);
    else {
      for (size_t i = 0; i < t->bytes; i++) p[i] = (uint8_t)next_word();
      for (int i = 0; i < t->scales; i++) {
        half = civg_float_to_half(next_float() * 0.01f);
        memcpy(p + t->at[i], &half, 2);
      }
    }
  }
  return data;
}

static int failures;

/* What element i of a block stands for. */
static double element_of(const civg_block *b, int i) {
  int whole = b->low[i];
  if (b->group[i / 16] == i / 4 * 64) whole += 128 * b->high[i / 16][i % 4];
  return whole * (double)b->scale;
}

/* Products of one type for several numbers of rows. */
static void test_product(const civg_kernels *k, const stored_type *t, size_t outputs, size_t columns) {
  enum { MOST = 19 };
  static const size_t counts[] = {1, 2, 3, 4, 5, 8, MOST};
  void *data = make_weights(t, outputs, columns);
  float *f = malloc(MOST * columns * 4), *out = malloc(MOST * outputs * 4);
  float *alone = malloc(MOST * outputs * 4), *row = malloc(columns * 4);
  civg_block *blocks = malloc((MOST * columns / 32 + 1) * sizeof *blocks);
  void *scratch = aligned_alloc(64, civg_matmul_scratch(k, MOST, columns));
  for (size_t i = 0; i < MOST * columns; i++) f[i] = next_float() * (i % 37 == 5 ? 50 : 1);
  if (t->elements > 1) {
    for (size_t r = 0; r < MOST; r++) {
      k->quantize_row(f + r * columns, columns, blocks + r * columns / 32);
    }
  }
  civg_matrix w = {data, columns / t->elements * t->bytes, outputs, columns, t->type, NULL, 0};
  size_t tiles = (outputs + 15) / 16;
  for (size_t r = 0; r < MOST; r++) {
    civg_rows x = {f + r * columns, blocks + r * (columns / 32), 1, columns, columns};
    for (size_t tile = 0; tile < tiles; tile++) {
      k->matmul[t->type](&w, &x, tile, tile + 1, alone + r * outputs, outputs, CIVG_STORE, 1, scratch);
    }
  }
  for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
    civg_rows x = {f, blocks, counts[c], columns, columns};
    k->matmul[t->type](&w, &x, 0, tiles, out, outputs, CIVG_STORE, 1, scratch);
    if (memcmp(out, alone, counts[c] * outputs * 4)) {
      printf("%s: type %u: %zu rows differ from one\n", k->name, t->type, counts[c]);
      failures++;
    }
  }
  for (size_t o = 0; o < outputs; o++) {
    k->dequantize[t->type]((uint8_t *)data + o * w.row_bytes, columns, row);
    mix_floats(row, columns);
    for (size_t r = 0; r < MOST; r++) {
      double sum = 0, size = 0;
      for (size_t i = 0; i < columns; i++) {
        size_t at = r * columns + i;
        double x = t->elements > 1 ? element_of(&blocks[at / 32], (int)(at % 32)) : f[at];
        sum += x * row[i];
        size += fabs(x * row[i]);
      }
      if (!(fabs(sum - alone[r * outputs + o]) <= 2e-6 * size)) {
        if (failures++ < 20) {
          printf("%s: type %u: output %zu row %zu: %g, not %g\n", k->name, t->type, o, r,
                 alone[r * outputs + o], sum);
        }
      }
    }
  }
  civg_rows x = {f, blocks, MOST, columns, columns};
  k->matmul[t->type](&w, &x, 0, tiles, out, outputs, CIVG_ADD, 0.3f, scratch);
  mix_floats(alone, MOST * outputs);
  mix_floats(out, MOST * outputs);
  free(data), free(f), free(out), free(alone), free(row), free(blocks), free(scratch);
}

/* Attention over pages in a shuffled order. */
static void test_attention(const civg_kernels *k, size_t heads, size_t dim, size_t first, size_t length, float cap,
                           int wide) {
  const size_t part = dim * 16 * (wide ? 4 : 2);
  size_t pages = (length + 15) / 16, page_bytes = 2 * part;
  uint8_t *pool = malloc(pages * page_bytes);
  int32_t *ids = malloc(pages * sizeof *ids);
  float *q = malloc(heads * dim * 4), *out = malloc(heads * dim * 4);
  float *key = malloc(dim * 4), *value = malloc(dim * 4);
  float *scores = aligned_alloc(64, heads * pages * 64);
  memset(pool, 0xff, pages * page_bytes);
  for (size_t p = 0; p < pages; p++) ids[p] = (int32_t)((p * 7 + 3) % pages);
  if (pages % 7 == 0) for (size_t p = 0; p < pages; p++) ids[p] = (int32_t)p;
  for (size_t t = 0; t < length; t++) {
    for (size_t i = 0; i < dim; i++) key[i] = next_float(), value[i] = next_float();
    uint8_t *page = pool + (size_t)ids[t / 16] * page_bytes;
    k->store_key_value(key, value, dim, t % 16, wide, page, page + part);
  }
  for (size_t i = 0; i < heads * dim; i++) q[i] = next_float();
  civg_attending row = {q, out, ids, first, length};
  civg_attention a = {&row, 1, 0, 0, pool, page_bytes, 0, part, heads, dim, 0.5f, cap, wide, scores};
  k->attend(&a);
  for (size_t i = 0; i < heads * dim; i++) {
    if (!(fabsf(out[i]) <= 1.01f)) {
      printf("%s: attention: %g\n", k->name, out[i]);
      failures++;
      break;
    }
  }
  mix_floats(out, heads * dim);
  free(pool), free(ids), free(q), free(out), free(key), free(value), free(scores);
}

/* Everything that works on plain rows of floats. */
static void test_rows(const civg_kernels *k, size_t n) {
  float *x = malloc(n * 4), *y = malloc(n * 4), *z = malloc(n * 4);
  int32_t *ids = malloc(n * 4);
  for (size_t i = 0; i < n; i++) x[i] = 20 * next_float(), y[i] = next_float();
  k->rms_norm(x, y, n, 1e-5f, z);
  mix_floats(z, n);
  k->layer_norm(x, y, x, n, 1e-5f, z);
  mix_floats(z, n);
  k->rotate(z, x, y, n / 2, 0);
  k->rotate(z, y, x, n / 2, 1);
  mix_floats(z, n);
  k->add_scaled(z, x, 0.7f, n);
  k->add(z, y, n);
  mix_floats(z, n);
  float product = k->dot(x, y, n);
  mix_floats(&product, 1);
  double total = k->log_sum_exp(x, n);
  mix_bytes(&total, sizeof total);
  size_t best = k->argmax(x, n), found = k->top_k(x, n, n / 3 + 1, ids, z);
  mix_bytes(&best, sizeof best);
  mix_bytes(ids, found * 4);
  mix_floats(z, found);
  memcpy(z, x, n * 4);
  k->silu_multiply(z, y, n);
  mix_floats(z, n);
  memcpy(z, x, n * 4);
  k->gelu_tanh_multiply(z, y, n);
  mix_floats(z, n);
  memcpy(z, x, n * 4);
  k->gelu_multiply(z, y, n);
  mix_floats(z, n);
  memcpy(z, x, n * 4);
  k->gelu_quick_multiply(z, y, n);
  mix_floats(z, n);
  k->gelu_multiply(z, NULL, n);
  k->soft_cap(z, n, 0.7f);
  mix_floats(z, n);
  free(x), free(y), free(z), free(ids);
}

/* Products of floats, weights unpacked for them, derivatives and the optimiser. */
static void test_training(const civg_kernels *k, size_t rows, size_t columns, size_t depth) {
  size_t n = rows * columns;
  float *a = malloc(rows * depth * 4), *b = malloc(columns * depth * 4), *out = malloc(n * 4), *more = malloc(n * 4);
  for (size_t i = 0; i < rows * depth; i++) a[i] = next_float();
  for (size_t i = 0; i < columns * depth; i++) b[i] = next_float();
  civg_chain c = {a, depth, 1, b, 32, columns, out, columns, rows, columns, depth, 0};
  k->chain(&c);
  c.a_row = 1, c.a_step = rows, c.continues = 1;
  k->chain(&c);
  mix_floats(out, n);
  for (size_t i = 0; i < n; i++) more[i] = next_float();
  k->rms_norm_backward(out, more, more, n, 1e-5f, out);
  mix_floats(out, n);
  k->silu_multiply_backward(more, out, a, b, more, n < rows * depth ? n / 2 : 1);
  mix_floats(more, n);
  k->softmax(out, n, n, 0.1f);
  k->softmax_backward(out, more, n, n, 0.5f);
  mix_floats(more, n);
  k->log_probability_backward(more, n, n / 2, k->log_sum_exp(more, n), 1);
  double squares = k->sum_of_squares(more, n), mean = k->expectation(out, more, n, k->log_sum_exp(out, n));
  mix_bytes(&squares, sizeof squares), mix_bytes(&mean, sizeof mean);
  civg_adamw step = {0.5f, 0.9f, 0.99f, 1e-8f, 0.01f, 0.001f, 2, 3};
  for (size_t i = 0; i < n; i++) a[i % (rows * depth)] = fabsf(next_float());
  size_t m = n < rows * depth ? n : rows * depth;
  k->adamw(&step, out, more, out, a, m);
  mix_floats(out, m), mix_floats(a, m);
  k->dropout(more, out, n, 0.3f, 0x123456789abcdefull, 1);
  k->transpose(out, columns, rows, columns, more, rows);
  mix_floats(more, n);
  free(a), free(b), free(out), free(more);
}

/* Encodes rows as a type, with and without weights of the columns; numbers of several sizes, and zeros. */
static void test_encoding(const civg_kernels *k, const stored_type *t, size_t rows, size_t columns) {
  const size_t count = rows * columns, size = count / t->elements * t->bytes;
  float *x = malloc(count * 4), *weights = malloc(columns * 4), *back = malloc(count * 4);
  uint8_t *out = malloc(size);
  for (size_t i = 0; i < count; i++) {
    float value = next_float() + next_float() + next_float();
    x[i] = i / 32 % 9 == 8 ? 0 : value * (i / 32 % 7 == 6 ? 1e-4f : 0.03f);
  }
  for (size_t i = 0; i < columns; i++) weights[i] = next_float() * next_float() + 1.01f;
  for (int weighed = 0; weighed < 2; weighed++) {
    k->quantize[t->type](x, rows, columns, weighed ? weights : NULL, out);
    mix_bytes(out, size);
    k->dequantize[t->type](out, count, back);
    double error = 0, sum = 0;
    for (size_t i = 0; i < count; i++) error += (back[i] - x[i]) * (double)(back[i] - x[i]), sum += x[i] * (double)x[i];
    if (!(error < 0.1 * sum)) {
      printf("%s: type %u is encoded with an error of %g\n", k->name, t->type, sqrt(error / sum));
      failures++;
    }
  }
  free(x), free(weights), free(back), free(out);
}

int main(void) {
  static const char *names[] = {"portable", "avx2", "avxvnni", "avx512vnni", "neon-dotprod"};
  uint64_t expected = 0;
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    const civg_kernels *k = civg_kernels_select(names[i]);
    if (!k) continue;
    state = 1;
    hash = 0xcbf29ce484222325ull;
    for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
      test_product(k, &types[t], 37, 512);
      test_product(k, &types[t], 5, 1280);
      if (types[t].elements == 1) test_product(k, &types[t], 16, 301);
    }
    for (size_t t = 0; t < sizeof types / sizeof *types; t++) test_encoding(k, &types[t], 5, 1280);
    for (size_t n = 2; n < 300; n += 31) test_rows(k, n);
    for (int wide = 0; wide < 2; wide++) test_attention(k, 1, 64, 0, 1, 0, wide);
    for (int wide = 0; wide < 2; wide++) test_attention(k, 3, 64, 5, 50, 0, wide);
    for (int wide = 0; wide < 2; wide++) test_attention(k, 8, 34, 0, 33, 30, wide);
    for (int wide = 0; wide < 2; wide++) test_attention(k, 14, 128, 20, 100, 0, wide);
    test_training(k, 15, 70, 300);
    test_training(k, 3, 33, 40);
    printf("%016llx %s\n", (unsigned long long)hash, k->name);
    if (expected == 0) expected = hash;
    if (hash != expected) failures++;
  }
  return failures != 0;
}
