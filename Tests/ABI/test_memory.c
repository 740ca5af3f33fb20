/* SPDX-License-Identifier: Apache-2.0
 *
 * test_memory.c - how much a request takes: sixteen rows on a real model within the mapped file and 80 MB;
 * the figure of ivg_memory_required is an upper bound; budgets are kept; what is too much is an error, not a
 * crash.
 *
 * Each measurement runs in a process of its own, since a process's peak never falls.
 */
#include "process.h"

static const char prompt[] = "Once upon a time, in a small town by the sea, there lived a";

static int32_t constant_score(void *user_data, const char *asked, size_t asked_length,
                              const char *const *texts, const size_t *lengths, const int32_t *finished,
                              size_t count, double *scores) {
  (void)user_data, (void)asked, (void)asked_length, (void)texts, (void)lengths, (void)finished;
  for (size_t i = 0; i < count; i++) scores[i] = 1;
  return 0;
}

typedef struct measure {
  const char *name, *file;
  uint32_t width, successors, chunk, threads, max_tokens;
  bool plain, contrast;
  double limit; /* bytes beside the file; 0: only said */
} measure;

/* In a child: runs the request, compares what it took with what was said. */
static void measured(const void *argument) {
  const measure *what = argument;
  ivg_model *model = open_model(what->file);
  ivg_model_info info = {.struct_size = sizeof info};
  EXPECT(IVG_OK, ivg_model_information(model, &info, &error));
  int32_t tokens[256];
  size_t count = 0;
  EXPECT(IVG_OK, ivg_model_tokenize(model, prompt, strlen(prompt), 3, tokens, 256, &count, &error));
  ivg_session_options session_options = {
      .struct_size = sizeof session_options, .thread_count = what->threads, .context_length = 256};
  ivg_generate_options options = {.struct_size = sizeof options, .flags = IVG_GENERATE_IGNORE_END};
  options.max_tokens = what->max_tokens;
  ivg_guidance *guidance = new_guidance(what->width, what->successors, what->chunk);
  ivg_scorer_options scorer = {.struct_size = sizeof scorer, .score = constant_score};
  ivg_implicit_options implicit = {.struct_size = sizeof implicit,
                                   .role = IVG_ROLE_SCORE,
                                   .tuned_template = "A joyful story. {prompt}",
                                   .untuned_template = "A story. {prompt}"};
  if (what->plain) EXPECT(IVG_OK, ivg_guidance_add_scorer(guidance, &scorer, 1, &error));
  if (what->contrast) EXPECT(IVG_OK, ivg_guidance_add_implicit(guidance, &implicit, 1, &error));
  uint64_t required = 0, before = status_bytes("RssAnon:");
  REQUIRE_OK(ivg_memory_required(model, &session_options, &options, guidance, count, &required, &error));
  ivg_session *session = NULL;
  REQUIRE_OK(ivg_session_create(&session, model, &session_options, &error));
  answer out;
  GENERATE(session, prompt, &options, guidance, &out);
  CHECK(out.token_count == what->max_tokens);
  ivg_result result = {.struct_size = sizeof result};
  EXPECT(IVG_OK, ivg_session_result(session, &result, &error));
  uint64_t taken = status_bytes("RssAnon:") - before, peak = status_bytes("VmHWM:");
  double mb = 1e6;
  printf("     %s: file %.1f, peak %.1f = file + %.1f, anonymous %.1f, said %.1f, used %.1f MB; %.1f s\n",
         what->name, (double)info.file_size / mb, (double)peak / mb,
         ((double)peak - (double)info.file_size) / mb, (double)taken / mb, (double)required / mb,
         (double)result.memory_used / mb, result.prompt_seconds + result.generate_seconds);
  /* Beside the request: what the library and the language runtime set up at their first use, and malloc's
   * slack. */
  CHECK(taken <= required + 2000000);
  CHECK(result.memory_used <= required);
  if (what->limit > 0) CHECK((double)peak <= (double)info.file_size + what->limit);
  ivg_session_free(session);
  ivg_guidance_free(guidance);
  ivg_model_free(model);
}

static void sixteen_rows(void) {
  const char *path = real_model("Q8_0");
  if (!path) {
    printf("     skipped: no real model\n");
    return;
  }
  measure plain = {"plain, best of 16", path, 1, 16, 0, 2, 64, true, false, 80e6};
  measure contrast = {"prompt contrast, best of 16", path, 1, 16, 0, 2, 64, false, true, 80e6};
  measure search = {"prompt contrast, W 4, K 4, L 8", path, 4, 4, 8, 2, 64, false, true, 80e6};
  in_a_process_of_its_own(plain.name, measured, &plain);
  in_a_process_of_its_own(contrast.name, measured, &contrast);
  in_a_process_of_its_own(search.name, measured, &search);
}

