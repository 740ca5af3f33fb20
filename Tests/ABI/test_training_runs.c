/* SPDX-License-Identifier: Apache-2.0
 *
 * test_training_runs.c - what must not change what a run comes to: going on from a checkpoint, threads, company.
 */
#include "training.h"

#include <pthread.h>

static ivg_model *model;
static char pair_data[4096], long_data[4096], reward_data[4096], text_data[4096];

/* Checkpoints */

static const uint32_t objectives[] = {IVG_OBJECTIVE_SUPERVISED, IVG_OBJECTIVE_PREFERENCE, IVG_OBJECTIVE_REWARD,
                                      IVG_OBJECTIVE_VALUE};

static const char *data_for(uint32_t objective) {
  if (objective == IVG_OBJECTIVE_VALUE) return reward_data;
  return objective == IVG_OBJECTIVE_SUPERVISED ? text_data : pair_data;
}

/* Freed after each number of steps, and made again from the checkpoint. */
static void going_on(void) {
  for (size_t i = 0; i < 4; i++) {
    for (uint64_t stop = 1; stop < 8; stop += 2) {
      ivg_trainer_options options = small_run(data_for(objectives[i]));
      options.objective = objectives[i];
      options.dropout = 0.1f;
      options.evaluation_fraction = 0.2;
      options.patience = 3;
      options.evaluate_every = 2;
      if (i >= 2 && stop > 3) options.flags = IVG_TRAINER_HEAD_ONLY, options.dropout = 0;
      result plain = finished(new_trainer(model, &options));
      options.checkpoint_path = temporary("going-on.checkpoint");
      ivg_trainer *trainer = new_trainer(model, &options);
      ivg_trainer_report report;
      train_to(trainer, stop, &report);
      EXPECT(IVG_OK, ivg_trainer_checkpoint(trainer, &error));
      ivg_trainer_free(trainer);
      options.thread_count = 2; /* what may change */
      options.memory_budget = 1u << 29;
      options.checkpoint_every = 3;
      trainer = new_trainer(model, &options);
      ivg_trainer_info info = {.struct_size = sizeof info};
      ivg_trainer_describe(trainer, &info);
      CHECK(info.resumed_step == stop);
      CHECK(same_result(plain, finished(trainer)));
      unlink(options.checkpoint_path);
    }
  }
}

/* Stopped while reference log-probabilities, or hidden states, are computed. */
static void going_on_while_preparing(void) {
  for (uint32_t head_only = 0; head_only < 2; head_only++) {
    ivg_trainer_options options = small_run(long_data);
    options.batch_size = 32;
    options.max_steps = 2;
    if (head_only) options.objective = IVG_OBJECTIVE_REWARD, options.flags = IVG_TRAINER_HEAD_ONLY;
    result plain = finished(new_trainer(model, &options));
    options.checkpoint_path = temporary("preparing.checkpoint");
    for (int calls = 0; calls < 3; calls++) {
      ivg_trainer *trainer = NULL;
      REQUIRE_OK(ivg_trainer_create(&trainer, model, &options, &error));
      ivg_trainer_report report = {.struct_size = sizeof report};
      for (int i = 0; i < calls; i++) {
        CHECK(next_report(trainer, &report) == IVG_OK);
        CHECK(report.kind == IVG_REPORT_PREPARE && report.done < report.total);
      }
      EXPECT(IVG_OK, ivg_trainer_checkpoint(trainer, &error));
      ivg_trainer_free(trainer);
    }
    CHECK(same_result(plain, finished(new_trainer(model, &options))));
    unlink(options.checkpoint_path);
  }
}

static void checkpoints_of_other_runs(void) {
  ivg_trainer_options options = small_run(pair_data);
  options.checkpoint_path = temporary("other.checkpoint");
  ivg_trainer_report report;
  ivg_trainer *trainer = new_trainer(model, &options), *none = NULL;
  train_to(trainer, 2, &report);
  EXPECT(IVG_OK, ivg_trainer_checkpoint(trainer, &error));
  ivg_trainer_free(trainer);
  ivg_trainer_options others[8];
  for (size_t i = 0; i < 8; i++) others[i] = options;
  others[0].data_path = long_data;
  others[1].objective = IVG_OBJECTIVE_REWARD;
  others[2].learning_rate = 1e-3f;
  others[3].rank = 8;
  others[4].seed = 4;
  others[5].batch_size = 5;
  others[6].prompt_template = "Q: {prompt}";
  others[7].max_tokens = 100;
  for (size_t i = 0; i < 8; i++)
    EXPECT_ERROR(IVG_ERROR_MISMATCH, "other.checkpoint", ivg_trainer_create(&none, model, &others[i], &error));
  ivg_model *qwen = open_model(fixture("tiny-qwen2.gguf"));
  EXPECT_ERROR(IVG_ERROR_MISMATCH, "other.checkpoint", ivg_trainer_create(&none, qwen, &options, &error));
  ivg_model_free(qwen);
  CHECK(!none);
  unlink(options.checkpoint_path);
}

