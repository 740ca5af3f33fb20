/* SPDX-License-Identifier: Apache-2.0
 *
 * CIVGKernels.h - the inner loops over numbers.
 *
 * Everything here is a pure function of its arguments: no state, no allocation, no threads, no errors. Callers
 * (the Tensor room) prove every size before they call. One table of functions, `civg_kernels`, exists per
 * instruction set; civg_kernels_select() picks one at run time.
 *
 * The promise behind every function: a result depends only on the numbers it is computed from, never on how
 * many rows travel together, which thread computes it, or which table is in use. Integer sums are exact;
 * floating-point sums run in one documented order, with fused multiply-adds exactly where the source says
 * civg fma. So the tables agree bit for bit, and that is a test.
 */
#ifndef CIVG_KERNELS_H
#define CIVG_KERNELS_H

#include <stddef.h>
#include <stdint.h>

/* Outputs (weight rows) that one tile of a matrix product covers: the lanes of a vector. */
#define CIVG_TILE 16
/* Tokens in one page of keys and values. */
#define CIVG_PAGE 16
/* Elements that share one activation scale. */
#define CIVG_BLOCK 32
/* Bytes of scratch for weights that wait unpacked. */
#define CIVG_SCRATCH_BYTES (32 * 1024)

/* ---- Matrix product ------------------------------------------------------------------------------------ */

/* A weight matrix as stored in a GGUF file: `outputs` rows of `columns` elements, row-major. A product with it may ask
 * the memory for `ahead_bytes` from `ahead` on, which the caller will need next; NULL and 0: nothing. */
typedef struct civg_matrix {
  const void *data;
  size_t row_bytes;
  size_t outputs;
  size_t columns;
  uint32_t type; /* TensorType raw value = ggml type id */
  const void *ahead;
  size_t ahead_bytes;
} civg_matrix;

/* 32 rounded activations: element i is scale * (low[i] + 128 * its high part). Only one group of four consecutive
 * elements in each half of the block has high parts, the group with the half's largest element; so outliers, which
 * all models have, do not take the precision of their neighbours. |high part|, |low| <= 127, and |low| <= 64 in the
 * two groups. */
typedef struct civg_block {
  int8_t low[32];
  int8_t high[2][4];  /* [half][element of the group] */
  uint16_t group[2];  /* [half] 64 times the number, 0 ... 7, of the half's group */
  float scale;        /* NaN if an element was not finite; then all parts are 0 */
  float scaled_sum;   /* scale * sum */
  int32_t sum;        /* of all 32 elements, as whole numbers */
  int32_t sums[2];    /* of each half */
} civg_block;

/* Activations: `rows` rows of `columns` elements. `f` is read by products with float weights (F32, F16, BF16), a row
 * following the one before at f_stride; `blocks` by products with quantised weights. */
typedef struct civg_rows {
  const float *f;           /* [rows, f_stride]     */
  const civg_block *blocks; /* [rows, columns / 32] */
  size_t rows;
  size_t columns;
  size_t f_stride;
} civg_rows;

/* What a product does with its result y = W x. */
enum {
  CIVG_STORE = 0, /* out  = y          */
  CIVG_ADD = 1,   /* out += scale * y  */
};

/* One product over the tiles [tile_first, tile_end) of `w` (tile t covers outputs 16 t ... min(16 t + 15,
 * outputs - 1)) and all rows of `x`:  out[r * out_stride + o].  `scratch` is private to the calling thread,
 * 64-byte aligned, civg_matmul_scratch() bytes. Threads share one product by taking disjoint tile ranges. */
typedef void (*civg_matmul_fn)(const civg_matrix *w, const civg_rows *x, size_t tile_first, size_t tile_end,
                               float *out, size_t out_stride, int mode, float scale, void *scratch);

/* ---- Attention ----------------------------------------------------------------------------------------- */

/* One row's part in attention: tokens first ... length - 1 of the sequence whose page p starts at
 * pool + page_ids[p] * page_bytes. */
