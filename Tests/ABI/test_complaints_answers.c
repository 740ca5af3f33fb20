/* SPDX-License-Identifier: Apache-2.0
 *
 * test_complaints_answers.c - complaints about what comes out: broken characters, seeds, log-probabilities, truncation,
 * processors that are not asked. See test_complaints.c.
 */
#include "fixture.h"

static const char prompt[] = "The value of a text is what a reader finds in it.";

static bool ask(const ivg_model *model, uint32_t threads, uint64_t seed, answer *out) {
  ivg_session *session = open_session(model, threads);
  ivg_generate_options options = {
      .struct_size = sizeof options, .max_tokens = 24, .seed = seed, .flags = IVG_GENERATE_IGNORE_END};
  GENERATE(session, prompt, &options, NULL, out);
  ivg_session_free(session);
  return out->status == IVG_DONE;
}

typedef struct script {
  int32_t tokens[256];
  size_t count;
} script;

/* Lets only the script's next token through. */
static int32_t follow(void *user_data, uint32_t row, const int32_t *tokens, size_t count, float *logits, size_t size) {
  const script *lines = user_data;
  (void)row, (void)tokens;
  for (size_t i = 0; i < size; i++)
    if ((int32_t)i != lines->tokens[count < lines->count ? count : 0]) logits[i] = -INFINITY;
  return 0;
}

/* llama-cpp-python #57, #116, #372: characters of several tokens come whole, however they are cut. */
static void llama_cpp_python_372_broken_characters(void) {
  /* naïve, the euro, a face, a woman and a microscope joined, Japan: characters of two to four bytes. */
  static const char text[] = "na\xc3\xafve \xe2\x82\xac 5 \xf0\x9f\x98\x80\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x94\xac "
                             "\xe6\x97\xa5\xe6\x9c\xac";
  ivg_model *model = open_model(fixture("tiny-llama.gguf"));
  ivg_session *session = open_session(model, 1);
  script lines;
  EXPECT(IVG_OK, ivg_model_tokenize(model, text, strlen(text), 4, lines.tokens, 256, &lines.count, &error));
  CHECK(lines.count > 25);
  ivg_generate_options options = {.struct_size = sizeof options,
                                  .flags = IVG_GENERATE_IGNORE_END,
                                  .logits_processor = follow,
                                  .logits_processor_data = &lines};
  static answer out; /* GENERATE checks that each step is whole code points */
  for (size_t cut = 1; cut <= lines.count; cut++) {
    options.max_tokens = (uint32_t)cut;
    GENERATE(session, "A", &options, NULL, &out);
    size_t same = 0;
    while (same < out.length && out.text[same] == text[same]) same++;
    /* A character that max_tokens cut off is U+FFFD. */
    CHECK(same == out.length || memcmp(out.text + same, "\xef\xbf\xbd", 3) == 0);
    if (cut == lines.count) CHECK(out.length == strlen(text) && same == out.length);
  }
  ivg_session_free(session);
  ivg_model_free(model);
}

/* llama-cpp-python #1809, #386, haystack #8676: the same seed, the same text, whatever went before and however many
 * threads there are; another seed, another text. */
static void llama_cpp_python_1809_seed_ignored(void) {
  static answer first, other;
  ivg_model *model = open_model(fixture("tiny-llama.gguf"));
  CHECK(ask(model, 1, 11, &first));
  for (uint32_t threads = 1; threads <= 4; threads++)
    CHECK(ask(model, threads, 11, &other) && same_answer(&first, &other));
  ivg_session *session = open_session(model, 2);
  ivg_generate_options options = {.struct_size = sizeof options, .max_tokens = 24, .flags = IVG_GENERATE_IGNORE_END};
  int different = 0;
  for (uint64_t seed = 8; seed <= 14; seed++) {
    options.seed = seed;
    GENERATE(session, prompt, &options, NULL, &other);
    if (seed == 11) CHECK(same_answer(&first, &other));
    else different += !same_answer(&first, &other);
  }
  CHECK(different == 6);
  ivg_session_free(session);
  ivg_model_free(model);
}

/* llama-cpp-python #1983, #349, #990: log-probabilities come with each token when asked for, and are those of the
 * logits. */
static void llama_cpp_python_1983_log_probabilities(void) {
  ivg_model *model = open_model(fixture("tiny-llama.gguf"));
  ivg_session *session = open_session(model, 1);
  ivg_sequence *sequence = NULL;
  int32_t tokens[256];
  size_t count = 0, size = 0;
  const float *logits = NULL;
  EXPECT(IVG_OK, ivg_model_tokenize(model, prompt, strlen(prompt), 3, tokens, 256, &count, &error));
  REQUIRE_OK(ivg_sequence_create(&sequence, session, NULL, &error));
  ivg_generate_options options = {.struct_size = sizeof options,
                                  .max_tokens = 8,
                                  .flags = IVG_GENERATE_IGNORE_END,
                                  .top_log_probabilities = 20};
  ivg_step step = {.struct_size = sizeof step};
  REQUIRE_OK(ivg_session_begin(session, prompt, strlen(prompt), &options, NULL, &error));
  const int32_t *new_tokens = tokens;
  for (int i = 0; i < 8; i++) {
    REQUIRE_OK(ivg_sequence_evaluate(sequence, new_tokens, count, &error));
    REQUIRE_OK(ivg_sequence_logits(sequence, &logits, &size, &error));
    double sum = 0;
    for (size_t k = 0; k < size; k++) sum += exp((double)logits[k]);
    double wanted[512];
    for (size_t k = 0; k < size && k < 512; k++) wanted[k] = (double)logits[k] - log(sum);
    REQUIRE_OK(ivg_session_next(session, &step, &error));
    CHECK(step.top_count == 20 && fabs((double)step.log_probability - wanted[step.token]) < 1e-4);
    for (uint32_t k = 0; k < step.top_count; k++) {
      int better = 0;
      for (size_t j = 0; j < size; j++) better += logits[j] > logits[step.top_tokens[k]];
      CHECK(better == (int)k && fabs((double)step.top_log_probabilities[k] - wanted[step.top_tokens[k]]) < 1e-4);
    }
    tokens[0] = step.token;
    count = 1;
  }
  ivg_sequence_free(sequence);
  ivg_session_free(session);
  ivg_model_free(model);
}

