/* SPDX-License-Identifier: Apache-2.0
 *
 * test_oracles.c - what must hold exactly, whatever the models are: identities of value-guided decoding.
 */
#include "fixture.h"

static ivg_model *model, *small;
static ivg_adapter *adapter;
static ivg_value_head *words, *scalar;
static ivg_session *session;
static const char prompt[] = "When the guide is small and the model is large,";
enum { SEEDS = 6 };

static ivg_guidance *with_implicit(const ivg_model *tuned, const ivg_model *untuned, double weight,
                                   uint32_t role, ivg_guidance *guidance) {
  ivg_implicit_options implicit = {
      .struct_size = sizeof implicit, .role = role, .tuned_model = tuned, .untuned_model = untuned};
  if (!guidance) guidance = new_guidance(1, 1, 0);
  EXPECT(IVG_OK, ivg_guidance_add_implicit(guidance, &implicit, weight, &error));
  return guidance;
}

static void with_explicit(ivg_guidance *guidance, const ivg_value_head *head, uint32_t role, double weight) {
  ivg_explicit_options value = {.struct_size = sizeof value, .role = role, .head = head};
  EXPECT(IVG_OK, ivg_guidance_add_explicit(guidance, &value, weight, &error));
}

typedef struct scoring {
  double shift, constant;
  bool is_constant;
  uint32_t calls;
  size_t count;
  char texts[16][256];
  double scores[16];
} scoring;

static int32_t score_texts(void *user_data, const char *asked, size_t asked_length, const char *const *texts,
                           const size_t *lengths, const int32_t *finished, size_t count, double *scores) {
  scoring *how = user_data;
  (void)asked, (void)asked_length, (void)finished;
  how->calls++;
  how->count = count;
  for (size_t i = 0; i < count; i++) {
    unsigned sum = 0;
    for (size_t k = 0; k < lengths[i]; k++) sum = sum * 31u + (unsigned char)texts[i][k];
    scores[i] = how->is_constant ? how->constant : how->shift + sum % 1000 / 1000.0;
    if (i < 16) {
      snprintf(how->texts[i], sizeof how->texts[i], "%.*s", (int)lengths[i], texts[i]);
      how->scores[i] = scores[i];
    }
  }
  return 0;
}

static void with_scorer(ivg_guidance *guidance, scoring *how) {
  ivg_scorer_options scorer = {.struct_size = sizeof scorer, .score = score_texts, .user_data = how};
  EXPECT(IVG_OK, ivg_guidance_add_scorer(guidance, &scorer, 1, &error));
}

static ivg_generate_options options_with(uint64_t seed) {
  return (ivg_generate_options){.struct_size = sizeof(ivg_generate_options),
                                .seed = seed,
                                .max_tokens = 20,
                                .flags = IVG_GENERATE_IGNORE_END};
}

/* Compares two requests for all seeds; `exact`: also their log-probabilities, else the tokens. */
static void same_for_all_seeds(ivg_session *a, const ivg_guidance *first, ivg_session *b,
                               const ivg_guidance *second, bool exact) {
  for (uint64_t seed = 0; seed < SEEDS; seed++) {
    answer x, y;
    ivg_generate_options options = options_with(seed);
    GENERATE(a, prompt, &options, first, &x);
    GENERATE(b, prompt, &options, second, &y);
    CHECK(x.token_count == y.token_count &&
          memcmp(x.tokens, y.tokens, x.token_count * sizeof *x.tokens) == 0);
    for (size_t i = 0; i < x.token_count; i++)
      CHECK(fabs((double)x.log_probabilities[i] - (double)y.log_probabilities[i]) <= (exact ? 0 : 1e-5));
  }
}

static void o1_weight_zero_is_the_base(void) {
  ivg_guidance *guidance = with_implicit(small, NULL, 0, IVG_ROLE_TILT, NULL);
  with_explicit(guidance, words, IVG_ROLE_TILT, 0);
  with_explicit(guidance, scalar, IVG_ROLE_SCORE, 0);
  same_for_all_seeds(session, guidance, session, NULL, true);
  ivg_guidance_free(guidance);
}