typedef struct civg_attending {
  const float *q; /* [heads][head_dim] */
  float *out;     /* [heads][head_dim] */
  const int32_t *page_ids;
  size_t first;
  size_t length;
} civg_attending;

/* Attention of some rows, for the query heads that share one key/value head.
 *
 * Within a page the keys of this layer and head lie at k_offset as [head_dim][16 tokens], the values at v_offset
 * as [16 tokens][head_dim]: half floats, or floats if `wide`. `softcap` > 0 bounds scores to softcap * tanh(score / softcap).
 * Pages shared_from ... shared_to - 1 are the same in all rows, which attend to each of their tokens; what is read of
 * them serves several queries at a time, and changes no result.
 * scores: private scratch [row_count][heads][largest length rounded up to 16] floats, 64-byte aligned. head_dim: a
 * multiple of 2, at most 512. */
typedef struct civg_attention {
  const civg_attending *rows;
  size_t row_count;
  size_t shared_from;
  size_t shared_to;
  const uint8_t *pool;
  size_t page_bytes;
  size_t k_offset;
  size_t v_offset;
  size_t heads;
  size_t head_dim;
  float scale;
  float softcap;
  int wide;
  float *scores;
} civg_attention;

/* ---- Training ------------------------------------------------------------------------------------------ */

/* Columns of a panel, the unit in which the second operand of a chain is laid out. */
#define CIVG_PANEL_COLUMNS 32

/* Terms of a sum that form one portion. */
#define CIVG_CHAIN_TERMS 256

/* out[i][j] = sum over k of a(i, k) b(k, j): chains of CIVG_CHAIN_TERMS fused multiply-adds in the order of k, each from
 * zero, whose results are added up in order, if `continues` to what out holds. */
typedef struct civg_chain {
  const float *a;      /* a(i, k) = a[i * a_row + k * a_step] */
  size_t a_row;
  size_t a_step;
  const float *b;      /* b(k, j) = b[j / 32 * b_panel + k * b_step + j % 32] */
  size_t b_panel;
  size_t b_step;
  float *out;          /* [rows, out_stride] */
  size_t out_stride;
  size_t rows;
  size_t columns;
  size_t depth;
  int continues;
} civg_chain;

/* One step of AdamW: m and s are running means of the gradient and its square; p loses decay * p, then
 * rate * (correction1 m) / (sqrt(correction2 s) + epsilon). Gradients are scaled first. */
typedef struct civg_adamw {
  float gradient_scale;
  float beta1;
  float beta2;
  float epsilon;
  float rate;
  float decay;
  float correction1;
  float correction2;
} civg_adamw;

/* ---- The table ------------------------------------------------------------------------------------------ */

