/* SPDX-License-Identifier: Apache-2.0
 *
 * test_input.c - files and texts that nobody should pass: each ends in a status and a message, and the
 * session goes on as if it had not been.
 */
#include "fixture.h"

#include <sys/stat.h>
#include <unistd.h>

static ivg_model *model;
static ivg_session *session;
static char scratch[4096]; /* a file to write */

static void write_scratch(const unsigned char *bytes, size_t size) {
  FILE *file = fopen(scratch, "wb");
  if (!file || fwrite(bytes, 1, size, file) != size) exit(2);
  fclose(file);
}

static ivg_status opens(const char *path) {
  ivg_model *made = NULL;
  ivg_status status = ivg_model_open(&made, path, NULL, &error);
  ivg_model_free(made);
  return status;
}

static void files_that_are_no_models(void) {
  EXPECT_ERROR(IVG_ERROR_NOT_FOUND, "/no/such/file", opens("/no/such/file"));
  EXPECT(IVG_ERROR_NOT_FOUND, opens(""));
  EXPECT_ERROR(IVG_ERROR_IO, "/tmp", opens("/tmp"));
  EXPECT_ERROR(IVG_ERROR_IO, "/dev/zero", opens("/dev/zero"));
  write_scratch((const unsigned char *)"", 0);
  EXPECT_ERROR(IVG_ERROR_CORRUPT_FILE, scratch, opens(scratch));
  EXPECT_ERROR(IVG_ERROR_CORRUPT_FILE, "README.md", opens(fixture("README.md")));
  unsigned char noise[4096];
  uint32_t state = 1;
  for (int round = 0; round < 50; round++) {
    for (size_t i = 0; i < sizeof noise; i++)
      noise[i] = (unsigned char)((state = state * 1664525u + 1013904223u) >> 24);
    if (round % 2) memcpy(noise, "GGUF\3\0\0\0", 8);
    write_scratch(noise, sizeof noise);
    EXPECT_ERROR(IVG_ERROR_CORRUPT_FILE, scratch, opens(scratch));
  }
  chmod(scratch, 0);
  if (geteuid() != 0) EXPECT_ERROR(IVG_ERROR_IO, scratch, opens(scratch));
  chmod(scratch, 0600);
  unlink(scratch);
}

/* Every length of the file's head, then lengths in steps; all but the whole are refused. */
static void truncated_files(void) {
  unsigned char *bytes = NULL;
  size_t size = 0;
  REQUIRE(read_file(fixture("tiny-llama-q4_0.gguf"), &bytes, &size));
  write_scratch(bytes, size);
  EXPECT(IVG_OK, opens(scratch));
  for (size_t length = size - 1; length > 0; length -= length > 9000 ? 997 : 1) {
    if (truncate(scratch, (off_t)length) != 0) break;
    ivg_status status = opens(scratch);
    if (!check(status == IVG_ERROR_CORRUPT_FILE && error, __LINE__, "%zu bytes: %d", length, status)) break;
    ivg_error_free(error);
    error = NULL;
  }
  free(bytes);
  unlink(scratch);
}

static void the_wrong_kind_of_file(void) {
  ivg_adapter *adapter = NULL;
  ivg_value_head *head = NULL;
  ivg_model *other = open_model(fixture("tiny-llama-untuned.gguf"));
  static const char *const kinds[] = {"tiny-adapter.gguf", "tiny-value-scalar.gguf",
                                      "tiny-value-vocabulary.gguf"};
  for (int i = 0; i < 3; i++) EXPECT_ERROR(IVG_ERROR_MISMATCH, kinds[i], opens(fixture(kinds[i])));
  EXPECT_ERROR(IVG_ERROR_MISMATCH, "adapter",
               ivg_adapter_open(&adapter, model, fixture("tiny-llama.gguf"), &error));
  EXPECT_ERROR(IVG_ERROR_MISMATCH, "head",
               ivg_value_head_open(&head, model, fixture("tiny-llama.gguf"), &error));
  /* The adapter names layers that a model of one layer does not have. */
  EXPECT_ERROR(IVG_ERROR_MISMATCH, "blk.1",
               ivg_adapter_open(&adapter, other, fixture("tiny-adapter.gguf"), &error));
  EXPECT(IVG_ERROR_NOT_FOUND, ivg_adapter_open(&adapter, model, "/no/such/file", &error));
  EXPECT(IVG_ERROR_NOT_FOUND, ivg_value_head_open(&head, model, "/no/such/file", &error));
  ivg_model_free(other);
  /* A head for another hidden size. */
  const char *path = real_model("Q4_0");
  if (!path) {
    printf("     skipped: a head for another hidden size needs the real model\n");
    return;
  }
  other = open_model(path);
  EXPECT_ERROR(IVG_ERROR_MISMATCH, "576",
               ivg_value_head_open(&head, other, fixture("tiny-value-scalar.gguf"), &error));
  EXPECT(IVG_ERROR_MISMATCH,
         ivg_value_head_open(&head, other, fixture("tiny-value-vocabulary.gguf"), &error));
  EXPECT(IVG_ERROR_MISMATCH, ivg_adapter_open(&adapter, other, fixture("tiny-adapter.gguf"), &error));
  ivg_model_free(other);
}

