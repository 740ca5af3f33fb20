/* SPDX-License-Identifier: Apache-2.0
 *
 * test_threads.c - sessions on one model, guidance, adapter and head in several threads at once give the
 * bytes they give alone. Models are opened, described and freed meanwhile.
 */
#include "fixture.h"

#include <pthread.h>

static ivg_model *model;
static ivg_guidance *guidances[3];
static const char prompt[] = "A guide reads the same text as the model";
enum { THREADS = 3, ROUNDS = 12 };
static answer alone[THREADS][ROUNDS];
static uint32_t max_tokens;
static char other_path[4096]; /* what `fixture` returns is for one thread */

typedef struct worker {
  pthread_t thread;
  uint32_t number;
  int rounds, different;
} worker;

static ivg_generate_options options_of(uint32_t number, int round) {
  return (ivg_generate_options){.struct_size = sizeof(ivg_generate_options),
                                .seed = number * 100 + (uint64_t)round,
                                .max_tokens = max_tokens,
                                .flags = IVG_GENERATE_IGNORE_END};
}

/* No CHECK here: its counters are for one thread. */
static bool run_request(ivg_session *session, uint32_t number, int round, answer *out) {
  ivg_generate_options options = options_of(number, round);
  ivg_step step = {.struct_size = sizeof step};
  ivg_candidate best = {.struct_size = sizeof best};
  ivg_status status =
      ivg_session_begin(session, prompt, strlen(prompt), &options, guidances[round % 3], NULL);
  while (status == IVG_OK) status = ivg_session_next(session, &step, NULL);
  if (status != IVG_DONE || ivg_session_candidate(session, 0, &best, NULL) != IVG_OK) return false;
  memset(out, 0, sizeof *out);
  out->status = IVG_DONE;
  out->token_count = best.token_count;
  out->score = best.score;
  memcpy(out->tokens, best.tokens, best.token_count * sizeof *best.tokens);
  memcpy(out->log_probabilities, best.log_probabilities, best.token_count * sizeof *best.log_probabilities);
  return true;
}

static void *work(void *argument) {
  worker *self = argument;
  ivg_session *session = NULL;
  ivg_session_options options = {.struct_size = sizeof options, .thread_count = 1 + self->number % 2};
  if (ivg_session_create(&session, model, &options, NULL) != IVG_OK) {
    self->different++;
    return NULL;
  }
  answer *out = malloc(sizeof *out);
  for (int round = 0; round < self->rounds; round++) {
    ivg_model_info info = {.struct_size = sizeof info};
    int32_t tokens[64];
    size_t count = 0;
    if (ivg_model_information(model, &info, NULL) != IVG_OK) self->different++;
    if (ivg_model_tokenize(model, prompt, strlen(prompt), 0, tokens, 64, &count, NULL) != IVG_OK)
      self->different++;
    ivg_model *other = NULL;
    if (ivg_model_open(&other, other_path, NULL, NULL) != IVG_OK) self->different++;
    ivg_model_free(other);
    if (!run_request(session, self->number, round, out) || !same_answer(out, &alone[self->number][round]))
      self->different++;
  }
  free(out);
  ivg_session_free(session);
  return NULL;
}

static void sessions_at_once(void) {
  int rounds = max_tokens > 10 ? ROUNDS : 3;
  for (uint32_t number = 0; number < THREADS; number++) {
    ivg_session *session = open_session(model, 1);
    for (int round = 0; round < rounds; round++)
      CHECK(run_request(session, number, round, &alone[number][round]));
    ivg_session_free(session);
  }
  worker workers[THREADS];
  for (uint32_t number = 0; number < THREADS; number++) {
    workers[number] = (worker){.number = number, .rounds = rounds};
    pthread_create(&workers[number].thread, NULL, work, &workers[number]);
  }
  for (int number = 0; number < THREADS; number++) {
    pthread_join(workers[number].thread, NULL);
    CHECK(workers[number].different == 0);
  }
}

/* A session may be used by one thread after the other. */
static ivg_session *handed;
static answer handed_out;
static void *take_over(void *argument) {
  (void)argument;
  finish_request(handed, &handed_out);
  return NULL;
}

static void a_session_moves_between_threads(void) {
  ivg_generate_options options = options_of(0, 0);
  answer plain;
  ivg_step step = {.struct_size = sizeof step};
  handed = open_session(model, 2);
  GENERATE(handed, prompt, &options, NULL, &plain);
  REQUIRE_OK(ivg_session_begin(handed, prompt, strlen(prompt), &options, NULL, &error));
  pthread_t thread;
  pthread_create(&thread, NULL, take_over, NULL);
  pthread_join(thread, NULL);
  CHECK(same_answer(&plain, &handed_out));
  EXPECT(IVG_DONE, ivg_session_next(handed, &step, &error));
  ivg_session_free(handed);
}

static void run_all(const char *path, uint32_t tokens, bool heads) {
  ivg_adapter *adapter = NULL;
  ivg_value_head *head = NULL;
  max_tokens = tokens;
  model = open_model(path);
  guidances[1] = new_guidance(1, 1, 0);
  guidances[2] = new_guidance(2, 2, 4);
  ivg_implicit_options implicit = {
      .struct_size = sizeof implicit, .role = 3, .tuned_template = "Joy: {prompt}"};
  if (heads) {
    EXPECT(IVG_OK, ivg_adapter_open(&adapter, model, fixture("tiny-adapter.gguf"), &error));
    EXPECT(IVG_OK, ivg_value_head_open(&head, model, fixture("tiny-value-lora.gguf"), &error));
    implicit.tuned_adapter = adapter;
    ivg_explicit_options value = {.struct_size = sizeof value, .head = head};
    EXPECT(IVG_OK, ivg_guidance_add_explicit(guidances[2], &value, 1, &error));
  }
  for (int i = 1; i < 3; i++) EXPECT(IVG_OK, ivg_guidance_add_implicit(guidances[i], &implicit, 1, &error));
  RUN(sessions_at_once);
  RUN(a_session_moves_between_threads);
  for (int i = 0; i < 3; i++) ivg_guidance_free(guidances[i]);
  ivg_value_head_free(head);
  ivg_adapter_free(adapter);
  ivg_model_free(model);
}

int main(void) {
  snprintf(other_path, sizeof other_path, "%s", fixture("tiny-llama-q4_0.gguf"));
  run_all(fixture("tiny-llama.gguf"), 40, true);
  const char *path = real_model("Q4_1");
  if (path) run_all(path, 8, false);
  else printf("  skipped: two sessions on a real model\n");
  return check_finish();
}
