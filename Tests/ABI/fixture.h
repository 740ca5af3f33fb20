/* SPDX-License-Identifier: Apache-2.0
 *
 * fixture.h - models to test with, and one way to run a request that checks on the way what holds for each.
 */
#ifndef FIXTURE_H
#define FIXTURE_H

#include "check.h"

/* Path of a tiny model; see Tests/Fixtures/README.md. One of four buffers in turn. */
static inline const char *fixture(const char *name) {
  static char paths[4][4096];
  static int turn;
  const char *folder = getenv("IVG_TEST_FIXTURES");
  turn = (turn + 1) % 4;
  snprintf(paths[turn], sizeof paths[turn], "%s/%s", folder ? folder : "Tests/Fixtures", name);
  return paths[turn];
}

/* Path of SmolLM2-135M-Instruct with that type, or NULL where it is not at hand. */
static inline const char *real_model(const char *type) {
  static char path[4096];
  const char *folder = getenv("IVG_TEST_MODELS");
  snprintf(path, sizeof path, "%s/SmolLM2-135M-Instruct.%s.gguf", folder ? folder : ".build/models", type);
  FILE *file = fopen(path, "rb");
  if (!file) return NULL;
  fclose(file);
  return path;
}

static inline ivg_model *open_model(const char *path) {
  ivg_model *model = NULL;
  EXPECT(IVG_OK, ivg_model_open(&model, path, NULL, &error));
  if (!model) exit(2);
  return model;
}

static inline ivg_session *open_session(const ivg_model *model, uint32_t threads) {
  ivg_session *session = NULL;
  ivg_session_options options = {.struct_size = sizeof options, .thread_count = threads};
  EXPECT(IVG_OK, ivg_session_create(&session, model, &options, &error));
  if (!session) exit(2);
  return session;
}

static inline ivg_guidance *new_guidance(uint32_t width, uint32_t successors, uint32_t chunk) {
  ivg_guidance *guidance = NULL;
  ivg_guidance_options options = {
      .struct_size = sizeof options, .width = width, .successors = successors, .chunk = chunk};
  EXPECT(IVG_OK, ivg_guidance_create(&guidance, &options, &error));
  if (!guidance) exit(2);
  return guidance;
}

/* What a request gave. */
typedef struct answer {
  ivg_status status; /* IVG_DONE, or the error that ended it */
  char text[32768];  /* the steps' texts, one behind the other */
  size_t length;
  int32_t tokens[1024];
  float log_probabilities[1024];
  size_t token_count;
  uint32_t finish, steps, rows;
  double score;
} answer;

static inline bool same_answer(const answer *a, const answer *b) {
  return a->status == b->status && a->length == b->length && memcmp(a->text, b->text, a->length) == 0 &&
         a->token_count == b->token_count && a->finish == b->finish &&
         memcmp(a->tokens, b->tokens, a->token_count * sizeof *a->tokens) == 0 &&
         memcmp(a->log_probabilities, b->log_probabilities, a->token_count * sizeof *a->log_probabilities) ==
             0 &&
         memcmp(&a->score, &b->score, sizeof a->score) == 0;
}

/* True if `text` is whole code points. */
static inline bool is_utf8(const char *text, size_t length) {
  for (size_t i = 0; i < length;) {
    unsigned char lead = (unsigned char)text[i];
    size_t more = lead < 0x80 ? 0 : lead >= 0xc2 && lead < 0xe0 ? 1 : lead >= 0xe0 && lead < 0xf0 ? 2 : 3;
    if ((lead >= 0x80 && lead < 0xc2) || lead > 0xf4 || i + more >= length) return false;
    for (size_t k = 1; k <= more; k++)
      if (((unsigned char)text[i + k] & 0xc0) != 0x80) return false;
    i += more + 1;
  }
  return true;
}

/* Runs a begun request to its end; cancelled calls are repeated. Checks what holds for every request: the
 * text of the steps is the best candidate's, in whole code points; the tokens of the steps are its tokens;
 * only the last step names an end; candidates come best first; the end stays the end. */
