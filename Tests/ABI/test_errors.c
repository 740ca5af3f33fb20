/* SPDX-License-Identifier: Apache-2.0
 *
 * test_errors.c - statuses and their messages, struct_size, order of freeing, buffers.
 */
#include "fixture.h"

static ivg_model *model;
static ivg_session *session;

/* The rule of struct_size, for any struct that goes in: `call` is made with a struct of `size` bytes of which
 * the last one is `last`. */
#define WITH_SIZE(type, size, last, call, wanted) \
  do { \
    union { \
      type options; \
      unsigned char bytes[sizeof(type) + 64]; \
    } u; \
    memset(&u, 0, sizeof u); \
    uint32_t stated = (uint32_t)(size); \
    memcpy(u.bytes, &stated, sizeof stated); \
    if (stated > sizeof(type)) u.bytes[stated - 1] = (last); \
    EXPECT(wanted, call(&u.options)); \
  } while (0)

static ivg_status create_with(const ivg_session_options *options) {
  ivg_session *made = NULL;
  ivg_status status = ivg_session_create(&made, model, options, &error);
  ivg_session_free(made);
  return status;
}

static ivg_status begin_with(const ivg_generate_options *options) {
  return ivg_session_begin(session, "x", 1, options, NULL, &error);
}

static ivg_status guide_with(const ivg_guidance_options *options) {
  ivg_guidance *made = NULL;
  ivg_status status = ivg_guidance_create(&made, options, &error);
  ivg_guidance_free(made);
  return status;
}

static ivg_status open_with(const ivg_model_options *options) {
  ivg_model *made = NULL;
  ivg_status status = ivg_model_open(&made, fixture("tiny-llama-q4_0.gguf"), options, &error);
  ivg_model_free(made);
  return status;
}

static ivg_status implicit_with(const ivg_implicit_options *options) {
  ivg_guidance *guidance = new_guidance(1, 1, 0);
  ivg_status status = ivg_guidance_add_implicit(guidance, options, 1, &error);
  ivg_guidance_free(guidance);
  return status;
}

static void sizes_of_structs_that_go_in(void) {
#define ALL(type, call) \
  WITH_SIZE(type, sizeof(type), 0, call, IVG_OK); \
  WITH_SIZE(type, sizeof(uint32_t), 0, call, IVG_OK); \
  WITH_SIZE(type, 0, 0, call, IVG_ERROR_INVALID_ARGUMENT); \
  WITH_SIZE(type, 3, 0, call, IVG_ERROR_INVALID_ARGUMENT); \
  WITH_SIZE(type, sizeof(type) + 1, 0, call, IVG_OK); \
  WITH_SIZE(type, sizeof(type) + 64, 0, call, IVG_OK); \
  WITH_SIZE(type, sizeof(type) + 1, 1, call, IVG_ERROR_UNSUPPORTED); \
  WITH_SIZE(type, sizeof(type) + 64, 1, call, IVG_ERROR_UNSUPPORTED)
  ALL(ivg_session_options, create_with);
  ALL(ivg_generate_options, begin_with);
  ALL(ivg_guidance_options, guide_with);
  ALL(ivg_model_options, open_with);
  ALL(ivg_implicit_options, implicit_with);
}

/* A size that was never set is most often what lay on the stack: an error, not a walk through memory. */
static void sizes_that_cannot_be(void) {
  ivg_generate_options options = {.struct_size = 0xdeadbeef};
  ivg_step step = {.struct_size = 0xdeadbeef};
  ivg_model_info info = {.struct_size = 0};
  EXPECT_ERROR(IVG_ERROR_INVALID_ARGUMENT, "struct_size", begin_with(&options));
  REQUIRE_OK(ivg_session_begin(session, "x", 1, NULL, NULL, &error));
  EXPECT_ERROR(IVG_ERROR_INVALID_ARGUMENT, "struct_size", ivg_session_next(session, &step, &error));
  EXPECT_ERROR(IVG_ERROR_INVALID_ARGUMENT, "struct_size", ivg_model_information(model, &info, &error));
}

