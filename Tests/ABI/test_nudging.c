/* SPDX-License-Identifier: Apache-2.0
 *
 * test_nudging.c - nudging: identities, every way to end, who wrote what, what stands in its way, models that a
 * host computes.
 */
#include "fixture.h"

static ivg_model *model, *small, *other;
static ivg_adapter *adapter;
static ivg_session *session;
static const char prompt[] = "When the guide is small and the model is large,";

/* What a request with nudging gave. */
typedef struct nudged {
  ivg_status status;
  char text[32768], marks[32768]; /* streamed bytes, and 'n' or 'b' for each */
  size_t length;
  uint32_t finish;
  size_t token_count, span_count;
  double share;
} nudged;

static ivg_guidance *with_nudger(const ivg_model *nudger, const ivg_adapter *nudger_adapter, float threshold,
                                 uint32_t burst) {
  ivg_guidance *guidance = new_guidance(1, 1, 0);
  ivg_nudging_options options;
  ivg_nudging_options_init(&options, sizeof options);
  options.nudger_model = nudger;
  options.nudger_adapter = nudger_adapter;
  options.threshold = threshold;
  options.burst = burst;
  EXPECT(IVG_OK, ivg_guidance_set_nudging(guidance, &options, &error));
  return guidance;
}

/* Goes on with a begun request to its end, repeating cancelled calls, and checks what holds for each. */
static void finish_nudging(ivg_session *with, nudged *out) {
  ivg_step step = {.struct_size = sizeof step};
  memset(out, 0, sizeof *out);
  for (;;) {
    out->status = ivg_session_next(with, &step, &error);
    if (out->status == IVG_ERROR_CANCELLED) {
      ivg_error_free(error);
      error = NULL;
      continue;
    }
    if (out->status != IVG_OK) break;
    CHECK(out->finish == IVG_FINISH_NONE);
    CHECK(step.kind == IVG_STEP_TOKEN || step.kind == IVG_STEP_NUDGE);
    CHECK(step.kind == IVG_STEP_TOKEN || step.token == -1);
    CHECK(step.text[step.text_length] == 0 && is_utf8(step.text, step.text_length));
    memcpy(out->text + out->length, step.text, step.text_length);
    memset(out->marks + out->length, step.kind == IVG_STEP_NUDGE ? 'n' : 'b', step.text_length);
    out->length += step.text_length;
    out->finish = step.finish_reason;
  }
  if (out->status != IVG_DONE) return;
  ivg_result result = {.struct_size = sizeof result};
  ivg_candidate best = {.struct_size = sizeof best};
  const ivg_span *spans = NULL;
  EXPECT(IVG_OK, ivg_session_result(with, &result, &error));
  EXPECT(IVG_OK, ivg_session_candidate(with, 0, &best, &error));
  CHECK(result.candidate_count == 1 && result.finish_reason == out->finish && result.guide_count == 0);
  CHECK(result.token_count == best.token_count && best.finish_reason == out->finish);
  /* The candidate's text is that of the steps but for a repeated end. */
  CHECK(best.text_length <= out->length && memcmp(best.text, out->text, best.text_length) == 0);
  size_t cut = out->length - best.text_length;
  CHECK(cut == 0 || (cut >= 30 && best.text_length >= 30));
  EXPECT(IVG_OK, ivg_session_nudges(with, &spans, &out->span_count, &out->share, &error));
  CHECK(out->share >= 0 && out->share <= 1);
  char marks[32768];
  memset(marks, 'b', sizeof marks);
  uint64_t last = 0;
  for (size_t i = 0; i < out->span_count; i++) {
    CHECK(spans[i].length > 0 && (i == 0 || spans[i].start > last));
    CHECK(spans[i].start + spans[i].length <= best.text_length);
    memset(marks + spans[i].start, 'n', spans[i].length);
    last = spans[i].start + spans[i].length;
  }
  CHECK(memcmp(marks, out->marks, best.text_length) == 0);
  out->token_count = best.token_count;
}

static ivg_generate_options up_to(uint32_t max_tokens) {
  return (ivg_generate_options){.struct_size = sizeof(ivg_generate_options), .max_tokens = max_tokens};
}

