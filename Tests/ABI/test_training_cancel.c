/* SPDX-License-Identifier: Apache-2.0
 *
 * test_training_cancel.c - ivg_trainer_cancel from another thread and from a signal handler: how soon the call
 * returns, and that the run comes to the same.
 */
#include "training.h"

#include <pthread.h>
#include <signal.h>

static const double bound = 0.1; /* seconds from the cancel to the return */
static ivg_model *model;
static char pair_data[4096], long_data[4096];

static void sleep_for(double seconds) {
  struct timespec time = {(time_t)seconds, (long)((seconds - floor(seconds)) * 1e9)};
  nanosleep(&time, NULL);
}

typedef struct canceller {
  pthread_t thread;
  ivg_trainer *trainer;
  double delay, at;
} canceller;

static void *cancel_later(void *argument) {
  canceller *self = argument;
  sleep_for(self->delay);
  self->at = seconds_now();
  ivg_trainer_cancel(self->trainer);
  return NULL;
}

/* Long steps, also of preparing and evaluating, cancelled at moments that spread over a run; each call that is
 * cancelled is made again. */
static void from_another_thread(void) {
  ivg_trainer_options options = small_run(long_data);
  options.thread_count = 2;
  options.batch_size = 32;
  options.max_steps = 4;
  options.evaluation_fraction = 0.25;
  options.evaluate_every = 2;
  double began = seconds_now(), worst = 0;
  result plain = finished(new_trainer(model, &options));
  double time = seconds_now() - began;
  ivg_trainer *trainer = new_trainer(model, &options);
  ivg_trainer_report report = {.struct_size = sizeof report};
  int cancelled[4] = {0, 0, 0, 0}, rounds = 0;
  ivg_status status = IVG_OK;
  while (status != IVG_DONE) {
    canceller other = {.trainer = trainer, .delay = time / 10 * fmod(0.3819660113 * (rounds + 1), 1)};
    pthread_create(&other.thread, NULL, cancel_later, &other);
    do status = ivg_trainer_next(trainer, &report, NULL);
    while (status == IVG_OK);
    double wait = seconds_now() - other.at;
    pthread_join(other.thread, NULL);
    if (status == IVG_ERROR_CANCELLED) {
      if (wait > worst) worst = wait;
      status = next_report(trainer, &report); /* so that the run comes to its end */
      cancelled[status == IVG_OK ? report.kind : 0]++;
    }
    CHECK(status == IVG_OK || status == IVG_DONE);
    if (++rounds > 1000) break;
  }
  printf("     run of %.0f ms: cancelled %d steps, %d evaluations; the latest return after %.1f ms\n",
         time * 1e3, cancelled[2], cancelled[3], worst * 1e3);
  CHECK(rounds <= 1000 && cancelled[2] > 0 && worst < bound);
  CHECK(same_result(plain, finished(trainer)));
}

static void without_a_running_call(void) {
  ivg_trainer_options options = small_run(pair_data);
  ivg_trainer *trainer = new_trainer(model, &options);
  ivg_trainer_report report = {.struct_size = sizeof report, .loss = 77};
  ivg_trainer_cancel(trainer);
  ivg_trainer_cancel(trainer); /* twice is once */
  EXPECT(IVG_ERROR_CANCELLED, ivg_trainer_next(trainer, &report, &error));
  CHECK(report.loss == 77); /* left as it was */
  EXPECT(IVG_OK, ivg_trainer_next(trainer, &report, &error));
  CHECK(train_to(trainer, UINT64_MAX, &report) == IVG_DONE);
  ivg_trainer_cancel(trainer);
  ivg_status status = ivg_trainer_next(trainer, &report, NULL);
  CHECK(status == IVG_DONE || status == IVG_ERROR_CANCELLED);
  EXPECT(IVG_DONE, ivg_trainer_next(trainer, &report, &error));
  CHECK(same_result(finished(trainer), finished(new_trainer(model, &options))));
}

static ivg_trainer *alarmed;
static void on_alarm(int number) {
  (void)number;
  ivg_trainer_cancel(alarmed);
}

static void from_a_signal_handler(void) {
  ivg_trainer_options options = small_run(pair_data);
  struct sigaction action = {.sa_handler = on_alarm};
  sigaction(SIGALRM, &action, NULL);
  alarmed = new_trainer(model, &options);
  ualarm(20000, 20000);
  result out = finished(alarmed);
  ualarm(0, 0);
  CHECK(same_result(out, finished(new_trainer(model, &options))));
}

int main(void) {
  model = open_model(fixture("tiny-llama.gguf"));
  strcpy(pair_data, write_data("pairs.jsonl", pairs, 32, 3));
  strcpy(long_data, write_data("long.jsonl", pairs, 64, 30));
  RUN(from_another_thread);
  RUN(without_a_running_call);
  RUN(from_a_signal_handler);
  remove_temporary();
  ivg_model_free(model);
  return check_finish();
}
