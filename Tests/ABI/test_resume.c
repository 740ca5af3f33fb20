/* SPDX-License-Identifier: Apache-2.0
 *
 * test_resume.c - oracle 16: a search that is cancelled anywhere goes on as if it had not been.
 */
#include "fixture.h"

static ivg_model *model, *small;
static ivg_adapter *adapter;
static ivg_value_head *scalar;
static ivg_session *session;
static const char prompt[] = "When the guide is small and the model is large,";

/* Cancelled at the n-th token of a search, from within a callback, the session goes on to the same bytes. */
typedef struct stopper {
  ivg_session *session;
  int calls, at;
} stopper;

static int32_t cancel_at(void *user_data, uint32_t row, const int32_t *tokens, size_t count, float *logits,
                         size_t size) {
  stopper *how = user_data;
  (void)row, (void)tokens, (void)count, (void)logits, (void)size;
  if (how->calls++ == how->at) ivg_session_cancel(how->session);
  return 0;
}

static void goes_on_to_the_same_bytes(const ivg_guidance *guidance) {
  answer plain, out;
  stopper how = {.session = session, .at = -1};
  ivg_generate_options options = {.struct_size = sizeof options,
                                  .seed = 4,
                                  .max_tokens = 20,
                                  .flags = IVG_GENERATE_IGNORE_END,
                                  .logits_processor = cancel_at,
                                  .logits_processor_data = &how};
  GENERATE(session, prompt, &options, guidance, &plain);
  int calls = how.calls;
  CHECK(calls >= 80);
  for (int at = 0; at < calls; at += 3) {
    how = (stopper){.session = session, .at = at};
    GENERATE(session, prompt, &options, guidance, &out);
    if (!CHECK(same_answer(&plain, &out))) break;
    /* Dropped in the middle, another request is as if nothing had been. */
    how = (stopper){.session = session, .at = at};
    ivg_step step = {.struct_size = sizeof step};
    REQUIRE_OK(ivg_session_begin(session, prompt, strlen(prompt), &options, guidance, &error));
    ivg_status status;
    do status = ivg_session_next(session, &step, NULL);
    while (status == IVG_OK);
    CHECK(status == IVG_ERROR_CANCELLED || status == IVG_DONE);
  }
  how.at = -1;
  GENERATE(session, prompt, &options, guidance, &out);
  CHECK(same_answer(&plain, &out));
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
  goes_on_to_the_same_bytes(guidance);
  ivg_guidance_free(guidance);
}

/* A pair that only scores: it is read where rows part, and at the ends of chunks. */
static void o16_scored_search(void) {
  ivg_guidance *guidance = new_guidance(2, 2, 4);
  ivg_implicit_options pair = {
      .struct_size = sizeof pair, .role = IVG_ROLE_SCORE, .tuned_adapter = adapter, .untuned_model = small};
  EXPECT(IVG_OK, ivg_guidance_add_implicit(guidance, &pair, 1, &error));
  goes_on_to_the_same_bytes(guidance);
  ivg_guidance_free(guidance);
}

int main(void) {
  model = open_model(fixture("tiny-llama.gguf"));
  small = open_model(fixture("tiny-llama-untuned.gguf"));
  EXPECT(IVG_OK, ivg_adapter_open(&adapter, model, fixture("tiny-adapter.gguf"), &error));
  EXPECT(IVG_OK, ivg_value_head_open(&scalar, model, fixture("tiny-value-scalar.gguf"), &error));
  session = open_session(model, 1);
  RUN(o16_tilted_search);
  RUN(o16_scored_search);
  ivg_session_free(session);
  ivg_value_head_free(scalar);
  ivg_adapter_free(adapter);
  ivg_model_free(small);
  ivg_model_free(model);
  return check_finish();
}