static void tiny_rows(void) {
  static char path[4096];
  snprintf(path, sizeof path, "%s", fixture("tiny-llama.gguf"));
  measure one = {"one row", path, 1, 1, 0, 1, 64, false, false, 20e6};
  measure many = {"64 rows, chunks", path, 8, 8, 8, 2, 64, false, true, 20e6};
  in_a_process_of_its_own(one.name, measured, &one);
  in_a_process_of_its_own(many.name, measured, &many);
}

/* Errors from here on; with a tiny model. */
static ivg_model *model;

static void a_budget_that_is_too_small(void) {
  ivg_session *session = NULL;
  ivg_session_options options = {
      .struct_size = sizeof options, .thread_count = 1, .context_length = 128, .memory_budget = 1 << 20};
  ivg_generate_options request = {.struct_size = sizeof request, .max_tokens = 100};
  ivg_guidance *guidance = new_guidance(32, 32, 5);
  uint64_t required = 0;
  char number[32];
  ivg_status status = ivg_session_create(&session, model, &options, &error);
  if (status == IVG_ERROR_OUT_OF_MEMORY) {
    check_status(status, IVG_ERROR_OUT_OF_MEMORY, "1048576", "create", __LINE__);
    options.memory_budget = 16 << 20;
    EXPECT(IVG_OK, ivg_session_create(&session, model, &options, &error));
  } else {
    check_status(status, IVG_OK, NULL, "create", __LINE__);
  }
  REQUIRE(session);
  REQUIRE_OK(ivg_memory_required(model, &options, &request, guidance, 1, &required, &error));
  CHECK(required > options.memory_budget);
  snprintf(number, sizeof number, "%llu", (unsigned long long)options.memory_budget);
  EXPECT_ERROR(IVG_ERROR_OUT_OF_MEMORY, number,
               ivg_session_begin(session, "A", 1, &request, guidance, &error));
  snprintf(number, sizeof number, "%llu", (unsigned long long)required);
  EXPECT_ERROR(IVG_ERROR_OUT_OF_MEMORY, number,
               ivg_session_begin(session, "A", 1, &request, guidance, &error));
  /* The session is none the worse. */
  answer out;
  GENERATE(session, "A", &request, NULL, &out);
  ivg_session_free(session);
  ivg_guidance_free(guidance);
}

/* With exactly the bytes that ivg_memory_required names, the request runs; with far fewer it does not begin.
 */
static void the_figure_is_enough(void) {
  for (uint32_t rows = 1; rows <= 16; rows *= 4) {
    ivg_guidance *guidance = new_guidance(rows, rows, 3);
    ivg_implicit_options implicit = {
        .struct_size = sizeof implicit, .role = 3, .tuned_template = "Joy: {prompt}"};
    EXPECT(IVG_OK, ivg_guidance_add_implicit(guidance, &implicit, 1, &error));
    ivg_session_options options = {.struct_size = sizeof options, .thread_count = 1, .context_length = 128};
    ivg_generate_options request = {.struct_size = sizeof request, .max_tokens = 40};
    int32_t tokens[64];
    size_t count = 0;
    EXPECT(IVG_OK, ivg_model_tokenize(model, prompt, strlen(prompt), 3, tokens, 64, &count, &error));
    uint64_t required = 0;
    REQUIRE_OK(ivg_memory_required(model, &options, &request, guidance, count, &required, &error));
    options.memory_budget = required;
    ivg_session *session = NULL;
    REQUIRE_OK(ivg_session_create(&session, model, &options, &error));
    answer out;
    GENERATE(session, prompt, &request, guidance, &out);
    GENERATE(session, "Another prompt of about the same length as the first,", &request, guidance, &out);
    ivg_session_free(session);
    ivg_guidance_free(guidance);
  }
}

/* A context of just the prompt and the answer, whether the file adds a token before a prompt or not. */
static void a_context_that_just_fits(void) {
  static const char *const names[] = {"tiny-llama.gguf", "tiny-qwen2.gguf", "architectures/gemma3.gguf"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    ivg_model *own = open_model(fixture(names[i]));
    int32_t tokens[64];
    size_t count = 0;
    EXPECT(IVG_OK, ivg_model_tokenize(own, "a reader", 8, 3, tokens, 64, &count, &error));
    ivg_session_options options = {.struct_size = sizeof options, .context_length = (uint32_t)count + 8};
    ivg_generate_options request = {.struct_size = sizeof request, .max_tokens = 8};
    uint64_t required = 0;
    EXPECT(IVG_OK, ivg_memory_required(own, &options, &request, NULL, count, &required, &error));
    options.memory_budget = required;
    ivg_session *session = NULL;
    REQUIRE_OK(ivg_session_create(&session, own, &options, &error));
    EXPECT(IVG_OK, ivg_session_begin(session, "a reader", 8, &request, NULL, &error));
    ivg_session_free(session);
    request.max_tokens++;
    options.memory_budget = 0;
    EXPECT(IVG_ERROR_CONTEXT_FULL, ivg_memory_required(own, &options, &request, NULL, count, &required, &error));
    ivg_model_free(own);
  }
}