/* base + 1 (tuned - base) = tuned: with another model as tuned one, its own session draws the same. */
static void o2_base_as_untuned_is_the_tuned_model(void) {
  ivg_session *tuned = open_session(small, 1);
  ivg_guidance *guidance = with_implicit(small, NULL, 1, IVG_ROLE_TILT, NULL);
  same_for_all_seeds(session, guidance, tuned, NULL, false);
  ivg_guidance_free(guidance);
  guidance = with_implicit(small, model, 1, IVG_ROLE_TILT, NULL);
  same_for_all_seeds(session, guidance, tuned, NULL, false);
  ivg_guidance_free(guidance);
  ivg_session_free(tuned);
}

/* The same with an adapter, against the adapted logits that a sequence gives. */
static void o2_adapter_is_the_adapted_model(void) {
  int32_t tokens[64];
  size_t count = 0, size = 0;
  const float *logits = NULL;
  ivg_sequence *sequence = NULL;
  ivg_step step = {.struct_size = sizeof step};
  ivg_generate_options options = options_with(0);
  options.top_log_probabilities = 64;
  ivg_guidance *guidance = new_guidance(1, 1, 0);
  ivg_implicit_options implicit = {.struct_size = sizeof implicit, .tuned_adapter = adapter};
  EXPECT(IVG_OK, ivg_guidance_add_implicit(guidance, &implicit, 1, &error));
  REQUIRE_OK(ivg_model_tokenize(model, prompt, strlen(prompt), IVG_TOKENIZE_SPECIAL | IVG_TOKENIZE_BEGIN,
                                tokens, 64, &count, &error));
  REQUIRE_OK(ivg_session_begin(session, prompt, strlen(prompt), &options, guidance, &error));
  REQUIRE_OK(ivg_session_next(session, &step, &error));
  int32_t ids[64];
  float values[64];
  memcpy(ids, step.top_tokens, sizeof ids);
  memcpy(values, step.top_log_probabilities, sizeof values);
  REQUIRE_OK(ivg_sequence_create(&sequence, session, adapter, &error));
  REQUIRE_OK(ivg_sequence_evaluate(sequence, tokens, count, &error));
  REQUIRE_OK(ivg_sequence_logits(sequence, &logits, &size, &error));
  double total = 0;
  for (size_t i = 0; i < size; i++) total += exp((double)logits[i]);
  for (int i = 0; i < 64; i++) CHECK(fabs((double)values[i] - ((double)logits[ids[i]] - log(total))) < 1e-5);
  ivg_sequence_free(sequence);
  ivg_guidance_free(guidance);
}

static void o3_equal_guides_are_the_base(void) {
  ivg_guidance *guidance = with_implicit(small, small, 3, IVG_ROLE_TILT, NULL);
  same_for_all_seeds(session, guidance, session, NULL, true);
  ivg_guidance_free(guidance);
}

static void o4_one_row_is_the_base_whatever_the_scorer(void) {
  scoring how = {.shift = 0};
  static const uint32_t chunks[] = {0, 1, 3, 100};
  for (size_t i = 0; i < 4; i++) {
    ivg_guidance *guidance = new_guidance(1, 1, chunks[i]);
    with_scorer(guidance, &how);
    with_explicit(guidance, scalar, IVG_ROLE_SCORE, 1);
    same_for_all_seeds(session, guidance, session, NULL, true);
    ivg_guidance_free(guidance);
  }
}

/* The winner is the best of the N texts that the scorer saw, and they are N independent rows: the first n of
 * them do not depend on how many more are drawn. */
