/* SPDX-License-Identifier: Apache-2.0
 *
 * products.c - how fast one thread multiplies rounded activations by weights, by type and number of rows.
 *
 *     clang -O2 -I Sources/CIVGKernels/include Tests/Benchmarks/products.c Sources/CIVGKernels/?*.c -lm -o products
 *     ./products [outputs columns] [kernels]       576 1536 by default, the best kernels of this CPU
 *
 * Prints G multiply-adds a second: the median of eleven runs over eight matrices in turn, which together do not
 * fit in the second-level cache. A product takes a time for its weights and a time for each row; from 16 and 64 rows
 * follow the rate that rows alone would reach, and the weights' share of the time of eight rows.
 */
#define _POSIX_C_SOURCE 199309L
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "CIVGKernels.h"

enum { MATRICES = 8, RUNS = 11, MOST_ROWS = 64 };

static const struct {
  const char *name;
  uint32_t id;
  size_t block_bytes, block_columns;
} types[] = {{"Q4_0", 2, 18, 32}, {"Q4_1", 3, 20, 32}, {"Q5_0", 6, 22, 32}, {"Q8_0", 8, 34, 32},
             {"Q4_K", 12, 144, 256}, {"Q5_K", 13, 176, 256}, {"Q6_K", 14, 210, 256}};

static double seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int ascending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* The rate for one type and number of rows. */
static double rate(const civg_kernels *kernels, int type, size_t outputs, size_t columns, size_t rows,
                   const uint8_t *weights, const civg_block *blocks, float *out, void *scratch) {
  const size_t row_bytes = columns / types[type].block_columns * types[type].block_bytes;
  const civg_rows x = {.blocks = blocks, .rows = rows, .columns = columns};
  double times[RUNS];
  size_t repeats = 1 + 40000000 / (outputs * columns * rows);
  for (int run = 0; run < RUNS; run++) {
    double start = seconds();
    for (size_t i = 0; i < repeats * MATRICES; i++) {
      civg_matrix w = {weights + i % MATRICES * row_bytes * outputs, row_bytes, outputs, columns, types[type].id, NULL, 0};
      kernels->matmul[types[type].id](&w, &x, 0, (outputs + 15) / 16, out, outputs, CIVG_STORE, 1, scratch);
    }
    times[run] = seconds() - start;
  }
  qsort(times, RUNS, sizeof *times, ascending);
  return (double)(repeats * MATRICES * outputs * columns * rows) / times[RUNS / 2] / 1e9;
}

int main(int count, char **words) {
  const size_t outputs = count > 2 ? strtoul(words[1], NULL, 10) : 576;
  const size_t columns = count > 2 ? strtoul(words[2], NULL, 10) : 1536;
  const civg_kernels *kernels = civg_kernels_select(count % 2 == 0 ? words[count - 1] : NULL);
  const size_t rows[] = {1, 2, 4, 8, 12, 16, 32, 64};
  if (!kernels || !outputs || !columns || columns % 32) return fputs("no such kernels or size\n", stderr), 1;
  uint8_t *weights = malloc(MATRICES * outputs * columns * 2);
  float *values = malloc(columns * sizeof *values), *out = malloc(outputs * MOST_ROWS * sizeof *out);
  civg_block *blocks = aligned_alloc(64, MOST_ROWS * columns / 32 * sizeof *blocks);
  void *scratch = aligned_alloc(64, civg_matmul_scratch(kernels, MOST_ROWS, columns));
  if (!weights || !values || !out || !blocks || !scratch) return fputs("out of memory\n", stderr), 1;
  /* Bytes below 0x70 keep every half-precision scale finite. */
  for (size_t i = 0; i < MATRICES * outputs * columns * 2; i++) weights[i] = (uint8_t)(rand() % 0x70);
  for (size_t r = 0; r < MOST_ROWS; r++) {
    for (size_t i = 0; i < columns; i++) values[i] = (float)rand() / (float)RAND_MAX - 0.5f;
    kernels->quantize_row(values, columns, blocks + r * columns / 32);
  }
  double rates[MOST_ROWS + 1];
  printf("%s, %zu x %zu\n      ", kernels->name, outputs, columns);
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) printf("%7zu", rows[i]);
  printf("   rows alone   weights in 8");
  for (int type = 0; type < (int)(sizeof types / sizeof *types); type++) {
    if (columns % types[type].block_columns) continue;
    printf("\n%-6s", types[type].name);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
      rates[rows[i]] = rate(kernels, type, outputs, columns, rows[i], weights, blocks, out, scratch);
      printf("%7.0f", rates[rows[i]]);
    }
    double alone = 48 / (64 / rates[64] - 16 / rates[16]);
    printf("%13.0f%14.0f %%", alone, 100 * (1 - rates[8] / alone));
  }
  putchar('\n');
  return 0;
}