static void nudge(ivg_session *with, const char *text, const ivg_generate_options *options,
                  const ivg_guidance *guidance, nudged *out) {
  memset(out, 0, sizeof *out);
  out->status = ivg_session_begin(with, text, strlen(text), options, guidance, &error);
  if (out->status == IVG_OK) finish_nudging(with, out);
}

/* gamma = 0: the base alone after the first word of a round; gamma > 1: the nudger's text where they differ. */
static void o14_thresholds(void) {
  static nudged never, always;
  ivg_generate_options options = up_to(40);
  ivg_guidance *guidance = with_nudger(small, NULL, IVG_THRESHOLD_NEVER, 16);
  nudge(session, prompt, &options, guidance, &never);
  CHECK(never.status == IVG_DONE);
  ivg_guidance_free(guidance);
  guidance = with_nudger(small, NULL, 1.5f, 16);
  nudge(session, prompt, &options, guidance, &always);
  CHECK(always.status == IVG_DONE);
  CHECK(always.share > never.share);
  ivg_guidance_free(guidance);
  /* A model that nudges itself says what it says alone, for as long as nothing is repeated. */
  static nudged own;
  static answer plain;
  guidance = with_nudger(model, NULL, 0.3f, 16);
  options = up_to(12);
  nudge(session, "The", &options, guidance, &own);
  CHECK(own.status == IVG_DONE);
  ivg_guidance_free(guidance);
  options.temperature = IVG_GREEDY;
  GENERATE(session, "The", &options, NULL, &plain);
  CHECK(own.length > 0 && own.text[0] == plain.text[0]);
}

static void bounds_and_threads(void) {
  static nudged one, two;
  const ivg_model *nudgers[] = {small, other};
  for (int i = 0; i < 2; i++)
    for (uint32_t burst = 1; burst <= 16; burst += 5) {
      ivg_guidance *guidance = with_nudger(nudgers[i], NULL, 0.05f, burst);
      ivg_session *threads = open_session(model, 3);
      for (uint32_t maximum = 1; maximum < 40; maximum += 9) {
        ivg_generate_options options = up_to(maximum);
        nudge(session, prompt, &options, guidance, &one);
        nudge(threads, prompt, &options, guidance, &two);
        CHECK(one.status == IVG_DONE && one.token_count <= maximum);
        CHECK(one.finish != IVG_FINISH_LENGTH || one.token_count <= maximum);
        CHECK(one.length == two.length && memcmp(one.text, two.text, one.length) == 0);
        CHECK(memcmp(one.marks, two.marks, one.length) == 0 && one.finish == two.finish);
      }
      ivg_session_free(threads);
      ivg_guidance_free(guidance);
    }
}

static void adapters_and_empty_prompts(void) {
  static nudged out;
  ivg_generate_options options = up_to(20);
  ivg_guidance *guidance = with_nudger(NULL, adapter, 0.1f, 16);
  nudge(session, "", &options, guidance, &out);
  CHECK(out.status == IVG_DONE && out.token_count > 0);
  ivg_guidance_free(guidance);
}