/* A host built against an older header has a smaller struct: nothing is written behind it. A newer one has a
 * larger: what this library does not know becomes zero. */
static void sizes_of_structs_that_come_out(void) {
  for (size_t size = 4; size <= sizeof(ivg_step) + 32; size += 4) {
    union {
      ivg_step step;
      unsigned char bytes[sizeof(ivg_step) + 64];
    } u;
    memset(&u, 0xa5, sizeof u);
    u.step.struct_size = (uint32_t)size;
    REQUIRE_OK(ivg_session_begin(session, "x", 1, NULL, NULL, &error));
    EXPECT(IVG_OK, ivg_session_next(session, &u.step, &error));
    for (size_t i = size; i < sizeof u; i++) CHECK(u.bytes[i] == 0xa5);
    for (size_t i = sizeof(ivg_step); i < size; i++) CHECK(u.bytes[i] == 0);
    CHECK(u.step.struct_size == size);
  }
  /* A step that cannot be written must not cost the token. */
  ivg_step step = {.struct_size = 0};
  REQUIRE_OK(ivg_session_begin(session, "x", 1, NULL, NULL, &error));
  EXPECT(IVG_ERROR_INVALID_ARGUMENT, ivg_session_next(session, &step, &error));
  answer out, whole;
  finish_request(session, &out);
  GENERATE(session, "x", NULL, NULL, &whole);
  CHECK(out.token_count == whole.token_count);
}

static void reserved_fields_must_be_zero(void) {
  ivg_model_options opening = {.struct_size = sizeof opening, .reserved = 1};
  ivg_guidance_options search = {.struct_size = sizeof search, .reserved = 1};
  ivg_implicit_options implicit = {.struct_size = sizeof implicit, .tuned_template = "{prompt}", .reserved = 1};
  ivg_scorer_options scorer = {.struct_size = sizeof scorer, .reserved = 1};
  ivg_generate_options options = {.struct_size = sizeof options, .reserved = 1};
  ivg_model *opened = NULL;
  ivg_guidance *made = NULL;
  EXPECT_ERROR(IVG_ERROR_UNSUPPORTED, "ivg_model_options.reserved is 1",
               ivg_model_open(&opened, fixture("tiny-llama.gguf"), &opening, &error));
  EXPECT_ERROR(IVG_ERROR_UNSUPPORTED, "reserved is 1", ivg_guidance_create(&made, &search, &error));
  CHECK(!opened && !made);
  EXPECT(IVG_OK, ivg_guidance_create(&made, NULL, &error));
  EXPECT_ERROR(IVG_ERROR_UNSUPPORTED, "reserved is 1", ivg_guidance_add_implicit(made, &implicit, 1, &error));
  EXPECT_ERROR(IVG_ERROR_UNSUPPORTED, "reserved is 1", ivg_guidance_add_scorer(made, &scorer, 1, &error));
  EXPECT_ERROR(IVG_ERROR_UNSUPPORTED, "reserved is 1", begin_with(&options));
  ivg_guidance_free(made);
}