typedef struct civg_kernels {
  const char *name; /* "portable", "avx2", "avx512vnni", "neon-dotprod" */

  /* Bytes of scratch that a product takes for each element of its activations. */
  size_t scratch_element;

  /* NULL for a type id that has no product. Indexed by ggml type id. */
  civg_matmul_fn matmul[32];

  /* out[i] = element i of a stored row of `columns` elements of that type. Indexed by ggml type id. */
  void (*dequantize[32])(const void *row, size_t columns, float *out);

  /* Stores `rows` rows of `columns` floats, which follow each other, as a type has them: what dequantize makes of the
   * result has the least error found, sum(weights[column] (x - dequantized)^2) of each block. weights: [columns], finite
   * and not negative; NULL: all 1. All floats are finite, and within the type's range (at most 65504; 3.38e38 in BF16).
   * columns: a multiple of the type's block. Indexed by ggml type id. */
  void (*quantize[32])(const float *x, size_t rows, size_t columns, const float *weights, void *out);

  /* Rounds one row to blocks: scale = max(r, m / 128) / 127, where m is the block's largest magnitude and r that of the
   * elements outside the two groups; elements are rounded to nearest even. columns: a multiple of 32. A block with a
   * non-finite element has the scale NaN, so that a NaN is never lost; one whose m is below 1e-33 is zero. */
  void (*quantize_row)(const float *x, size_t columns, civg_block *blocks);

  /* out[i] = x[i] * weight[i] / sqrt(mean(x^2) + epsilon);  weight may be NULL (ones). out may be x. */
  void (*rms_norm)(const float *x, const float *weight, size_t n, float epsilon, float *out);
  /* out[i] = (x[i] - mean) / sqrt(variance + epsilon) * weight[i] + bias[i];  bias may be NULL. out may be x. */
  void (*layer_norm)(const float *x, const float *weight, const float *bias, size_t n, float epsilon, float *out);

  /* gate[i] = f(gate[i]) * (up ? up[i] : 1) with f(x) = x / (1 + exp(-x)); GELU approximated by a tanh; GELU itself, x
   * times the normal distribution's share below x; x / (1 + exp(-1.702 x)). */
  void (*silu_multiply)(float *gate, const float *up, size_t n);
  void (*gelu_tanh_multiply)(float *gate, const float *up, size_t n);
  void (*gelu_multiply)(float *gate, const float *up, size_t n);
  void (*gelu_quick_multiply)(float *gate, const float *up, size_t n);

  /* x[i] = cap * tanh(x[i] / cap);  cap > 0 */
  void (*soft_cap)(float *x, size_t n, float cap);

  /* x[i] += y[i];  x[i] = x[i] + scale * y[i] */
  void (*add)(float *x, const float *y, size_t n);
  void (*add_scaled)(float *x, const float *y, float scale, size_t n);
  /* x[i] = fma(weight, tuned[i] - untuned[i], x[i]). Where tuned is -inf the result is -inf; where only untuned is,
   * x stays: masked logits never make a NaN. */
  void (*tilt)(float *x, const float *tuned, const float *untuned, float weight, size_t n);

  /* Rotates the first 2 * pairs elements of one head in place. cosine, sine: [pairs].
   * interleaved != 0: pairs are (2 i, 2 i + 1), else (i, i + pairs). */
  void (*rotate)(float *head, const float *cosine, const float *sine, size_t pairs, int interleaved);

  /* Writes one token's key and value (head_dim floats each) of one head into slot `slot` (0 ... 15) of a page. */
  void (*store_key_value)(const float *k, const float *v, size_t head_dim, size_t slot, int wide, void *k_page,
                          void *v_page);
  void (*attend)(const civg_attention *a);

  /* log(sum(exp(x))) of n finite or -inf values; NaN if any is NaN; -inf if all are -inf. */
  double (*log_sum_exp)(const float *x, size_t n);
  /* The index of the largest value, lowest index on ties; NaN never wins. n >= 1. */
  size_t (*argmax)(const float *x, size_t n);
  /* The k largest of n, descending, ties by lowest index; NaN counts as -inf and -inf is never returned.
   * Returns how many were found (<= k). ids, values: [k]. */
  size_t (*top_k)(const float *x, size_t n, size_t k, int32_t *ids, float *values);
  /* 1 if every one of n values is finite or -inf. */
  int (*is_clean)(const float *x, size_t n);
  /* Dot product of two float vectors, in the lane order of the other kernels. */
  float (*dot)(const float *x, const float *y, size_t n);

  /* ---- Training. What is named d... is the derivative of a loss by the thing named. */

  void (*chain)(const civg_chain *c);
  /* Weights as the second operand of a chain over columns: panel[k][i] = element `column` + k of output `output` + i,
   * 0 for i >= outputs. `column` begins a block, outputs <= 32. panel: [columns][32]. */
  void (*unpack_rows)(const civg_matrix *w, size_t output, size_t outputs, size_t column, size_t columns, float *panel);
  /* The same for a chain over outputs: panels[j / 32][o][j % 32] = element `column` + j of output `output` + o.
   * `column` and, but for the matrix's end, `columns` are whole blocks and panels. panels: [columns / 32][outputs][32],
   * the last filled up with zeros. */
  void (*unpack_columns)(const civg_matrix *w, size_t output, size_t outputs, size_t column, size_t columns,
                         float *panels);
  /* dx += derivative of rms_norm by x. */
  void (*rms_norm_backward)(const float *x, const float *weight, const float *dy, size_t n, float epsilon, float *dx);
  /* dgate holds the derivative by silu(gate) * up, and then that by gate; dup and the product itself are stored. */
  void (*silu_multiply_backward)(const float *gate, const float *up, float *dgate, float *dup, float *product, size_t n);
  /* x = softmax(scale * x) of the first n; the rest up to `width` is 0. scale > 0. */
  void (*softmax)(float *x, size_t n, size_t width, float scale);
  /* dp becomes the derivative by x: scale * p (dp - sum(p dp)) of the first n; the rest up to `width` is 0. */
  void (*softmax_backward)(const float *p, float *dp, size_t n, size_t width, float scale);
  /* x, whose log_sum_exp is given, becomes scale * d log p(token) / dx = scale * (one-hot(token) - softmax(x)). */
  void (*log_probability_backward)(float *x, size_t n, size_t token, double log_sum, float scale);
  double (*sum_of_squares)(const float *x, size_t n);
  /* sum(softmax(logits) x), given log(sum(exp(logits))). */
  double (*expectation)(const float *logits, const float *x, size_t n, double log_sum);
  /* out[j][i] = x[i * stride + j] for i < rows, 0 for the rest of a row of `width`; j < columns. out: [columns][width] */
  void (*transpose)(const float *x, size_t stride, size_t rows, size_t columns, float *out, size_t width);
  void (*adamw)(const civg_adamw *a, float *parameters, const float *gradients, float *first, float *second, size_t n);
  /* out = (adds: out +) x / (1 - rate), or 0 with probability `rate`, by a number made of `key` and the index. */
  void (*dropout)(const float *x, float *out, size_t n, float rate, uint64_t key, int adds);
} civg_kernels;

