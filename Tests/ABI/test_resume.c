/* SPDX-License-Identifier: Apache-2.0
 *
 * test_resume.c - oracle 16: a search that is cancelled anywhere goes on as if it had not been.
 */
#include "fixture.h"

static ivg_model *model, *small;
static ivg_adapter *adapter;
static ivg_value_head *scalar;
static ivg_session *session, *session_of_two;
static const char prompt[] = "When the guide is small and the model is large,";

/* Cancels at the n-th call of a callback. */
typedef struct stopper {
  ivg_session *session;
  int calls, at;
} stopper;

static void count_call(stopper *how) {
  if (how->calls++ == how->at) ivg_session_cancel(how->session);
}

static int32_t cancel_in_processor(void *user_data, uint32_t row, const int32_t *tokens, size_t count,
                                   float *logits, size_t size) {
  (void)row, (void)tokens, (void)count, (void)logits, (void)size;
  count_call(user_data);
  return 0;
}

static int32_t cancel_in_scorer(void *user_data, const char *asked, size_t length, const char *const *texts,
                                const size_t *lengths, const int32_t *finished, size_t count, double *scores) {
  (void)asked, (void)length, (void)texts, (void)lengths, (void)finished;
  for (size_t i = 0; i < count; i++) scores[i] = 0;
  count_call(user_data);
  return 0;
}

/* After each cancel the session computes something else before it goes on. */
static void finish_with_others_between(ivg_session *session, answer *out) {
  ivg_step step = {.struct_size = sizeof step};
  ivg_candidate best = {.struct_size = sizeof best};
  memset(out, 0, sizeof *out);
  while ((out->status = ivg_session_next(session, &step, NULL)) != IVG_DONE) {
    if (out->status == IVG_OK) continue;
    REQUIRE(out->status == IVG_ERROR_CANCELLED);
    const int32_t tokens[3] = {5, 6, 7};
    const float *logits;
    size_t size;
    ivg_sequence *sequence = NULL;
    REQUIRE_OK(ivg_sequence_create(&sequence, session, NULL, &error));
    REQUIRE_OK(ivg_sequence_evaluate(sequence, tokens, 3, &error));
    REQUIRE_OK(ivg_sequence_logits(sequence, &logits, &size, &error));
    ivg_sequence_free(sequence);
  }
  REQUIRE_OK(ivg_session_candidate(session, 0, &best, &error));
  out->length = best.text_length;
  memcpy(out->text, best.text, best.text_length);
}

/* Cancelled at each call of `how`'s callback in turn, from within it, the search goes on to the same bytes. */
static void goes_on_to_the_same_bytes(ivg_session *session, const ivg_guidance *guidance, stopper *how,
                                      const ivg_generate_options *options, int least) {
  answer plain, out;
  *how = (stopper){.session = session, .at = -1};
  GENERATE(session, prompt, options, guidance, &plain);
  const int calls = how->calls, by = calls > 40 ? 3 : 1;
  CHECK(calls >= least);
  for (int at = 0; at < calls; at += by) {
    *how = (stopper){.session = session, .at = at};
    GENERATE(session, prompt, options, guidance, &out);
    if (!CHECK(same_answer(&plain, &out))) break;
    *how = (stopper){.session = session, .at = at};
    REQUIRE_OK(ivg_session_begin(session, prompt, strlen(prompt), options, guidance, &error));
    finish_with_others_between(session, &out);
    if (!CHECK(out.length == plain.length && memcmp(out.text, plain.text, out.length) == 0)) break;
    /* Dropped in the middle, another request is as if nothing had been. */
    *how = (stopper){.session = session, .at = at};
    ivg_step step = {.struct_size = sizeof step};
    REQUIRE_OK(ivg_session_begin(session, prompt, strlen(prompt), options, guidance, &error));
    ivg_status status;
    do status = ivg_session_next(session, &step, NULL);
    while (status == IVG_OK);
    CHECK(status == IVG_ERROR_CANCELLED || status == IVG_DONE);
  }
  how->at = -1;
  GENERATE(session, prompt, options, guidance, &out);
  CHECK(same_answer(&plain, &out));
}

/* From the processor, which makes one thread draw; then from the scorer, while rows are drawn by two. */
static void from_both_callbacks(ivg_guidance *guidance) {
  stopper how;
  ivg_generate_options options = {
      .struct_size = sizeof options, .seed = 4, .max_tokens = 20, .flags = IVG_GENERATE_IGNORE_END};
  options.logits_processor = cancel_in_processor;
  options.logits_processor_data = &how;
  goes_on_to_the_same_bytes(session, guidance, &how, &options, 80);
  options.logits_processor = NULL;
  ivg_scorer_options scorer = {.struct_size = sizeof scorer, .score = cancel_in_scorer, .user_data = &how};
  EXPECT(IVG_OK, ivg_guidance_add_scorer(guidance, &scorer, 1, &error));
  goes_on_to_the_same_bytes(session_of_two, guidance, &how, &options, 5);
}

/* Values at every token, and a head that is read at the ends of chunks. */
static void o16_tilted_search(void) {
  ivg_guidance *guidance = new_guidance(2, 2, 4);
  ivg_implicit_options first = {.struct_size = sizeof first, .role = IVG_ROLE_TILT, .tuned_model = small};
  ivg_implicit_options second = {.struct_size = sizeof second, .tuned_adapter = adapter};
  ivg_explicit_options value = {.struct_size = sizeof value, .role = IVG_ROLE_SCORE, .head = scalar};
  EXPECT(IVG_OK, ivg_guidance_add_implicit(guidance, &first, 1, &error));
  EXPECT(IVG_OK, ivg_guidance_add_implicit(guidance, &second, 1, &error));
  EXPECT(IVG_OK, ivg_guidance_add_explicit(guidance, &value, 1, &error));
  from_both_callbacks(guidance);
  ivg_guidance_free(guidance);
}

/* A pair that only scores: it is read where rows part, and at the ends of chunks. */
static void o16_scored_search(void) {
  ivg_guidance *guidance = new_guidance(2, 2, 4);
  ivg_implicit_options pair = {
      .struct_size = sizeof pair, .role = IVG_ROLE_SCORE, .tuned_adapter = adapter, .untuned_model = small};
  EXPECT(IVG_OK, ivg_guidance_add_implicit(guidance, &pair, 1, &error));
  from_both_callbacks(guidance);
  ivg_guidance_free(guidance);
}

int main(void) {
  model = open_model(fixture("tiny-llama.gguf"));
  small = open_model(fixture("tiny-llama-untuned.gguf"));
  EXPECT(IVG_OK, ivg_adapter_open(&adapter, model, fixture("tiny-adapter.gguf"), &error));
  EXPECT(IVG_OK, ivg_value_head_open(&scalar, model, fixture("tiny-value-scalar.gguf"), &error));
  session = open_session(model, 1);
  session_of_two = open_session(model, 2);
  RUN(o16_tilted_search);
  RUN(o16_scored_search);
  ivg_session_free(session);
  ivg_session_free(session_of_two);
  ivg_value_head_free(scalar);
  ivg_adapter_free(adapter);
  ivg_model_free(small);
  ivg_model_free(model);
  return check_finish();
}
