/* SPDX-License-Identifier: Apache-2.0
 *
 * test_budget.c - memory to the megabyte, in every corner: with a budget of what ivg_memory_required says a request
 * runs, and the process never grows by more than that and a constant; with one byte less than it was planned with it
 * does not begin. The same for sessions that run many requests, for sequences, trainers and quantizers.
 *
 * Growth is the kernel's own peak of the process beside the mapped files, whose pages are all read before.
 */
#include "process.h"

/* What comes beside a figure: once in a process the language runtime's first use and malloc's slack, and a stack for
 * each worker thread. Measured: 0.05 to 0.13 MB. */
static const int64_t once = 500000, again = 300000;
static const char *prompt = "Once upon a time, in a small town by the sea, there lived a";

/* What is open in a child. */
typedef struct parts {
  const ivg_model *base, *other;
  const ivg_adapter *tuned, *untuned;
  const ivg_value_head *head;
} parts;

typedef struct corner {
  const char *name;
  void (*add)(ivg_guidance *, const parts *); /* NULL: no guidance but the search */
  const char *other, *head;                   /* files of the second model and the value head, if any */
  uint32_t width, successors, chunk, max_tokens;
  bool extras; /* every option that keeps something for each token or row */
} corner;

typedef struct setting {
  const char *base, *tuned, *untuned;
  const corner *what;
  uint32_t threads, context_length;
  bool has_budget;
  double slack; /* the figure is at most so much above the peak; 0: only an upper bound */
} setting;

static void add_adapters(ivg_guidance *guidance, const parts *with) {
  ivg_implicit_options options = {
      .struct_size = sizeof options, .tuned_adapter = with->tuned, .untuned_adapter = with->untuned};
  EXPECT(IVG_OK, ivg_guidance_add_implicit(guidance, &options, 1, &error));
}

static void add_other_model(ivg_guidance *guidance, const parts *with) {
  ivg_implicit_options options = {
      .struct_size = sizeof options, .tuned_model = with->other, .untuned_template = "A story. {prompt}"};
  EXPECT(IVG_OK, ivg_guidance_add_implicit(guidance, &options, 1, &error));
}

static void add_two_prompts(ivg_guidance *guidance, const parts *with) {
  ivg_implicit_options options = {.struct_size = sizeof options,
                                  .role = IVG_ROLE_SCORE,
                                  .tuned_model = with->other,
                                  .untuned_model = with->other,
                                  .tuned_template = "Joy. {prompt}",
                                  .untuned_template = "A story. {prompt}"};
  EXPECT(IVG_OK, ivg_guidance_add_implicit(guidance, &options, 1, &error));
}

static void add_tilting_head(ivg_guidance *guidance, const parts *with) {
  ivg_explicit_options options = {.struct_size = sizeof options, .role = IVG_ROLE_TILT, .head = with->head};
  EXPECT(IVG_OK, ivg_guidance_add_explicit(guidance, &options, 1, &error));
}

static void add_scoring_head(ivg_guidance *guidance, const parts *with) {
  ivg_explicit_options options = {.struct_size = sizeof options, .role = IVG_ROLE_SCORE, .head = with->head};
  EXPECT(IVG_OK, ivg_guidance_add_explicit(guidance, &options, 1, &error));
}

static void add_ivg(ivg_guidance *guidance, const parts *with) {
  add_adapters(guidance, with);
  add_scoring_head(guidance, with);
}

static void add_nudger(ivg_guidance *guidance, const parts *with) {
  ivg_nudging_options options = {.struct_size = sizeof options, .nudger_model = with->other, .threshold = 0.1f};
  if (!with->other) options.nudger_adapter = with->tuned;
  EXPECT(IVG_OK, ivg_guidance_set_nudging(guidance, &options, &error));
}

static int32_t score_length(void *user_data, const char *asked, size_t asked_length, const char *const *texts,
                            const size_t *lengths, const int32_t *finished, size_t count, double *scores) {
  (void)user_data, (void)asked, (void)asked_length, (void)texts, (void)finished;
  for (size_t i = 0; i < count; i++) scores[i] = (double)(lengths[i] % 7);
  return 0;
}

static void add_scorer(ivg_guidance *guidance, const parts *with) {
  ivg_scorer_options options = {.struct_size = sizeof options, .score = score_length};
  (void)with;
  EXPECT(IVG_OK, ivg_guidance_add_scorer(guidance, &options, 1, &error));
}

static ivg_generate_options request_of(const corner *what) {
  static const char *const stops[] = {"never in any text", "nor this"};
  ivg_generate_options options = {
      .struct_size = sizeof options, .max_tokens = what->max_tokens, .flags = IVG_GENERATE_IGNORE_END};
  if (!what->extras) return options;
  options.flags |= IVG_GENERATE_ATTRIBUTION;
  options.stop_strings = stops;
  options.stop_string_count = 2;
  options.top_k = IVG_TOP_K_OFF;
  options.top_p = 0.95f;
  options.repetition_penalty = 1.1f;
  if (what->width * what->successors == 1) options.top_log_probabilities = 64;
  return options;
}

