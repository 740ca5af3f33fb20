/* SPDX-License-Identifier: Apache-2.0
 *
 * test_budget_training.c - trainers and quantizers stay within what they say they take, and within their budgets.
 */
#include "process.h"
#include "training.h"

/* Beside a figure, once in a process: the language runtime's first use, malloc's slack, stacks of worker threads. */
static const int64_t once = 1000000;

typedef struct run {
  const char *data;
  uint32_t objective, flags, threads;
} run;

/* In a child: a trainer with the least budget that it says it can do with, to its end. */
static void trains(const void *argument) {
  const run *how = argument;
  ivg_model *model = open_model(fixture("tiny-llama.gguf"));
  ivg_trainer_options options = small_run(how->data);
  options.objective = how->objective;
  options.flags = how->flags;
  options.thread_count = how->threads;
  options.evaluation_fraction = 0.25;
  options.memory_budget = 1;
  ivg_trainer *trainer = NULL;
  CHECK(ivg_trainer_create(&trainer, model, &options, &error) == IVG_ERROR_OUT_OF_MEMORY && error);
  const char *number = error ? strpbrk(ivg_error_message(error), "0123456789") : NULL;
  options.memory_budget = number ? strtoull(number, NULL, 10) : 0;
  ivg_error_free(error);
  error = NULL;
  resident before;
  if (!CHECK(start_peak(&before))) return;
  REQUIRE_OK(ivg_trainer_create(&trainer, model, &options, &error));
  ivg_trainer_info info = {.struct_size = sizeof info};
  ivg_trainer_describe(trainer, &info);
  ivg_trainer_report report;
  CHECK(train_to(trainer, UINT64_MAX, &report) == IVG_DONE);
  int64_t growth = peak_growth(&before);
  printf("     objective %u, %u threads: budget %.3f, said %.3f, grew by %.3f MB\n", how->objective, how->threads,
         (double)options.memory_budget / 1e6, (double)info.memory / 1e6, (double)growth / 1e6);
  CHECK(info.memory <= options.memory_budget && growth <= (int64_t)info.memory + once);
  ivg_trainer_free(trainer);
  options.memory_budget--;
  EXPECT(IVG_ERROR_OUT_OF_MEMORY, ivg_trainer_create(&trainer, model, &options, &error));
  ivg_model_free(model);
}

static void trainers(void) {
  const char *pair_data = write_data("pairs.jsonl", pairs, 64, 12);
  const char *reward_data = write_data("rewards.jsonl", rewards, 64, 12);
  const char *text_data = write_data("texts.jsonl", texts, 64, 12);
  const run runs[] = {{pair_data, IVG_OBJECTIVE_PREFERENCE, 0, 1},
                      {pair_data, IVG_OBJECTIVE_PREFERENCE, 0, 4},
                      {text_data, IVG_OBJECTIVE_SUPERVISED, 0, 2},
                      {pair_data, IVG_OBJECTIVE_REWARD, 0, 2},
                      {reward_data, IVG_OBJECTIVE_VALUE, IVG_TRAINER_HEAD_ONLY, 2},
                      {reward_data, IVG_OBJECTIVE_VALUE, IVG_TRAINER_VOCABULARY_HEAD, 2}};
  for (size_t i = 0; i < sizeof runs / sizeof *runs; i++) in_a_process_of_its_own("trainer", trains, &runs[i]);
}

/* In a child: a quantizer with the least budget that it says it can do with. */
static void quantizes(const void *argument) {
  const char *type = argument;
  const char *source = real_model("F16");
  char from[4096];
  snprintf(from, sizeof from, "%s", source ? source : fixture("tiny-llama.gguf"));
  const char *to = temporary("small.gguf");
  ivg_quantize_options options = {.struct_size = sizeof options, .type = type, .thread_count = 2, .memory_budget = 1};
  ivg_quantizer *quantizer = NULL;
  resident before;
  if (!CHECK(start_peak(&before))) return;
  CHECK(ivg_quantizer_create(&quantizer, from, to, &options, &error) == IVG_ERROR_OUT_OF_MEMORY && error);
  const char *number = error ? strpbrk(ivg_error_message(error), "0123456789") : NULL;
  options.memory_budget = number ? strtoull(number, NULL, 10) : 0;
  ivg_error_free(error);
  error = NULL;
  options.memory_budget--;
  EXPECT(IVG_ERROR_OUT_OF_MEMORY, ivg_quantizer_create(&quantizer, from, to, &options, &error));
  options.memory_budget++;
  REQUIRE_OK(ivg_quantizer_create(&quantizer, from, to, &options, &error));
  ivg_quantize_report report = {.struct_size = sizeof report};
  ivg_status status;
  int64_t most = 0; /* pages of files do not count: those of the source come in as it is read */
  while ((status = ivg_quantizer_next(quantizer, &report, &error)) == IVG_OK) {
    int64_t anonymous = (int64_t)(resident_now().anonymous - before.anonymous);
    if (anonymous > most) most = anonymous;
  }
  check_status(status, IVG_DONE, NULL, "quantize", __LINE__);
  printf("     %s: budget %.3f, grew by %.3f MB\n", type, (double)options.memory_budget / 1e6, (double)most / 1e6);
  CHECK(most <= (int64_t)options.memory_budget + once);
  ivg_quantizer_free(quantizer);
  unlink(to);
}

static void quantizers(void) {
  in_a_process_of_its_own("quantizer", quantizes, "Q8_0");
  in_a_process_of_its_own("quantizer", quantizes, "Q4_0");
}

int main(void) {
  if (is_instrumented()) {
    printf("     skipped: a sanitizer's memory is not the library's\n");
    return 0;
  }
  RUN(trainers);
  RUN(quantizers);
  remove_temporary();
  return check_finish();
}
