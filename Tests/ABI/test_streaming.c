/* SPDX-License-Identifier: Apache-2.0
 *
 * test_streaming.c - one row, token by token: text, ends, stop strings, seeds, options of sampling.
 *
 * `finish_request` in fixture.h checks for every request that the steps add up to the candidate.
 */
#include "fixture.h"

static ivg_model *model;
static ivg_session *session;
static const char prompt[] = "The value of a text is";

static ivg_generate_options options_with(uint64_t seed, uint32_t max_tokens) {
  ivg_generate_options options;
  ivg_generate_options_init(&options, sizeof options);
  options.seed = seed;
  options.max_tokens = max_tokens;
  return options;
}

static void max_tokens_is_a_hard_bound(void) {
  answer out;
  for (uint32_t count = 1; count <= 64; count *= 2) {
    ivg_generate_options options = options_with(1, count);
    options.flags = IVG_GENERATE_IGNORE_END;
    GENERATE(session, prompt, &options, NULL, &out);
    CHECK(out.token_count == count && out.finish == IVG_FINISH_LENGTH && out.steps == count);
  }
  GENERATE(session, prompt, NULL, NULL, &out);
  CHECK(out.token_count <= 128);
}

static void seeds_reproduce(void) {
  answer first, again, other;
  int different = 0;
  for (uint64_t seed = 0; seed < 8; seed++) {
    ivg_generate_options options = options_with(seed, 32);
    GENERATE(session, prompt, &options, NULL, &first);
    GENERATE(session, prompt, &options, NULL, &again);
    CHECK(same_answer(&first, &again));
    options.seed = seed + 1000;
    GENERATE(session, prompt, &options, NULL, &other);
    different += !same_answer(&first, &other);
  }
  CHECK(different >= 7);
}

static void threads_change_nothing(void) {
  answer one, more;
  for (uint32_t threads = 2; threads <= 4; threads++) {
    ivg_session *second = open_session(model, threads);
    for (uint64_t seed = 0; seed < 4; seed++) {
      ivg_generate_options options = options_with(seed, 48);
      GENERATE(session, prompt, &options, NULL, &one);
      GENERATE(second, prompt, &options, NULL, &more);
      CHECK(same_answer(&one, &more));
    }
    ivg_session_free(second);
  }
}

static void temperature_zero_is_a_default_and_greedy_takes_the_best(void) {
  answer unset, set, greedy, sharp;
  ivg_generate_options options = options_with(3, 24);
  GENERATE(session, prompt, &options, NULL, &unset);
  options.temperature = 0.7f;
  options.top_k = 50;
  GENERATE(session, prompt, &options, NULL, &set);
  CHECK(same_answer(&unset, &set));
  options.temperature = IVG_GREEDY;
  options.top_log_probabilities = 3;
  GENERATE(session, prompt, &options, NULL, &greedy);
  options.temperature = 0.7f;
  options.top_k = 1;
  GENERATE(session, prompt, &options, NULL, &sharp);
  CHECK(same_answer(&greedy, &sharp));
  options.top_k = IVG_TOP_K_OFF;
  options.top_p = 1e-6f;
  GENERATE(session, prompt, &options, NULL, &sharp);
  CHECK(same_answer(&greedy, &sharp));
  options.top_p = 0;
  options.min_p = 1;
  GENERATE(session, prompt, &options, NULL, &sharp);
  CHECK(same_answer(&greedy, &sharp));
}

/* The alternatives of each step are sorted, and the greedy token is the first of them. */
static void alternatives_are_the_most_probable(void) {
  ivg_generate_options options = options_with(0, 16);
  options.temperature = IVG_GREEDY;
  options.top_log_probabilities = 64;
  ivg_step step = {.struct_size = sizeof step};
  REQUIRE_OK(ivg_session_begin(session, prompt, strlen(prompt), &options, NULL, &error));
  while (ivg_session_next(session, &step, &error) == IVG_OK) {
    CHECK(step.top_count == 64 && step.top_tokens[0] == step.token);
    CHECK(step.top_log_probabilities[0] == step.log_probability);
    double mass = 0;
    for (uint32_t i = 0; i < step.top_count; i++) {
      CHECK(i == 0 || step.top_log_probabilities[i] <= step.top_log_probabilities[i - 1]);
      mass += exp((double)step.top_log_probabilities[i]);
    }
    CHECK(mass > 0.5 && mass < 1.00001);
  }
}