static void prompts(void) {
  answer before, out;
  ivg_generate_options options = {.struct_size = sizeof options, .max_tokens = 8};
  GENERATE(session, "The text", &options, NULL, &before);

  /* Empty: begins with BOS. */
  GENERATE(session, "", &options, NULL, &out);
  ivg_result result = {.struct_size = sizeof result};
  EXPECT(IVG_OK, ivg_session_result(session, &result, &error));
  CHECK(result.prompt_token_count == 1);

  /* Any bytes: NUL, broken and overlong sequences, surrogates, beyond Unicode. */
  static const char odd[] =
      "a\0b\xff\xfe\x80 \xc0\x80 \xed\xa0\x80 \xf5\x80\x80\x80 \xf0\x9f\x99 end\xe2\x82";
  REQUIRE_OK(ivg_session_begin(session, odd, sizeof odd - 1, &options, NULL, &error));
  finish_request(session, &out);
  CHECK(out.status == IVG_DONE);
  int32_t tokens[256];
  char back[256];
  size_t count = 0, needed = 0;
  EXPECT(IVG_OK, ivg_model_tokenize(model, odd, sizeof odd - 1, 3, tokens, 256, &count, &error));
  EXPECT(IVG_OK, ivg_model_detokenize(model, tokens, count, 0, back, sizeof back, &needed, &error));
  CHECK(needed == sizeof odd - 1 && memcmp(back, odd, needed) == 0);

  /* Longer than the context, by prompt alone and by prompt and max_tokens. */
  char many[2000];
  memset(many, 'z', sizeof many);
  EXPECT_ERROR(IVG_ERROR_CONTEXT_FULL, "256",
               ivg_session_begin(session, many, sizeof many, &options, NULL, &error));
  options.max_tokens = 1;
  int longest = 0;
  for (size_t length = 1; length < 600; length++) {
    CHECK(ivg_model_tokenize(model, many, length, 3, NULL, 0, &count, NULL) == IVG_ERROR_BUFFER_TOO_SMALL);
    ivg_status status = ivg_session_begin(session, many, length, &options, NULL, &error);
    if (!check(status == (count + 1 <= 256 ? IVG_OK : IVG_ERROR_CONTEXT_FULL), __LINE__, "%zu tokens: %d",
               count, status))
      break;
    if (status == IVG_OK) longest = (int)count;
    ivg_error_free(error);
    error = NULL;
  }
  CHECK(longest == 255);
  REQUIRE_OK(ivg_session_begin(session, many, 255, &options, NULL, &error));
  finish_request(session, &out);
  CHECK(out.status == IVG_DONE);

  options.max_tokens = 8;
  GENERATE(session, "The text", &options, NULL, &out);
  CHECK(same_answer(&before, &out));
}

/* Ten megabytes, of one letter, of words, of one byte that is no text: refused, in time that grows with the
 * length and not with its square. */
static void enormous_prompts(void) {
  const size_t size = 10000000;
  char *text = malloc(size);
  static const char *const pieces[] = {"z", "the value of a text ", "\xff", " ", "\xe6\x9d\xb1"};
  for (int kind = 0; kind < 5; kind++) {
    for (size_t i = 0, length = strlen(pieces[kind]); i < size; i++) text[i] = pieces[kind][i % length];
    double begun = seconds_now();
    EXPECT(IVG_ERROR_CONTEXT_FULL, ivg_session_begin(session, text, size, NULL, NULL, &error));
    double seconds = seconds_now() - begun;
    printf("     10 MB of \"%s\": %.1f s\n", kind == 2 ? "\\xff" : pieces[kind], seconds);
    CHECK(seconds < 30);
  }
  free(text);
}

