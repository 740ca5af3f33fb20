/* SPDX-License-Identifier: Apache-2.0
 *
 * test_guidance.c - every corner of the search machine with tiny models: all combinations of what tilts, what
 * scores and how rows are kept; templates, several guides.
 */
#include "fixture.h"

enum tilt {
  NO_TILT,
  IMPLICIT_ADAPTER,
  IMPLICIT_MODEL,
  IMPLICIT_PROMPTS,
  EXPLICIT_WORDS,
  EXPLICIT_SCALAR,
  TILTS
};
enum score {
  NO_SCORE,
  SCORE_IMPLICIT,
  SCORE_WORDS,
  SCORE_SCALAR,
  SCORE_LORA,
  SCORE_HOST,
  SCORE_OTHER_WORDS,
  SCORES
};

static ivg_model *model, *small, *other;
static ivg_adapter *adapter;
static ivg_value_head *words, *scalar, *lora;
static ivg_session *session, *session_of_two;
static const char prompt[] = "The value of a text is";

/* A scorer without a pattern that a mistake could hit by chance. */
static double text_score(const char *text, size_t length) {
  uint64_t hash = 1469598103934665603u;
  for (size_t i = 0; i < length; i++) hash = (hash ^ (unsigned char)text[i]) * 1099511628211u;
  return (double)(hash >> 40) / 16777216.0;
}

static int32_t host_score(void *user_data, const char *asked, size_t asked_length, const char *const *texts,
                          const size_t *lengths, const int32_t *finished, size_t count, double *scores) {
  (void)finished;
  if (strlen(asked) != asked_length) return 1;
  for (size_t i = 0; i < count; i++) scores[i] = text_score(texts[i], lengths[i]);
  if (user_data) ++*(int *)user_data;
  return 0;
}

static void add_tilt(ivg_guidance *guidance, enum tilt tilt, double weight) {
  ivg_implicit_options implicit = {.struct_size = sizeof implicit, .role = IVG_ROLE_TILT};
  ivg_explicit_options value = {.struct_size = sizeof value, .role = IVG_ROLE_TILT};
  switch (tilt) {
    case IMPLICIT_ADAPTER: implicit.tuned_adapter = adapter; break;
    case IMPLICIT_MODEL: implicit.tuned_model = small; break;
    case IMPLICIT_PROMPTS:
      implicit.tuned_template = "Joyful: {prompt}";
      implicit.untuned_template = "Plain: {prompt}";
      break;
    case EXPLICIT_WORDS: value.head = words; break;
    case EXPLICIT_SCALAR: value.head = scalar; break;
    default: return;
  }
  if (value.head) EXPECT(IVG_OK, ivg_guidance_add_explicit(guidance, &value, weight, &error));
  else EXPECT(IVG_OK, ivg_guidance_add_implicit(guidance, &implicit, weight, &error));
}

static void add_score(ivg_guidance *guidance, enum score score, double weight) {
  ivg_implicit_options implicit = {.struct_size = sizeof implicit, .role = IVG_ROLE_SCORE};
  ivg_explicit_options value = {.struct_size = sizeof value};
  ivg_scorer_options scorer = {.struct_size = sizeof scorer, .score = host_score};
  switch (score) {
    case SCORE_IMPLICIT: implicit.tuned_adapter = adapter; break;
    case SCORE_OTHER_WORDS:
      implicit.tuned_model = other;
      implicit.untuned_model = other;
      implicit.untuned_template = "Un texte: {prompt}";
      break;
    case SCORE_WORDS: value.head = words; break;
    case SCORE_SCALAR: value.head = scalar; break;
    case SCORE_LORA: value.head = lora; break;
    case SCORE_HOST: EXPECT(IVG_OK, ivg_guidance_add_scorer(guidance, &scorer, weight, &error)); return;
    default: return;
  }
  if (value.head) EXPECT(IVG_OK, ivg_guidance_add_explicit(guidance, &value, weight, &error));
  else EXPECT(IVG_OK, ivg_guidance_add_implicit(guidance, &implicit, weight, &error));
}

/* Each combination keeps what holds for all requests; every seventh runs at two threads as well and must give
 * the same bytes. */