static parts open_parts(const setting *where) {
  parts with = {.base = open_model(where->base)};
  ivg_adapter *adapter = NULL;
  ivg_value_head *head = NULL;
  if (where->what->other) with.other = open_model(fixture(where->what->other));
  if (where->tuned) EXPECT(IVG_OK, ivg_adapter_open(&adapter, with.base, where->tuned, &error));
  with.tuned = adapter;
  adapter = NULL;
  if (where->untuned) EXPECT(IVG_OK, ivg_adapter_open(&adapter, with.base, where->untuned, &error));
  with.untuned = adapter;
  const char *path = where->what->head;
  if (path && path[0] != '/') path = fixture(path);
  if (path) EXPECT(IVG_OK, ivg_value_head_open(&head, with.base, path, &error));
  with.head = head;
  return with;
}

/* Tokens of the prompt in whichever vocabulary needs more. */
static size_t prompt_count(const parts *with) {
  size_t count = 0, other = 0;
  int32_t tokens[256];
  EXPECT(IVG_OK, ivg_model_tokenize(with->base, prompt, strlen(prompt), 3, tokens, 256, &count, &error));
  if (with->other)
    EXPECT(IVG_OK, ivg_model_tokenize(with->other, prompt, strlen(prompt), 3, tokens, 256, &other, &error));
  return other > count ? other : count;
}

/* The request to its end, and everything that can be asked about it; what it was planned with. Without buffers of its
 * own, which would count. */
static uint64_t run_request(ivg_session *session, const char *text, const ivg_generate_options *options,
                            const ivg_guidance *guidance) {
  ivg_step step = {.struct_size = sizeof step};
  ivg_result result = {.struct_size = sizeof result};
  ivg_candidate row = {.struct_size = sizeof row};
  ivg_status status = ivg_session_begin(session, text, strlen(text), options, guidance, &error);
  while (status == IVG_OK) status = ivg_session_next(session, &step, &error);
  check_status(status, IVG_DONE, NULL, "generate", __LINE__);
  EXPECT(IVG_OK, ivg_session_result(session, &result, &error));
  for (uint32_t i = 0; i < result.candidate_count; i++)
    EXPECT(IVG_OK, ivg_session_candidate(session, i, &row, &error));
  return result.memory_used;
}

/* One byte less than the plan: refused, with both figures in the message. */
static void one_byte_less(const parts *with, ivg_session_options limits, const ivg_generate_options *options,
                          const ivg_guidance *guidance, uint64_t planned) {
  ivg_session *session = NULL;
  char needed[32], budget[32];
  limits.memory_budget = planned - 1;
  snprintf(needed, sizeof needed, "%llu", (unsigned long long)planned);
  snprintf(budget, sizeof budget, "%llu", (unsigned long long)limits.memory_budget);
  REQUIRE_OK(ivg_session_create(&session, with->base, &limits, &error));
  size_t length = strlen(prompt);
  EXPECT_ERROR(IVG_ERROR_OUT_OF_MEMORY, needed,
               ivg_session_begin(session, prompt, length, options, guidance, &error));
  EXPECT_ERROR(IVG_ERROR_OUT_OF_MEMORY, budget,
               ivg_session_begin(session, prompt, length, options, guidance, &error));
  ivg_session_free(session);
}

/* In a child: a session, and a second one beside it. */
static void in_two_sessions(const void *argument) {
  const setting *where = argument;
  const corner *what = where->what;
  parts with = open_parts(where);
  size_t count = prompt_count(&with);
  ivg_session_options limits = {
      .struct_size = sizeof limits, .thread_count = where->threads, .context_length = where->context_length};
  ivg_generate_options options = request_of(what);
  ivg_guidance *guidance = new_guidance(what->width, what->successors, what->chunk);
  if (what->add) what->add(guidance, &with);
  uint64_t required = 0, planned = 0;
  resident before;
  ivg_session *sessions[2] = {NULL};
  for (int i = 0; i < 2; i++) {
    if (!CHECK(start_peak(&before))) return;
    REQUIRE_OK(ivg_memory_required(with.base, &limits, &options, guidance, count, &required, &error));
    if (where->has_budget) limits.memory_budget = required;
    REQUIRE_OK(ivg_session_create(&sessions[i], with.base, &limits, &error));
    planned = run_request(sessions[i], prompt, &options, guidance);
    int64_t growth = peak_growth(&before), over = growth - (int64_t)required;
    printf("     %s, %u threads%s, session %d: said %.3f, grew by %.3f MB (%+.3f)\n", what->name, where->threads,
           where->has_budget ? "" : ", no budget", i + 1, (double)required / 1e6, (double)growth / 1e6,
           (double)over / 1e6);
    CHECK(planned <= required);
    CHECK(over <= (i == 0 ? once : again));
    if (where->slack > 0) CHECK((double)over >= -where->slack);
  }
  if (where->has_budget) one_byte_less(&with, limits, &options, guidance, planned);
  for (int i = 0; i < 2; i++) ivg_session_free(sessions[i]);
  ivg_guidance_free(guidance);
}

