/* SPDX-License-Identifier: Apache-2.0
 *
 * test_leaks.c - a thousand rounds of opening, guided generating and freeing take no memory with them: what
 * malloc has given out is the same after each, and the process does not grow.
 */
#include "training.h"

#include <malloc.h>

static int rounds = 1000;

static size_t resident_bytes(void) {
  size_t pages = 0;
  FILE *file = fopen("/proc/self/statm", "r");
  if (!file || fscanf(file, "%*s %zu", &pages) != 1) pages = 0;
  if (file) fclose(file);
  return pages * (size_t)sysconf(_SC_PAGESIZE);
}

static int32_t score_length(void *user_data, const char *asked, size_t asked_length, const char *const *texts,
                            const size_t *lengths, const int32_t *finished, size_t count, double *scores) {
  (void)user_data, (void)asked, (void)asked_length, (void)texts, (void)finished;
  for (size_t i = 0; i < count; i++) scores[i] = (double)(lengths[i] % 7);
  return 0;
}

/* run.sh switches malloc's caches for threads off, so that the count is exact; by hand it wavers by some
 * thousands. */
static size_t tolerance(void) { return getenv("GLIBC_TUNABLES") ? 0 : (size_t)rounds * 16; }

/* A checker's own malloc keeps freed memory for a while; and few rounds do not warm up. */
static size_t growth(void) {
#ifdef __SANITIZE_ADDRESS__
  return SIZE_MAX / 2;
#else
  return rounds < 100 ? SIZE_MAX / 2 : 512 * 1024;
#endif
}

/* What the process holds after each round. The system's figure goes up and down as malloc gives memory back,
 * so its peaks are compared: of the first fifth, and of the rest. */
typedef struct usage {
  size_t in_use, in_use_after, peak, peak_after;
} usage;

static void measure(usage *out, int round) {
  size_t resident = resident_bytes();
  size_t *peak = round <= rounds / 5 ? &out->peak : &out->peak_after;
  if (resident > *peak) *peak = resident;
  /* What is freed by other threads lies in their arenas; mallinfo2 counts all of them. */
  *(round <= rounds / 5 ? &out->in_use : &out->in_use_after) = mallinfo2().uordblks;
}

static void expect_flat(const usage *found, size_t kept) {
  printf("     in use %zu, then %zu bytes; resident at most %zu, then %zu KiB\n", found->in_use,
         found->in_use_after, found->peak / 1024, found->peak_after / 1024);
  CHECK(found->in_use_after <= found->in_use + tolerance() + kept);
  CHECK(found->peak_after <= found->peak + growth());
}

/* Nudging by a model or an adapter, to its end or half way. */
static void one_nudging(ivg_session *session, const ivg_model *small, const ivg_adapter *adapter, int round) {
  ivg_guidance *guidance = new_guidance(1, 1, 0);
  ivg_nudging_options nudging = {.struct_size = sizeof nudging, .threshold = 0.05f};
  EXPECT(IVG_ERROR_INVALID_ARGUMENT, ivg_guidance_set_nudging(guidance, &nudging, &error));
  if (round % 2) nudging.nudger_model = small;
  else nudging.nudger_adapter = adapter;
  nudging.nudger_template = "Q: {prompt} A:";
  EXPECT(IVG_OK, ivg_guidance_set_nudging(guidance, &nudging, &error));
  ivg_generate_options options = {.struct_size = sizeof options, .max_tokens = 12};
  EXPECT(IVG_OK, ivg_session_begin(session, "A text", 6, &options, guidance, &error));
  ivg_step step = {.struct_size = sizeof step};
  const ivg_span *spans = NULL;
  size_t count = 0;
  double share = 0;
  for (int i = 0; i < (round % 3 ? 100 : 2) && ivg_session_next(session, &step, NULL) == IVG_OK; i++)
    EXPECT(IVG_OK, ivg_session_nudges(session, &spans, &count, &share, &error));
  ivg_guidance_free(guidance);
}

/* One of everything that can be made, with errors among it. */
static void one_round(int round) {
  static const char prompt[] = "The value of a text is";
  ivg_file *file = NULL;
  ivg_model *small = NULL, *none = NULL;
  ivg_adapter *adapter = NULL;
  ivg_value_head *head = NULL;
  ivg_sequence *sequence = NULL, *fork = NULL;
  EXPECT(IVG_OK, ivg_file_open(&file, fixture("tiny-llama-q4_0.gguf"), &error));
  ivg_model *model = open_model(fixture("tiny-llama-q8_0.gguf"));
  small = open_model(fixture("tiny-llama-untuned.gguf"));
  EXPECT(IVG_ERROR_NOT_FOUND, ivg_model_open(&none, "/nowhere", NULL, &error));
  EXPECT(IVG_ERROR_CORRUPT_FILE, ivg_model_open(&none, fixture("README.md"), NULL, &error));
  EXPECT(IVG_OK, ivg_adapter_open(&adapter, model, fixture("tiny-adapter.gguf"), &error));
  EXPECT(IVG_OK, ivg_value_head_open(&head, model, fixture("tiny-value-lora.gguf"), &error));
  ivg_guidance *guidance = new_guidance(2, 2, 3);
  ivg_implicit_options implicit = {
      .struct_size = sizeof implicit, .role = 3, .tuned_adapter = adapter, .untuned_model = small};
  ivg_explicit_options value = {.struct_size = sizeof value, .head = head};
  ivg_scorer_options scorer = {.struct_size = sizeof scorer, .score = score_length};
  EXPECT(IVG_OK, ivg_guidance_add_implicit(guidance, &implicit, 1, &error));
  EXPECT(IVG_OK, ivg_guidance_add_explicit(guidance, &value, 1, &error));
  EXPECT(IVG_OK, ivg_guidance_add_scorer(guidance, &scorer, 1, &error));
  ivg_session *session = open_session(model, round % 10 ? 1 : 2);
  static const char *const stops[1] = {"zzz"};
  ivg_generate_options options = {.struct_size = sizeof options,
                                  .seed = (uint64_t)(round % 3),
                                  .max_tokens = 8,
                                  .flags = IVG_GENERATE_ATTRIBUTION | IVG_GENERATE_IGNORE_END,
                                  .stop_strings = stops,
                                  .stop_string_count = 1,
                                  .top_log_probabilities = 4};
  answer out;
  GENERATE(session, prompt, &options, guidance, &out);
  GENERATE(session, prompt, &options, NULL, &out);
  one_nudging(session, small, adapter, round);
  const int32_t tokens[3] = {5, 6, 7};
  EXPECT(IVG_OK, ivg_sequence_create(&sequence, session, adapter, &error));
  EXPECT(IVG_OK, ivg_sequence_evaluate(sequence, tokens, 3, &error));
  EXPECT(IVG_OK, ivg_sequence_fork(&fork, sequence, &error));
  ivg_model_free(model);
  ivg_session_free(session);
  ivg_sequence_free(sequence);
  ivg_sequence_free(fork);
  ivg_guidance_free(guidance);
  ivg_value_head_free(head);
  ivg_adapter_free(adapter);
  ivg_model_free(small);
  ivg_file_free(file);
}

