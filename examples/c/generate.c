/* SPDX-License-Identifier: Apache-2.0
 *
 * Introduces usage of libivg from C: opens a model, streams a continuation of a prompt, and reports every
 * error.
 *
 *     cc -std=c11 generate.c -o generate $(pkg-config --cflags --libs ivg)
 *     ./generate model.gguf "Once upon a time"
 */
#include <ivg.h>

#include <stdio.h>
#include <string.h>

int main(int count, char **arguments) {
  if (count != 3) {
    fprintf(stderr, "usage: %s MODEL PROMPT\n", arguments[0]);
    return 2;
  }
  const char *prompt = arguments[2];
  ivg_model *model = NULL;
  ivg_session *session = NULL;
  ivg_error *error = NULL;

  /* Unset fields are zero, which is their default. */
  ivg_generate_options options = {.struct_size = sizeof options, .max_tokens = 64, .seed = 1};

  /* Each call that fails leaves its message in `error` and nothing else to clean up. */
  ivg_status status = ivg_model_open(&model, arguments[1], NULL, &error);
  if (status == IVG_OK) status = ivg_session_create(&session, model, NULL, &error);
  if (status == IVG_OK) status = ivg_session_begin(session, prompt, strlen(prompt), &options, NULL, &error);

  if (status == IVG_OK) printf("%s", prompt);
  ivg_step step = {.struct_size = sizeof step};
  while (status == IVG_OK && (status = ivg_session_next(session, &step, &error)) == IVG_OK) {
    fwrite(step.text, 1, step.text_length, stdout);
    fflush(stdout);
  }
  if (status == IVG_DONE) printf("\n");

  if (status < 0) fprintf(stderr, "%s: %s\n", ivg_status_string(status), ivg_error_message(error));
  ivg_error_free(error); /* in any order; NULL is fine */
  ivg_session_free(session);
  ivg_model_free(model);
  return status < 0;
}
