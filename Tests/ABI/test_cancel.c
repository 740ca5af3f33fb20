/* SPDX-License-Identifier: Apache-2.0
 *
 * test_cancel.c - ivg_session_cancel from another thread and from a signal handler: how soon the call
 * returns, and that the session goes on to the same bytes.
 */
#include "fixture.h"

#include <pthread.h>
#include <signal.h>
#include <sys/time.h>
#include <unistd.h>

static const double bound = 0.1; /* seconds from the cancel to the return */
static ivg_model *model;
static ivg_session *session;
static char long_prompt[20000], middle_prompt[2000];

/* Another thread that cancels once, `delay` seconds from its start, and says when it did. */
typedef struct canceller {
  pthread_t thread;
  double delay, at;
} canceller;

static void sleep_for(double seconds) {
  struct timespec time = {(time_t)seconds, (long)((seconds - floor(seconds)) * 1e9)};
  nanosleep(&time, NULL);
}

static void *cancel_later(void *argument) {
  canceller *self = argument;
  sleep_for(self->delay);
  self->at = seconds_now();
  ivg_session_cancel(session);
  return NULL;
}

static ivg_status next_until_end(void) {
  ivg_step step = {.struct_size = sizeof step};
  ivg_status status;
  do status = ivg_session_next(session, &step, NULL);
  while (status == IVG_OK);
  return status;
}

/* A begun request, cancelled `delay` seconds on. True if that was while a call ran; *wait is then raised to
 * the time from the cancel to the call's return. Either way the cancel has been reported when this returns. */
static bool is_cancelled_after(double delay, double *wait) {
  canceller other = {.delay = delay};
  double began = seconds_now();
  pthread_create(&other.thread, NULL, cancel_later, &other);
  ivg_status status = next_until_end();
  double returned = seconds_now();
  pthread_join(other.thread, NULL);
  if (status == IVG_ERROR_CANCELLED) {
    if (returned - other.at > *wait) *wait = returned - other.at;
    return other.at > began;
  }
  /* The text ended first: the cancel is kept for the next call. */
  CHECK(status == IVG_DONE && next_until_end() == IVG_ERROR_CANCELLED);
  return false;
}

/* Rounds until `enough` cancels fell into a running call; how fast a machine is decides how many that takes.
 * Their delays spread over `time`, which a round takes without one. */
enum { enough = 4, most_rounds = 2000 };

static double delay_of(int round, double time) { return time * 0.9 * fmod(0.3819660113 * (round + 1), 1); }

static void during_a_long_prompt(void) {
  ivg_generate_options options = {.struct_size = sizeof options, .max_tokens = 4};
  double worst = 0, time = 0;
  int cancelled = 0, rounds = 0;
  for (; cancelled < enough && rounds < most_rounds; rounds++) {
    /* A prompt that differs from the one before at its first word, so that it is evaluated whole. */
    long_prompt[0] = (char)('A' + rounds % 20);
    double began = seconds_now();
    REQUIRE_OK(ivg_session_begin(session, long_prompt, strlen(long_prompt), &options, NULL, &error));
    if (rounds == 0) {
      CHECK(next_until_end() == IVG_DONE);
      time = seconds_now() - began;
    } else {
      cancelled += is_cancelled_after(delay_of(rounds, time), &worst);
    }
  }
  printf("     prompt of %.1f ms: cancelled %d times of %d, the latest return after %.1f ms\n", time * 1e3,
         cancelled, rounds, worst * 1e3);
  CHECK(cancelled == enough && (worst < bound || is_emulated()));
}

static void during_chunks(void) {
  ivg_generate_options options = {
      .struct_size = sizeof options, .seed = 5, .max_tokens = 40, .flags = IVG_GENERATE_IGNORE_END};
  ivg_guidance *guidance = new_guidance(2, 2, 20);
  ivg_implicit_options implicit = {
      .struct_size = sizeof implicit, .role = 3, .tuned_template = "Joy: {prompt}"};
  EXPECT(IVG_OK, ivg_guidance_add_implicit(guidance, &implicit, 1, &error));
  answer plain, out;
  GENERATE(session, middle_prompt, &options, guidance, &plain);
  double began = seconds_now(), worst = 0;
  GENERATE(session, middle_prompt, &options, guidance, &out); /* as each round finds it: the prompt is kept */
  double time = seconds_now() - began;
  int cancelled = 0, rounds = 0;
  for (; cancelled < enough && rounds < most_rounds; rounds++) {
    REQUIRE_OK(
        ivg_session_begin(session, middle_prompt, strlen(middle_prompt), &options, guidance, &error));
    cancelled += is_cancelled_after(delay_of(rounds, time), &worst);
    /* On to the end: the kept rows are those of a run without interruption. */
    CHECK(next_until_end() == IVG_DONE);
    ivg_candidate best = {.struct_size = sizeof best};
    EXPECT(IVG_OK, ivg_session_candidate(session, 0, &best, &error));
    CHECK(best.text_length == plain.length && memcmp(best.text, plain.text, plain.length) == 0);
    CHECK(best.score == plain.score);
  }
  printf("     chunks of %.1f ms: cancelled %d times of %d, the latest return after %.1f ms\n", time * 1e3,
         cancelled, rounds, worst * 1e3);
  CHECK(cancelled == enough && (worst < bound || is_emulated()));
  GENERATE(session, middle_prompt, &options, guidance, &out);
  CHECK(same_answer(&plain, &out));
  ivg_guidance_free(guidance);
}