static void o5_best_of_n(void) {
  for (uint64_t seed = 0; seed < SEEDS; seed++) {
    scoring few = {.shift = 0}, many = {.shift = 0};
    answer out, out_many;
    ivg_generate_options options = options_with(seed);
    ivg_guidance *guidance = new_guidance(1, 3, seed % 2 ? 0 : 20);
    with_scorer(guidance, &few);
    GENERATE(session, prompt, &options, guidance, &out);
    ivg_guidance_free(guidance);
    guidance = new_guidance(1, 9, 0);
    with_scorer(guidance, &many);
    GENERATE(session, prompt, &options, guidance, &out_many);
    ivg_guidance_free(guidance);
    CHECK(few.count == 3 && many.count == 9 && few.calls == 1);
    for (int i = 0; i < 3; i++) CHECK(strcmp(few.texts[i], many.texts[i]) == 0);
    size_t best = 0;
    for (size_t i = 1; i < 9; i++)
      if (many.scores[i] > many.scores[best]) best = i;
    CHECK(out_many.score == many.scores[best]);
    if (is_utf8(many.texts[best], strlen(many.texts[best])))
      CHECK(strcmp(out_many.text, many.texts[best]) == 0);
  }
}

static void o6_a_constant_scorer_keeps_row_0(void) {
  static const uint32_t shapes[][3] = {{1, 4, 0}, {2, 3, 4}, {4, 4, 5}};
  for (size_t shape = 0; shape < 3; shape++)
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
      scoring how = {.is_constant = true, .constant = 2.5};
      answer plain, out;
      ivg_generate_options options = options_with(seed);
      ivg_guidance *guidance = new_guidance(shapes[shape][0], shapes[shape][1], shapes[shape][2]);
      with_scorer(guidance, &how);
      GENERATE(session, prompt, &options, guidance, &out);
      GENERATE(session, prompt, &options, NULL, &plain);
      CHECK(out.token_count == plain.token_count && out.score == 2.5);
      CHECK(memcmp(out.tokens, plain.tokens, plain.token_count * sizeof *plain.tokens) == 0);
      ivg_guidance_free(guidance);
    }
}

static void o7_a_constant_of_the_prompt_changes_nothing(void) {
  for (uint64_t seed = 0; seed < SEEDS; seed++) {
    answer outs[2];
    for (int i = 0; i < 2; i++) {
      scoring how = {.shift = i ? 64 : 0}; /* a power of two: adding it keeps the order to the bit */
      ivg_generate_options options = options_with(seed);
      ivg_guidance *guidance = new_guidance(2, 3, 4);
      with_scorer(guidance, &how);
      GENERATE(session, prompt, &options, guidance, &outs[i]);
      ivg_guidance_free(guidance);
    }
    CHECK(outs[0].length == outs[1].length && memcmp(outs[0].text, outs[1].text, outs[0].length) == 0);
  }
}

/* Seeds whose text, read again, has the very tokens that were drawn; only for those a score by text is
 * comparable. */
static bool reads_back(const answer *out) {
  int32_t tokens[256];
  size_t count = 0;
  ivg_status status = ivg_model_tokenize(model, out->text, out->length, 0, tokens, 256, &count, NULL);
  return status == IVG_OK && count == out->token_count &&
         memcmp(tokens, out->tokens, count * sizeof *tokens) == 0;
}

/* 8: the score that grew chunk by chunk is the score of the whole text read at once.
 * 13: a row that ended by length is scored without the scorer's end token. */
static void o8_o13_incremental_scores(void) {
  int compared = 0;
  for (int kind = 0; kind < 3; kind++)
    for (uint64_t seed = 0; seed < 400; seed++) {
      answer out;
      ivg_generate_options options = options_with(seed);
      options.max_tokens = 9;
      options.top_p = 0.9f;
      ivg_guidance *guidance = new_guidance(2, 2, 2);
      if (kind == 0) with_implicit(small, NULL, 1.5, IVG_ROLE_SCORE, guidance);
      else with_explicit(guidance, kind == 1 ? words : scalar, IVG_ROLE_SCORE, 1.5);
      GENERATE(session, prompt, &options, guidance, &out);
      if (out.finish == IVG_FINISH_LENGTH && reads_back(&out)) {
        const char *texts[1] = {out.text};
        double going, ended;
        REQUIRE_OK(ivg_session_score(session, guidance, prompt, strlen(prompt), texts, &out.length, 1, 0,
                                     &going, &error));
        REQUIRE_OK(ivg_session_score(session, guidance, prompt, strlen(prompt), texts, &out.length, 1,
                                     IVG_SCORE_ENDED, &ended, &error));
        CHECK(fabs(going - out.score) <= 1e-4 && fabs(ended - out.score) > 1e-4);
        compared++;
      }
      ivg_guidance_free(guidance);
    }
  CHECK(compared >= 6);
}

