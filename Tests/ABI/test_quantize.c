/* SPDX-License-Identifier: Apache-2.0
 *
 * test_quantize.c - quantizers: what they write, report and refuse; threads, cancelling, damaged sources, leaks.
 */
#include "latency.h"
#include "quantize.h"

#include <malloc.h>
#include <pthread.h>

static const char *const types[] = {"F32",    "F16",    "BF16",   "Q8_0",   "Q4_0",   "Q4_1",
                                    "Q5_0",   "Q5_1",   "Q2_K",   "Q3_K_S", "Q3_K_M", "Q3_K_L",
                                    "Q4_K_S", "Q4_K_M", "Q5_K_S", "Q5_K_M", "Q6_K"};

static ivg_status create_with(const char *source, const char *to, ivg_quantize_options options) {
  ivg_quantizer *quantizer = NULL;
  options.struct_size = sizeof options;
  ivg_status status = ivg_quantizer_create(&quantizer, source, to, &options, &error);
  ivg_quantizer_free(quantizer);
  return status;
}

/* Reports go from the first byte to the last, through the tensors in order; what they say is in the file. */
static void reports(void) {
  ivg_quantize_options options = {.type = "q4_0", .thread_count = 1};
  ivg_quantizer *quantizer = begin(fixture("tiny-llama.gguf"), target, options);
  ivg_quantize_report report = {.struct_size = sizeof report};
  ivg_file *file = NULL;
  REQUIRE_OK(ivg_file_open(&file, fixture("tiny-llama.gguf"), &error));
  uint64_t ended = 0, last = 0, out = 0;
  char names[256][64], kinds[256][8];
  ivg_status status;
  while ((status = ivg_quantizer_next(quantizer, &report, &error)) == IVG_OK) {
    ivg_tensor_info info = {.struct_size = sizeof info};
    EXPECT(IVG_OK, ivg_file_tensor(file, report.tensor_index, &info, &error));
    CHECK(report.tensor_index == ended && report.tensor_count == ivg_file_tensor_count(file));
    CHECK(strcmp(info.name, report.tensor) == 0 && strcmp(info.type, report.source_type) == 0);
    CHECK(report.done >= last && report.done <= report.total && report.total == report.size_in);
    CHECK(report.seconds >= 0 && report.error >= 0 && report.error < 0.2);
    CHECK((report.error == 0) == (strcmp(report.source_type, report.target_type) == 0));
    last = report.done;
    out = report.size_out;
    CHECK(file_count() == (has_nameless_files() ? 0 : 1) && access(target, F_OK) != 0);
    if (!report.ends_tensor) continue;
    snprintf(names[ended], sizeof *names, "%s", report.tensor);
    snprintf(kinds[ended++], sizeof *kinds, "%s", report.target_type);
  }
  EXPECT(IVG_DONE, status);
  EXPECT(IVG_DONE, ivg_quantizer_next(quantizer, &report, &error)); /* ever after */
  CHECK(last == report.total && ended == ivg_file_tensor_count(file));
  ivg_quantizer_free(quantizer);
  ivg_quantizer_free(NULL);
  ivg_file_free(file);
  REQUIRE_OK(ivg_file_open(&file, target, &error));
  uint64_t size = 0;
  for (uint64_t i = 0; i < ivg_file_tensor_count(file); i++) {
    ivg_tensor_info info = {.struct_size = sizeof info};
    EXPECT(IVG_OK, ivg_file_tensor(file, i, &info, &error));
    CHECK(strcmp(info.name, names[i]) == 0 && strcmp(info.type, kinds[i]) == 0);
    size += info.size;
  }
  CHECK(size == out && file_count() == 1);
  ivg_file_free(file);
  unlink(target);
}

/* Every type makes a file that opens and generates, the same for any number of threads. */
static void every_type(void) {
  static answer out;
  for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
    ivg_quantize_options one = {.type = types[i], .thread_count = 1}, four = {.type = types[i], .thread_count = 4};
    EXPECT(IVG_DONE, finish(begin(fixture("tiny-qwen2.gguf"), target, one)));
    EXPECT(IVG_DONE, finish(begin(fixture("tiny-qwen2.gguf"), second, four)));
    if (!CHECK(same_files(target, second))) printf("     ... of %s\n", types[i]);
    ivg_model *model = open_model(target);
    ivg_session *session = open_session(model, 1);
    ivg_generate_options options = {.struct_size = sizeof options, .max_tokens = 8};
    GENERATE(session, "Once", &options, NULL, &out);
    ivg_session_free(session);
    ivg_model_free(model);
  }
  unlink(target);
  unlink(second);
}