static void all_combinations(void) {
  static const uint32_t shapes[][3] = {{1, 1, 0}, {1, 4, 0}, {2, 2, 3}, {3, 2, 5}, {1, 3, 1}};
  const char *const stops[1] = {"e"};
  answer one, two;
  int number = 0;
  for (int tilt = 0; tilt < TILTS; tilt++)
    for (int score = 0; score < SCORES; score++)
      for (size_t shape = 0; shape < sizeof shapes / sizeof *shapes; shape++)
        for (uint32_t variant = 0; variant < 4; variant++) {
          ivg_guidance_options search = {.struct_size = sizeof search,
                                         .width = shapes[shape][0],
                                         .successors = shapes[shape][1],
                                         .chunk = shapes[shape][2],
                                         .finished_rows = variant & 1,
                                         .dedupe = variant >> 1,
                                         .candidates = variant >> 1};
          ivg_guidance *guidance = NULL;
          EXPECT(IVG_OK, ivg_guidance_create(&guidance, &search, &error));
          add_tilt(guidance, (enum tilt)tilt, 0.8);
          add_score(guidance, (enum score)score, 1.5);
          ivg_generate_options options = {.struct_size = sizeof options,
                                          .seed = (uint64_t)(tilt * 100 + score),
                                          .max_tokens = 13,
                                          .flags = variant == 1 ? IVG_GENERATE_ATTRIBUTION : 0,
                                          .repetition_penalty = variant == 2 ? 1.1f : 0,
                                          .stop_strings = stops,
                                          .stop_string_count = variant == 3};
          GENERATE(session, prompt, &options, guidance, &one);
          if (++number % 7 == 0) {
            GENERATE(session_of_two, prompt, &options, guidance, &two);
            check(same_answer(&one, &two), __LINE__, "tilt %d score %d shape %zu variant %u", tilt, score,
                  shape, variant);
          }
          CHECK(one.token_count <= 13 && one.rows <= search.width);
          if (search.width == 1 && search.successors == 1) CHECK(one.steps == one.token_count);
          else CHECK(one.steps <= (search.chunk ? 13 / search.chunk + 1 : 1));
          ivg_guidance_free(guidance);
        }
}

/* A guide changes the text, and the value heads differ from each other. */
static void guides_matter(void) {
  answer plain, guided;
  int changed = 0;
  ivg_generate_options options = {.struct_size = sizeof options, .seed = 3, .max_tokens = 24};
  GENERATE(session, prompt, &options, NULL, &plain);
  for (int tilt = 1; tilt < TILTS; tilt++) {
    ivg_guidance *guidance = new_guidance(1, 1, 0);
    add_tilt(guidance, (enum tilt)tilt, 1);
    GENERATE(session, prompt, &options, guidance, &guided);
    changed += !same_answer(&plain, &guided);
    ivg_guidance_free(guidance);
  }
  CHECK(changed == TILTS - 1);
}

/* pool: a finished row keeps one slot; tile: it is copied and crowds the beam. dedupe: no two equal texts. */
static void finished_rows_and_dedupe(void) {
  const char *const stops[1] = {"e"};
  ivg_generate_options options = {
      .struct_size = sizeof options, .max_tokens = 24, .stop_strings = stops, .stop_string_count = 1};
  int crowded[2] = {0, 0}, repeated = 0;
  for (uint64_t seed = 0; seed < 20; seed++)
    for (uint32_t kind = 0; kind < 3; kind++) {
      ivg_guidance_options search = {.struct_size = sizeof search, .width = 3, .successors = 3, .chunk = 2};
      search.finished_rows = kind == 1 ? IVG_FINISHED_TILE : IVG_FINISHED_POOL;
      search.dedupe = kind == 2;
      ivg_guidance *guidance = NULL;
      EXPECT(IVG_OK, ivg_guidance_create(&guidance, &search, &error));
      add_score(guidance, SCORE_HOST, 1);
      answer out;
      options.seed = seed;
      GENERATE(session, prompt, &options, guidance, &out);
      char texts[3][256];
      for (uint32_t i = 0; i < out.rows; i++) {
        ivg_candidate row = {.struct_size = sizeof row};
        EXPECT(IVG_OK, ivg_session_candidate(session, i, &row, &error));
        snprintf(texts[i], sizeof texts[i], "%s|%u", row.text, row.finish_reason);
        /* The scorer sees the stop string, and bytes that are no text as they are. */
        bool clean = row.finish_reason != IVG_FINISH_STOP && !strstr(row.text, "\xef\xbf\xbd");
        if (clean) CHECK(row.score == text_score(row.text, row.text_length));
        if (strstr(row.text, "\xef\xbf\xbd")) snprintf(texts[i], sizeof texts[i], "%u unlike others", i);
        for (uint32_t k = 0; k < i; k++) {
          if (kind < 2) crowded[kind] += strcmp(texts[i], texts[k]) == 0;
          else repeated += strcmp(texts[i], texts[k]) == 0;
        }
      }
      ivg_guidance_free(guidance);
    }
  CHECK(repeated == 0);
  CHECK(crowded[1] > crowded[0]);
}

