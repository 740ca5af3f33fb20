/* SPDX-License-Identifier: Apache-2.0
 *
 * streaming_cancel.c - what a stranger writes who has read nothing but ivg.h: guided streaming that Ctrl-C
 * interrupts, and that goes on from there. To stdout goes the text, to stderr a line an interruption.
 *
 *     streaming_cancel MODEL PROMPT [EVERY]
 *
 * With EVERY the program interrupts itself: before the first step, and after each EVERY steps. The text must be the same.
 */
#define _POSIX_C_SOURCE 200809L /* sigaction */
#include <ivg.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The handler's session. It is set before the handler is, and stays until after that is gone. */
static ivg_session *interruptible;

static void interrupt_session(int number) {
  (void)number;
  ivg_session_cancel(interruptible);
}

/* Streams the begun request to its end, over all interruptions. */
static ivg_status stream(ivg_session *session, unsigned long every, ivg_error **error) {
  ivg_step step = {.struct_size = sizeof step};
  ivg_status status;
  unsigned long steps = 0;
  if (every > 0) raise(SIGINT);
  do {
    status = ivg_session_next(session, &step, error);
    if (status == IVG_OK) {
      fwrite(step.text, 1, step.text_length, stdout);
      fflush(stdout);
      steps++;
      if (every > 0 && steps % every == 0) raise(SIGINT);
    } else if (status == IVG_ERROR_CANCELLED) {
      fprintf(stderr, "[interrupted after %lu steps: %s]\n", steps, ivg_error_message(*error));
      ivg_error_free(*error);
      *error = NULL;
    }
  } while (status == IVG_OK || status == IVG_ERROR_CANCELLED);
  return status;
}

int main(int count, char **arguments) {
  if (count < 3 || count > 4) {
    fprintf(stderr, "usage: %s MODEL PROMPT [EVERY]\n", arguments[0]);
    return 2;
  }
  const char *prompt = arguments[2];
  unsigned long every = count == 4 ? strtoul(arguments[3], NULL, 10) : 0;
  ivg_model *model = NULL;
  ivg_session *session = NULL;
  ivg_guidance *guidance = NULL;
  ivg_error *error = NULL;

  ivg_guidance_options search = {.struct_size = sizeof search, .width = 2, .successors = 2, .chunk = 4};
  ivg_implicit_options value = {.struct_size = sizeof value,
                                .role = IVG_ROLE_TILT | IVG_ROLE_SCORE,
                                .tuned_template = "A happy story. {prompt}",
                                .untuned_template = "A story. {prompt}"};
  ivg_generate_options options = {.struct_size = sizeof options, .max_tokens = 48, .seed = 7};

  ivg_status status = ivg_model_open(&model, arguments[1], NULL, &error);
  if (status == IVG_OK) status = ivg_session_create(&session, model, NULL, &error);
  if (status == IVG_OK) status = ivg_guidance_create(&guidance, &search, &error);
  if (status == IVG_OK) status = ivg_guidance_add_implicit(guidance, &value, 1.0, &error);
  if (status == IVG_OK) status = ivg_session_begin(session, prompt, strlen(prompt), &options, guidance, &error);
  if (status == IVG_OK) {
    struct sigaction handling = {.sa_handler = interrupt_session}, before;
    interruptible = session;
    sigaction(SIGINT, &handling, &before);
    status = stream(session, every, &error);
    sigaction(SIGINT, &before, NULL);
  }
  if (status == IVG_DONE) printf("\n");

  if (status < 0) fprintf(stderr, "%s: %s\n", ivg_status_string(status), ivg_error_message(error));
  ivg_error_free(error);
  ivg_guidance_free(guidance);
  ivg_session_free(session);
  ivg_model_free(model);
  return status < 0;
}
