/* SPDX-License-Identifier: Apache-2.0
 *
 * Introduces usage of conversations: answers messages from standard input, a line each, with the model's own
 * chat template, and streams the answers. What one turn has computed is reused by the next.
 *
 *     cc -std=c11 chat.c -o chat $(pkg-config --cflags --libs ivg)
 *     echo "What is the capital of France?" | ./chat model.gguf
 */
#define _POSIX_C_SOURCE 200809L /* getline */
#include <ivg.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A conversation; it owns the contents of its messages. */
typedef struct conversation {
  ivg_chat_message *messages;
  size_t count;
} conversation;

/* Adds a copy of `content`. Returns 0 if there is no memory for it. */
static int add(conversation *self, const char *role, const char *content, size_t length) {
  ivg_chat_message *messages = realloc(self->messages, (self->count + 1) * sizeof *messages);
  if (messages == NULL) return 0;
  self->messages = messages;
  char *copy = malloc(length + 1);
  if (copy == NULL) return 0;
  memcpy(copy, content, length);
  copy[length] = '\0';
  messages[self->count++] = (ivg_chat_message){.role = role, .content = copy, .content_length = length};
  return 1;
}

static void clear(conversation *self) {
  for (size_t i = 0; i < self->count; i++) free((char *)self->messages[i].content);
  free(self->messages);
}

/* Begins a request for the next answer. */
static ivg_status begin(ivg_session *session, const ivg_model *model, const conversation *self, ivg_error **error) {
  ivg_generate_options options = {.struct_size = sizeof options, .max_tokens = 60, .temperature = IVG_GREEDY};
  size_t length = 0;
  char *prompt = NULL;
  /* Once for the length, once for the prompt. */
  ivg_status status = ivg_model_render_chat(model, NULL, 0, self->messages, self->count, IVG_CHAT_GENERATION_PROMPT,
                                            NULL, 0, &length, error);
  if (status == IVG_ERROR_BUFFER_TOO_SMALL && (prompt = malloc(length + 1)) != NULL) {
    ivg_error_free(*error);
    *error = NULL;
    status = ivg_model_render_chat(model, NULL, 0, self->messages, self->count, IVG_CHAT_GENERATION_PROMPT, prompt,
                                   length + 1, &length, error);
  }
  if (status == IVG_OK) status = ivg_session_begin(session, prompt, length, &options, NULL, error);
  free(prompt);
  return status;
}

/* Answers what was said last, and adds the answer to the conversation. */
static ivg_status answer(ivg_session *session, const ivg_model *model, conversation *self, ivg_error **error) {
  ivg_status status = begin(session, model, self, error);
  ivg_step step = {.struct_size = sizeof step};
  while (status == IVG_OK && (status = ivg_session_next(session, &step, error)) == IVG_OK) {
    fwrite(step.text, 1, step.text_length, stdout);
    fflush(stdout);
  }
  if (status != IVG_DONE) return status;
  printf("\n");
  ivg_candidate whole = {.struct_size = sizeof whole};
  status = ivg_session_candidate(session, 0, &whole, error);
  if (status == IVG_OK && !add(self, "assistant", whole.text, whole.text_length)) status = IVG_ERROR_OUT_OF_MEMORY;
  return status;
}

int main(int count, char **arguments) {
  if (count != 2) {
    fprintf(stderr, "usage: %s MODEL < MESSAGES\n", arguments[0]);
    return 2;
  }
  static const char system_message[] = "You are a helpful assistant.";
  conversation talk = {.messages = NULL};
  ivg_model *model = NULL;
  ivg_session *session = NULL;
  ivg_error *error = NULL;
  char *line = NULL;
  size_t capacity = 0;
  ssize_t length;

  ivg_status status = ivg_model_open(&model, arguments[1], NULL, &error);
  if (status == IVG_OK) status = ivg_session_create(&session, model, NULL, &error);
  if (status == IVG_OK && !add(&talk, "system", system_message, sizeof system_message - 1))
    status = IVG_ERROR_OUT_OF_MEMORY;

  while (status == IVG_OK && (length = getline(&line, &capacity, stdin)) >= 0) {
    if (length > 0 && line[length - 1] == '\n') length--;
    if (length > 0 && line[length - 1] == '\r') length--;
    if (length == 0) continue;
    printf("> ");
    fwrite(line, 1, (size_t)length, stdout);
    printf("\n");
    if (!add(&talk, "user", line, (size_t)length)) status = IVG_ERROR_OUT_OF_MEMORY;
    if (status == IVG_OK) status = answer(session, model, &talk, &error);
  }
  int unread = status == IVG_OK && ferror(stdin);

  /* Where this program itself had no memory there is no message of the library. */
  if (unread) fprintf(stderr, "standard input: %s\n", strerror(errno));
  if (status < 0)
    fprintf(stderr, "%s: %s\n", ivg_status_string(status), error ? ivg_error_message(error) : "the conversation");
  ivg_error_free(error);
  ivg_session_free(session);
  ivg_model_free(model);
  clear(&talk);
  free(line);
  return status < 0 || unread;
}