/* 10: the score by a vocabulary head is its entry for the last token, one position before it. */
static void o10_gathered_values_are_the_score(void) {
  for (uint64_t seed = 0; seed < SEEDS; seed++) {
    answer tilted, plain;
    ivg_generate_options options = options_with(seed);
    options.flags |= IVG_GENERATE_ATTRIBUTION;
    ivg_guidance *guidance = new_guidance(2, 2, 3);
    with_explicit(guidance, words, IVG_ROLE_TILT | IVG_ROLE_SCORE, 0.5);
    GENERATE(session, prompt, &options, guidance, &tilted);
    ivg_candidate row = {.struct_size = sizeof row};
    EXPECT(IVG_OK, ivg_session_candidate(session, 0, &row, &error));
    REQUIRE(row.guide_values);
    CHECK(fabs(row.score - 0.5 * (double)row.guide_values[row.token_count - 1]) < 1e-5);
    ivg_guidance_free(guidance);
    /* In the same place, but asked for one value at the end. */
    guidance = new_guidance(1, 1, 0);
    with_explicit(guidance, words, IVG_ROLE_SCORE, 1);
    GENERATE(session, prompt, &options, guidance, &plain);
    ivg_guidance_free(guidance);
    guidance = new_guidance(1, 1, 0);
    with_explicit(guidance, words, IVG_ROLE_TILT, 1e-30);
    answer same;
    GENERATE(session, prompt, &options, guidance, &same);
    EXPECT(IVG_OK, ivg_session_candidate(session, 0, &row, &error));
    CHECK(same.token_count == plain.token_count);
    CHECK(fabs(plain.score - (double)row.guide_values[row.token_count - 1]) < 1e-5);
    ivg_guidance_free(guidance);
  }
}

static void o11_the_score_is_the_sum_of_log_ratios(void) {
  static const uint32_t roles[] = {IVG_ROLE_SCORE, IVG_ROLE_SCORE | IVG_ROLE_TILT};
  for (uint64_t seed = 0; seed < SEEDS; seed++)
    for (int kind = 0; kind < 2; kind++) {
      answer out;
      ivg_generate_options options = options_with(seed);
      options.flags |= IVG_GENERATE_ATTRIBUTION;
      ivg_guidance *guidance = new_guidance(2, 2, 5);
      with_implicit(small, kind ? model : NULL, 0.7, roles[seed % 2], guidance);
      GENERATE(session, prompt, &options, guidance, &out);
      for (uint32_t i = 0; i < out.rows; i++) {
        ivg_candidate row = {.struct_size = sizeof row};
        EXPECT(IVG_OK, ivg_session_candidate(session, i, &row, &error));
        double sum = 0;
        for (size_t t = 0; t < row.token_count; t++) {
          sum += (double)row.guide_values[t];
          if (roles[seed % 2] == IVG_ROLE_SCORE)
            CHECK(fabs((double)row.base_log_probabilities[t] - (double)row.log_probabilities[t]) < 1e-5);
        }
        CHECK(fabs(0.7 * sum - row.score) < 1e-4);
      }
      ivg_guidance_free(guidance);
    }
}

