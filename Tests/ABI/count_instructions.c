/* SPDX-License-Identifier: Apache-2.0
 *
 * count_instructions.c ROWS TOKENS - draws so many tokens in so many rows and ends; run.sh counts its instructions.
 */
#include "fixture.h"

int main(int count, char **arguments) {
  if (count != 3) return 2;
  const uint32_t rows = (uint32_t)atoi(arguments[1]), tokens = (uint32_t)atoi(arguments[2]);
  ivg_model *model = open_model(fixture("tiny-llama-q4_0.gguf"));
  ivg_session *session = open_session(model, 1);
  ivg_guidance *guidance = rows > 1 ? new_guidance(4, rows / 4, 5) : new_guidance(1, 1, 0);
  ivg_implicit_options implicit = {.struct_size = sizeof implicit, .role = 3, .tuned_template = "Joy: {prompt}"};
  if (rows > 1) EXPECT(IVG_OK, ivg_guidance_add_implicit(guidance, &implicit, 1, &error));
  ivg_generate_options options = {
      .struct_size = sizeof options, .seed = 1, .max_tokens = tokens, .flags = IVG_GENERATE_IGNORE_END};
  answer out;
  GENERATE(session, "Once upon a time there was a king.", &options, guidance, &out);
  CHECK(out.status == IVG_DONE);
  ivg_guidance_free(guidance);
  ivg_session_free(session);
  ivg_model_free(model);
  return check_finish();
}