static void options_out_of_range(void) {
  static const struct {
    ivg_generate_options options;
    const char *name;
  } cases[] = {
      {{.temperature = -0.5f}, "temperature"},
      {{.temperature = NAN}, "temperature"},
      {{.temperature = INFINITY}, "temperature"},
      {{.top_p = 1.5f}, "top_p"},
      {{.top_p = -1}, "top_p"},
      {{.top_p = NAN}, "top_p"},
      {{.min_p = 2}, "min_p"},
      {{.min_p = NAN}, "min_p"},
      {{.repetition_penalty = -2}, "repetition_penalty"},
      {{.repetition_penalty = NAN}, "repetition_penalty"},
      {{.top_log_probabilities = 65}, "top_log_probabilities"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    ivg_generate_options options = cases[i].options;
    options.struct_size = sizeof options;
    EXPECT_ERROR(IVG_ERROR_INVALID_ARGUMENT, cases[i].name, begin_with(&options));
  }
  const int32_t tokens[1] = {1000000};
  const char *const empty[1] = {""};
  ivg_generate_options options = {.struct_size = sizeof options, .flags = 1u << 30};
  EXPECT_ERROR(IVG_ERROR_UNSUPPORTED, "flags", begin_with(&options));
  options = (ivg_generate_options){.struct_size = sizeof options, .end_tokens = tokens, .end_token_count = 1};
  EXPECT_ERROR(IVG_ERROR_INVALID_ARGUMENT, "end_tokens", begin_with(&options));
  options =
      (ivg_generate_options){.struct_size = sizeof options, .banned_tokens = tokens, .banned_token_count = 1};
  EXPECT_ERROR(IVG_ERROR_INVALID_ARGUMENT, "banned_tokens", begin_with(&options));
  options =
      (ivg_generate_options){.struct_size = sizeof options, .stop_strings = empty, .stop_string_count = 1};
  EXPECT_ERROR(IVG_ERROR_INVALID_ARGUMENT, "stop_strings", begin_with(&options));
  options = (ivg_generate_options){.struct_size = sizeof options, .max_tokens = UINT32_MAX};
  EXPECT_ERROR(IVG_ERROR_CONTEXT_FULL, "max_tokens", begin_with(&options));
  options = (ivg_generate_options){.struct_size = sizeof options, .top_k = UINT32_MAX - 1};
  EXPECT(IVG_OK, begin_with(&options));

  ivg_guidance_options guidance = {
      .struct_size = sizeof guidance, .width = UINT32_MAX, .successors = UINT32_MAX};
  EXPECT_ERROR(IVG_ERROR_INVALID_ARGUMENT, "width", guide_with(&guidance));
  guidance = (ivg_guidance_options){.struct_size = sizeof guidance, .width = 1000, .successors = 1000};
  EXPECT_ERROR(IVG_ERROR_INVALID_ARGUMENT, "successors", guide_with(&guidance));
  guidance = (ivg_guidance_options){.struct_size = sizeof guidance, .finished_rows = 2};
  EXPECT_ERROR(IVG_ERROR_INVALID_ARGUMENT, "finished_rows", guide_with(&guidance));
  guidance = (ivg_guidance_options){.struct_size = sizeof guidance, .candidates = 2};
  EXPECT_ERROR(IVG_ERROR_INVALID_ARGUMENT, "candidates", guide_with(&guidance));
  guidance = (ivg_guidance_options){.struct_size = sizeof guidance, .dedupe = 2};
  EXPECT_ERROR(IVG_ERROR_INVALID_ARGUMENT, "dedupe", guide_with(&guidance));
  guidance = (ivg_guidance_options){.struct_size = sizeof guidance, .chunk = UINT32_MAX};
  EXPECT(IVG_OK, guide_with(&guidance));

  ivg_implicit_options implicit = {.struct_size = sizeof implicit, .role = 4};
  EXPECT_ERROR(IVG_ERROR_INVALID_ARGUMENT, "role", implicit_with(&implicit));
  ivg_guidance *made = new_guidance(1, 1, 0);
  implicit.role = 0;
  EXPECT_ERROR(IVG_ERROR_INVALID_ARGUMENT, "weight", ivg_guidance_add_implicit(made, &implicit, NAN, &error));
  ivg_explicit_options explicit_options = {.struct_size = sizeof explicit_options};
  EXPECT_ERROR(IVG_ERROR_INVALID_ARGUMENT, "head",
               ivg_guidance_add_explicit(made, &explicit_options, 1, &error));
  ivg_scorer_options scorer = {.struct_size = sizeof scorer};
  EXPECT_ERROR(IVG_ERROR_INVALID_ARGUMENT, "score", ivg_guidance_add_scorer(made, &scorer, 1, &error));
  ivg_guidance_free(made);

  ivg_session_options create = {.struct_size = sizeof create, .thread_count = 5000};
  EXPECT_ERROR(IVG_ERROR_INVALID_ARGUMENT, "thread_count", create_with(&create));
  create = (ivg_session_options){.struct_size = sizeof create, .context_length = 1u << 30};
  EXPECT_ERROR(IVG_ERROR_INVALID_ARGUMENT, "context_length", create_with(&create));
  create = (ivg_session_options){.struct_size = sizeof create, .memory_budget = 1};
  EXPECT_ERROR(IVG_ERROR_OUT_OF_MEMORY, "budget", create_with(&create));
}

static void calls_without_a_request(void) {
  ivg_session *fresh = open_session(model, 1);
  ivg_step step = {.struct_size = sizeof step};
  ivg_result result = {.struct_size = sizeof result};
  ivg_candidate candidate = {.struct_size = sizeof candidate};
  EXPECT_ERROR(IVG_ERROR_INVALID_ARGUMENT, "request", ivg_session_next(fresh, &step, &error));
  EXPECT_ERROR(IVG_ERROR_INVALID_ARGUMENT, "request", ivg_session_result(fresh, &result, &error));
  EXPECT(IVG_ERROR_INVALID_ARGUMENT, ivg_session_candidate(fresh, 0, &candidate, &error));
  EXPECT(IVG_OK, ivg_session_begin(fresh, "x", 1, NULL, NULL, &error));
  EXPECT(IVG_OK, ivg_session_result(fresh, &result, &error));
  EXPECT(IVG_OK, ivg_session_next(fresh, &step, &error));
  EXPECT(IVG_OK, ivg_session_candidate(fresh, 0, &candidate, &error));
  EXPECT_ERROR(IVG_ERROR_INVALID_ARGUMENT, "1", ivg_session_candidate(fresh, 1, &candidate, &error));
  EXPECT(IVG_ERROR_INVALID_ARGUMENT, ivg_session_candidate(fresh, UINT32_MAX, &candidate, &error));
  ivg_session_free(fresh);
}

static void a_message_is_not_required(void) {
  ivg_model *none = NULL;
  ivg_step step = {.struct_size = sizeof step};
  CHECK(ivg_model_open(&none, "/nowhere", NULL, NULL) == IVG_ERROR_NOT_FOUND && !none);
  ivg_session *fresh = open_session(model, 1);
  CHECK(ivg_session_next(fresh, &step, NULL) == IVG_ERROR_INVALID_ARGUMENT);
  ivg_session_free(fresh);
}

static void out_parameters_stay_on_an_error(void) {
  ivg_model *kept = model;
  EXPECT_ERROR(IVG_ERROR_NOT_FOUND, "/nowhere", ivg_model_open(&kept, "/nowhere", NULL, &error));
  CHECK(kept == model);
  double score = 7;
  const char *texts[1] = {"a"};
  const size_t lengths[1] = {1};
  ivg_guidance *guidance = new_guidance(1, 1, 0);
  EXPECT_ERROR(IVG_ERROR_INVALID_ARGUMENT, "SCORE",
               ivg_session_score(session, guidance, "x", 1, texts, lengths, 1, 0, &score, &error));
  CHECK(score == 7);
  ivg_guidance_free(guidance);
}

static void free_of_null(void) {
  ivg_error_free(NULL);
  ivg_file_free(NULL);
  ivg_model_free(NULL);
  ivg_adapter_free(NULL);
  ivg_value_head_free(NULL);
  ivg_guidance_free(NULL);
  ivg_session_free(NULL);
  ivg_sequence_free(NULL);
}

/* All orders in which six handles that need each other can be freed: 720, with a use of the session before it
 * goes. */
static ivg_model *base, *small;
static ivg_adapter *adapter;
static ivg_value_head *head;
static ivg_guidance *guide;
static ivg_session *user;

static void free_one(int which) {
  switch (which) {
    case 0: ivg_model_free(base); break;
    case 1: ivg_model_free(small); break;
    case 2: ivg_adapter_free(adapter); break;
    case 3: ivg_value_head_free(head); break;
    case 4: ivg_guidance_free(guide); break;
    default: ivg_session_free(user); break;
  }
}

static void any_order_of_freeing(void) {
  ivg_generate_options options = {.struct_size = sizeof options, .max_tokens = 4};
  answer expected, out;
  memset(&expected, 0, sizeof expected);
  for (int number = 0; number < 720; number++) {
    base = open_model(fixture("tiny-llama-q4_0.gguf"));
    small = open_model(fixture("tiny-llama-untuned.gguf"));
    EXPECT(IVG_OK, ivg_adapter_open(&adapter, base, fixture("tiny-adapter.gguf"), &error));
    EXPECT(IVG_OK, ivg_value_head_open(&head, base, fixture("tiny-value-lora.gguf"), &error));
    guide = new_guidance(2, 2, 2);
    ivg_implicit_options implicit = {
        .struct_size = sizeof implicit, .tuned_adapter = adapter, .untuned_model = small};
    ivg_explicit_options explicit_options = {.struct_size = sizeof explicit_options, .head = head};
    EXPECT(IVG_OK, ivg_guidance_add_implicit(guide, &implicit, 1, &error));
    EXPECT(IVG_OK, ivg_guidance_add_explicit(guide, &explicit_options, 1, &error));
    user = open_session(base, 1);
    EXPECT(IVG_OK, ivg_session_begin(user, "A", 1, &options, guide, &error));
    int left[6] = {0, 1, 2, 3, 4, 5};
    for (int count = 6, rest = number; count > 0; count--) {
      int place = rest % count;
      rest /= count;
      if (left[place] == 5) {
        finish_request(user, &out);
        if (number == 0) expected = out;
        CHECK(same_answer(&expected, &out));
      }
      free_one(left[place]);
      memmove(left + place, left + place + 1, (size_t)(count - place - 1) * sizeof *left);
    }
  }
}

static void buffers_that_are_too_small(void) {
  static const char text[] = "The value of a text \xf0\x9f\x99\x82";
  int32_t tokens[64];
  char back[64];
  size_t count = 0, needed = 0;
  EXPECT(IVG_ERROR_BUFFER_TOO_SMALL,
         ivg_model_tokenize(model, text, strlen(text), 0, NULL, 0, &count, &error));
  REQUIRE(count > 2 && count < 64);
  size_t exact = count;
  tokens[exact] = 12345;
  EXPECT(IVG_ERROR_BUFFER_TOO_SMALL,
         ivg_model_tokenize(model, text, strlen(text), 0, tokens, exact - 1, &count, &error));
  EXPECT(IVG_OK, ivg_model_tokenize(model, text, strlen(text), 0, tokens, exact, &count, &error));
  CHECK(count == exact && tokens[exact] == 12345);
  EXPECT(IVG_ERROR_BUFFER_TOO_SMALL, ivg_model_detokenize(model, tokens, count, 0, NULL, 0, &needed, &error));
  CHECK(needed == strlen(text));
  EXPECT(IVG_OK, ivg_model_detokenize(model, tokens, count, 0, back, needed, &needed, &error));
  CHECK(needed == strlen(text) && memcmp(back, text, needed) == 0);
  EXPECT(IVG_OK, ivg_model_detokenize(model, tokens, 0, 0, NULL, 0, &needed, &error));
  CHECK(needed == 0);
  const int32_t odd[2] = {-1, INT32_MAX};
  EXPECT_ERROR(IVG_ERROR_INVALID_ARGUMENT, "-1",
               ivg_model_detokenize(model, odd, 1, 0, back, 64, &needed, &error));
  EXPECT(IVG_ERROR_INVALID_ARGUMENT, ivg_model_detokenize(model, odd + 1, 1, 0, back, 64, &needed, &error));
  CHECK(!ivg_model_token_ends(model, -1) && !ivg_model_token_ends(model, INT32_MAX));
}

int main(void) {
  model = open_model(fixture("tiny-llama.gguf"));
  session = open_session(model, 1);
  RUN(sizes_of_structs_that_go_in);
  RUN(sizes_of_structs_that_come_out);
  RUN(sizes_that_cannot_be);
  RUN(reserved_fields_must_be_zero);
  RUN(options_out_of_range);
  RUN(calls_without_a_request);
  RUN(a_message_is_not_required);
  RUN(out_parameters_stay_on_an_error);
  RUN(free_of_null);
  RUN(any_order_of_freeing);
  RUN(buffers_that_are_too_small);
  ivg_session_free(session);
  ivg_model_free(model);
  return check_finish();
}