/* The place of a tensor in a copy of tiny-llama.gguf. */
static uint64_t tensor_offset(const char *name) {
  ivg_file *file = NULL;
  uint64_t offset = 0;
  EXPECT(IVG_OK, ivg_file_open(&file, fixture("tiny-llama.gguf"), &error));
  for (uint64_t i = 0; i < ivg_file_tensor_count(file); i++) {
    ivg_tensor_info info = {.struct_size = sizeof info};
    EXPECT(IVG_OK, ivg_file_tensor(file, i, &info, &error));
    if (strcmp(info.name, name) == 0) offset = info.offset;
  }
  ivg_file_free(file);
  return offset;
}

static int32_t score_length(void *user_data, const char *asked, size_t asked_length, const char *const *texts,
                            const size_t *lengths, const int32_t *finished, size_t count, double *scores) {
  (void)user_data, (void)asked, (void)asked_length, (void)texts, (void)finished;
  for (size_t i = 0; i < count; i++) scores[i] = (double)lengths[i];
  return 0;
}

/* Weights that are no numbers: said as soon as a result shows it, whatever the request. */
static void weights_that_are_no_numbers(void) {
  static const char *const names[] = {"output_norm.weight",    "output.weight",
                                      "token_embd.weight",     "blk.1.attn_v.weight",
                                      "blk.0.ffn_down.weight", "blk.1.attn_norm.weight"};
  static const float values[] = {NAN, INFINITY, -INFINITY};
  unsigned char *bytes = NULL;
  size_t size = 0;
  REQUIRE(read_file(fixture("tiny-llama.gguf"), &bytes, &size));
  for (size_t name = 0; name < sizeof names / sizeof *names; name++)
    for (int value = 0; value < 3; value++) {
      unsigned char *copy = malloc(size);
      memcpy(copy, bytes, size);
      uint64_t offset = tensor_offset(names[name]);
      REQUIRE(offset > 0);
      /* The whole first rows, so that every token meets it. */
      for (int i = 0; i < 64 * (name == 2 ? 320 : 1); i++)
        memcpy(copy + offset + 4 * (size_t)i, values + value, 4);
      write_scratch(copy, size);
      free(copy);
      ivg_model *broken = open_model(scratch);
      ivg_session *user = open_session(broken, 1);
      for (int kind = 0; kind < 4; kind++) {
        ivg_guidance *guidance = new_guidance(kind == 2 ? 2 : 1, kind == 2 ? 2 : 1, kind == 2 ? 2 : 0);
        ivg_scorer_options scorer = {.struct_size = sizeof scorer, .score = score_length};
        ivg_implicit_options implicit = {.struct_size = sizeof implicit, .role = 3, .tuned_model = broken};
        implicit.untuned_model = model;
        EXPECT(IVG_OK, ivg_guidance_add_scorer(guidance, &scorer, 1, &error));
        if (kind == 3) EXPECT(IVG_OK, ivg_guidance_add_implicit(guidance, &implicit, 1, &error));
        ivg_generate_options options = {.struct_size = sizeof options, .max_tokens = 6};
        options.temperature = kind == 1 ? IVG_GREEDY : 0;
        answer out;
        generate(kind == 3 ? session : user, "The text", &options, guidance, &out);
        if (values[value] != values[value] || out.status != IVG_DONE)
          check_status(out.status, IVG_ERROR_CORRUPT_FILE, scratch, names[name], __LINE__);
        ivg_guidance_free(guidance);
      }
      ivg_session_free(user);
      ivg_model_free(broken);
    }
  free(bytes);
  unlink(scratch);
}

/* Paths are UTF-8 like all text; a name of other bytes is not found, which is an error like any other. */
static void paths_of_any_script(void) {
  unsigned char *bytes = NULL;
  size_t size = 0, length = strlen(scratch);
  REQUIRE(read_file(fixture("tiny-llama-q4_0.gguf"), &bytes, &size));
  strcpy(scratch + length, "-\xe9t\xe9");
  write_scratch(bytes, size);
  ivg_status status = opens(scratch);
  CHECK(status == IVG_OK || (status == IVG_ERROR_NOT_FOUND && error));
  unlink(scratch);
  strcpy(scratch + length, "-\xc3\xa9t\xc3\xa9 \xe6\x9d\xb1"); /* spaces and any script */
  write_scratch(bytes, size);
  ivg_error_free(error);
  error = NULL;
  EXPECT(IVG_OK, opens(scratch));
  unlink(scratch);
  scratch[length] = 0;
  free(bytes);
}