/* Where options or parts stand in the way. */
static void refusals(void) {
  ivg_guidance *guidance = new_guidance(1, 1, 0);
  ivg_nudging_options options;
  ivg_nudging_options_init(&options, sizeof options);
  EXPECT_ERROR(IVG_ERROR_INVALID_ARGUMENT, "nudger", ivg_guidance_set_nudging(guidance, &options, &error));
  options.nudger_model = small;
  options.threshold = -0.5f;
  EXPECT_ERROR(IVG_ERROR_INVALID_ARGUMENT, "threshold", ivg_guidance_set_nudging(guidance, &options, &error));
  options.threshold = NAN;
  EXPECT_ERROR(IVG_ERROR_INVALID_ARGUMENT, "threshold", ivg_guidance_set_nudging(guidance, &options, &error));
  options.threshold = 0;
  options.burst = 1025;
  EXPECT_ERROR(IVG_ERROR_INVALID_ARGUMENT, "burst", ivg_guidance_set_nudging(guidance, &options, &error));
  options.burst = 0;
  options.nudger_adapter = adapter;
  EXPECT_ERROR(IVG_ERROR_MISMATCH, "adapter", ivg_guidance_set_nudging(guidance, &options, &error));
  options.nudger_adapter = NULL;
  options.struct_size = 3;
  EXPECT_ERROR(IVG_ERROR_INVALID_ARGUMENT, "struct_size", ivg_guidance_set_nudging(guidance, &options, &error));
  options.struct_size = sizeof options;
  EXPECT(IVG_OK, ivg_guidance_set_nudging(guidance, &options, &error));
  ivg_implicit_options implicit = {.struct_size = sizeof implicit, .tuned_model = small};
  EXPECT_ERROR(IVG_ERROR_INVALID_ARGUMENT, "nudging", ivg_guidance_add_implicit(guidance, &implicit, 1, &error));

  ivg_generate_options plain = up_to(4), odd;
#define REFUSED(field, value)                                                                   \
  odd = plain;                                                                                  \
  odd.field = value;                                                                            \
  EXPECT_ERROR(IVG_ERROR_INVALID_ARGUMENT, #field, ivg_session_begin(session, "x", 1, &odd, guidance, &error))
  REFUSED(temperature, 0.7f);
  REFUSED(top_k, 3);
  REFUSED(top_p, 0.5f);
  REFUSED(min_p, 0.5f);
  REFUSED(repetition_penalty, 1.5f);
  REFUSED(top_log_probabilities, 2);
#undef REFUSED
  odd = plain;
  odd.flags = IVG_GENERATE_ATTRIBUTION;
  EXPECT_ERROR(IVG_ERROR_INVALID_ARGUMENT, "ATTRIBUTION",
        ivg_session_begin(session, "x", 1, &odd, guidance, &error));
  ivg_guidance_free(guidance);

  struct { uint32_t width, successors, chunk; const char *name; } searches[] = {
      {2, 1, 0, "width"}, {1, 2, 0, "successors"}, {1, 1, 5, "chunk"}};
  for (int i = 0; i < 3; i++) {
    guidance = new_guidance(searches[i].width, searches[i].successors, searches[i].chunk);
    EXPECT_ERROR(IVG_ERROR_INVALID_ARGUMENT, searches[i].name, ivg_guidance_set_nudging(guidance, &options, &error));
    ivg_guidance_free(guidance);
  }
  guidance = new_guidance(1, 1, 0);
  EXPECT(IVG_OK, ivg_guidance_add_implicit(guidance, &implicit, 1, &error));
  EXPECT_ERROR(IVG_ERROR_INVALID_ARGUMENT, "parts", ivg_guidance_set_nudging(guidance, &options, &error));
  ivg_guidance_free(guidance);

  /* Ids of the base mean nothing to a nudger of another vocabulary. */
  int32_t id = 5;
  odd = plain;
  odd.banned_tokens = &id;
  odd.banned_token_count = 1;
  guidance = with_nudger(other, NULL, 0, 0);
  EXPECT_ERROR(IVG_ERROR_UNSUPPORTED, "banned_tokens", ivg_session_begin(session, "x", 1, &odd, guidance, &error));
  odd = up_to(1000000);
  EXPECT_ERROR(IVG_ERROR_CONTEXT_FULL, "context", ivg_session_begin(session, "x", 1, &odd, guidance, &error));
  ivg_guidance_free(guidance);

  /* Without nudging nothing is nudged; before any request nothing is known. */
  const ivg_span *spans = NULL;
  size_t count = 7;
  double share = 7;
  static answer out;
  GENERATE(session, prompt, &plain, NULL, &out);
  EXPECT(IVG_OK, ivg_session_nudges(session, &spans, &count, &share, &error));
  CHECK(count == 0 && share == 0);
  ivg_session *fresh = open_session(model, 1);
  EXPECT_ERROR(IVG_ERROR_INVALID_ARGUMENT, "request", ivg_session_nudges(fresh, &spans, &count, &share, &error));
  ivg_session_free(fresh);
}

/* Hosted models with a script: the token to come depends on how many there are. */
typedef struct script {
  int32_t tokens[64];
  size_t start, count, calls;
  float logit; /* of the token to come; the others are 0 */
  bool fails;
} script;

static int32_t recite(void *user_data, const ivg_hosted_row *rows, size_t count, size_t vocabulary) {
  script *how = user_data;
  how->calls++;
  for (size_t i = 0; i < count; i++) {
    for (size_t k = 0; k < vocabulary; k++) rows[i].logits[k] = how->fails ? NAN : 0;
    size_t place = rows[i].token_count - how->start;
    rows[i].logits[how->tokens[place < how->count ? place : how->count - 1]] += how->logit;
  }
  return 0;
}

static ivg_model *hosted(script *how) {
  ivg_model *made = NULL;
  ivg_hosted_options options = {.struct_size = sizeof options, .logits = recite, .user_data = how};
  EXPECT(IVG_OK, ivg_model_create_hosted(&made, model, &options, &error));
  if (!made) exit(2);
  return made;
}

static script say(const char *text, bool ends, float logit) {
  script how = {.logit = logit};
  size_t start = 0;
  EXPECT(IVG_OK, ivg_model_tokenize(model, "x", 1, IVG_TOKENIZE_SPECIAL | IVG_TOKENIZE_BEGIN, how.tokens, 64,
                                    &start, &error));
  how.start = start;
  EXPECT(IVG_OK, ivg_model_tokenize(model, text, strlen(text), 0, how.tokens, 63, &how.count, &error));
  ivg_model_info info = {.struct_size = sizeof info};
  EXPECT(IVG_OK, ivg_model_information(model, &info, &error));
  if (ends) how.tokens[how.count++] = info.end_token;
  return how;
}

static void hosted_sides_and_ends(void) {
  static nudged out;
  ivg_generate_options options = up_to(60);
  /* The nudger says it all and ends; the base is never sure and never agrees. */
  script unsure = say("zzz", false, 0.1f), talk = say("a b c", true, 30);
  ivg_model *base = hosted(&unsure), *nudger = hosted(&talk);
  ivg_session *with = open_session(base, 1);
  ivg_guidance *guidance = with_nudger(nudger, NULL, 0.3f, 16);
  nudge(with, "x", &options, guidance, &out);
  CHECK(out.status == IVG_DONE && out.finish == IVG_FINISH_END && out.share == 1);
  CHECK(out.length == 5 && memcmp(out.text, "a b c", 5) == 0 && unsure.calls == 0);
  /* A stop string ends either side's text. */
  const char *stops[] = {" c"};
  options.stop_strings = stops;
  options.stop_string_count = 1;
  nudge(with, "x", &options, guidance, &out);
  CHECK(out.finish == IVG_FINISH_STOP && out.length == 3 && memcmp(out.text, "a b", 3) == 0);
  options = up_to(60);
  ivg_guidance_free(guidance);
  /* One word for ever. */
  script stuck = say("a", false, 30);
  ivg_model *parrot = hosted(&stuck);
  guidance = with_nudger(parrot, NULL, 0.3f, 1);
  nudge(with, "x", &options, guidance, &out);
  CHECK(out.finish == IVG_FINISH_REPEAT && out.length == 3 && memcmp(out.text, "aaa", 3) == 0);
  ivg_guidance_free(guidance);
  /* A bound on rounds. */
  ivg_nudging_options rounds = {
      .struct_size = sizeof rounds, .nudger_model = parrot, .burst = 1, .max_rounds = 2};
  guidance = new_guidance(1, 1, 0);
  EXPECT(IVG_OK, ivg_guidance_set_nudging(guidance, &rounds, &error));
  nudge(with, "x", &options, guidance, &out);
  CHECK(out.finish == IVG_FINISH_ROUNDS && out.length == 2);
  options = up_to(2);
  ivg_guidance_free(guidance);
  guidance = with_nudger(parrot, NULL, 0.3f, 1);
  nudge(with, "x", &options, guidance, &out);
  CHECK(out.finish == IVG_FINISH_LENGTH && out.token_count == 2);
  ivg_guidance_free(guidance);
  /* A base that would end at once gives way to the nudger. */
  script over = say("", true, 30);
  ivg_model *silent = hosted(&over);
  ivg_session *quiet = open_session(silent, 1);
  options = up_to(60);
  guidance = with_nudger(nudger, NULL, 0.3f, 16);
  nudge(quiet, "x", &options, guidance, &out);
  CHECK(out.finish == IVG_FINISH_END && out.length == 5 && out.share == 1);
  ivg_guidance_free(guidance);
  /* Logits that are no numbers. */
  unsure.fails = true;
  guidance = with_nudger(small, NULL, 0.3f, 16);
  options = up_to(60);
  EXPECT(IVG_OK, ivg_session_begin(with, prompt, strlen(prompt), &options, guidance, &error));
  ivg_step step = {.struct_size = sizeof step};
  ivg_status status;
  while ((status = ivg_session_next(with, &step, NULL)) == IVG_OK) continue;
  CHECK(status == IVG_ERROR_CALLBACK || (status == IVG_DONE && unsure.calls == 0));
  ivg_guidance_free(guidance);
  unsure.fails = false;
  talk.fails = true;
  guidance = with_nudger(nudger, NULL, 0.3f, 16);
  EXPECT(IVG_OK, ivg_session_begin(with, "x", 1, &options, guidance, &error));
  EXPECT_ERROR(IVG_ERROR_CALLBACK, "not numbers", ivg_session_next(with, &step, &error));
  ivg_guidance_free(guidance);
  ivg_session_free(with);
  ivg_session_free(quiet);
  ivg_model_free(base);
  ivg_model_free(nudger);
  ivg_model_free(parrot);
  ivg_model_free(silent);
}

/* The figure holds for the session's peak, and a budget below it is refused. */
static void memory(void) {
  static nudged out;
  ivg_generate_options options = up_to(30);
  ivg_session_options limits = {.struct_size = sizeof limits, .thread_count = 1};
  const ivg_model *nudgers[] = {small, other, model};
  for (int i = 0; i < 3; i++) {
    ivg_guidance *guidance = with_nudger(nudgers[i], NULL, 0.05f, 16);
    uint64_t bytes = 0;
    ivg_session *tight = NULL;
    EXPECT(IVG_OK, ivg_memory_required(model, &limits, &options, guidance, 64, &bytes, &error));
    limits.memory_budget = bytes;
    EXPECT(IVG_OK, ivg_session_create(&tight, model, &limits, &error));
    nudge(tight, prompt, &options, guidance, &out);
    CHECK(out.status == IVG_DONE);
    ivg_session_free(tight);
    limits.memory_budget = bytes / 3;
    if (ivg_session_create(&tight, model, &limits, NULL) == IVG_OK) {
      EXPECT_ERROR(IVG_ERROR_OUT_OF_MEMORY, "budget",
            ivg_session_begin(tight, prompt, strlen(prompt), &options, guidance, &error));
      ivg_session_free(tight);
    }
    limits.memory_budget = 0;
    ivg_guidance_free(guidance);
  }
}

/* Cancelled before every step, and from within: the text is the same. */
static void cancelled(void) {
  static nudged whole, pieces;
  ivg_generate_options options = up_to(40);
  ivg_guidance *guidance = with_nudger(other, NULL, 0.05f, 16);
  nudge(session, prompt, &options, guidance, &whole);
  EXPECT(IVG_OK, ivg_session_begin(session, prompt, strlen(prompt), &options, guidance, &error));
  for (int i = 0; i < 5; i++) {
    ivg_step step = {.struct_size = sizeof step};
    ivg_session_cancel(session);
    EXPECT_ERROR(IVG_ERROR_CANCELLED, "cancelled", ivg_session_next(session, &step, &error));
  }
  finish_nudging(session, &pieces);
  CHECK(whole.length == pieces.length && memcmp(whole.text, pieces.text, whole.length) == 0);
  CHECK(whole.finish == pieces.finish && whole.token_count == pieces.token_count);
  ivg_guidance_free(guidance);
}

int main(void) {
  model = open_model(fixture("tiny-llama.gguf"));
  small = open_model(fixture("tiny-llama-untuned.gguf"));
  other = open_model(fixture("tiny-other-vocabulary.gguf"));
  EXPECT(IVG_OK, ivg_adapter_open(&adapter, model, fixture("tiny-adapter.gguf"), &error));
  session = open_session(model, 1);
  RUN(o14_thresholds);
  RUN(bounds_and_threads);
  RUN(adapters_and_empty_prompts);
  RUN(refusals);
  RUN(hosted_sides_and_ends);
  RUN(memory);
  RUN(cancelled);
  ivg_adapter_free(adapter);
  ivg_session_free(session);
  ivg_model_free(model);
  ivg_model_free(small);
  ivg_model_free(other);
  return check_finish();
}
