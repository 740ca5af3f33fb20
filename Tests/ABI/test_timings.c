/* SPDX-License-Identifier: Apache-2.0
 *
 * test_timings.c - ivg_session_timings: every phase of a guided search has its time, and all together are the calls'.
 */
#include "fixture.h"

static ivg_model *model;

static void phases_add_up(void) {
  ivg_session *session = NULL;
  ivg_session_options settings = {.struct_size = sizeof settings, .thread_count = 2, .timings = 1};
  EXPECT(IVG_OK, ivg_session_create(&session, model, &settings, &error));
  ivg_guidance *guidance = new_guidance(2, 2, 4);
  ivg_implicit_options implicit = {.struct_size = sizeof implicit, .role = 3, .tuned_template = "Joy: {prompt}"};
  EXPECT(IVG_OK, ivg_guidance_add_implicit(guidance, &implicit, 1, &error));
  ivg_generate_options options = {
      .struct_size = sizeof options, .seed = 5, .max_tokens = 20, .flags = IVG_GENERATE_IGNORE_END};
  answer out;
  double began = seconds_now();
  GENERATE(session, "Once upon a time", &options, guidance, &out);
  double wall = seconds_now() - began;
  ivg_timings found = {.struct_size = sizeof found};
  EXPECT(IVG_OK, ivg_session_timings(session, &found, &error));
  const double phases[] = {found.embed_seconds,     found.normalize_seconds,    found.projection_seconds,
                           found.attention_seconds, found.feed_forward_seconds, found.output_seconds,
                           found.sample_seconds,    found.score_seconds,        found.other_seconds};
  double sum = 0;
  for (size_t i = 0; i < sizeof phases / sizeof *phases; i++) {
    CHECK(phases[i] > 0);
    sum += phases[i];
  }
  printf("     %.2f of %.2f ms in %d passes of %d rows\n", sum * 1e3, wall * 1e3, (int)found.pass_count,
         (int)found.row_count);
  CHECK(sum < wall);
  CHECK(found.pass_count >= 20 && found.row_count >= 4 * found.pass_count);
  ivg_guidance_free(guidance);
  ivg_session_free(session);
}

static void only_where_they_were_asked_for(void) {
  ivg_session *session = open_session(model, 1);
  ivg_timings found = {.struct_size = sizeof found};
  EXPECT(IVG_ERROR_INVALID_ARGUMENT, ivg_session_timings(session, &found, &error));
  ivg_session_free(session);
  ivg_session_options settings = {.struct_size = sizeof settings, .timings = 2};
  session = NULL;
  EXPECT(IVG_ERROR_INVALID_ARGUMENT, ivg_session_create(&session, model, &settings, &error));
  CHECK(session == NULL);
}

int main(void) {
  model = open_model(fixture("tiny-llama.gguf"));
  RUN(phases_add_up);
  RUN(only_where_they_were_asked_for);
  ivg_model_free(model);
  return check_finish();
}