static void numbers_without_bounds(void) {
  uint64_t bytes = 7;
  ivg_generate_options request = {.struct_size = sizeof request, .max_tokens = UINT32_MAX};
  static const size_t counts[] = {SIZE_MAX, SIZE_MAX / 2, SIZE_MAX / 2 - 64, (size_t)1 << 40, 1000000};
  for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
    ivg_status status = ivg_memory_required(model, NULL, NULL, NULL, counts[i], &bytes, &error);
    check(status == IVG_ERROR_CONTEXT_FULL || status == IVG_ERROR_INVALID_ARGUMENT, __LINE__,
          "%zu tokens: status %d", counts[i], status);
    ivg_error_free(error);
    error = NULL;
  }
  CHECK(bytes == 7);
  EXPECT(IVG_ERROR_CONTEXT_FULL, ivg_memory_required(model, NULL, &request, NULL, 1, &bytes, &error));
  ivg_session_options options = {.struct_size = sizeof options, .memory_budget = UINT64_MAX};
  EXPECT(IVG_OK, ivg_memory_required(model, &options, NULL, NULL, 1, &bytes, &error));
  ivg_session *session = NULL;
  ivg_status status = ivg_session_create(&session, model, &options, &error);
  check(status == IVG_OK || status == IVG_ERROR_OUT_OF_MEMORY, __LINE__, "status %d", status);
  ivg_session_free(session);
  ivg_error_free(error);
  error = NULL;
}

/* As many rows as there may be: an error or a result, in bounded time. */
static void as_many_rows_as_there_may_be(void) {
  ivg_session *session = open_session(model, 1);
  ivg_guidance *guidance = new_guidance(32, 32, 2);
  ivg_generate_options request = {.struct_size = sizeof request, .max_tokens = 4};
  ivg_scorer_options scorer = {.struct_size = sizeof scorer, .score = constant_score};
  EXPECT(IVG_OK, ivg_guidance_add_scorer(guidance, &scorer, 1, &error));
  answer out, plain;
  GENERATE(session, prompt, &request, guidance, &out);
  GENERATE(session, prompt, &request, NULL, &plain);
  CHECK(out.token_count == plain.token_count && memcmp(out.tokens, plain.tokens, plain.token_count * 4) == 0);
  ivg_guidance_free(guidance);
  ivg_session_free(session);
}

/* Sequences of the host count against the budget, too. */
static void sequences_and_the_budget(void) {
  ivg_session *session = NULL;
  ivg_sequence *sequences[256] = {NULL};
  ivg_session_options options = {.struct_size = sizeof options, .thread_count = 1, .memory_budget = 4 << 20};
  REQUIRE_OK(ivg_session_create(&session, model, &options, &error));
  int32_t tokens[100];
  for (int i = 0; i < 100; i++) tokens[i] = 3 + i;
  ivg_status status = IVG_OK;
  int made = 0;
  while (made < 256 && status == IVG_OK) {
    status = ivg_sequence_create(&sequences[made], session, NULL, NULL);
    if (status == IVG_OK) status = ivg_sequence_evaluate(sequences[made++], tokens, 100, NULL);
  }
  printf("     %d sequences of 100 tokens within 4 MiB: status %d\n", made, status);
  CHECK(status == IVG_OK || status == IVG_ERROR_OUT_OF_MEMORY);
  for (int i = 0; i < made; i++) ivg_sequence_free(sequences[i]);
  answer out;
  ivg_generate_options request = {.struct_size = sizeof request, .max_tokens = 8};
  GENERATE(session, prompt, &request, NULL, &out);
  ivg_session_free(session);
}

int main(void) {
  RUN(tiny_rows);
  RUN(sixteen_rows);
  model = open_model(fixture("tiny-llama.gguf"));
  RUN(a_budget_that_is_too_small);
  RUN(the_figure_is_enough);
  RUN(a_context_that_just_fits);
  RUN(numbers_without_bounds);
  RUN(as_many_rows_as_there_may_be);
  RUN(sequences_and_the_budget);
  ivg_model_free(model);
  return check_finish();
}
