/* SPDX-License-Identifier: Apache-2.0
 *
 * Introduces usage of values without generating: says of each text how much likelier one prompt makes it than
 * another does, from one model, without training.
 *
 *     cc -std=c11 score.c -o score $(pkg-config --cflags --libs ivg)
 *     ./score model.gguf "My review: " "What a wonderful film!" "It was a waste of time."
 */
#include <ivg.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int count, char **arguments) {
  if (count < 4) {
    fprintf(stderr, "usage: %s MODEL PROMPT TEXT...\n", arguments[0]);
    return 2;
  }
  const char *prompt = arguments[2];
  const char *const *texts = (const char *const *)arguments + 3;
  size_t text_count = (size_t)count - 3;
  ivg_model *model = NULL;
  ivg_session *session = NULL;
  ivg_guidance *guidance = NULL;
  ivg_error *error = NULL;

  size_t *lengths = malloc(text_count * sizeof *lengths);
  double *scores = malloc(text_count * sizeof *scores);
  if (lengths == NULL || scores == NULL) {
    fprintf(stderr, "no memory for %zu texts\n", text_count);
    free(lengths);
    free(scores);
    return 1;
  }
  for (size_t i = 0; i < text_count; i++) lengths[i] = strlen(texts[i]);

  ivg_implicit_options value = {.struct_size = sizeof value,
                                .role = IVG_ROLE_SCORE,
                                .tuned_template = "I loved it. {prompt}",
                                .untuned_template = "{prompt}"};
  ivg_status status = ivg_model_open(&model, arguments[1], NULL, &error);
  if (status == IVG_OK) status = ivg_session_create(&session, model, NULL, &error);
  if (status == IVG_OK) status = ivg_guidance_create(&guidance, NULL, &error);
  if (status == IVG_OK) status = ivg_guidance_add_implicit(guidance, &value, 1.0, &error);
  if (status == IVG_OK)
    status = ivg_session_score(session, guidance, prompt, strlen(prompt), texts, lengths, text_count, 0, scores, &error);

  for (size_t i = 0; status == IVG_OK && i < text_count; i++) printf("%8.3f  %s\n", scores[i], texts[i]);

  if (status < 0) fprintf(stderr, "%s: %s\n", ivg_status_string(status), ivg_error_message(error));
  ivg_error_free(error);
  ivg_guidance_free(guidance);
  ivg_session_free(session);
  ivg_model_free(model);
  free(lengths);
  free(scores);
  return status < 0;
}
