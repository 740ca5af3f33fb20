/* SPDX-License-Identifier: Apache-2.0
 *
 * test_budget_kept.c - what a session keeps from earlier requests counts against its budget, and the figure of
 * ivg_memory_required suffices whatever the context is.
 */
#include "process.h"

static const int64_t once = 500000;

typedef struct one_request {
  const char *text;
  const ivg_guidance *guidance;
  uint32_t max_tokens;
} one_request;

static uint64_t required_by(const ivg_model *model, const ivg_session_options *limits, const one_request *what,
                            size_t count) {
  uint64_t bytes = 0;
  ivg_generate_options options = {
      .struct_size = sizeof options, .max_tokens = what->max_tokens, .flags = IVG_GENERATE_IGNORE_END};
  EXPECT(IVG_OK, ivg_memory_required(model, limits, &options, what->guidance, count, &bytes, &error));
  return bytes;
}

/* Two requests on one session whose budget is the larger one's figure. */
static void both_within(const char *name, const ivg_model *model, ivg_session_options limits, const one_request what[2]) {
  uint64_t most = 0;
  for (int i = 0; i < 2; i++) {
    size_t count = 0;
    int32_t tokens[4096];
    EXPECT(IVG_OK, ivg_model_tokenize(model, what[i].text, strlen(what[i].text), 3, tokens, 4096, &count, &error));
    uint64_t bytes = required_by(model, &limits, &what[i], count);
    if (bytes > most) most = bytes;
  }
  limits.memory_budget = most;
  resident before;
  ivg_session *session = NULL;
  if (!CHECK(start_peak(&before))) return;
  REQUIRE_OK(ivg_session_create(&session, model, &limits, &error));
  for (int i = 0; i < 2; i++) {
    ivg_generate_options options = {
        .struct_size = sizeof options, .max_tokens = what[i].max_tokens, .flags = IVG_GENERATE_IGNORE_END};
    ivg_step step = {.struct_size = sizeof step};
    ivg_status status =
        ivg_session_begin(session, what[i].text, strlen(what[i].text), &options, what[i].guidance, &error);
    while (status == IVG_OK) status = ivg_session_next(session, &step, &error);
    check_status(status, IVG_DONE, NULL, name, __LINE__);
  }
  int64_t growth = peak_growth(&before);
  printf("     %s: budget %.3f, grew by %.3f MB\n", name, (double)most / 1e6, (double)growth / 1e6);
  CHECK(growth <= (int64_t)most + once);
  ivg_session_free(session);
}

static const char *words(int count) {
  static char text[20000];
  text[0] = 0;
  for (int i = 0; i < count; i++) strcat(text, " one");
  return text;
}

/* In a child: a guide of its own model, then a long prompt without it. */
static void after_another_guide(const void *path) {
  ivg_model *model = open_model(path), *guide = open_model(path);
  ivg_guidance *guidance = new_guidance(1, 1, 0);
  ivg_implicit_options implicit = {
      .struct_size = sizeof implicit, .tuned_model = guide, .untuned_template = "A {prompt}"};
  EXPECT(IVG_OK, ivg_guidance_add_implicit(guidance, &implicit, 1, &error));
  ivg_session_options limits = {.struct_size = sizeof limits, .thread_count = 1, .context_length = 336};
  const one_request both[2] = {{"Once upon", guidance, 8}, {words(300), NULL, 16}};
  both_within("after another guide", model, limits, both);
}

/* In a child: many rows, whose logits are the most of it, then a long prompt. */
static void after_many_rows(const void *path) {
  ivg_model *model = open_model(path);
  ivg_guidance *guidance = new_guidance(32, 1, 0);
  ivg_session_options limits = {.struct_size = sizeof limits, .thread_count = 2, .context_length = 2600};
  const one_request both[2] = {{"Once upon", guidance, 2}, {words(2500), NULL, 4}};
  both_within("after many rows", model, limits, both);
}

/* In a child: the host's sequences, and no request. */
static void sequences_alone(const void *path) {
  ivg_model *model = open_model(path);
  ivg_session_options limits = {
      .struct_size = sizeof limits, .thread_count = 1, .context_length = 128, .memory_budget = 12000000};
  ivg_sequence *sequence = NULL;
  int32_t tokens[100];
  for (int i = 0; i < 100; i++) tokens[i] = 300 + i;
  resident before;
  ivg_session *session = NULL;
  if (!CHECK(start_peak(&before))) return;
  REQUIRE_OK(ivg_session_create(&session, model, &limits, &error));
  ivg_status status = IVG_OK;
  int made = 0;
  while (made < 64 && status == IVG_OK) {
    status = ivg_sequence_create(&sequence, session, NULL, NULL);
    if (status == IVG_OK) status = ivg_sequence_evaluate(sequence, tokens, 100, NULL);
    made += status == IVG_OK;
  }
  int64_t growth = peak_growth(&before);
  printf("     %d sequences within 12 MB: grew by %.3f MB\n", made, (double)growth / 1e6);
  CHECK(status == IVG_ERROR_OUT_OF_MEMORY && made >= 1 && growth <= 12000000 + once);
}