/* base: a guide can only choose among the base's top-k. */
static void base_candidates_stay_within_the_base(void) {
  ivg_guidance_options search = {.struct_size = sizeof search, .candidates = IVG_CANDIDATES_BASE};
  ivg_guidance *guidance = NULL;
  EXPECT(IVG_OK, ivg_guidance_create(&guidance, &search, &error));
  add_tilt(guidance, EXPLICIT_WORDS, 50);
  ivg_generate_options options = {.struct_size = sizeof options, .max_tokens = 1, .top_k = 5};
  ivg_step step = {.struct_size = sizeof step};
  int32_t best[5];
  options.top_log_probabilities = 5;
  REQUIRE_OK(ivg_session_begin(session, prompt, strlen(prompt), &options, NULL, &error));
  REQUIRE_OK(ivg_session_next(session, &step, &error));
  memcpy(best, step.top_tokens, sizeof best);
  for (uint64_t seed = 0; seed < 20; seed++) {
    options.seed = seed;
    REQUIRE_OK(ivg_session_begin(session, prompt, strlen(prompt), &options, guidance, &error));
    REQUIRE_OK(ivg_session_next(session, &step, &error));
    bool among = false;
    for (int i = 0; i < 5; i++) among = among || best[i] == step.token;
    CHECK(among);
  }
  ivg_guidance_free(guidance);
}

/* Attribution: base log-probabilities are the base's own; implicit log-ratios and explicit values stand at
 * the parts' numbers; a part that is switched off has no values. A host scorer is no part of these. */
static void attribution_by_part(void) {
  ivg_guidance *guidance = new_guidance(1, 1, 0);
  ivg_scorer_options scorer = {.struct_size = sizeof scorer, .score = host_score};
  EXPECT(IVG_OK, ivg_guidance_add_scorer(guidance, &scorer, 1, &error));
  add_tilt(guidance, EXPLICIT_WORDS, 0.5);
  add_tilt(guidance, IMPLICIT_ADAPTER, 0);
  add_tilt(guidance, IMPLICIT_MODEL, 1);
  ivg_generate_options options = {.struct_size = sizeof options,
                                  .max_tokens = 10,
                                  .flags = IVG_GENERATE_ATTRIBUTION | IVG_GENERATE_IGNORE_END};
  answer out;
  GENERATE(session, prompt, &options, guidance, &out);
  ivg_result result = {.struct_size = sizeof result};
  ivg_candidate row = {.struct_size = sizeof row};
  EXPECT(IVG_OK, ivg_session_result(session, &result, &error));
  EXPECT(IVG_OK, ivg_session_candidate(session, 0, &row, &error));
  CHECK(result.guide_count == 3);
  REQUIRE(row.guide_values && row.base_log_probabilities && result.guide_count >= 3);
  for (size_t t = 0; t < row.token_count; t++) {
    const float *values = row.guide_values + t * result.guide_count;
    CHECK(isfinite(values[0]) && isnan(values[1]) && isfinite(values[2]));
    CHECK(row.base_log_probabilities[t] < 0);
  }
  ivg_guidance_free(guidance);
}

static void what_does_not_fit(void) {
  ivg_guidance *guidance = new_guidance(1, 1, 0);
  ivg_implicit_options implicit = {.struct_size = sizeof implicit, .tuned_model = other};
  REQUIRE_OK(ivg_guidance_add_implicit(guidance, &implicit, 1, &error));
  EXPECT_ERROR(IVG_ERROR_MISMATCH, "vocabulary", ivg_session_begin(session, "x", 1, NULL, guidance, &error));
  ivg_guidance_free(guidance);
  guidance = new_guidance(1, 1, 0);
  implicit =
      (ivg_implicit_options){.struct_size = sizeof implicit, .tuned_model = small, .tuned_adapter = adapter};
  EXPECT_ERROR(IVG_ERROR_MISMATCH, "adapter", ivg_guidance_add_implicit(guidance, &implicit, 1, &error));
  /* A model without weights cannot guide. */
  ivg_model *empty = open_model(fixture("tiny-vocabulary-only.gguf"));
  implicit = (ivg_implicit_options){.struct_size = sizeof implicit, .tuned_model = empty};
  ivg_status status = ivg_guidance_add_implicit(guidance, &implicit, 1, &error);
  if (status == IVG_OK) status = ivg_session_begin(session, "x", 1, NULL, guidance, &error);
  check_status(status, IVG_ERROR_UNSUPPORTED, "vocabulary", "a guide without weights", __LINE__);
  ivg_guidance_free(guidance);
  ivg_model_free(empty);
}

