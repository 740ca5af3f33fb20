/* SPDX-License-Identifier: Apache-2.0
 *
 * Introduces usage of guidance from C: an implicit value from one model under two prompts steers every token,
 * and ranks the rows of a chunk-level beam search (W 2, K 2, L 10).
 *
 *     cc -std=c11 guided.c -o guided $(pkg-config --cflags --libs ivg)
 *     ./guided model.gguf "The film was"
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
  ivg_guidance *guidance = NULL;
  ivg_error *error = NULL;

  ivg_guidance_options search = {.struct_size = sizeof search, .width = 2, .successors = 2, .chunk = 10};
  /* Models that are not named are the session's own. A trained pair would be two files here. */
  ivg_implicit_options value = {.struct_size = sizeof value,
                                .role = IVG_ROLE_TILT | IVG_ROLE_SCORE,
                                .tuned_template = "A review by someone who loved it: {prompt}",
                                .untuned_template = "A review: {prompt}"};
  ivg_generate_options options = {.struct_size = sizeof options, .max_tokens = 40, .seed = 1};

  ivg_status status = ivg_model_open(&model, arguments[1], NULL, &error);
  if (status == IVG_OK) status = ivg_session_create(&session, model, NULL, &error);
  if (status == IVG_OK) status = ivg_guidance_create(&guidance, &search, &error);
  if (status == IVG_OK) status = ivg_guidance_add_implicit(guidance, &value, 1.0, &error);
  if (status == IVG_OK)
    status = ivg_session_begin(session, prompt, strlen(prompt), &options, guidance, &error);

  ivg_step step = {.struct_size = sizeof step};
  while (status == IVG_OK && (status = ivg_session_next(session, &step, &error)) == IVG_OK) {
    fwrite(step.text, 1, step.text_length, stdout);
    fflush(stdout);
  }
  if (status == IVG_DONE) printf("\n");

  /* Rows that were kept, best first, with their scores. */
  ivg_result result = {.struct_size = sizeof result};
  if (status == IVG_DONE) status = ivg_session_result(session, &result, &error);
  ivg_candidate row = {.struct_size = sizeof row};
  for (uint32_t i = 0; status == IVG_OK && i < result.candidate_count; i++) {
    status = ivg_session_candidate(session, i, &row, &error);
    if (status == IVG_OK) printf("%u: score %.3f, %zu tokens\n", i, row.score, row.token_count);
  }

  if (status < 0) fprintf(stderr, "%s: %s\n", ivg_status_string(status), ivg_error_message(error));
  ivg_error_free(error);
  ivg_guidance_free(guidance);
  ivg_session_free(session);
  ivg_model_free(model);
  return status < 0;
}
