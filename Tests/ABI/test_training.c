/* SPDX-License-Identifier: Apache-2.0
 *
 * test_training.c - trainers: what a run reports and writes, defaults, sizes of structs.
 */
#include "training.h"

static ivg_model *model;
static char pair_data[4096];

static ivg_status create_with(const ivg_trainer_options *options) {
  ivg_trainer *made = NULL;
  ivg_status status = ivg_trainer_create(&made, model, options, &error);
  ivg_trainer_free(made);
  return status;
}

/* Runs */

static void reports_of_a_run(void) {
  ivg_trainer_options options = small_run(pair_data);
  options.learning_rate = 5e-3f;
  options.max_steps = 20;
  options.evaluation_fraction = 0.25;
  options.evaluate_every = 10;
  ivg_trainer *trainer = new_trainer(model, &options);
  ivg_trainer_info info = {.struct_size = sizeof info};
  ivg_trainer_describe(trainer, &info);
  CHECK(info.example_count == 24 && info.evaluation_count == 8 && info.step_count == 20);
  CHECK(info.parameter_count > 0 && info.resumed_step == 0 && info.memory > 0 && info.memory <= 1u << 30);
  CHECK(ivg_trainer_problem_count(trainer) == 0);
  ivg_trainer_report report = {.struct_size = sizeof report};
  uint64_t steps = 0, prepared = 0;
  int evaluations = 0;
  double first = NAN, last = NAN, accuracy = NAN;
  ivg_status status;
  while ((status = ivg_trainer_next(trainer, &report, &error)) == IVG_OK) {
    CHECK(report.done <= report.total && report.seconds >= 0 && report.step_count == 20);
    if (report.kind == IVG_REPORT_PREPARE) {
      CHECK(steps == 0 && report.done > prepared);
      prepared = report.done;
    } else if (report.kind == IVG_REPORT_TRAIN) {
      CHECK(report.step == ++steps && report.done == steps && report.total == 20);
      CHECK(report.token_count > 0 && report.tokens_per_second > 0 && report.epoch > 0);
      CHECK(isfinite(report.loss) && report.learning_rate >= 0 && report.gradient_norm > 0);
      CHECK(report.accuracy >= 0 && report.accuracy <= 1);
      CHECK(fabs(report.margin - (report.chosen - report.rejected)) < 1e-6);
      CHECK(isnan(report.kl) && isnan(report.correlation));
      if (steps == 1) first = report.loss;
      last = report.loss;
    } else {
      CHECK(report.kind == IVG_REPORT_EVALUATE && report.step == steps && report.kl >= -1e-9);
      accuracy = report.accuracy;
      evaluations++;
    }
  }
  EXPECT(IVG_DONE, status);
  EXPECT(IVG_DONE, ivg_trainer_next(trainer, &report, &error));
  CHECK(steps == 20 && evaluations == 2 && fabs(first - log(2)) < 1e-6 && last < 0.5 && accuracy == 1);
  ivg_trainer_free(trainer);
}

/* A text with and without the result of a run as a guide. */
static void expect_guides(const char *path, bool head) {
  ivg_adapter *adapter = NULL;
  ivg_value_head *value = NULL;
  ivg_session *session = open_session(model, 1);
  ivg_guidance *guidance = new_guidance(1, 1, 0);
  ivg_implicit_options implicit = {.struct_size = sizeof implicit, .role = IVG_ROLE_SCORE};
  ivg_explicit_options explicit_options = {.struct_size = sizeof explicit_options, .role = IVG_ROLE_SCORE};
  if (head) {
    REQUIRE_OK(ivg_value_head_open(&value, model, path, &error));
    explicit_options.head = value;
    REQUIRE_OK(ivg_guidance_add_explicit(guidance, &explicit_options, 1, &error));
  } else {
    REQUIRE_OK(ivg_adapter_open(&adapter, model, path, &error));
    implicit.tuned_adapter = adapter;
    REQUIRE_OK(ivg_guidance_add_implicit(guidance, &implicit, 1, &error));
  }
  const char *answers[2] = {" film plot good", " film plot bad"};
  size_t lengths[2] = {strlen(answers[0]), strlen(answers[1])};
  double scores[2] = {0, 0};
  EXPECT(IVG_OK, ivg_session_score(session, guidance, "Say5", 4, answers, lengths, 2, IVG_SCORE_ENDED, scores,
                                   &error));
  CHECK(scores[0] > scores[1]);
  ivg_guidance_free(guidance);
  ivg_adapter_free(adapter);
  ivg_value_head_free(value);
  ivg_session_free(session);
}