static void refused(void) {
  const char *model = fixture("tiny-llama.gguf");
  ivg_quantize_options good = {.type = "Q4_K_M"};
#define REFUSED(status, text, ...) \
  EXPECT_ERROR(status, text, create_with(model, target, (ivg_quantize_options){__VA_ARGS__}))
  REFUSED(IVG_ERROR_INVALID_ARGUMENT, "type ''", .flags = 0);
  REFUSED(IVG_ERROR_INVALID_ARGUMENT, "'IQ4_XS': must be one of F32", .type = "IQ4_XS");
  REFUSED(IVG_ERROR_INVALID_ARGUMENT, "output_type 'Q9'", .type = "Q4_0", .output_type = "Q9");
  REFUSED(IVG_ERROR_INVALID_ARGUMENT, "embedding_type ''", .type = "Q4_0", .embedding_type = "");
  REFUSED(IVG_ERROR_UNSUPPORTED, "flags is 2", .type = "Q4_0", .flags = 2);
  REFUSED(IVG_ERROR_UNSUPPORTED, "reserved", .type = "Q4_0", .reserved = 1);
  REFUSED(IVG_ERROR_INVALID_ARGUMENT, "threads", .type = "Q4_0", .thread_count = 5000);
  REFUSED(IVG_ERROR_OUT_OF_MEMORY, "budget is 7", .type = "Q4_0", .memory_budget = 7);
  REFUSED(IVG_ERROR_NOT_FOUND, "/nowhere", .type = "Q4_0", .importance_path = "/nowhere");
  REFUSED(IVG_ERROR_MISMATCH, "imatrix", .type = "Q4_0", .importance_path = fixture("tiny-adapter.gguf"));
  EXPECT_ERROR(IVG_ERROR_NOT_FOUND, "/nowhere", create_with("/nowhere", target, good));
  EXPECT_ERROR(IVG_ERROR_NOT_FOUND, "/nowhere/x", create_with(model, "/nowhere/x", good));
  EXPECT_ERROR(IVG_ERROR_NOT_FOUND, "no path", create_with(model, "", good));
  EXPECT_ERROR(IVG_ERROR_IO, "folder", create_with(model, folder, good));
  EXPECT_ERROR(IVG_ERROR_INVALID_ARGUMENT, "is read", create_with(model, model, good));
  REQUIRE(symlink(model, second) == 0);
  EXPECT_ERROR(IVG_ERROR_INVALID_ARGUMENT, "is read", create_with(model, second, good));
  unlink(second);
  EXPECT_ERROR(IVG_ERROR_MISMATCH, "'adapter'", create_with(fixture("tiny-adapter.gguf"), target, good));
  EXPECT_ERROR(IVG_ERROR_MISMATCH, "'value_head'", create_with(fixture("tiny-value-lora.gguf"), target, good));
  ivg_quantizer *quantizer = NULL;
  ivg_quantize_options small = {.struct_size = 3, .type = "Q4_0"};
  EXPECT_ERROR(IVG_ERROR_INVALID_ARGUMENT, "struct_size",
               ivg_quantizer_create(&quantizer, model, target, &small, &error));
  ivg_quantize_options from_init;
  memset(&from_init, 0xff, sizeof from_init);
  ivg_quantize_options_init(&from_init, sizeof from_init);
  CHECK(from_init.struct_size == sizeof from_init && !from_init.type && from_init.memory_budget == 0);
  CHECK(file_count() == 0 && quantizer == NULL);
}

typedef struct canceller {
  pthread_t thread;
  ivg_quantizer *quantizer;
  double delay;
  moment at;
} canceller;

static void *cancel_later(void *argument) {
  canceller *self = argument;
  usleep((useconds_t)(self->delay * 1e6));
  self->at = moment_now();
  ivg_quantizer_cancel(self->quantizer);
  return NULL;
}