/* A scorer of other vocabulary may need more tokens for a text than the base drew: here a guide with one
 * token for nearly each byte follows a base that draws long ones. */
static void a_scorer_with_shorter_tokens(void) {
  const char *path = real_model("Q4_0");
  if (!path) {
    printf("     skipped: no real model\n");
    return;
  }
  ivg_model *large = open_model(path);
  ivg_session *user = open_session(large, 2);
  ivg_guidance *guidance = new_guidance(1, 2, 0);
  add_score(guidance, SCORE_OTHER_WORDS, 1);
  ivg_generate_options options = {
      .struct_size = sizeof options, .max_tokens = 24, .flags = IVG_GENERATE_IGNORE_END};
  answer out;
  GENERATE(user, "Once upon a time there was a", &options, guidance, &out);
  ivg_guidance_free(guidance);
  ivg_session_free(user);
  ivg_model_free(large);
}

/* A scalar head values candidates one by one: a huge top_k means the whole vocabulary, not memory without
 * end. */
static void a_scalar_head_and_a_huge_top_k(void) {
  answer whole, large;
  ivg_guidance *guidance = new_guidance(1, 1, 0);
  add_tilt(guidance, EXPLICIT_SCALAR, 1);
  ivg_generate_options options = {.struct_size = sizeof options, .max_tokens = 3, .top_k = 320};
  GENERATE(session, prompt, &options, guidance, &whole);
  options.top_k = 1000000000;
  GENERATE(session, prompt, &options, guidance, &large);
  CHECK(same_answer(&whole, &large));
  ivg_guidance_free(guidance);
}

static void texts_are_scored(void) {
  const char *texts[40];
  size_t lengths[40];
  double scores[40], one;
  for (int i = 0; i < 40; i++)
    texts[i] = i % 3 ? "what a reader finds" : "no\xffthing", lengths[i] = strlen(texts[i]) - (size_t)(i % 5);
  for (int score = 1; score < SCORES; score++) {
    ivg_guidance *guidance = new_guidance(2, 2, 2);
    add_score(guidance, (enum score)score, 2);
    for (uint32_t flags = 0; flags <= IVG_SCORE_ENDED; flags++) {
      REQUIRE_OK(ivg_session_score(session, guidance, prompt, strlen(prompt), texts, lengths, 40, flags,
                                   scores, &error));
      for (int i = 0; i < 40; i += 7) {
        REQUIRE_OK(ivg_session_score(session, guidance, prompt, strlen(prompt), texts + i, lengths + i, 1,
                                     flags, &one, &error));
        CHECK(one == scores[i]);
      }
    }
    EXPECT(IVG_OK, ivg_session_score(session, guidance, prompt, strlen(prompt), texts, lengths, 0, 0, scores,
                                     &error));
    lengths[0] = 0; /* an empty text has a score, too */
    EXPECT(IVG_OK, ivg_session_score(session, guidance, prompt, strlen(prompt), texts, lengths, 1, 0, scores,
                                     &error));
    ivg_guidance_free(guidance);
  }
}

int main(void) {
  model = open_model(fixture("tiny-llama.gguf"));
  small = open_model(fixture("tiny-llama-untuned.gguf"));
  other = open_model(fixture("tiny-other-vocabulary.gguf"));
  EXPECT(IVG_OK, ivg_adapter_open(&adapter, model, fixture("tiny-adapter.gguf"), &error));
  EXPECT(IVG_OK, ivg_value_head_open(&words, model, fixture("tiny-value-vocabulary.gguf"), &error));
  EXPECT(IVG_OK, ivg_value_head_open(&scalar, model, fixture("tiny-value-scalar.gguf"), &error));
  EXPECT(IVG_OK, ivg_value_head_open(&lora, model, fixture("tiny-value-lora.gguf"), &error));
  session = open_session(model, 1);
  session_of_two = open_session(model, 2);
  RUN(guides_matter);
  RUN(finished_rows_and_dedupe);
  RUN(base_candidates_stay_within_the_base);
  RUN(attribution_by_part);
  RUN(what_does_not_fit);
  RUN(texts_are_scored);
  RUN(a_scalar_head_and_a_huge_top_k);
  RUN(a_scorer_with_shorter_tokens);
  RUN(all_combinations);
  ivg_session_free(session);
  ivg_session_free(session_of_two);
  ivg_value_head_free(words);
  ivg_value_head_free(scalar);
  ivg_value_head_free(lora);
  ivg_adapter_free(adapter);
  ivg_model_free(model);
  ivg_model_free(small);
  ivg_model_free(other);
  return check_finish();
}
