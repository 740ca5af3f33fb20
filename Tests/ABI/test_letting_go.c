/* SPDX-License-Identifier: Apache-2.0
 *
 * test_letting_go.c - a session that lives long keeps little of what came and went: adapters, value heads and guides that
 * were freed, candidates that were read. And figures that no memory could hold are figures, not the end of the process.
 */
#include "fixture.h"

static ivg_model *model;
static ivg_session *session;

/* How often a file is mapped into this process. */
static int mappings(const char *name) {
  char line[4096];
  int count = 0;
  FILE *file = fopen("/proc/self/maps", "r");
  while (fgets(line, sizeof line, file)) count += strstr(line, name) != NULL;
  fclose(file);
  return count;
}

static void adapters_of_sequences(void) {
  static const int32_t tokens[] = {1, 2, 3};
  for (int i = 0; i < 100; i++) {
    ivg_adapter *adapter = NULL;
    ivg_sequence *sequence = NULL;
    REQUIRE_OK(ivg_adapter_open(&adapter, model, fixture("tiny-adapter.gguf"), &error));
    REQUIRE_OK(ivg_sequence_create(&sequence, session, adapter, &error));
    EXPECT(IVG_OK, ivg_sequence_evaluate(sequence, tokens, 3, &error));
    ivg_adapter_free(adapter);
    CHECK(mappings("tiny-adapter.gguf") == 1); /* the sequence has it */
    ivg_sequence_free(sequence);
    CHECK(mappings("tiny-adapter.gguf") == 0);
  }
}

/* Runs a request with a part that was opened for it alone. */
static void request_with(int kind, int round) {
  ivg_guidance *guidance = new_guidance(1, 1, 0);
  char template[64];
  snprintf(template, sizeof template, "%d {prompt}", round);
  if (kind == 0) {
    ivg_adapter *adapter = NULL;
    REQUIRE_OK(ivg_adapter_open(&adapter, model, fixture("tiny-adapter.gguf"), &error));
    ivg_implicit_options options = {.struct_size = sizeof options, .tuned_adapter = adapter, .tuned_template = template};
    EXPECT(IVG_OK, ivg_guidance_add_implicit(guidance, &options, 1, &error));
    ivg_adapter_free(adapter);
  } else if (kind == 1) {
    ivg_value_head *head = NULL;
    REQUIRE_OK(ivg_value_head_open(&head, model, fixture("tiny-value-vocabulary.gguf"), &error));
    ivg_explicit_options options = {.struct_size = sizeof options, .head = head, .role = IVG_ROLE_TILT};
    EXPECT(IVG_OK, ivg_guidance_add_explicit(guidance, &options, 1, &error));
    ivg_value_head_free(head);
  } else {
    ivg_model *guide = open_model(fixture("tiny-llama-untuned.gguf"));
    ivg_implicit_options options = {.struct_size = sizeof options, .tuned_model = guide};
    EXPECT(IVG_OK, ivg_guidance_add_implicit(guidance, &options, 1, &error));
    ivg_model_free(guide);
  }
  ivg_generate_options options = {.struct_size = sizeof options, .max_tokens = 3, .flags = IVG_GENERATE_IGNORE_END};
  answer out;
  GENERATE(session, "Once upon a time", &options, guidance, &out);
  ivg_guidance_free(guidance);
}

static void parts_of_requests(void) {
  static const char *const files[] = {"tiny-adapter.gguf", "tiny-value-vocabulary.gguf", "tiny-llama-untuned.gguf"};
  static const int limits[] = {9, 1, 5}; /* kept prefixes have theirs; a few guides stay for the next request */
  for (int kind = 0; kind < 3; kind++) {
    for (int round = 0; round < 40; round++) request_with(kind, round);
    int count = mappings(files[kind]);
    printf("     after 40 requests %s is mapped %d times\n", files[kind], count);
    CHECK(count <= limits[kind]);
  }
}

/* What is kept of another request's guides does not change a text. */
static void texts_stay(void) {
  ivg_generate_options options = {.struct_size = sizeof options, .max_tokens = 20, .seed = 3};
  answer before, after;
  GENERATE(session, "Once upon a time", &options, NULL, &before);
  for (int round = 0; round < 12; round++) request_with(round % 3, round);
  GENERATE(session, "Once upon a time", &options, NULL, &after);
  CHECK(strcmp(before.text, after.text) == 0);
}

static void candidates_read_again(void) {
  ivg_generate_options options = {.struct_size = sizeof options, .max_tokens = 60, .flags = IVG_GENERATE_IGNORE_END};
  answer out;
  GENERATE(session, "Once upon a time", &options, NULL, &out);
  ivg_candidate first = {.struct_size = sizeof first}, again = first;
  EXPECT(IVG_OK, ivg_session_candidate(session, 0, &first, &error));
  for (int i = 0; i < 1000; i++) {
    EXPECT(IVG_OK, ivg_session_candidate(session, 0, &again, &error));
    CHECK(again.text == first.text && again.tokens == first.tokens);
  }
}

static int32_t zeros(void *user_data, const ivg_hosted_row *rows, size_t count, size_t vocabulary) {
  (void)user_data;
  for (size_t i = 0; i < count; i++) memset(rows[i].logits, 0, vocabulary * sizeof(float));
  return 0;
}

/* Textual guides have no bound but their context, whatever max_tokens is. */
static void figures_beyond_memory(void) {
  ivg_model *guide = open_model(fixture("tiny-other-vocabulary.gguf")), *host = NULL;
  ivg_hosted_options hosting = {.struct_size = sizeof hosting, .context_length = UINT32_MAX, .logits = zeros};
  REQUIRE_OK(ivg_model_create_hosted(&host, model, &hosting, &error));
  ivg_guidance *guidance = new_guidance(1024, 1, 0);
  for (int i = 0; i < 24; i++) {
    char tuned[32], untuned[32];
    snprintf(tuned, sizeof tuned, "%d {prompt}", i);
    snprintf(untuned, sizeof untuned, "%d not {prompt}", i);
    ivg_implicit_options options = {.struct_size = sizeof options,
                                    .role = IVG_ROLE_SCORE,
                                    .tuned_model = guide,
                                    .untuned_model = guide,
                                    .tuned_template = tuned,
                                    .untuned_template = untuned};
    EXPECT(IVG_OK, ivg_guidance_add_implicit(guidance, &options, 1, &error));
  }
  ivg_generate_options options = {.struct_size = sizeof options, .max_tokens = UINT32_MAX - 1000};
  uint64_t bytes = 0;
  EXPECT(IVG_OK, ivg_memory_required(host, NULL, &options, guidance, 4, &bytes, &error));
  printf("     %llu bytes\n", (unsigned long long)bytes);
  CHECK(bytes > (uint64_t)1 << 40);
  ivg_guidance_free(guidance);
  ivg_model_free(host);
  ivg_model_free(guide);
}

int main(void) {
  model = open_model(fixture("tiny-llama.gguf"));
  ivg_session_options options = {.struct_size = sizeof options, .thread_count = 1, .memory_budget = 64 << 20};
  if (!EXPECT(IVG_OK, ivg_session_create(&session, model, &options, &error))) return 2;
  RUN(adapters_of_sequences);
  RUN(parts_of_requests);
  RUN(texts_stay);
  RUN(candidates_read_again);
  RUN(figures_beyond_memory);
  ivg_session_free(session);
  ivg_model_free(model);
  return check_finish();
}
