/* SPDX-License-Identifier: Apache-2.0
 *
 * test_sequences.c - a host's own loop: evaluate, fork, truncate and logits agree with each other to the bit,
 * and live beside a request in one session without touching it.
 */
#include "fixture.h"

static ivg_model *model;
static ivg_adapter *adapter;
static ivg_session *session;
static int32_t tokens[200];
enum { COUNT = 200, VOCABULARY = 320 };

static ivg_sequence *new_sequence(const ivg_adapter *with) {
  ivg_sequence *sequence = NULL;
  EXPECT(IVG_OK, ivg_sequence_create(&sequence, session, with, &error));
  if (!sequence) exit(2);
  return sequence;
}

static void logits_of(ivg_sequence *sequence, float *out) {
  const float *logits = NULL;
  size_t count = 0;
  if (!EXPECT(IVG_OK, ivg_sequence_logits(sequence, &logits, &count, &error))) return;
  CHECK(count == VOCABULARY);
  memcpy(out, logits, VOCABULARY * sizeof *out);
}

/* The logits after the first `length` tokens, evaluated at once in a new sequence. */
static void expected_logits(const ivg_adapter *with, size_t length, float *out) {
  ivg_sequence *sequence = new_sequence(with);
  EXPECT(IVG_OK, ivg_sequence_evaluate(sequence, tokens, length, &error));
  CHECK(ivg_sequence_length(sequence) == length);
  logits_of(sequence, out);
  ivg_sequence_free(sequence);
}

static void any_slicing_gives_the_same_bits(void) {
  float whole[VOCABULARY], sliced[VOCABULARY];
  static const size_t slices[] = {1, 3, 16, 17, 63, 64, 65, 199};
  for (int adapted = 0; adapted < 2; adapted++) {
    expected_logits(adapted ? adapter : NULL, COUNT, whole);
    for (size_t i = 0; i < sizeof slices / sizeof *slices; i++) {
      ivg_sequence *sequence = new_sequence(adapted ? adapter : NULL);
      for (size_t done = 0; done < COUNT; done += slices[i]) {
        size_t count = COUNT - done < slices[i] ? COUNT - done : slices[i];
        EXPECT(IVG_OK, ivg_sequence_evaluate(sequence, tokens + done, count, &error));
      }
      logits_of(sequence, sliced);
      CHECK(memcmp(whole, sliced, sizeof whole) == 0);
      ivg_sequence_free(sequence);
    }
  }
}

static void forks_go_their_own_ways(void) {
  float expected[VOCABULARY], found[VOCABULARY], before[VOCABULARY];
  for (size_t at = 1; at < 70; at += 5) {
    ivg_sequence *trunk = new_sequence(NULL), *fork = NULL;
    EXPECT(IVG_OK, ivg_sequence_evaluate(trunk, tokens, at, &error));
    logits_of(trunk, before);
    REQUIRE_OK(ivg_sequence_fork(&fork, trunk, &error));
    logits_of(fork, found);
    CHECK(memcmp(before, found, sizeof found) == 0);
    static const int32_t other[] = {10, 20, 30, 40, 50};
    EXPECT(IVG_OK, ivg_sequence_evaluate(fork, other, 5, &error));
    logits_of(trunk, found);
    CHECK(memcmp(before, found, sizeof found) == 0);
    EXPECT(IVG_OK, ivg_sequence_evaluate(trunk, tokens + at, 20, &error));
    expected_logits(NULL, at + 20, expected);
    logits_of(trunk, found);
    CHECK(memcmp(expected, found, sizeof found) == 0);
    /* The fork, cut back and led along the trunk's way, is the trunk. */
    EXPECT(IVG_OK, ivg_sequence_truncate(fork, at, &error));
    EXPECT(IVG_ERROR_INVALID_ARGUMENT,
           ivg_sequence_logits(fork, &(const float *){NULL}, &(size_t){0}, &error));
    ivg_sequence_free(trunk);
    EXPECT(IVG_OK, ivg_sequence_evaluate(fork, tokens + at, 20, &error));
    logits_of(fork, found);
    CHECK(memcmp(expected, found, sizeof found) == 0);
    ivg_sequence_free(fork);
  }
}

