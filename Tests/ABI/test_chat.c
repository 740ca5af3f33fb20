/* SPDX-License-Identifier: Apache-2.0
 *
 * test_chat.c - conversations as chat templates write them; texts and tokens in parts.
 */
#include "fixture.h"

static ivg_model *model;

#define LENGTH(array) (sizeof(array) / sizeof *(array))

static ivg_chat_message message(const char *role, const char *content) {
  return (ivg_chat_message){.role = role, .content = content, .content_length = strlen(content)};
}

/* Renders with the template, NULL for the model's own, and compares. */
static void renders(const char *source, const ivg_chat_message *messages, size_t count, uint32_t flags,
                    const char *wanted) {
  char text[4096];
  size_t needed = 0, length = strlen(wanted), source_length = source ? strlen(source) : 0;
  EXPECT(IVG_OK, ivg_model_render_chat(model, source, source_length, messages, count, flags, text, sizeof text,
                                       &needed, &error));
  CHECK(needed == length && strcmp(text, wanted) == 0);
  /* The buffer is filled to the last byte or not at all. */
  memset(text, 'x', sizeof text);
  EXPECT(IVG_OK, ivg_model_render_chat(model, source, source_length, messages, count, flags, text, length + 1,
                                       &needed, &error));
  CHECK(needed == length && strcmp(text, wanted) == 0 && text[length + 1] == 'x');
  memset(text, 'x', sizeof text);
  EXPECT_ERROR(IVG_ERROR_BUFFER_TOO_SMALL, "needed",
               ivg_model_render_chat(model, source, source_length, messages, count, flags, text, length, &needed,
                                     &error));
  CHECK(needed == length && text[0] == 'x');
  EXPECT(IVG_ERROR_BUFFER_TOO_SMALL, ivg_model_render_chat(model, source, source_length, messages, count, flags,
                                                           NULL, 0, &needed, &error));
  CHECK(needed == length);
}

static void the_models_own_template(void) {
  CHECK(strcmp(ivg_model_chat_family(model), "ChatML") == 0);
  ivg_chat_message messages[] = {message("system", "Be brief."), message("user", "{{ 1 }} <|im_end|>\n"),
                                 message("assistant", "")};
  renders(NULL, messages, 2, IVG_CHAT_GENERATION_PROMPT,
          "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n{{ 1 }} <|im_end|>\n<|im_end|>\n"
          "<|im_start|>assistant\n");
  renders(NULL, messages + 1, 2, 0,
          "<|im_start|>user\n{{ 1 }} <|im_end|>\n<|im_end|>\n<|im_start|>assistant\n<|im_end|>\n");
  /* A NUL is a character like any other. */
  ivg_chat_message odd = {.role = "user", .content = "a\0b", .content_length = 3};
  char text[256];
  size_t needed = 0;
  EXPECT(IVG_OK, ivg_model_render_chat(model, NULL, 0, &odd, 1, 0, text, sizeof text, &needed, &error));
  CHECK(memcmp(text, "<|im_start|>user\na\0b<|im_end|>\n", 31) == 0 && needed == 31);
}

static void another_template(void) {
  /* Gemma 2; the tiny model's BOS is <|im_start|>. */
  const char *gemma =
      "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}"
      "{% endif %}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
      "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
      "{% if (message['role'] == 'assistant') %}{% set role = 'model' %}{% else %}{% set role = message['role'] %}"
      "{% endif %}{{ '<start_of_turn>' + role + '\\n' + message['content'] | trim + '<end_of_turn>\\n' }}"
      "{% endfor %}{% if add_generation_prompt %}{{'<start_of_turn>model\\n'}}{% endif %}";
  ivg_chat_message messages[] = {message("user", " Hi\n"), message("assistant", "\tHo "), message("user", "x"),
                                 message("user", "y"), message("system", "z")};
  renders(gemma, messages, 3, IVG_CHAT_GENERATION_PROMPT,
          "<|im_start|><start_of_turn>user\nHi<end_of_turn>\n<start_of_turn>model\nHo<end_of_turn>\n"
          "<start_of_turn>user\nx<end_of_turn>\n<start_of_turn>model\n");
  size_t needed;
  EXPECT_ERROR(IVG_ERROR_INVALID_ARGUMENT, "alternate",
               ivg_model_render_chat(model, gemma, strlen(gemma), messages, 4, 0, NULL, 0, &needed, &error));
  EXPECT_ERROR(IVG_ERROR_INVALID_ARGUMENT, "system",
               ivg_model_render_chat(model, gemma, strlen(gemma), messages + 4, 1, 0, NULL, 0, &needed, &error));
}