/* Two guides add up as if one were applied after the other; opposite weights on one guide cancel exactly. */
static void o12_weights_add_up(void) {
  ivg_guidance *guidance = with_implicit(small, NULL, 1.3, IVG_ROLE_TILT, NULL);
  with_implicit(small, NULL, -1.3, IVG_ROLE_TILT, guidance);
  same_for_all_seeds(session, guidance, session, NULL, true);
  ivg_guidance_free(guidance);

  ivg_guidance *sum = with_implicit(small, NULL, 0.75, IVG_ROLE_TILT, NULL);
  guidance = with_implicit(small, NULL, 0.5, IVG_ROLE_TILT, NULL);
  with_implicit(small, NULL, 0.25, IVG_ROLE_TILT, guidance);
  same_for_all_seeds(session, guidance, session, sum, true);
  ivg_guidance_free(sum);
  ivg_guidance_free(guidance);

  /* Different guides, with numbers that this program adds itself. */
  int32_t tokens[64];
  size_t count = 0, size = 0;
  const float *logits[3];
  ivg_sequence *sequences[3];
  ivg_session *sessions[2] = {session, open_session(small, 1)};
  REQUIRE_OK(ivg_model_tokenize(model, prompt, strlen(prompt), IVG_TOKENIZE_SPECIAL | IVG_TOKENIZE_BEGIN,
                                tokens, 64, &count, &error));
  for (int i = 0; i < 3; i++) {
    REQUIRE_OK(ivg_sequence_create(&sequences[i], sessions[i == 1], i == 2 ? adapter : NULL, &error));
    REQUIRE_OK(ivg_sequence_evaluate(sequences[i], tokens, count, &error));
    REQUIRE_OK(ivg_sequence_logits(sequences[i], &logits[i], &size, &error));
  }
  guidance = with_implicit(small, NULL, 0.6, IVG_ROLE_TILT, NULL);
  ivg_implicit_options implicit = {
      .struct_size = sizeof implicit, .tuned_adapter = adapter, .untuned_model = small};
  EXPECT(IVG_OK, ivg_guidance_add_implicit(guidance, &implicit, -0.4, &error));
  double mix[320], total = 0;
  for (size_t i = 0; i < size; i++) {
    double base = (double)logits[0][i], other = (double)logits[1][i], adapted = (double)logits[2][i];
    mix[i] = base + 0.6 * (other - base) - 0.4 * (adapted - other);
    total += exp(mix[i]);
  }
  for (int i = 0; i < 3; i++) ivg_sequence_free(sequences[i]);
  ivg_generate_options options = options_with(1);
  options.top_log_probabilities = 64;
  ivg_step step = {.struct_size = sizeof step};
  REQUIRE_OK(ivg_session_begin(session, prompt, strlen(prompt), &options, guidance, &error));
  REQUIRE_OK(ivg_session_next(session, &step, &error));
  for (uint32_t i = 0; i < step.top_count; i++)
    CHECK(fabs((double)step.top_log_probabilities[i] - (mix[step.top_tokens[i]] - log(total))) < 1e-5);
  ivg_guidance_free(guidance);
  ivg_session_free(sessions[1]);
}

int main(void) {
  model = open_model(fixture("tiny-llama.gguf"));
  small = open_model(fixture("tiny-llama-untuned.gguf"));
  EXPECT(IVG_OK, ivg_adapter_open(&adapter, model, fixture("tiny-adapter.gguf"), &error));
  EXPECT(IVG_OK, ivg_value_head_open(&words, model, fixture("tiny-value-vocabulary.gguf"), &error));
  EXPECT(IVG_OK, ivg_value_head_open(&scalar, model, fixture("tiny-value-scalar.gguf"), &error));
  session = open_session(model, 1);
  RUN(o1_weight_zero_is_the_base);
  RUN(o2_base_as_untuned_is_the_tuned_model);
  RUN(o2_adapter_is_the_adapted_model);
  RUN(o3_equal_guides_are_the_base);
  RUN(o4_one_row_is_the_base_whatever_the_scorer);
  RUN(o5_best_of_n);
  RUN(o6_a_constant_scorer_keeps_row_0);
  RUN(o7_a_constant_of_the_prompt_changes_nothing);
  RUN(o8_o13_incremental_scores);
  RUN(o10_gathered_values_are_the_score);
  RUN(o11_the_score_is_the_sum_of_log_ratios);
  RUN(o12_weights_add_up);
  ivg_session_free(session);
  ivg_value_head_free(words);
  ivg_value_head_free(scalar);
  ivg_adapter_free(adapter);
  ivg_model_free(small);
  ivg_model_free(model);
  return check_finish();
}