static void truncating_rolls_back(void) {
  float expected[VOCABULARY], found[VOCABULARY];
  ivg_sequence *sequence = new_sequence(adapter);
  EXPECT(IVG_OK, ivg_sequence_evaluate(sequence, tokens, COUNT, &error));
  static const size_t lengths[] = {199, 160, 159, 100, 17, 16, 15, 1, 0};
  for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
    EXPECT(IVG_OK, ivg_sequence_truncate(sequence, lengths[i], &error));
    CHECK(ivg_sequence_length(sequence) == lengths[i]);
    EXPECT(IVG_OK, ivg_sequence_evaluate(sequence, tokens + lengths[i], 1, &error));
    expected_logits(adapter, lengths[i] + 1, expected);
    logits_of(sequence, found);
    CHECK(memcmp(expected, found, sizeof found) == 0);
    EXPECT(IVG_OK, ivg_sequence_truncate(sequence, lengths[i], &error));
  }
  EXPECT_ERROR(IVG_ERROR_INVALID_ARGUMENT, "0", ivg_sequence_truncate(sequence, 1, &error));
  EXPECT(IVG_ERROR_INVALID_ARGUMENT, ivg_sequence_truncate(sequence, SIZE_MAX, &error));
  ivg_sequence_free(sequence);
}

static void errors_leave_it_as_it_was(void) {
  float before[VOCABULARY], after[VOCABULARY];
  static const int32_t odd[][3] = {{5, 6, -1}, {5, VOCABULARY, 6}, {INT32_MAX, 5, 6}};
  int32_t many[300] = {0};
  ivg_sequence *sequence = new_sequence(NULL);
  EXPECT(IVG_ERROR_INVALID_ARGUMENT,
         ivg_sequence_logits(sequence, &(const float *){NULL}, &(size_t){0}, &error));
  EXPECT(IVG_OK, ivg_sequence_evaluate(sequence, tokens, 40, &error));
  logits_of(sequence, before);
  for (int i = 0; i < 3; i++)
    EXPECT_ERROR(IVG_ERROR_INVALID_ARGUMENT, "vocabulary",
                 ivg_sequence_evaluate(sequence, odd[i], 3, &error));
  for (int i = 0; i < 300; i++) many[i] = 100;
  EXPECT(IVG_ERROR_CONTEXT_FULL, ivg_sequence_evaluate(sequence, many, 300, &error));
  ivg_session_cancel(session);
  EXPECT(IVG_ERROR_CANCELLED, ivg_sequence_evaluate(sequence, tokens, 3, &error));
  const int32_t *none = NULL; /* the constant itself clang would not let pass */
  EXPECT(IVG_OK, ivg_sequence_evaluate(sequence, none, 0, &error));
  CHECK(ivg_sequence_length(sequence) == 40);
  logits_of(sequence, after);
  CHECK(memcmp(before, after, sizeof after) == 0);
  EXPECT(IVG_OK, ivg_sequence_evaluate(sequence, tokens + 40, 10, &error));
  expected_logits(NULL, 50, before);
  logits_of(sequence, after);
  CHECK(memcmp(before, after, sizeof after) == 0);
  /* Up to the very last place of the context. */
  EXPECT(IVG_OK, ivg_sequence_evaluate(sequence, many, 206, &error));
  EXPECT(IVG_ERROR_CONTEXT_FULL, ivg_sequence_evaluate(sequence, many, 1, &error));
  ivg_sequence_free(sequence);
}

/* A request, plain and guided, is not disturbed by sequences between its steps, nor they by it. */
/* Sequences of several lengths and adapters, in one pass at each step: the bits of each alone. */
static void a_batch_gives_the_bits_of_each_alone(void) {
  enum { ROWS = 5 };
  float expected[VOCABULARY], found[VOCABULARY];
  ivg_sequence *rows[ROWS];
  ivg_sequence_extension batch[ROWS];
  size_t done[ROWS] = {0};
  for (size_t i = 0; i < ROWS; i++) rows[i] = new_sequence(i % 2 ? adapter : NULL);
  for (size_t step = 0; step < 6; step++) {
    for (size_t i = 0; i < ROWS; i++) {
      /* A prompt beside single tokens, and now and then nothing. */
      size_t count = step == i ? 20 + 7 * i : (step + i) % 3 == 0 ? 0 : 1;
      batch[i] = (ivg_sequence_extension){rows[i], count ? tokens + done[i] : NULL, count};
      done[i] += count;
    }
    EXPECT(IVG_OK, ivg_sequence_evaluate_batch(batch, ROWS, &error));
    for (size_t i = 0; i < ROWS; i++) {
      CHECK(ivg_sequence_length(rows[i]) == done[i]);
      if (done[i] == 0) continue;
      expected_logits(i % 2 ? adapter : NULL, done[i], expected);
      logits_of(rows[i], found);
      CHECK(memcmp(expected, found, sizeof found) == 0);
    }
  }
  EXPECT(IVG_OK, ivg_sequence_evaluate_batch(batch, 0, &error));
  for (size_t i = 0; i < ROWS; i++) ivg_sequence_free(rows[i]);
}