static volatile sig_atomic_t alarms_left;

static void on_alarm(int number) {
  (void)number;
  if (alarms_left <= 0) return;
  alarms_left = alarms_left - 1;
  ivg_session_cancel(session);
}

static void set_alarms(long microseconds) {
  struct itimerval timer = {{0, microseconds}, {0, microseconds}};
  setitimer(ITIMER_REAL, &timer, NULL);
}

/* Signals eight times in each run's usual time; each call that they cancel is made again. */
static void from_a_signal_handler(void) {
  ivg_generate_options options = {
      .struct_size = sizeof options, .seed = 6, .max_tokens = 48, .flags = IVG_GENERATE_IGNORE_END};
  struct sigaction action = {.sa_handler = on_alarm};
  sigaction(SIGALRM, &action, NULL);
  for (int guided = 0; guided < 2; guided++) {
    ivg_guidance *guidance = new_guidance(guided ? 2 : 1, guided ? 2 : 1, guided ? 6 : 0);
    ivg_implicit_options implicit = {
        .struct_size = sizeof implicit, .role = 3, .tuned_template = "Joy: {prompt}"};
    if (guided) EXPECT(IVG_OK, ivg_guidance_add_implicit(guidance, &implicit, 1, &error));
    answer plain, out;
    GENERATE(session, middle_prompt, &options, guidance, &plain);
    double began = seconds_now();
    GENERATE(session, middle_prompt, &options, guidance, &out);
    double time = seconds_now() - began;
    alarms_left = 20;
    int runs = 0;
    for (; alarms_left > 10 && runs < most_rounds; runs++) {
      set_alarms(1 + (long)(time * 1e6 / 8));
      GENERATE(session, middle_prompt, &options, guidance, &out);
      set_alarms(0);
      CHECK(same_answer(&plain, &out));
    }
    printf("     %s: %d signals came in %d runs\n", guided ? "guided" : "plain", 20 - (int)alarms_left, runs);
    CHECK(alarms_left <= 10);
    ivg_guidance_free(guidance);
    ivg_step step = {.struct_size = sizeof step};
    ivg_status status = ivg_session_next(session, &step, NULL); /* a signal behind the last step */
    CHECK(status == IVG_DONE || status == IVG_ERROR_CANCELLED);
  }
}

static void without_a_running_call(void) {
  answer plain, out;
  ivg_generate_options options = {.struct_size = sizeof options, .seed = 6, .max_tokens = 8};
  ivg_step step = {.struct_size = sizeof step};
  GENERATE(session, middle_prompt, &options, NULL, &plain);
  REQUIRE_OK(ivg_session_begin(session, middle_prompt, strlen(middle_prompt), &options, NULL, &error));
  ivg_session_cancel(session);
  ivg_session_cancel(session); /* twice is once */
  EXPECT(IVG_ERROR_CANCELLED, ivg_session_next(session, &step, &error));
  finish_request(session, &out);
  CHECK(same_answer(&plain, &out));
}

static void while_texts_are_scored(void) {
  const char *texts[1] = {middle_prompt};
  size_t lengths[1] = {strlen(middle_prompt)};
  double before, after;
  ivg_guidance *guidance = new_guidance(1, 1, 0);
  ivg_implicit_options implicit = {
      .struct_size = sizeof implicit, .role = 2, .tuned_template = "Joy: {prompt}"};
  EXPECT(IVG_OK, ivg_guidance_add_implicit(guidance, &implicit, 1, &error));
  REQUIRE_OK(ivg_session_score(session, guidance, "A", 1, texts, lengths, 1, 0, &before, &error));
  ivg_session_cancel(session);
  EXPECT(IVG_ERROR_CANCELLED,
         ivg_session_score(session, guidance, "A", 1, texts, lengths, 1, 0, &after, &error));
  REQUIRE_OK(ivg_session_score(session, guidance, "A", 1, texts, lengths, 1, 0, &after, &error));
  CHECK(before == after);
  ivg_guidance_free(guidance);
}

static void run_all(const char *path, const char *sentence, size_t long_count, size_t middle_count) {
  long_prompt[0] = middle_prompt[0] = 0;
  for (size_t i = 0; i < long_count; i++) strcat(long_prompt, sentence);
  for (size_t i = 0; i < middle_count; i++) strcat(middle_prompt, sentence);
  model = open_model(path);
  session = open_session(model, 2);
  RUN(during_a_long_prompt);
  RUN(during_chunks);
  RUN(from_a_signal_handler);
  RUN(without_a_running_call);
  RUN(while_texts_are_scored);
  ivg_session_free(session);
  ivg_model_free(model);
}

int main(void) {
  run_all(fixture("tiny-llama.gguf"), "A guide reads the text. ", 15, 4);
  const char *path = real_model("Q8_0");
  if (!path) {
    printf("  skipped: cancelling a real model's long prompt\n");
    return check_finish();
  }
  printf("  a real model\n");
  run_all(path, "A guide reads the same text as the model, and says which word is better. ", 100, 6);
  return check_finish();
}