static const corner corners[] = {
    {"one row", NULL, NULL, NULL, 1, 1, 0, 180, false},
    {"one row, all options", NULL, NULL, NULL, 1, 1, 0, 180, true},
    {"16 samples", NULL, NULL, NULL, 16, 1, 0, 100, true},
    {"best of 16 by a scorer", add_scorer, NULL, NULL, 1, 16, 0, 64, false},
    {"EFT with an adapter", add_adapters, NULL, NULL, 1, 1, 0, 150, true},
    {"EFT with another model", add_other_model, "tiny-llama-untuned.gguf", NULL, 1, 1, 0, 150, false},
    {"tilt by a vocabulary head", add_tilting_head, NULL, "tiny-value-lora.gguf", 1, 1, 0, 180, true},
    {"tilt by a scalar head", add_tilting_head, NULL, "tiny-value-scalar.gguf", 1, 1, 0, 64, false},
    {"CBS by two prompts", add_two_prompts, NULL, NULL, 4, 4, 5, 64, true},
    {"CBS by a scalar head", add_scoring_head, NULL, "tiny-value-scalar.gguf", 4, 4, 5, 64, false},
    {"CBS by another vocabulary", add_two_prompts, "tiny-other-vocabulary.gguf", NULL, 4, 4, 5, 64, false},
    {"IVG", add_ivg, NULL, "tiny-value-lora.gguf", 4, 4, 5, 64, true},
    {"nudging", add_nudger, "tiny-llama-untuned.gguf", NULL, 1, 1, 0, 64, false},
    {"nudging by another vocabulary", add_nudger, "tiny-other-vocabulary.gguf", NULL, 1, 1, 0, 48, false},
    {"nudging by an adapter", add_nudger, NULL, NULL, 1, 1, 0, 64, false},
};
enum { CORNERS = sizeof corners / sizeof *corners };

/* Of the corners every `stride`th. */
static void corners_with(uint32_t threads, bool has_budget, int stride) {
  char base[4096], adapter[4096];
  snprintf(base, sizeof base, "%s", fixture("tiny-llama.gguf"));
  snprintf(adapter, sizeof adapter, "%s", fixture("tiny-adapter.gguf"));
  for (int i = 0; i < CORNERS; i += stride) {
    setting where = {base, adapter, NULL, &corners[i], threads, 256, has_budget, 0};
    in_a_process_of_its_own(corners[i].name, in_two_sessions, &where);
  }
}

static void the_figure_is_a_budget_one_thread(void) { corners_with(1, true, 1); }
static void the_figure_is_a_budget_four_threads(void) { corners_with(4, true, 3); }
static void the_figure_holds_without_a_budget(void) { corners_with(2, false, 5); }

/* A real model with real guides, where a page of keys and values is 0.37 MB. */
static void the_figure_of_a_real_model(void) {
  const char *model = real_model("Q4_1"), *fixtures = getenv("IVG_TEST_FIXTURES");
  static char base[4096], guides[3][4200];
  if (!model) {
    printf("     skipped: no real model\n");
    return;
  }
  snprintf(base, sizeof base, "%s", model);
  static const char *const names[] = {"tuned-dpo", "untuned-sft", "value-fudge"};
  for (int i = 0; i < 3; i++)
    snprintf(guides[i], sizeof *guides, "%s/../../examples/sentiment/models/%s.gguf",
             fixtures ? fixtures : "Tests/Fixtures", names[i]);
  const corner real[] = {
      {"SmolLM2, one row", NULL, NULL, NULL, 1, 1, 0, 24, false},
      {"SmolLM2, EFT", add_adapters, NULL, NULL, 1, 1, 0, 24, true},
      {"SmolLM2, 8 samples", NULL, NULL, NULL, 8, 1, 0, 24, true},
      {"SmolLM2, IVG", add_ivg, NULL, guides[2], 2, 2, 5, 10, false},
  };
  /* More tokens than are computed in one pass, so that all buffers are in use. */
  static char text[1024];
  const char *usual = prompt;
  for (int i = 0; i < 6; i++) strcat(text, usual);
  prompt = text;
  for (size_t i = 0; i < sizeof real / sizeof *real; i++) {
    setting where = {base, guides[0], guides[1], &real[i], 2, 160, true, i < 2 ? 5.5e6 : 0};
    in_a_process_of_its_own(real[i].name, in_two_sessions, &where);
  }
  prompt = usual;
}

