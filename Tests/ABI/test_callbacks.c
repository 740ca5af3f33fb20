/* SPDX-License-Identifier: Apache-2.0
 *
 * test_callbacks.c - what the host's scorer and logits processor are told, and how their failures end a call.
 */
#include "fixture.h"

static ivg_model *model;
static ivg_session *session;
static const char prompt[] = "The value of a text is";

static int32_t first_is_best(void *user_data, const char *asked, size_t length, const char *const *texts,
                             const size_t *lengths, const int32_t *finished, size_t count, double *scores) {
  (void)user_data, (void)asked, (void)length, (void)texts, (void)lengths, (void)finished;
  for (size_t i = 0; i < count; i++) scores[i] = -(double)i;
  return 0;
}

/* The host scorer: what it is told, and how its failure ends the call. */
static int32_t failing_score(void *user_data, const char *asked, size_t length, const char *const *texts,
                             const size_t *lengths, const int32_t *finished, size_t count, double *scores) {
  (void)asked, (void)length, (void)texts, (void)lengths, (void)finished;
  for (size_t i = 0; i < count; i++) scores[i] = *(const int *)user_data == 1 ? NAN : 0;
  return *(const int *)user_data == 2;
}

static int freed;
static void count_free(void *user_data) {
  (void)user_data;
  freed++;
}

static void a_scorer_may_fail(void) {
  for (int way = 1; way <= 2; way++) {
    freed = 0;
    ivg_guidance *guidance = new_guidance(2, 2, 2);
    ivg_scorer_options scorer = {
        .struct_size = sizeof scorer, .score = failing_score, .user_data = &way, .finalizer = count_free};
    /* What is refused stays the host's, at whatever point it is. */
    EXPECT(IVG_ERROR_INVALID_ARGUMENT, ivg_guidance_add_scorer(guidance, &scorer, INFINITY, &error));
    EXPECT(IVG_ERROR_INVALID_ARGUMENT, ivg_guidance_add_scorer(guidance, &scorer, 1e300, &error));
    ivg_guidance *nudged = new_guidance(1, 1, 0);
    ivg_nudging_options nudging = {.struct_size = sizeof nudging, .nudger_model = model};
    EXPECT(IVG_OK, ivg_guidance_set_nudging(nudged, &nudging, &error));
    EXPECT(IVG_ERROR_INVALID_ARGUMENT, ivg_guidance_add_scorer(nudged, &scorer, 1, &error));
    ivg_guidance_free(nudged);
    CHECK(freed == 0);
    REQUIRE_OK(ivg_guidance_add_scorer(guidance, &scorer, 1, &error));
    answer out;
    generate(session, prompt, NULL, guidance, &out);
    check_status(out.status, IVG_ERROR_CALLBACK, "scorer", "generate", __LINE__);
    /* It stays an error, and the session takes another request. */
    ivg_step step = {.struct_size = sizeof step};
    EXPECT(IVG_ERROR_CALLBACK, ivg_session_next(session, &step, &error));
    GENERATE(session, prompt, NULL, NULL, &out);
    ivg_guidance_free(guidance);
    CHECK(freed == 1);
  }
}

/* The scorer sees the response cut behind its first stop string at most, and which rows are complete. */
static int32_t watching_score(void *user_data, const char *asked, size_t length, const char *const *texts,
                              const size_t *lengths, const int32_t *finished, size_t count, double *scores) {
  int *seen = user_data;
  if (length != strlen(prompt) || memcmp(asked, prompt, length) != 0) seen[0]++;
  for (size_t i = 0; i < count; i++) {
    const char *stop = memchr(texts[i], 'e', lengths[i]);
    if (stop && stop + 1 != texts[i] + lengths[i]) seen[0]++;
    if (stop && !finished[i]) seen[0]++;
    if (texts[i][lengths[i]] != 0) seen[0]++;
    seen[1] += finished[i];
    scores[i] = (double)i;
  }
  return 0;
}

static void what_a_scorer_sees(void) {
  int seen[2] = {0, 0};
  const char *const stops[1] = {"e"};
  ivg_generate_options options = {
      .struct_size = sizeof options, .max_tokens = 24, .stop_strings = stops, .stop_string_count = 1};
  for (uint64_t seed = 0; seed < 10; seed++) {
    ivg_guidance *guidance = new_guidance(2, 3, 4);
    ivg_scorer_options scorer = {.struct_size = sizeof scorer, .score = watching_score, .user_data = seen};
    REQUIRE_OK(ivg_guidance_add_scorer(guidance, &scorer, 1, &error));
    answer out;
    options.seed = seed;
    GENERATE(session, prompt, &options, guidance, &out);
    ivg_guidance_free(guidance);
  }
  CHECK(seen[0] == 0 && seen[1] > 0);
}

/* The logits processor: may ban, may force, may fail, may leave nothing. */
static int32_t process(void *user_data, uint32_t row, const int32_t *tokens, size_t count, float *logits,
                       size_t size) {
  (void)tokens;
  int way = *(const int *)user_data;
  if (way == 1) return 1;
  if (way == 2)
    for (size_t i = 0; i < size; i++) logits[i] = NAN;
  if (way == 3)
    for (size_t i = 0; i < size; i++) logits[i] = -INFINITY;
  if (way == 4)
    for (size_t i = 0; i < size; i++) logits[i] = i == 40 + row + count ? 10.0f : -INFINITY;
  return 0;
}

static void the_logits_processor(void) {
  int way = 0;
  ivg_generate_options options = {.struct_size = sizeof options,
                                  .max_tokens = 8,
                                  .seed = 1,
                                  .logits_processor = process,
                                  .logits_processor_data = &way};
  answer plain, out;
  ivg_generate_options bare = {.struct_size = sizeof bare, .max_tokens = 8, .seed = 1};
  GENERATE(session, prompt, &bare, NULL, &plain);
  GENERATE(session, prompt, &options, NULL, &out);
  CHECK(same_answer(&plain, &out));
  way = 1;
  generate(session, prompt, &options, NULL, &out);
  check_status(out.status, IVG_ERROR_CALLBACK, "processor", "fails", __LINE__);
  way = 2;
  generate(session, prompt, &options, NULL, &out);
  check_status(out.status, IVG_ERROR_CALLBACK, "processor", "NaN", __LINE__);
  way = 3;
  generate(session, prompt, &options, NULL, &out);
  check_status(out.status, IVG_ERROR_INVALID_ARGUMENT, "no token", "nothing left", __LINE__);
  way = 4;
  ivg_guidance *guidance = new_guidance(1, 3, 0);
  ivg_scorer_options scorer = {.struct_size = sizeof scorer, .score = first_is_best};
  REQUIRE_OK(ivg_guidance_add_scorer(guidance, &scorer, 1, &error));
  GENERATE(session, prompt, &options, guidance, &out);
  for (size_t i = 0; i < out.token_count; i++) CHECK(out.tokens[i] - out.tokens[0] == (int32_t)i);
  ivg_guidance_free(guidance);
}

int main(void) {
  model = open_model(fixture("tiny-llama.gguf"));
  session = open_session(model, 1);
  RUN(a_scorer_may_fail);
  RUN(what_a_scorer_sees);
  RUN(the_logits_processor);
  ivg_session_free(session);
  ivg_model_free(model);
  return check_finish();
}