static void end_tokens_end(void) {
  answer plain, ended;
  ivg_generate_options options = options_with(5, 32);
  options.flags = IVG_GENERATE_IGNORE_END;
  GENERATE(session, prompt, &options, NULL, &plain);
  int32_t end = plain.tokens[9];
  size_t first = 0;
  while (plain.tokens[first] != end) first++;
  options.flags = 0;
  options.end_tokens = &end;
  options.end_token_count = 1;
  GENERATE(session, prompt, &options, NULL, &ended);
  if (ended.token_count == first + 1) {
    CHECK(ended.finish == IVG_FINISH_END && ended.tokens[first] == end);
    CHECK(ended.length <= plain.length);
  } else {
    CHECK(ended.token_count <= first && ended.finish == IVG_FINISH_END); /* the model's own end came first */
  }
  options.flags = IVG_GENERATE_IGNORE_END;
  GENERATE(session, prompt, &options, NULL, &ended);
  CHECK(same_answer(&plain, &ended));
}

static void banned_tokens_never_come(void) {
  answer plain, banned;
  ivg_generate_options options = options_with(6, 48);
  GENERATE(session, prompt, &options, NULL, &plain);
  options.banned_tokens = plain.tokens;
  options.banned_token_count = 5;
  GENERATE(session, prompt, &options, NULL, &banned);
  for (size_t i = 0; i < banned.token_count; i++)
    for (size_t k = 0; k < 5; k++) CHECK(banned.tokens[i] != plain.tokens[k]);
}

/* Every piece of a known answer as a stop string: the text must end right before its first place, however the
 * piece lies across tokens. */
static void stop_strings_across_tokens(void) {
  answer plain, cut;
  int tried = 0;
  for (uint64_t seed = 12; seed < 16; seed++) {
    ivg_generate_options options = options_with(seed, 24);
    options.flags = IVG_GENERATE_IGNORE_END;
    GENERATE(session, prompt, &options, NULL, &plain);
    for (size_t start = 0; start + 1 < plain.length; start++) {
      for (size_t length = 1; length <= 4 && start + length <= plain.length; length++) {
        char stop[8] = {0};
        memcpy(stop, plain.text + start, length);
        /* Whole ASCII only: a replaced byte does not stand in the text that the model wrote. Not by its sign, which a
         * plain char has on some processors only. */
        bool ascii = true;
        for (size_t i = 0; i < length; i++) ascii = ascii && stop[i] != 0 && (unsigned char)stop[i] < 0x80;
        if (!ascii) continue;
        const char *const stops[2] = {"never in the text", stop};
        options.stop_strings = stops;
        options.stop_string_count = 2;
        GENERATE(session, prompt, &options, NULL, &cut);
        const char *place = memmem(plain.text, plain.length, stop, length);
        CHECK(cut.finish == IVG_FINISH_STOP && cut.length == (size_t)(place - plain.text));
        CHECK(memcmp(cut.text, plain.text, cut.length) == 0);
        tried++;
      }
    }
  }
  CHECK(tried > 50);
}

/* Text that may become a stop string is held back, and comes with the last step if it did not. */
static void held_text_comes_at_the_end(void) {
  answer plain, held;
  ivg_generate_options options = options_with(12, 12);
  options.flags = IVG_GENERATE_IGNORE_END;
  GENERATE(session, prompt, &options, NULL, &plain);
  for (size_t tail = 1; tail <= 4 && tail < plain.length; tail++) {
    char stop[16] = {0};
    memcpy(stop, plain.text + plain.length - tail, tail);
    if (strlen(stop) < tail) continue; /* a stop string cannot hold a NUL */
    stop[tail] = '!';
    const char *const stops[1] = {stop};
    options.stop_strings = stops;
    options.stop_string_count = 1;
    GENERATE(session, prompt, &options, NULL, &held);
    CHECK(same_answer(&plain, &held));
  }
}