/* In a child: many sequences in one batch, whose logits are the most of it, a token at a time; then fewer. */
static void sequences_in_a_batch(const void *path) {
  enum { COUNT = 64 };
  ivg_model *model = open_model(path);
  ivg_session_options limits = {
      .struct_size = sizeof limits, .thread_count = 1, .context_length = 128, .memory_budget = 60000000};
  ivg_sequence_extension batch[COUNT];
  static const int32_t token = 300;
  resident before;
  ivg_session *session = NULL;
  if (!CHECK(start_peak(&before))) return;
  REQUIRE_OK(ivg_session_create(&session, model, &limits, &error));
  for (int i = 0; i < COUNT; i++) {
    batch[i] = (ivg_sequence_extension){NULL, &token, 1};
    REQUIRE_OK(ivg_sequence_create(&batch[i].sequence, session, NULL, &error));
  }
  /* Sixteen tokens are a page: what the first takes suffices for the others. */
  for (int step = 0; step < 16; step++) EXPECT(IVG_OK, ivg_sequence_evaluate_batch(batch, COUNT, &error));
  ivg_status status = ivg_sequence_evaluate_batch(batch, COUNT, NULL);
  CHECK(status == IVG_ERROR_OUT_OF_MEMORY);
  EXPECT(IVG_OK, ivg_sequence_evaluate_batch(batch, COUNT / 4, &error));
  EXPECT(IVG_OK, ivg_sequence_evaluate(batch[COUNT - 1].sequence, &token, 1, &error));
  CHECK(ivg_sequence_length(batch[COUNT - 1].sequence) == 17 && ivg_sequence_length(batch[COUNT - 2].sequence) == 16);
  int64_t growth = peak_growth(&before);
  printf("     64 sequences within 60 MB: grew by %.3f MB\n", (double)growth / 1e6);
  CHECK(growth <= 60000000 + once);
}

/* In a child: a budget of exactly the figure, with the context by default, and with one that is longer than needed. */
static void any_context(const void *path) {
  ivg_model *model = open_model(path);
  static const struct {
    uint32_t context;
    int words;
    uint32_t max_tokens;
  } cases[] = {{0, 4000, 1000}, {0, 1200, 100}, {2048, 4, 16}, {512, 300, 8}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    const char *text = words(cases[i].words);
    ivg_session_options limits = {
        .struct_size = sizeof limits, .thread_count = 1, .context_length = cases[i].context};
    const one_request what = {text, NULL, cases[i].max_tokens};
    limits.memory_budget = required_by(model, &limits, &what, (size_t)cases[i].words);
    ivg_session *session = NULL;
    if (!EXPECT(IVG_OK, ivg_session_create(&session, model, &limits, &error))) continue;
    ivg_generate_options options = {.struct_size = sizeof options, .max_tokens = cases[i].max_tokens};
    EXPECT(IVG_OK, ivg_session_begin(session, text, strlen(text), &options, NULL, &error));
    ivg_session_free(session);
  }
}

static char path[4096];
static void a_guide_of_an_earlier_request(void) { in_a_process_of_its_own("guide", after_another_guide, path); }
static void logits_of_an_earlier_request(void) { in_a_process_of_its_own("rows", after_many_rows, path); }
static void sequences_without_a_request(void) { in_a_process_of_its_own("sequences", sequences_alone, path); }
static void sequences_of_a_batch(void) { in_a_process_of_its_own("batch", sequences_in_a_batch, path); }
static void the_figure_suffices_for_any_context(void) { in_a_process_of_its_own("context", any_context, path); }

int main(void) {
  const char *model = real_model("Q4_1");
  if (!model || is_instrumented()) {
    printf("     skipped: no real model, or a sanitizer's memory, which is not the library's\n");
    return 0;
  }
  snprintf(path, sizeof path, "%s", model);
  RUN(a_guide_of_an_earlier_request);
  RUN(logits_of_an_earlier_request);
  RUN(sequences_without_a_request);
  RUN(sequences_of_a_batch);
  RUN(the_figure_suffices_for_any_context);
  return check_finish();
}