/* Cancelled again and again the file comes to the same; each call returns soon. */
static void cancelled(void) {
  const char *source = real_model("Q4_1");
  if (!source) source = fixture("tiny-llama.gguf");
  ivg_quantize_options options = {.type = "Q4_0", .thread_count = 2};
  double began = seconds_now();
  EXPECT(IVG_DONE, finish(begin(source, target, options)));
  double time = seconds_now() - began;
  ivg_quantizer *quantizer = begin(source, second, options);
  ivg_quantize_report report = {.struct_size = sizeof report};
  latency returns = {.count = 0};
  ivg_status status = IVG_OK;
  for (int round = 0; status != IVG_DONE && round < 1000; round++) {
    canceller other = {.quantizer = quantizer, .delay = time / 12 * fmod(0.3819660113 * (round + 1), 1)};
    pthread_create(&other.thread, NULL, cancel_later, &other);
    do status = ivg_quantizer_next(quantizer, &report, NULL);
    while (status == IVG_OK);
    moment returned = moment_now();
    pthread_join(other.thread, NULL);
    if (status == IVG_ERROR_CANCELLED)
      latency_add(&returns, other.at, returned);
    else
      CHECK(status == IVG_DONE);
  }
  CHECK(latency_is_below(&returns, 0.1) && status == IVG_DONE && same_files(target, second));
  ivg_quantizer_free(quantizer);
  unlink(target);
  unlink(second);
}

/* One bit of the source is wrong: an error, or a file. */
static void flipped(void) {
  unsigned char *bytes = NULL;
  size_t size = 0;
  uint64_t seed = 1;
  int counts[2] = {0, 0};
  REQUIRE(read_file(fixture("tiny-llama.gguf"), &bytes, &size));
  for (int round = 0; round < 600; round++) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    size_t place = (seed >> 33) % (round % 2 ? size : 3000);
    bytes[place] ^= (unsigned char)(1 << round % 8);
    FILE *file = fopen(second, "wb");
    REQUIRE(file && fwrite(bytes, 1, size, file) == size);
    fclose(file);
    alarm(60);
    ivg_quantizer *quantizer = NULL;
    ivg_quantize_options options = {.struct_size = sizeof options, .type = types[round % 17], .thread_count = 1};
    ivg_status status = ivg_quantizer_create(&quantizer, second, target, &options, NULL);
    if (status == IVG_OK) {
      ivg_quantize_report report = {.struct_size = sizeof report};
      while ((status = ivg_quantizer_next(quantizer, &report, NULL)) == IVG_OK) {}
      ivg_quantizer_free(quantizer);
    }
    counts[status == IVG_DONE]++;
    CHECK(status == IVG_DONE || (status < 0 && status != IVG_ERROR_INTERNAL));
    CHECK((access(target, F_OK) == 0) == (status == IVG_DONE) && file_count() == 1 + (status == IVG_DONE));
    unlink(target);
    bytes[place] ^= (unsigned char)(1 << round % 8);
  }
  alarm(0);
  printf("     %d errors, %d files\n", counts[0], counts[1]);
  CHECK(counts[0] > 20 && counts[1] > 20);
  free(bytes);
  unlink(second);
}

static void leaves_nothing_behind(void) {
#ifndef __SANITIZE_ADDRESS__
  size_t before = 0;
  for (int round = 0; round < 60; round++) {
    ivg_quantize_options options = {.type = types[round % 17], .thread_count = 2};
    ivg_quantizer *quantizer = begin(fixture("tiny-llama.gguf"), target, options);
    if (round % 3) {
      finish(quantizer);
    } else {
      ivg_quantize_report report = {.struct_size = sizeof report};
      EXPECT(IVG_OK, ivg_quantizer_next(quantizer, &report, &error));
      ivg_quantizer_free(quantizer);
    }
    create_with(fixture("tiny-adapter.gguf"), target, options);
    ivg_error_free(error);
    error = NULL;
    if (round == 20) before = mallinfo2().uordblks;
  }
  size_t after = mallinfo2().uordblks;
  printf("     in use %zu, then %zu bytes\n", before, after);
  CHECK(after <= before + 4096);
#endif
  unlink(target);
}

int main(void) {
  if (!make_folder()) return 2;
  RUN(reports);
  RUN(every_type);
  RUN(refused);
  RUN(cancelled);
  RUN(flipped);
  RUN(leaves_nothing_behind);
  rmdir(folder);
  return check_finish();
}