/* The table for this CPU. `name` (may be NULL) forces one: NULL comes back if this CPU cannot run it. */
const civg_kernels *civg_kernels_select(const char *name);

/* Bytes of scratch that any product of at most `rows` rows of at most `columns` elements needs. */
size_t civg_matmul_scratch(const civg_kernels *kernels, size_t rows, size_t columns);

/* Entries of the two arrays by type id, for callers that cannot index a C array. */
static inline civg_matmul_fn civg_kernels_matmul(const civg_kernels *table, uint32_t type) {
  return table->matmul[type];
}
typedef void (*civg_dequantize_fn)(const void *row, size_t columns, float *out);
static inline civg_dequantize_fn civg_kernels_dequantize(const civg_kernels *table, uint32_t type) {
  return table->dequantize[type];
}
typedef void (*civg_quantize_fn)(const float *x, size_t rows, size_t columns, const float *weights, void *out);
static inline civg_quantize_fn civg_kernels_quantize(const civg_kernels *table, uint32_t type) {
  return table->quantize[type];
}

/* ---- System ---------------------------------------------------------------------------------------------- */

/* Processors that this process may use, by its affinity mask. (Swift cannot import the calls for it.) */
int civg_processor_count(void);

/* Sleeps while the first four bytes at `word` equal `value`; may return early. `word`: 4-byte aligned. */
void civg_wait_while(const void *word, uint32_t value);
/* Wakes all threads of this process that sleep on `word`. */
void civg_wake_all(const void *word);

/* Has the system write a part of a file to the disk: begins it, or (waits != 0) returns when it is done. Where that cannot
 * be, nothing happens: what must be on the disk is synced at the end. */
void civg_write_back(int descriptor, int64_t offset, int64_t count, int waits);

/* ---- Bits ------------------------------------------------------------------------------------------------ */

float civg_half_to_float(uint16_t half);
uint16_t civg_float_to_half(float value);

/* A pause inside a spin loop. */
static inline void civg_pause(void) {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

#endif /* CIVG_KERNELS_H */