/* Lengths that no array has, as -1 is, and flags that nobody knows. */
static void impossible_lengths(void) {
  const size_t none = (size_t)-1;
  const int32_t token = 5;
  const char *text = "abc";
  size_t count = 77;
  double score = 0;
  char buffer[64];
  ivg_model *model = NULL;
  ivg_session *session = NULL;
  ivg_sequence *sequence = NULL;
  ivg_guidance *guidance = NULL;
  ivg_implicit_options implicit = {
      .struct_size = sizeof implicit, .role = IVG_ROLE_SCORE, .tuned_template = "a {prompt}"};
  REQUIRE(ivg_model_open(&model, fixture("tiny-llama.gguf"), NULL, &error) == IVG_OK);
  REQUIRE(ivg_session_create(&session, model, NULL, &error) == IVG_OK);
  REQUIRE(ivg_sequence_create(&sequence, session, NULL, &error) == IVG_OK);
  REQUIRE(ivg_guidance_create(&guidance, NULL, &error) == IVG_OK);
  REQUIRE(ivg_guidance_add_implicit(guidance, &implicit, 1, &error) == IVG_OK);
  ivg_chat_message message = {.role = "user", .content = text, .content_length = 3}, endless = message;
  endless.content_length = none;
#define REFUSED(word, call) EXPECT_ERROR(IVG_ERROR_INVALID_ARGUMENT, word, call)
  REFUSED("text_length", ivg_model_tokenize(model, text, none, 0, NULL, 0, &count, &error));
  REFUSED("count", ivg_model_detokenize(model, &token, none, 0, NULL, 0, &count, &error));
  REFUSED("prompt_length", ivg_session_begin(session, text, none, NULL, NULL, &error));
  REFUSED("count", ivg_sequence_evaluate(sequence, &token, none, &error));
  REFUSED("count", ivg_session_score(session, guidance, text, 3, &text, &count, none, 0, &score, &error));
  REFUSED("prompt_length", ivg_session_score(session, guidance, text, none, &text, &count, 1, 0, &score, &error));
  REFUSED("text_lengths[0]", ivg_session_score(session, guidance, text, 3, &text, &none, 1, 0, &score, &error));
  REFUSED("template_length", ivg_model_render_chat(model, text, none, &message, 1, 0, buffer, 64, &count, &error));
  REFUSED("count", ivg_model_render_chat(model, NULL, 0, &message, none, 0, buffer, 64, &count, &error));
  REFUSED("content_length", ivg_model_render_chat(model, NULL, 0, &endless, 1, 0, buffer, 64, &count, &error));
  ivg_generate_options options = {.struct_size = sizeof options};
  options.end_tokens = options.banned_tokens = &token;
  options.stop_strings = &text;
  options.end_token_count = none;
  REFUSED("end_token_count", ivg_session_begin(session, text, 3, &options, NULL, &error));
  options.end_token_count = 0;
  options.banned_token_count = none;
  REFUSED("banned_token_count", ivg_session_begin(session, text, 3, &options, NULL, &error));
  options.banned_token_count = 0;
  options.stop_string_count = none;
  REFUSED("stop_string_count", ivg_session_begin(session, text, 3, &options, NULL, &error));
#undef REFUSED
#define UNKNOWN(call) EXPECT_ERROR(IVG_ERROR_UNSUPPORTED, "flags", call)
  UNKNOWN(ivg_model_tokenize(model, text, 3, 64, NULL, 0, &count, &error));
  UNKNOWN(ivg_model_detokenize(model, &token, 1, 64, NULL, 0, &count, &error));
  UNKNOWN(ivg_session_score(session, guidance, text, 3, &text, &count, 1, 64, &score, &error));
  UNKNOWN(ivg_model_render_chat(model, NULL, 0, &message, 1, 64, buffer, 64, &count, &error));
#undef UNKNOWN
  CHECK(count == 77); /* what comes out stays as it was */
  ivg_guidance_free(guidance);
  ivg_sequence_free(sequence);
  ivg_session_free(session);
  ivg_model_free(model);
}

int main(void) {
  const char *folder = getenv("TMPDIR");
  snprintf(scratch, sizeof scratch, "%s/ivg-input-%ld.gguf", folder ? folder : "/tmp", (long)getpid());
  model = open_model(fixture("tiny-llama.gguf"));
  session = open_session(model, 1);
  RUN(files_that_are_no_models);
  RUN(truncated_files);
  RUN(the_wrong_kind_of_file);
  RUN(prompts);
  RUN(impossible_lengths);
  RUN(enormous_prompts);
  RUN(weights_that_are_no_numbers);
  RUN(paths_of_any_script);
  ivg_session_free(session);
  ivg_model_free(model);
  return check_finish();
}