static void a_batch_that_fails_leaves_all_as_they_were(void) {
  float before[2][VOCABULARY], after[VOCABULARY];
  ivg_session *other = NULL;
  EXPECT(IVG_OK, ivg_session_create(&other, model, NULL, &error));
  ivg_sequence *a = new_sequence(NULL), *b = new_sequence(adapter), *strange = NULL;
  EXPECT(IVG_OK, ivg_sequence_create(&strange, other, NULL, &error));
  EXPECT(IVG_OK, ivg_sequence_evaluate_batch((ivg_sequence_extension[]){{a, tokens, 40}, {b, tokens, 3}}, 2, &error));
  logits_of(a, before[0]);
  logits_of(b, before[1]);
  const int32_t bad[] = {1, VOCABULARY};
  static int32_t many[4096];
  struct {
    ivg_sequence_extension batch[2];
    ivg_status status;
    const char *words;
  } cases[] = {
      {{{a, tokens, 2}, {b, bad, 2}}, IVG_ERROR_INVALID_ARGUMENT, "token 320"},
      {{{a, tokens, 2}, {a, tokens, 2}}, IVG_ERROR_INVALID_ARGUMENT, "sequence 1 is the same as sequence 0"},
      {{{a, tokens, 2}, {strange, tokens, 2}}, IVG_ERROR_INVALID_ARGUMENT, "another session"},
      {{{a, tokens, 2}, {b, many, 4096}}, IVG_ERROR_CONTEXT_FULL, "4096 more exceed the context"},
      {{{a, tokens, 2}, {b, tokens, SIZE_MAX}}, IVG_ERROR_INVALID_ARGUMENT, "token_count of sequence 1"},
      {{{a, tokens, 2}, {b, NULL, 2}}, IVG_ERROR_INVALID_ARGUMENT, "tokens is NULL"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    EXPECT_ERROR(cases[i].status, cases[i].words, ivg_sequence_evaluate_batch(cases[i].batch, 2, &error));
  ivg_session_cancel(session);
  EXPECT(IVG_ERROR_CANCELLED, ivg_sequence_evaluate_batch((ivg_sequence_extension[]){{a, tokens, 9}}, 1, &error));
  CHECK(ivg_sequence_length(a) == 40 && ivg_sequence_length(b) == 3);
  logits_of(a, after);
  CHECK(memcmp(before[0], after, sizeof after) == 0);
  logits_of(b, after);
  CHECK(memcmp(before[1], after, sizeof after) == 0);
  ivg_sequence_free(a);
  ivg_sequence_free(b);
  ivg_sequence_free(strange);
  ivg_session_free(other);
}

static void beside_a_request(void) {
  static const char prompt[] = "The value of a text is";
  float expected[VOCABULARY], found[VOCABULARY];
  for (int shape = 0; shape < 4; shape++) {
    ivg_guidance *guidance = new_guidance(shape < 2 ? 1 : 2, shape < 2 ? 1 : 2, shape < 2 ? 0 : 2);
    ivg_implicit_options implicit = {.struct_size = sizeof implicit, .tuned_adapter = adapter};
    implicit.role = shape == 3 ? IVG_ROLE_SCORE : IVG_ROLE_TILT | IVG_ROLE_SCORE;
    if (shape) EXPECT(IVG_OK, ivg_guidance_add_implicit(guidance, &implicit, 1, &error));
    ivg_generate_options options = {
        .struct_size = sizeof options, .seed = 8, .max_tokens = 24, .flags = IVG_GENERATE_IGNORE_END};
    answer alone;
    GENERATE(session, prompt, &options, guidance, &alone);
    ivg_sequence *sequence = new_sequence(NULL), *fork = NULL;
    ivg_step step = {.struct_size = sizeof step};
    char text[4096];
    size_t length = 0, done = 0;
    EXPECT(IVG_OK, ivg_session_begin(session, prompt, strlen(prompt), &options, guidance, &error));
    for (;;) {
      size_t count = 1 + done % 7;
      if (done + count <= COUNT) {
        EXPECT(IVG_OK, ivg_sequence_evaluate(sequence, tokens + done, count, &error));
        done += count;
        REQUIRE_OK(ivg_sequence_fork(&fork, sequence, &error));
        EXPECT(IVG_OK, ivg_sequence_evaluate(fork, tokens, 3, &error));
        ivg_sequence_free(fork);
      }
      ivg_status status = ivg_session_next(session, &step, &error);
      if (status == IVG_DONE) break;
      REQUIRE(status == IVG_OK && length + step.text_length < sizeof text);
      memcpy(text + length, step.text, step.text_length);
      length += step.text_length;
    }
    CHECK(length == alone.length && memcmp(text, alone.text, length) == 0);
    ivg_candidate row = {.struct_size = sizeof row};
    EXPECT(IVG_OK, ivg_session_candidate(session, 0, &row, &error));
    CHECK(row.token_count == alone.token_count &&
          memcmp(row.tokens, alone.tokens, alone.token_count * sizeof *row.tokens) == 0);
    CHECK(row.score == alone.score);
    logits_of(sequence, found);
    expected_logits(NULL, done, expected);
    CHECK(memcmp(expected, found, sizeof found) == 0);
    ivg_sequence_free(sequence);
    ivg_guidance_free(guidance);
  }
}

/* A sequence keeps its session alive, and stays valid across requests. */
static void a_sequence_outlives_its_session_handle(void) {
  float expected[VOCABULARY], found[VOCABULARY];
  answer out;
  ivg_session *other = open_session(model, 2), *mine = session;
  session = other;
  ivg_sequence *sequence = new_sequence(NULL);
  session = mine;
  EXPECT(IVG_OK, ivg_sequence_evaluate(sequence, tokens, 30, &error));
  GENERATE(other, "A", NULL, NULL, &out);
  GENERATE(other, "B", NULL, NULL, &out);
  ivg_session_free(other);
  EXPECT(IVG_OK, ivg_sequence_evaluate(sequence, tokens + 30, 30, &error));
  logits_of(sequence, found);
  expected_logits(NULL, 60, expected);
  CHECK(memcmp(expected, found, sizeof found) == 0);
  ivg_sequence_free(sequence);
}

static void adapters_of_other_models_do_not_fit(void) {
  ivg_model *twin = open_model(fixture("tiny-llama.gguf"));
  ivg_adapter *foreign = NULL;
  ivg_sequence *sequence = NULL;
  REQUIRE_OK(ivg_adapter_open(&foreign, twin, fixture("tiny-adapter.gguf"), &error));
  EXPECT_ERROR(IVG_ERROR_MISMATCH, "adapter", ivg_sequence_create(&sequence, session, foreign, &error));
  ivg_adapter_free(foreign);
  ivg_model_free(twin);
}

int main(void) {
  for (int i = 0; i < COUNT; i++) tokens[i] = 3 + (i * 97 + i * i * 13) % 317;
  static const char *const names[] = {"tiny-llama.gguf", "tiny-llama-q8_0.gguf"};
  for (int i = 0; i < 2; i++) {
    printf("  %s\n", names[i]);
    model = open_model(fixture(names[i]));
    EXPECT(IVG_OK, ivg_adapter_open(&adapter, model, fixture("tiny-adapter.gguf"), &error));
    session = open_session(model, 1);
    RUN(any_slicing_gives_the_same_bits);
    RUN(forks_go_their_own_ways);
    RUN(truncating_rolls_back);
    RUN(errors_leave_it_as_it_was);
    RUN(a_batch_gives_the_bits_of_each_alone);
    RUN(a_batch_that_fails_leaves_all_as_they_were);
    RUN(beside_a_request);
    RUN(a_sequence_outlives_its_session_handle);
    RUN(adapters_of_other_models_do_not_fit);
    ivg_session_free(session);
    ivg_adapter_free(adapter);
    ivg_model_free(model);
  }
  return check_finish();
}