static void refusals(void) {
  ivg_chat_message user = message("user", "x");
  size_t needed = 7;
  EXPECT_ERROR(IVG_ERROR_INVALID_ARGUMENT, "at least one",
               ivg_model_render_chat(model, NULL, 0, &user, 0, 0, NULL, 0, &needed, &error));
  CHECK(needed == 7);
  const char *roles[] = {"", "User", "tool", "assistant "};
  for (size_t i = 0; i < LENGTH(roles); i++) {
    ivg_chat_message odd = message(roles[i], "x");
    EXPECT_ERROR(IVG_ERROR_INVALID_ARGUMENT, "role",
                 ivg_model_render_chat(model, NULL, 0, &odd, 1, 0, NULL, 0, &needed, &error));
  }
  const char *sources[] = {"", "{{ messages }}", "{% for message in messages %}"};
  for (size_t i = 0; i < LENGTH(sources); i++)
    EXPECT_ERROR(IVG_ERROR_UNSUPPORTED, "ChatML",
                 ivg_model_render_chat(model, sources[i], strlen(sources[i]), &user, 1, 0, NULL, 0, &needed, &error));
  /* A file without a template has no family. */
  ivg_model *plain = open_model(fixture("tiny-sentencepiece.gguf"));
  CHECK(!ivg_model_chat_family(plain));
  EXPECT_ERROR(IVG_ERROR_UNSUPPORTED, "no chat template",
               ivg_model_render_chat(plain, NULL, 0, &user, 1, 0, NULL, 0, &needed, &error));
  ivg_model_free(plain);
}

/* Tokens of a text, and the text of tokens. */
static size_t tokens_of(ivg_model *words, const char *text, uint32_t flags, int32_t *tokens) {
  size_t count = 0;
  EXPECT(IVG_OK, ivg_model_tokenize(words, text, strlen(text), flags, tokens, 64, &count, &error));
  return count;
}

static void is_text(ivg_model *words, const int32_t *tokens, size_t count, uint32_t flags, const char *wanted) {
  char text[256];
  size_t needed = 0;
  EXPECT(IVG_OK, ivg_model_detokenize(words, tokens, count, flags, text, sizeof text, &needed, &error));
  CHECK(needed == strlen(wanted) && memcmp(text, wanted, needed) == 0);
}

static void parts_of_texts(void) {
  ivg_model *words = open_model(fixture("tiny-sentencepiece.gguf"));
  int32_t first[64], rest[64], begun[64];
  size_t count = tokens_of(words, "the value", 0, first);
  is_text(words, first, count, 0, "the value");
  is_text(words, first, count, IVG_DETOKENIZE_CONTINUES, " the value");
  size_t continued = tokens_of(words, "the value", IVG_TOKENIZE_CONTINUES, rest);
  is_text(words, rest, continued, IVG_DETOKENIZE_CONTINUES, "the value");
  CHECK(count != continued || memcmp(first, rest, count * sizeof *first) != 0);
  /* BOS once, whether it is asked for or written. */
  size_t asked = tokens_of(words, "the value", IVG_TOKENIZE_BEGIN | IVG_TOKENIZE_SPECIAL, begun);
  CHECK(asked == count + 1 && begun[0] == 1 && memcmp(begun + 1, first, count * sizeof *first) == 0);
  size_t written = tokens_of(words, "<s>the value", IVG_TOKENIZE_BEGIN | IVG_TOKENIZE_SPECIAL, rest);
  CHECK(written == asked && memcmp(begun, rest, asked * sizeof *begun) == 0);
  is_text(words, begun, asked, IVG_DETOKENIZE_SKIP_CONTROL, "the value");
  /* Of parts with special tokens, too, the tokens are those of the whole. */
  int32_t whole[64];
  size_t all = tokens_of(words, "the</s>the", IVG_TOKENIZE_SPECIAL, whole);
  count = tokens_of(words, "the", IVG_TOKENIZE_SPECIAL, first);
  continued = tokens_of(words, "</s>the", IVG_TOKENIZE_SPECIAL | IVG_TOKENIZE_CONTINUES, rest);
  CHECK(all == count + continued && memcmp(whole, first, count * sizeof *first) == 0);
  CHECK(all == count + continued && memcmp(whole + count, rest, continued * sizeof *rest) == 0);
  ivg_model_free(words);
}

int main(void) {
  model = open_model(fixture("tiny-llama.gguf"));
  RUN(the_models_own_template);
  RUN(another_template);
  RUN(refusals);
  RUN(parts_of_texts);
  ivg_model_free(model);
  return check_finish();
}
