/* SPDX-License-Identifier: Apache-2.0
 *
 * test_facts.c - what files, models and the library say of themselves; the log.
 */
#include "fixture.h"

static ivg_model *model;

static void files_tell_what_is_in_them(void) {
  ivg_file *file = NULL;
  REQUIRE_OK(ivg_file_open(&file, fixture("tiny-llama.gguf"), &error));
  uint64_t count = ivg_file_metadata_count(file), tensors = ivg_file_tensor_count(file);
  CHECK(count > 10 && tensors == 2 * 9 + 3);
  CHECK(!ivg_file_metadata_key(file, count) && !ivg_file_metadata_key(file, UINT64_MAX));
  for (uint64_t i = 0; i < count; i++) {
    char json[65536];
    size_t needed = 0, again = 0;
    CHECK(strlen(ivg_file_metadata_key(file, i)) > 0);
    EXPECT(IVG_ERROR_BUFFER_TOO_SMALL, ivg_file_metadata_json(file, i, UINT64_MAX, NULL, 0, &needed, &error));
    REQUIRE(needed + 1 <= sizeof json);
    EXPECT(IVG_ERROR_BUFFER_TOO_SMALL,
           ivg_file_metadata_json(file, i, UINT64_MAX, json, needed, &again, &error));
    EXPECT(IVG_OK, ivg_file_metadata_json(file, i, UINT64_MAX, json, needed + 1, &again, &error));
    CHECK(again == needed && strlen(json) == needed);
    EXPECT(IVG_OK, ivg_file_metadata_json(file, i, 0, json, sizeof json, &again, &error));
  }
  size_t needed;
  EXPECT(IVG_ERROR_INVALID_ARGUMENT, ivg_file_metadata_json(file, count, 1, NULL, 0, &needed, &error));
  ivg_tensor_info info = {.struct_size = sizeof info};
  for (uint64_t i = 0; i < tensors; i++) {
    EXPECT(IVG_OK, ivg_file_tensor(file, i, &info, &error));
    CHECK(info.name && info.type && strcmp(info.type, "F32") == 0 && info.dimension_count >= 1);
    CHECK(info.size == info.shape[0] * info.shape[1] * info.shape[2] * info.shape[3] * 4);
  }
  EXPECT(IVG_ERROR_INVALID_ARGUMENT, ivg_file_tensor(file, tensors, &info, &error));
  EXPECT(IVG_ERROR_INVALID_ARGUMENT, ivg_file_tensor(file, UINT64_MAX, &info, &error));
  ivg_file_free(file);
}

static void models_tell_what_they_are(void) {
  ivg_model_info info = {.struct_size = sizeof info};
  REQUIRE_OK(ivg_model_information(model, &info, &error));
  CHECK(info.vocabulary_size == 320 && info.context_length == 256 && info.embedding_length == 64);
  CHECK(info.layer_count == 2 && !info.vocabulary_only && info.begin_token == 1 && info.end_token == 2);
  CHECK(strcmp(info.architecture, "llama") == 0 && info.chat_template && info.file_size > 0);
  CHECK(ivg_model_token_ends(model, 2) == 1 && ivg_model_token_ends(model, 5) == 0);
  ivg_model *words = open_model(fixture("tiny-vocabulary-only.gguf"));
  info.struct_size = sizeof info;
  EXPECT(IVG_OK, ivg_model_information(words, &info, &error));
  CHECK(info.vocabulary_only == 1 && info.vocabulary_size == 320 && info.context_length == 0);
  ivg_session *none = NULL;
  EXPECT_ERROR(IVG_ERROR_UNSUPPORTED, "vocabulary", ivg_session_create(&none, words, NULL, &error));
  ivg_model_free(words);
}

static void versions_and_names(void) {
  CHECK(ivg_version_number() == IVG_VERSION_NUMBER);
  char text[32];
  snprintf(text, sizeof text, "%d.%d.%d", IVG_VERSION_MAJOR, IVG_VERSION_MINOR, IVG_VERSION_PATCH);
  CHECK(strcmp(text, ivg_version_string()) == 0);
  for (ivg_status status = -120; status < 20; status++) CHECK(strlen(ivg_status_string(status)) > 0);
  CHECK(strlen(ivg_status_string(INT32_MIN)) > 0 && strlen(ivg_kernels_name()) > 0);
}

static int lines, finalized;

static void count_line(void *user_data, int32_t level, const char *message) {
  if (user_data == &lines && level >= IVG_LOG_WARNING && level <= IVG_LOG_INFO && message[0]) lines++;
}

static void count_finalizer(void *user_data) { finalized += user_data == &lines; }

static void the_log_is_silent_until_asked(void) {
  ivg_model_free(open_model(fixture("tiny-llama.gguf")));
  CHECK(lines == 0);
  ivg_log_set(IVG_LOG_INFO, count_line, &lines, count_finalizer);
  ivg_model_free(open_model(fixture("tiny-llama.gguf")));
  CHECK(lines > 0 && finalized == 0);
  ivg_log_set(IVG_LOG_NONE, count_line, &lines, count_finalizer);
  CHECK(finalized == 1);
  int before = lines;
  ivg_model_free(open_model(fixture("tiny-llama.gguf")));
  CHECK(lines == before);
  ivg_log_set(IVG_LOG_NONE, NULL, NULL, NULL);
  CHECK(finalized == 2);
}

int main(void) {
  model = open_model(fixture("tiny-llama.gguf"));
  RUN(versions_and_names);
  RUN(files_tell_what_is_in_them);
  RUN(models_tell_what_they_are);
  RUN(the_log_is_silent_until_asked);
  ivg_model_free(model);
  return check_finish();
}
