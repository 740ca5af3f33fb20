/* SPDX-License-Identifier: Apache-2.0
 *
 * test_training_errors.c - what trainers refuse: options out of range, files that do not fit, lines of data.
 */
#include "training.h"

static ivg_model *model;
static char pair_data[4096], reward_data[4096], text_data[4096];

static ivg_status create_with(const ivg_trainer_options *options) {
  ivg_trainer *made = NULL;
  ivg_status status = ivg_trainer_create(&made, model, options, &error);
  ivg_trainer_free(made);
  return status;
}

static void options_out_of_range(void) {
  static const struct {
    ivg_trainer_options options;
    const char *text;
  } cases[] = {
      {{.objective = 9}, "objective is 9"},
      {{.loss = 9}, "loss is 9"},
      {{.loss = IVG_LOSS_CDQ}, "loss 6 is none"},
      {{.objective = IVG_OBJECTIVE_SUPERVISED, .loss = IVG_LOSS_IPO}, "loss"},
      {{.objective = IVG_OBJECTIVE_REWARD, .loss = IVG_LOSS_SIGMOID}, "loss"},
      {{.flags = IVG_TRAINER_HEAD_ONLY}, "HEAD_ONLY"},
      {{.objective = IVG_OBJECTIVE_REWARD, .flags = IVG_TRAINER_VOCABULARY_HEAD}, "VOCABULARY_HEAD"},
      {{.data_path = ""}, "data_path"},
      {{.evaluation_fraction = 1}, "evaluation_fraction"},
      {{.evaluation_fraction = -0.1}, "evaluation_fraction"},
      {{.evaluation_fraction = NAN}, "evaluation_fraction"},
      {{.evaluation_fraction = 0.5, .evaluation_path = "/nowhere"}, "exclude each other"},
      {{.epochs = -1}, "epochs"},
      {{.epochs = NAN}, "epochs"},
      {{.epochs = INFINITY}, "epochs"},
      {{.thread_count = 5000}, "thread_count"},
      {{.batch_size = 100000}, "batch_size"},
      {{.max_tokens = 1}, "max_tokens"},
      {{.max_tokens = 257}, "max_tokens"},
      {{.max_tokens = 8, .max_prompt_tokens = 8}, "max_prompt_tokens"},
      {{.rank = 257}, "rank"},
      {{.alpha = -1}, "alpha"},
      {{.alpha = NAN}, "alpha"},
      {{.dropout = 1}, "dropout"},
      {{.dropout = -0.5f}, "dropout"},
      {{.dropout = NAN}, "dropout"},
      {{.learning_rate = -1}, "learning_rate"},
      {{.learning_rate = NAN}, "learning_rate"},
      {{.learning_rate = INFINITY}, "learning_rate"},
      {{.warmup_fraction = 2}, "warmup_fraction"},
      {{.warmup_fraction = NAN}, "warmup_fraction"},
      {{.weight_decay = -1}, "weight_decay"},
      {{.beta1 = 1}, "beta1"},
      {{.beta1 = -0.5f}, "beta1"},
      {{.beta2 = 1}, "beta2"},
      {{.clip_norm = NAN}, "clip_norm"},
      {{.clip_norm = INFINITY}, "clip_norm"},
      {{.beta = -1}, "beta"},
      {{.beta = NAN}, "beta"},
      {{.label_smoothing = 0.5f}, "label_smoothing is 0.5,"},
      {{.label_smoothing = -0.1f}, "label_smoothing"},
      {{.patience = 2}, "patience"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    ivg_trainer_options options = cases[i].options;
    options.struct_size = sizeof options;
    if (!options.data_path) options.data_path = pair_data;
    if (!options.objective) options.objective = IVG_OBJECTIVE_PREFERENCE;
    if (!EXPECT_ERROR(IVG_ERROR_INVALID_ARGUMENT, cases[i].text, create_with(&options)))
      printf("     ... of %s\n", cases[i].text);
  }
  ivg_trainer_options options = small_run(pair_data); /* what is just within */
  options.label_smoothing = 0.499f;
  options.dropout = 0.9f;
  options.beta1 = 0.9999f;
  options.beta2 = 0.99999f;
  EXPECT(IVG_OK, create_with(&options));
  options = (ivg_trainer_options){.struct_size = sizeof options};
  EXPECT_ERROR(IVG_ERROR_INVALID_ARGUMENT, "objective", create_with(&options));
  options.objective = IVG_OBJECTIVE_PREFERENCE;
  EXPECT_ERROR(IVG_ERROR_INVALID_ARGUMENT, "data_path", create_with(&options));
  options = small_run(pair_data);
  options.flags = 1u << 30;
  EXPECT_ERROR(IVG_ERROR_UNSUPPORTED, "flags", create_with(&options));
  options = small_run(pair_data);
  options.projections = 128;
  EXPECT_ERROR(IVG_ERROR_UNSUPPORTED, "projections", create_with(&options));
}

static void files_that_do_not_fit(void) {
  ivg_trainer_options options = small_run("/nowhere.jsonl");
  EXPECT_ERROR(IVG_ERROR_NOT_FOUND, "/nowhere.jsonl", create_with(&options));
  options = small_run(temporary(""));
  EXPECT(IVG_ERROR_IO, create_with(&options));
  options = small_run(text_data); /* lines without "chosen" */
  EXPECT_ERROR(IVG_ERROR_INVALID_ARGUMENT, "chosen", create_with(&options));
  options = small_run(pair_data);
  options.evaluation_path = "/nowhere.jsonl";
  EXPECT_ERROR(IVG_ERROR_NOT_FOUND, "/nowhere.jsonl", create_with(&options));
  options.evaluation_path = text_data;
  EXPECT_ERROR(IVG_ERROR_INVALID_ARGUMENT, "texts.jsonl", create_with(&options));
  options = small_run(pair_data);
  options.start_path = "/nowhere.gguf";
  EXPECT_ERROR(IVG_ERROR_NOT_FOUND, "/nowhere.gguf", create_with(&options));
  options.start_path = fixture("tiny-value-scalar.gguf");
  EXPECT_ERROR(IVG_ERROR_MISMATCH, "tiny-value-scalar.gguf", create_with(&options));
  options.start_path = pair_data;
  EXPECT(IVG_ERROR_CORRUPT_FILE, create_with(&options));
  options = small_run(reward_data);
  options.objective = IVG_OBJECTIVE_VALUE;
  options.start_path = fixture("tiny-adapter.gguf");
  EXPECT_ERROR(IVG_ERROR_MISMATCH, "tiny-adapter.gguf", create_with(&options));
  options = small_run(pair_data);
  options.memory_budget = 1000;
  EXPECT_ERROR(IVG_ERROR_OUT_OF_MEMORY, "1000", create_with(&options));
  ivg_model *words = open_model(fixture("tiny-vocabulary-only.gguf"));
  ivg_trainer *none = NULL;
  options = small_run(pair_data);
  EXPECT(IVG_ERROR_UNSUPPORTED, ivg_trainer_create(&none, words, &options, &error));
  CHECK(!none);
  ivg_model_free(words);
}

static void lines_that_cannot_be_used(void) {
  const char *path = temporary("bad.jsonl");
  FILE *file = fopen(path, "w");
  fprintf(file, "{\"prompt\":\"a\",\"completion\":\"b\",\"reward\":1}\r\n\nno json\n"
                "{\"prompt\":\"a\",\"completion\":\"b\"}\n[1]\n"
                "{\"prompt\":\"a\",\"completion\":\"c\",\"reward\":\"x\"}\n"
                "{\"prompt\":\"a\",\"completion\":\"\",\"reward\":0}\n"
                "{\"prompt\":\"a\",\"completion\":\"d\",\"reward\":0}");
  fclose(file);
  ivg_trainer_options options = small_run(path);
  options.objective = IVG_OBJECTIVE_VALUE;
  options.evaluation_path = path;
  ivg_trainer *trainer = new_trainer(model, &options);
  static const struct {
    uint64_t line;
    const char *text;
  } wanted[] = {{3, ""}, {4, "reward"}, {5, ""}, {6, "reward"}, {7, "completion"}};
  enum { count = sizeof wanted / sizeof *wanted };
  ivg_trainer_info info = {.struct_size = sizeof info};
  ivg_trainer_describe(trainer, &info);
  CHECK(info.example_count == 2 && info.evaluation_count == 2);
  CHECK(ivg_trainer_problem_count(trainer) == 2 * count);
  ivg_trainer_problem_info problem = {.struct_size = sizeof problem};
  for (uint64_t i = 0; i < 2 * count; i++) {
    REQUIRE_OK(ivg_trainer_problem(trainer, i, &problem, &error));
    CHECK(problem.is_evaluation == i / count && problem.line == wanted[i % count].line);
    CHECK(problem.reason && problem.reason[0] && strstr(problem.reason, wanted[i % count].text));
  }
  EXPECT(IVG_ERROR_INVALID_ARGUMENT, ivg_trainer_problem(trainer, 2 * count, &problem, &error));
  EXPECT(IVG_ERROR_INVALID_ARGUMENT, ivg_trainer_problem(trainer, UINT64_MAX, &problem, &error));
  ivg_trainer_free(trainer);
  options.flags = IVG_TRAINER_STRICT;
  EXPECT_ERROR(IVG_ERROR_INVALID_ARGUMENT, "3", create_with(&options));
}

int main(void) {
  model = open_model(fixture("tiny-llama.gguf"));
  strcpy(pair_data, write_data("pairs.jsonl", pairs, 32, 3));
  strcpy(reward_data, write_data("rewards.jsonl", rewards, 32, 3));
  strcpy(text_data, write_data("texts.jsonl", texts, 32, 3));
  RUN(options_out_of_range);
  RUN(files_that_do_not_fit);
  RUN(lines_that_cannot_be_used);
  remove_temporary();
  ivg_model_free(model);
  return check_finish();
}