static void templates_put_the_prompt_in_place(void) {
  answer direct, filled;
  ivg_generate_options options = options_with(9, 16);
  GENERATE(session, "<|im_start|>user\nA text<|im_end|>\n", &options, NULL, &direct);
  options.prompt_template = "<|im_start|>user\n{prompt}<|im_end|>\n";
  GENERATE(session, "A text", &options, NULL, &filled);
  CHECK(same_answer(&direct, &filled));
}

static void prefixes_are_reused_and_change_nothing(void) {
  answer cold, warm;
  ivg_result result = {.struct_size = sizeof result};
  ivg_generate_options options = options_with(2, 16);
  ivg_session *fresh = open_session(model, 1);
  static const char longer[] =
      "The value of a text is what a reader finds in it. A guide reads the same text as";
  GENERATE(fresh, longer, &options, NULL, &cold);
  EXPECT(IVG_OK, ivg_session_result(fresh, &result, &error));
  CHECK(result.reused_token_count == 0);
  GENERATE(fresh, longer, &options, NULL, &warm);
  EXPECT(IVG_OK, ivg_session_result(fresh, &result, &error));
  CHECK(result.reused_token_count == result.prompt_token_count - 1);
  CHECK(same_answer(&cold, &warm));
  ivg_session_free(fresh);
}

/* An unfinished request may be dropped for another at any step. */
static void a_request_may_be_dropped(void) {
  answer plain, after;
  ivg_generate_options options = options_with(4, 24);
  ivg_step step = {.struct_size = sizeof step};
  GENERATE(session, prompt, &options, NULL, &plain);
  for (int steps = 0; steps < 6; steps++) {
    EXPECT(IVG_OK, ivg_session_begin(session, "There is", 8, NULL, NULL, &error));
    for (int i = 0; i < steps; i++) EXPECT(IVG_OK, ivg_session_next(session, &step, &error));
    GENERATE(session, prompt, &options, NULL, &after);
    CHECK(same_answer(&plain, &after));
  }
}

static void penalty_makes_repetition_rarer(void) {
  answer plain, penalised;
  ivg_generate_options options = options_with(0, 64);
  options.temperature = IVG_GREEDY;
  GENERATE(session, prompt, &options, NULL, &plain);
  options.repetition_penalty = 100;
  GENERATE(session, prompt, &options, NULL, &penalised);
  int32_t repeated[2] = {0, 0};
  const answer *answers[2] = {&plain, &penalised};
  for (int a = 0; a < 2; a++)
    for (size_t i = 1; i < answers[a]->token_count; i++)
      for (size_t k = 0; k < i; k++) repeated[a] += answers[a]->tokens[i] == answers[a]->tokens[k];
  CHECK(repeated[1] <= repeated[0]);
}

int main(void) {
  const char *names[] = {"tiny-llama.gguf", "tiny-qwen2.gguf", "tiny-llama-q4_0.gguf"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    printf("  %s\n", names[i]);
    model = open_model(fixture(names[i]));
    session = open_session(model, 1);
    RUN(max_tokens_is_a_hard_bound);
    RUN(seeds_reproduce);
    RUN(threads_change_nothing);
    RUN(temperature_zero_is_a_default_and_greedy_takes_the_best);
    RUN(alternatives_are_the_most_probable);
    RUN(end_tokens_end);
    RUN(banned_tokens_never_come);
    RUN(stop_strings_across_tokens);
    RUN(held_text_comes_at_the_end);
    RUN(templates_put_the_prompt_in_place);
    RUN(prefixes_are_reused_and_change_nothing);
    RUN(a_request_may_be_dropped);
    RUN(penalty_makes_repetition_rarer);
    ivg_session_free(session);
    ivg_model_free(model);
  }
  return check_finish();
}