static inline void finish_request(ivg_session *session, answer *out) {
  ivg_step step = {.struct_size = sizeof step};
  ivg_result result = {.struct_size = sizeof result};
  ivg_candidate best = {.struct_size = sizeof best};
  int32_t token_steps = 0;
  memset(out, 0, sizeof *out);
  for (;;) {
    out->status = ivg_session_next(session, &step, &error);
    if (out->status == IVG_ERROR_CANCELLED) {
      ivg_error_free(error);
      error = NULL;
      continue;
    }
    if (out->status != IVG_OK) break;
    CHECK(out->finish == IVG_FINISH_NONE);
    CHECK(step.text && step.text[step.text_length] == 0 && is_utf8(step.text, step.text_length));
    CHECK(out->length + step.text_length < sizeof out->text);
    memcpy(out->text + out->length, step.text, step.text_length);
    out->length += step.text_length;
    out->finish = step.finish_reason;
    out->score = step.value;
    out->steps++;
    if (step.kind == IVG_STEP_TOKEN) out->tokens[token_steps++] = step.token;
    else CHECK(step.token == -1);
  }
  if (out->status != IVG_DONE) return;
  CHECK(out->finish != IVG_FINISH_NONE);
  ivg_status end; /* a cancel that came late is reported once */
  do end = ivg_session_next(session, &step, NULL);
  while (end == IVG_ERROR_CANCELLED);
  CHECK(end == IVG_DONE);
  EXPECT(IVG_OK, ivg_session_result(session, &result, &error));
  CHECK(result.finish_reason == out->finish && result.candidate_count >= 1);
  out->rows = result.candidate_count;
  double last = INFINITY;
  for (uint32_t i = 0; i < result.candidate_count; i++) {
    ivg_candidate row = {.struct_size = sizeof row};
    EXPECT(IVG_OK, ivg_session_candidate(session, i, &row, &error));
    CHECK(row.score <= last && row.token_count > 0 && row.text[row.text_length] == 0);
    last = row.score;
  }
  EXPECT(IVG_OK, ivg_session_candidate(session, 0, &best, &error));
  CHECK(best.text_length == out->length && memcmp(best.text, out->text, out->length) == 0);
  CHECK(best.finish_reason == out->finish && best.score == out->score);
  CHECK(token_steps == 0 || ((size_t)token_steps == best.token_count &&
                             memcmp(out->tokens, best.tokens, best.token_count * sizeof *best.tokens) == 0));
  out->token_count = best.token_count < 1024 ? best.token_count : 1024;
  memcpy(out->tokens, best.tokens, out->token_count * sizeof *best.tokens);
  memcpy(out->log_probabilities, best.log_probabilities, out->token_count * sizeof *best.log_probabilities);
  double sum = 0;
  for (size_t i = 0; i < best.token_count; i++) sum += (double)best.log_probabilities[i];
  CHECK(fabs(sum - best.log_probability) < 1e-6 * (1 + fabs(sum)));
}

/* Begins and finishes a request; `out->status` is the first error if there is one (and `error` its message).
 */
static inline void generate(ivg_session *session, const char *prompt, const ivg_generate_options *options,
                            const ivg_guidance *guidance, answer *out) {
  memset(out, 0, sizeof *out);
  out->status = ivg_session_begin(session, prompt, strlen(prompt), options, guidance, &error);
  if (out->status == IVG_OK) finish_request(session, out);
}

/* Generates and expects it to succeed. */
#define GENERATE(session, prompt, options, guidance, out) \
  do { \
    generate((session), (prompt), (options), (guidance), (out)); \
    check_status((out)->status, IVG_DONE, NULL, "generate", __LINE__); \
  } while (0)

static inline bool read_file(const char *path, unsigned char **bytes, size_t *size) {
  FILE *file = fopen(path, "rb");
  if (!file) return false;
  fseek(file, 0, SEEK_END);
  *size = (size_t)ftell(file);
  rewind(file);
  *bytes = malloc(*size + 1);
  bool held = fread(*bytes, 1, *size, file) == *size;
  fclose(file);
  return held;
}

#endif