static void rounds_leave_nothing_behind(void) {
  usage found = {0, 0, 0, 0};
  for (int round = 0; round < rounds; round++) {
    one_round(round);
    measure(&found, round);
  }
  expect_flat(&found, 0);
}

/* A session that lives long: requests one after the other take nothing more. */
static void requests_leave_nothing_behind(void) {
  ivg_model *model = open_model(fixture("tiny-llama.gguf"));
  ivg_session *session = open_session(model, 1);
  ivg_guidance *guidance = new_guidance(2, 2, 2);
  ivg_implicit_options implicit = {
      .struct_size = sizeof implicit, .role = 3, .tuned_template = "Joy: {prompt}"};
  EXPECT(IVG_OK, ivg_guidance_add_implicit(guidance, &implicit, 1, &error));
  ivg_generate_options options = {
      .struct_size = sizeof options, .max_tokens = 8, .flags = IVG_GENERATE_IGNORE_END};
  usage found = {0, 0, 0, 0};
  for (int round = 0; round < rounds; round++) {
    char prompt[64];
    answer out;
    snprintf(prompt, sizeof prompt, "%d%d%d begins unlike the others", round % 10, round / 10 % 10,
             round / 100);
    GENERATE(session, prompt, &options, round % 2 ? guidance : NULL, &out);
    measure(&found, round);
  }
  expect_flat(&found, 16 * 1024); /* the prefixes that are kept for the next ones */
  ivg_guidance_free(guidance);
  ivg_session_free(session);
  ivg_model_free(model);
}

/* Trainers of each objective, some half way: their steps, files and errors. */
static void one_training(const ivg_model *model, int round, const char *const data[3]) {
  ivg_trainer_options options = small_run(data[round % 3]);
  options.objective = round % 3 == 0 ? IVG_OBJECTIVE_PREFERENCE + (uint32_t)(round / 3 % 2)
                      : round % 3 == 1 ? IVG_OBJECTIVE_VALUE
                                       : IVG_OBJECTIVE_SUPERVISED;
  options.checkpoint_path = temporary("leaks.checkpoint");
  options.evaluation_fraction = 0.2;
  options.max_steps = 2;
  options.thread_count = round % 10 ? 1 : 2;
  ivg_trainer *trainer = new_trainer(model, &options), *none = NULL;
  ivg_trainer_report report;
  EXPECT(IVG_ERROR_NOT_FOUND, ivg_trainer_save(trainer, "/nowhere/a.gguf", &error));
  train_to(trainer, 1, &report);
  EXPECT(IVG_OK, ivg_trainer_checkpoint(trainer, &error));
  ivg_trainer_free(trainer);
  trainer = new_trainer(model, &options);
  train_to(trainer, round % 2 ? UINT64_MAX : 1, &report);
  free(saved(trainer).bytes);
  ivg_trainer_free(trainer);
  options.rank = 5;
  EXPECT(IVG_ERROR_MISMATCH, ivg_trainer_create(&none, model, &options, &error));
  unlink(options.checkpoint_path);
}

static void trainers_leave_nothing_behind(void) {
  ivg_model *model = open_model(fixture("tiny-llama-q8_0.gguf"));
  char paths[3][4096];
  strcpy(paths[0], write_data("pairs.jsonl", pairs, 8, 2));
  strcpy(paths[1], write_data("rewards.jsonl", rewards, 8, 2));
  strcpy(paths[2], write_data("texts.jsonl", texts, 8, 2));
  const char *const data[3] = {paths[0], paths[1], paths[2]};
  usage found = {0, 0, 0, 0};
  for (int round = 0; round < rounds; round += rounds < 100 ? 1 : 3) {
    one_training(model, round / 3, data);
    measure(&found, round);
  }
  expect_flat(&found, 0);
  remove_temporary();
  ivg_model_free(model);
}

/* `test_leaks 20` is for valgrind. */
int main(int count, char **arguments) {
  if (count > 1) rounds = atoi(arguments[1]);
  RUN(rounds_leave_nothing_behind);
  RUN(requests_leave_nothing_behind);
  RUN(trainers_leave_nothing_behind);
  return check_finish();
}