/* A checkpoint that is cut is an error; one that is changed is one, or goes on, but never crashes. */
static void damaged_checkpoints(void) {
  ivg_trainer_options options = small_run(pair_data);
  options.checkpoint_path = temporary("damaged.checkpoint");
  ivg_trainer_report report;
  ivg_trainer *trainer = new_trainer(model, &options);
  train_to(trainer, 2, &report);
  EXPECT(IVG_OK, ivg_trainer_checkpoint(trainer, &error));
  ivg_trainer_free(trainer);
  unsigned char *bytes = NULL;
  size_t size = 0;
  REQUIRE(read_file(options.checkpoint_path, &bytes, &size));
  for (int round = 0; round < 200; round++) {
    bool cut = round % 4 == 0;
    size_t at = round % 2 ? (size_t)(round * 37 % 3000) : size * (size_t)(round * 37 % 61) / 61;
    if (!cut) bytes[at] ^= 1 << round % 8;
    FILE *file = fopen(options.checkpoint_path, "wb");
    fwrite(bytes, 1, cut ? at : size, file);
    fclose(file);
    if (!cut) bytes[at] ^= 1 << round % 8;
    ivg_trainer *made = NULL;
    ivg_status status = ivg_trainer_create(&made, model, &options, NULL);
    if (status == IVG_OK && !cut) (void)next_report(made, &report);
    else CHECK(status < 0 && !made);
    if (status == IVG_OK) ivg_trainer_free(made);
  }
  free(bytes);
  unlink(options.checkpoint_path);
}

/* Threads and company */

static void thread_counts(void) {
  for (size_t i = 0; i < 4; i++) {
    ivg_trainer_options options = small_run(data_for(objectives[i]));
    options.objective = objectives[i];
    options.dropout = 0.1f;
    for (uint32_t threads = 2; threads < 5; threads++) {
      options.thread_count = 1;
      ivg_trainer *one = new_trainer(model, &options);
      options.thread_count = threads;
      CHECK(same_result(finished(one), finished(new_trainer(model, &options))));
    }
  }
}

static void *run_one(void *argument) {
  ivg_trainer_report report = {.struct_size = sizeof report};
  while (ivg_trainer_next(argument, &report, NULL) == IVG_OK) continue;
  return NULL;
}

static void two_at_once(void) {
  ivg_trainer_options options[2] = {small_run(pair_data), small_run(reward_data)};
  options[1].objective = IVG_OBJECTIVE_VALUE;
  ivg_trainer *trainers[2];
  pthread_t threads[2];
  for (int i = 0; i < 2; i++) {
    trainers[i] = new_trainer(model, &options[i]);
    pthread_create(&threads[i], NULL, run_one, trainers[i]);
  }
  for (int i = 0; i < 2; i++) {
    pthread_join(threads[i], NULL);
    CHECK(same_result(finished(trainers[i]), finished(new_trainer(model, &options[i]))));
  }
}

static void while_a_session_generates(void) {
  ivg_session *session = open_session(model, 1);
  ivg_generate_options generating = {
      .struct_size = sizeof generating, .seed = 5, .max_tokens = 100, .flags = IVG_GENERATE_IGNORE_END};
  answer alone, beside;
  GENERATE(session, "Say", &generating, NULL, &alone);
  ivg_trainer_options options = small_run(pair_data);
  ivg_trainer *trainer = new_trainer(model, &options);
  pthread_t thread;
  pthread_create(&thread, NULL, run_one, trainer);
  for (int i = 0; i < 3; i++) {
    GENERATE(session, i % 2 ? "Other" : "Say", &generating, NULL, &beside);
    if (i % 2 == 0) CHECK(same_answer(&alone, &beside));
  }
  pthread_join(thread, NULL);
  CHECK(same_result(finished(trainer), finished(new_trainer(model, &options))));
  ivg_session_free(session);
}

static void any_order_of_freeing(void) {
  ivg_trainer_options options = small_run(pair_data);
  ivg_trainer_report report;
  ivg_model *own = open_model(fixture("tiny-llama.gguf"));
  ivg_trainer *trainer = new_trainer(own, &options), *unused = new_trainer(own, &options);
  ivg_session *session = open_session(own, 1);
  CHECK(train_to(trainer, 2, &report) == IVG_OK);
  ivg_model_free(own);
  ivg_trainer_free(unused);
  CHECK(same_result(finished(trainer), finished(new_trainer(model, &options))));
  answer out;
  GENERATE(session, "Say", NULL, NULL, &out);
  ivg_session_free(session);
}

int main(void) {
  model = open_model(fixture("tiny-llama.gguf"));
  strcpy(pair_data, write_data("pairs.jsonl", pairs, 32, 3));
  strcpy(long_data, write_data("long.jsonl", pairs, 64, 30));
  strcpy(reward_data, write_data("rewards.jsonl", rewards, 32, 3));
  strcpy(text_data, write_data("texts.jsonl", texts, 32, 3));
  RUN(going_on);
  RUN(going_on_while_preparing);
  RUN(checkpoints_of_other_runs);
  RUN(damaged_checkpoints);
  RUN(thread_counts);
  RUN(two_at_once);
  RUN(while_a_session_generates);
  RUN(any_order_of_freeing);
  remove_temporary();
  ivg_model_free(model);
  return check_finish();
}