/* llama-cpp-python #416: the context is the model's own, all of a prompt is read, and one token too many is an error
 * that names the figures. */
static void llama_cpp_python_416_silent_truncation(void) {
  ivg_model *model = open_model(fixture("tiny-llama.gguf"));
  ivg_session *session = open_session(model, 1);
  char text[241];
  memset(text, 'q', 240);
  text[240] = 0;
  int32_t tokens[512];
  size_t count = 0;
  EXPECT(IVG_OK, ivg_model_tokenize(model, text, 240, 3, tokens, 512, &count, &error));
  REQUIRE(count > 100 && count < 250);
  static answer out;
  ivg_generate_options options = {
      .struct_size = sizeof options, .max_tokens = (uint32_t)(256 - count), .flags = IVG_GENERATE_IGNORE_END};
  GENERATE(session, text, &options, NULL, &out);
  ivg_result result = {.struct_size = sizeof result};
  EXPECT(IVG_OK, ivg_session_result(session, &result, &error));
  CHECK(result.prompt_token_count == count && out.token_count == 256 - count);
  options.max_tokens++;
  EXPECT_ERROR(IVG_ERROR_CONTEXT_FULL, "256", ivg_session_begin(session, text, 240, &options, NULL, &error));
  ivg_session_free(session);
  ivg_model_free(model);
}

typedef struct watcher {
  uint64_t calls;
  int32_t forbidden;
} watcher;

static int32_t forbid(void *user_data, uint32_t row, const int32_t *tokens, size_t count, float *logits, size_t size) {
  watcher *self = user_data;
  (void)row, (void)tokens, (void)count;
  self->calls++;
  for (size_t i = 0; i < size; i++)
    if ((int32_t)i % 2 == self->forbidden) logits[i] = -INFINITY;
  return 0;
}

/* mlx-lm #566, mlx-examples #1255: the host's processor is asked for every token of every row, in every way of
 * generating; where it could not be, the request is refused. */
static void mlx_lm_566_processor_ignored(void) {
  ivg_model *model = open_model(fixture("tiny-llama.gguf"));
  ivg_adapter *adapter = NULL;
  EXPECT(IVG_OK, ivg_adapter_open(&adapter, model, fixture("tiny-adapter.gguf"), &error));
  ivg_session *session = open_session(model, 2);
  static const uint32_t ways[][4] = {/* width, successors, chunk, roles */
                                     {1, 1, 0, 0}, {1, 1, 0, 1}, {4, 1, 0, 0},
                                     {1, 4, 0, 2}, {2, 2, 3, 2}, {2, 2, 3, 3}};
  static answer out;
  for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
    ivg_guidance *guidance = new_guidance(ways[i][0], ways[i][1], ways[i][2]);
    ivg_implicit_options implicit = {.struct_size = sizeof implicit, .role = ways[i][3], .tuned_adapter = adapter};
    if (ways[i][3]) EXPECT(IVG_OK, ivg_guidance_add_implicit(guidance, &implicit, 1, &error));
    watcher self = {0, (int32_t)(i % 2)};
    ivg_generate_options options = {.struct_size = sizeof options,
                                    .max_tokens = 18,
                                    .flags = IVG_GENERATE_IGNORE_END,
                                    .logits_processor = forbid,
                                    .logits_processor_data = &self};
    GENERATE(session, prompt, &options, guidance, &out);
    ivg_result result = {.struct_size = sizeof result};
    EXPECT(IVG_OK, ivg_session_result(session, &result, &error));
    check(self.calls == result.token_count, __LINE__, "way %zu: %llu calls for %llu tokens", i,
          (unsigned long long)self.calls, (unsigned long long)result.token_count);
    for (size_t k = 0; k < out.token_count; k++) CHECK(out.tokens[k] % 2 != self.forbidden);
    ivg_guidance_free(guidance);
  }
  ivg_guidance *nudged = new_guidance(1, 1, 0);
  ivg_nudging_options nudging = {.struct_size = sizeof nudging, .nudger_adapter = adapter};
  EXPECT(IVG_OK, ivg_guidance_set_nudging(nudged, &nudging, &error));
  watcher self = {0, 0};
  ivg_generate_options options = {
      .struct_size = sizeof options, .logits_processor = forbid, .logits_processor_data = &self};
  EXPECT(IVG_ERROR_INVALID_ARGUMENT,
         ivg_session_begin(session, prompt, strlen(prompt), &options, nudged, &error));
  ivg_guidance_free(nudged);
  ivg_session_free(session);
  ivg_adapter_free(adapter);
  ivg_model_free(model);
}

int main(void) {
  RUN(llama_cpp_python_372_broken_characters);
  RUN(llama_cpp_python_1809_seed_ignored);
  RUN(llama_cpp_python_1983_log_probabilities);
  RUN(llama_cpp_python_416_silent_truncation);
  RUN(mlx_lm_566_processor_ignored);
  return check_finish();
}