static void results_guide(void) {
  static const struct {
    uint32_t objective, flags;
    bool head;
  } cases[] = {{IVG_OBJECTIVE_PREFERENCE, 0, false},
               {IVG_OBJECTIVE_REWARD, 0, true},
               {IVG_OBJECTIVE_REWARD, IVG_TRAINER_HEAD_ONLY, true}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    ivg_trainer_options options = small_run(pair_data);
    options.objective = cases[i].objective;
    options.flags = cases[i].flags;
    options.learning_rate = cases[i].flags ? 3e-2f : 5e-3f;
    options.max_steps = 30;
    ivg_trainer *trainer = new_trainer(model, &options);
    ivg_trainer_report report;
    CHECK(train_to(trainer, UINT64_MAX, &report) == IVG_DONE);
    const char *path = temporary("guide.gguf");
    EXPECT(IVG_OK, ivg_trainer_save(trainer, path, &error));
    ivg_trainer_free(trainer);
    expect_guides(path, cases[i].head);
  }
}

static void zero_is_the_default(void) {
  ivg_trainer_options zero, spelled;
  ivg_trainer_options_init(&zero, sizeof zero);
  CHECK(zero.struct_size == sizeof zero && zero.rank == 0 && !zero.data_path && zero.learning_rate == 0);
  zero.objective = IVG_OBJECTIVE_PREFERENCE;
  zero.data_path = pair_data;
  spelled = zero;
  spelled.loss = IVG_LOSS_SIGMOID;
  spelled.epochs = 1;
  spelled.memory_budget = 1u << 30;
  spelled.thread_count = 1;
  spelled.batch_size = 16;
  spelled.max_tokens = 256; /* the context of the model */
  spelled.max_prompt_tokens = 128;
  spelled.rank = 8;
  spelled.projections = 127;
  spelled.alpha = 16;
  spelled.learning_rate = 5e-4f;
  spelled.warmup_fraction = 0.1f;
  spelled.beta1 = 0.9f;
  spelled.beta2 = 0.999f;
  spelled.clip_norm = 1;
  spelled.beta = 0.1f;
  spelled.checkpoint_every = 50;
  CHECK(same_result(finished(new_trainer(model, &zero)), finished(new_trainer(model, &spelled))));
  ivg_trainer_free(NULL);
}

/* Structs */

static void sizes_of_options(void) {
  enum { room = sizeof(ivg_trainer_options) + 64 };
  static const struct {
    size_t size;
    unsigned char last;
    ivg_status wanted;
  } cases[] = {{sizeof(ivg_trainer_options), 0, IVG_OK},
               {offsetof(ivg_trainer_options, evaluate_every), 0, IVG_OK},
               {offsetof(ivg_trainer_options, evaluation_path), 0, IVG_OK},
               {sizeof(ivg_trainer_options) + 1, 0, IVG_OK},
               {room, 0, IVG_OK},
               {room, 1, IVG_ERROR_UNSUPPORTED},
               {0, 0, IVG_ERROR_INVALID_ARGUMENT},
               {3, 0, IVG_ERROR_INVALID_ARGUMENT},
               {0xdeadbeef, 0, IVG_ERROR_INVALID_ARGUMENT}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    union {
      ivg_trainer_options options;
      unsigned char bytes[room];
    } u;
    memset(&u, 0, sizeof u);
    u.options.struct_size = (uint32_t)cases[i].size;
    u.options.objective = IVG_OBJECTIVE_PREFERENCE;
    u.options.data_path = pair_data;
    if (cases[i].last) u.bytes[cases[i].size - 1] = cases[i].last;
    EXPECT(cases[i].wanted, create_with(&u.options));
  }
}