/* In a child: all kinds of requests on one session, each with prompts of its own, so that the memory of earlier ones
 * must be let go of for later ones. */
static void one_session(const void *argument) {
  const setting *where = argument;
  ivg_session_options limits = {
      .struct_size = sizeof limits, .thread_count = where->threads, .context_length = where->context_length};
  static const char head[] = "tiny-value-lora.gguf";
  const corner all = {.head = head};
  setting opened = *where;
  opened.what = &all;
  parts with = open_parts(&opened);
  ivg_guidance *guidances[CORNERS] = {NULL};
  uint64_t largest = 0, required = 0;
  for (int i = 0; i < CORNERS; i++) {
    const corner *what = &corners[i];
    if (what->other || (what->head && strcmp(what->head, head) != 0)) continue;
    guidances[i] = new_guidance(what->width, what->successors, what->chunk);
    if (what->add) what->add(guidances[i], &with);
    ivg_generate_options options = request_of(what);
    REQUIRE_OK(ivg_memory_required(with.base, &limits, &options, guidances[i], prompt_count(&with), &required, &error));
    if (required > largest) largest = required;
  }
  limits.memory_budget = largest;
  resident before;
  if (!CHECK(start_peak(&before))) return;
  ivg_session *session = NULL;
  REQUIRE_OK(ivg_session_create(&session, with.base, &limits, &error));
  int requests = 0;
  for (int round = 0; round < 2; round++)
    for (int i = 0; i < CORNERS; i++) {
      char text[128];
      if (!guidances[i]) continue;
      snprintf(text, sizeof text, "%c%d: B1 C2 D3 E4 F5 G6 H7 I8 J9 K0 L1 M2", 'A' + i, round);
      ivg_generate_options options = request_of(&corners[i]);
      CHECK(run_request(session, text, &options, guidances[i]) <= largest);
      requests++;
    }
  int64_t growth = peak_growth(&before);
  printf("     %d requests within %.3f MB: grew by %.3f MB\n", requests, (double)largest / 1e6, (double)growth / 1e6);
  CHECK(requests >= 16 && growth <= (int64_t)largest + once);
  ivg_session_free(session);
}

static void many_requests_within_one_budget(void) {
  char base[4096], adapter[4096];
  snprintf(base, sizeof base, "%s", fixture("tiny-llama.gguf"));
  snprintf(adapter, sizeof adapter, "%s", fixture("tiny-adapter.gguf"));
  setting where = {base, adapter, NULL, NULL, 2, 256, true, 0};
  in_a_process_of_its_own("one session", one_session, &where);
}

/* In a child: sequences of the host until the budget ends, beside a request. */
static void sequences_to_the_end(const void *argument) {
  (void)argument;
  ivg_model *model = open_model(fixture("tiny-llama.gguf"));
  ivg_session_options limits = {.struct_size = sizeof limits, .thread_count = 1, .memory_budget = 4 << 20};
  ivg_sequence *sequences[256] = {NULL};
  int32_t tokens[100];
  for (int i = 0; i < 100; i++) tokens[i] = 3 + i;
  resident before;
  if (!CHECK(start_peak(&before))) return;
  ivg_session *session = NULL;
  REQUIRE_OK(ivg_session_create(&session, model, &limits, &error));
  ivg_status status = IVG_OK;
  int made = 0;
  while (made < 256 && status == IVG_OK) {
    status = ivg_sequence_create(&sequences[made], session, NULL, NULL);
    if (status == IVG_OK) status = ivg_sequence_evaluate(sequences[made++], tokens, 100, NULL);
  }
  CHECK(status == IVG_ERROR_OUT_OF_MEMORY && made > 4);
  int64_t growth = peak_growth(&before);
  printf("     %d sequences of 100 tokens within 4.194 MB: grew by %.3f MB\n", made, (double)growth / 1e6);
  CHECK(growth <= (4 << 20) + once);
  for (int i = 0; i < made; i++) ivg_sequence_free(sequences[i]);
  ivg_session_free(session);
  ivg_model_free(model);
}

static void sequences_within_the_budget(void) {
  in_a_process_of_its_own("sequences", sequences_to_the_end, NULL);
}

int main(void) {
  if (is_instrumented()) {
    printf("     skipped: a sanitizer's memory is not the library's\n");
    return 0;
  }
  RUN(the_figure_is_a_budget_one_thread);
  RUN(the_figure_is_a_budget_four_threads);
  RUN(the_figure_holds_without_a_budget);
  RUN(many_requests_within_one_budget);
  RUN(sequences_within_the_budget);
  RUN(the_figure_of_a_real_model);
  return check_finish();
}