/* Smaller structs are not written behind, larger ones get zeros. */
#define OUT(type, call) \
  for (size_t size = 8; size <= sizeof(type) + 32; size += 8) { \
    union { \
      type value; \
      unsigned char bytes[sizeof(type) + 64]; \
    } u; \
    memset(&u, 0xa5, sizeof u); \
    u.value.struct_size = (uint32_t)size; \
    call; \
    for (size_t i = size; i < sizeof u; i++) CHECK(u.bytes[i] == 0xa5); \
    for (size_t i = sizeof(type); i < size; i++) CHECK(u.bytes[i] == 0); \
    CHECK(u.value.struct_size == size); \
  }

static void sizes_of_structs_that_come_out(void) {
  const char *path = temporary("mixed.jsonl");
  FILE *file = fopen(path, "w");
  fprintf(file, "nothing\n{\"prompt\":\"a\",\"completion\":\"b\"}\n");
  fclose(file);
  ivg_trainer_options options = small_run(path);
  options.objective = IVG_OBJECTIVE_SUPERVISED;
  options.max_steps = 1000;
  ivg_trainer *trainer = new_trainer(model, &options);
  OUT(ivg_trainer_info, ivg_trainer_describe(trainer, &u.value));
  OUT(ivg_trainer_problem_info, EXPECT(IVG_OK, ivg_trainer_problem(trainer, 0, &u.value, &error)));
  OUT(ivg_trainer_report, EXPECT(IVG_OK, ivg_trainer_next(trainer, &u.value, &error)));
  ivg_trainer_report report;
  CHECK(next_report(trainer, &report) == IVG_OK);
  uint64_t step = report.step;
  report.struct_size = 0; /* a report that cannot be written must not cost the step */
  EXPECT_ERROR(IVG_ERROR_INVALID_ARGUMENT, "struct_size", ivg_trainer_next(trainer, &report, &error));
  CHECK(next_report(trainer, &report) == IVG_OK && report.step == step + 1);
  ivg_trainer_free(trainer);
}

/* Files */

static void saving(void) {
  ivg_trainer_options options = small_run(pair_data);
  ivg_trainer *trainer = new_trainer(model, &options);
  ivg_trainer_report report;
  free(saved(trainer).bytes); /* before the first step too */
  CHECK(train_to(trainer, 3, &report) == IVG_OK);
  free(saved(trainer).bytes);
  EXPECT_ERROR(IVG_ERROR_NOT_FOUND, "/nowhere/", ivg_trainer_save(trainer, "/nowhere/a.gguf", &error));
  EXPECT(IVG_ERROR_IO, ivg_trainer_save(trainer, temporary(""), &error));
  EXPECT(IVG_ERROR_NOT_FOUND, ivg_trainer_save(trainer, "", &error));
  EXPECT_ERROR(IVG_ERROR_INVALID_ARGUMENT, "checkpoint_path", ivg_trainer_checkpoint(trainer, &error));
  CHECK(same_result(finished(trainer), finished(new_trainer(model, &options)))); /* nothing of it disturbs */
}

int main(void) {
  model = open_model(fixture("tiny-llama.gguf"));
  strcpy(pair_data, write_data("pairs.jsonl", pairs, 32, 3));
  RUN(reports_of_a_run);
  RUN(results_guide);
  RUN(zero_is_the_default);
  RUN(sizes_of_options);
  RUN(sizes_of_structs_that_come_out);
  RUN(saving);
  remove_temporary();
  ivg_model_free(model);
  return check_finish();
}
