/* SPDX-License-Identifier: Apache-2.0
 *
 * test_hosted.c - models whose logits the host computes: here from a sequence of another session, so that a
 * hosted model must give what the model itself gives, as a base and as a guide.
 */
#include "fixture.h"

typedef struct host {
  ivg_session *session;
  int calls, fail_at, finalized;
  size_t rows;
} host;

static ivg_model *model, *small;
static const char prompt[] = "There is no other secret to it";

static int32_t answer_rows(void *user_data, const ivg_hosted_row *rows, size_t count,
                           size_t vocabulary_size) {
  host *self = user_data;
  if (self->calls++ == self->fail_at) return 1;
  self->rows += count;
  for (size_t i = 0; i < count; i++) {
    ivg_sequence *sequence = NULL;
    const float *logits = NULL;
    size_t size = 0;
    bool held = ivg_sequence_create(&sequence, self->session, NULL, NULL) == IVG_OK &&
                ivg_sequence_evaluate(sequence, rows[i].tokens, rows[i].token_count, NULL) == IVG_OK &&
                ivg_sequence_logits(sequence, &logits, &size, NULL) == IVG_OK && size == vocabulary_size;
    if (held) memcpy(rows[i].logits, logits, size * sizeof *logits);
    ivg_sequence_free(sequence);
    if (!held) return 2;
  }
  return 0;
}

static void finalize(void *user_data) { ((host *)user_data)->finalized++; }

static ivg_model *hosted(host *self, const ivg_model *source) {
  ivg_model *made = NULL;
  *self = (host){.session = open_session(source, 1), .fail_at = -1};
  ivg_hosted_options options = {.struct_size = sizeof options,
                                .context_length = 256,
                                .logits = answer_rows,
                                .user_data = self,
                                .finalizer = finalize};
  EXPECT(IVG_OK, ivg_model_create_hosted(&made, source, &options, &error));
  return made;
}

static int32_t score_length(void *user_data, const char *asked, size_t asked_length, const char *const *texts,
                            const size_t *lengths, const int32_t *finished, size_t count, double *scores) {
  (void)user_data, (void)asked, (void)asked_length, (void)texts, (void)finished;
  for (size_t i = 0; i < count; i++) scores[i] = (double)(lengths[i] % 7);
  return 0;
}

static void as_base_it_is_the_model_itself(void) {
  static const uint32_t shapes[][3] = {{1, 1, 0}, {1, 4, 0}, {2, 3, 3}};
  host self;
  ivg_model *stand_in = hosted(&self, model);
  ivg_session *direct = open_session(model, 1), *through = open_session(stand_in, 1);
  for (size_t shape = 0; shape < 3; shape++)
    for (int tilted = 0; tilted < 2; tilted++)
      for (uint64_t seed = 0; seed < 4; seed++) {
        answer a, b;
        ivg_generate_options options = {.struct_size = sizeof options, .seed = seed, .max_tokens = 16};
        options.flags = IVG_GENERATE_ATTRIBUTION;
        options.top_log_probabilities = 5;
        ivg_guidance *guidance = new_guidance(shapes[shape][0], shapes[shape][1], shapes[shape][2]);
        ivg_scorer_options scorer = {.struct_size = sizeof scorer, .score = score_length};
        EXPECT(IVG_OK, ivg_guidance_add_scorer(guidance, &scorer, 1, &error));
        ivg_implicit_options implicit = {.struct_size = sizeof implicit, .tuned_model = small, .role = 3};
        if (tilted) EXPECT(IVG_OK, ivg_guidance_add_implicit(guidance, &implicit, 1, &error));
        GENERATE(direct, prompt, &options, guidance, &a);
        GENERATE(through, prompt, &options, guidance, &b);
        CHECK(same_answer(&a, &b));
        ivg_guidance_free(guidance);
      }
  CHECK(self.rows > 0);
  ivg_session_free(direct);
  ivg_model_free(stand_in);
  CHECK(self.finalized == 0); /* the session still uses it */
  ivg_session_free(through);
  CHECK(self.finalized == 1);
  ivg_session_free(self.session);
}

static void as_guide_it_is_the_model_itself(void) {
  static const uint32_t shapes[][3] = {{1, 1, 0}, {2, 2, 3}};
  host tuned_host, untuned_host;
  ivg_model *tuned = hosted(&tuned_host, small), *untuned = hosted(&untuned_host, model);
  ivg_session *session = open_session(model, 1);
  for (size_t shape = 0; shape < 2; shape++)
    for (uint32_t role = 1; role <= 3; role++)
      for (uint64_t seed = 0; seed < 8; seed++) {
        answer a, b;
        ivg_generate_options options = {.struct_size = sizeof options, .seed = seed, .max_tokens = 12};
        const char *const stops[1] = {"e"};
        options.flags = IVG_GENERATE_IGNORE_END;
        options.stop_strings = stops;
        options.stop_string_count = seed % 2; /* behind a stop string the scorer sees its own end */
        ivg_guidance *direct = new_guidance(shapes[shape][0], shapes[shape][1], shapes[shape][2]);
        ivg_guidance *through = new_guidance(shapes[shape][0], shapes[shape][1], shapes[shape][2]);
        ivg_implicit_options implicit = {.struct_size = sizeof implicit,
                                         .role = role,
                                         .tuned_model = small,
                                         .untuned_model = model,
                                         .untuned_template = "Plain: {prompt}"};
        EXPECT(IVG_OK, ivg_guidance_add_implicit(direct, &implicit, 1, &error));
        implicit.tuned_model = tuned;
        implicit.untuned_model = untuned;
        EXPECT(IVG_OK, ivg_guidance_add_implicit(through, &implicit, 1, &error));
        GENERATE(session, prompt, &options, direct, &a);
        generate(session, prompt, &options, through, &b);
        if (!check_status(b.status, IVG_DONE, NULL, "a hosted guide", __LINE__)) {
          printf("     shape %zu, role %u\n", shape, role);
        } else {
          CHECK(a.token_count == b.token_count && memcmp(a.tokens, b.tokens, a.token_count * 4) == 0);
          CHECK(fabs(a.score - b.score) < 1e-4);
        }
        ivg_guidance_free(direct);
        ivg_guidance_free(through);
      }
  ivg_session_free(session);
  ivg_model_free(tuned);
  ivg_model_free(untuned);
  CHECK(tuned_host.finalized == 1 && untuned_host.finalized == 1);
  ivg_session_free(tuned_host.session);
  ivg_session_free(untuned_host.session);
}

static void its_failure_ends_the_call(void) {
  host self;
  ivg_model *stand_in = hosted(&self, model);
  ivg_session *through = open_session(stand_in, 1);
  answer out;
  for (int at = 0; at < 4; at++) {
    self.calls = 0;
    self.fail_at = at;
    generate(through, prompt, NULL, NULL, &out);
    check_status(out.status, IVG_ERROR_CALLBACK, "hosted", "fails", __LINE__);
    CHECK(out.steps == (uint32_t)at);
  }
  self.fail_at = -1;
  GENERATE(through, prompt, NULL, NULL, &out);
  ivg_session_free(through);
  ivg_model_free(stand_in);
  ivg_session_free(self.session);
}

static int32_t nan_rows(void *user_data, const ivg_hosted_row *rows, size_t count, size_t size) {
  (void)user_data;
  for (size_t i = 0; i < count; i++)
    for (size_t k = 0; k < size; k++) rows[i].logits[k] = k == 7 ? NAN : 0;
  return 0;
}

static void what_it_is_not_for(void) {
  host self;
  ivg_model *stand_in = hosted(&self, model), *none = NULL;
  ivg_session *through = open_session(stand_in, 1);
  ivg_sequence *sequence = NULL;
  ivg_adapter *adapter = NULL;
  ivg_value_head *head = NULL;
  EXPECT_ERROR(IVG_ERROR_UNSUPPORTED, "hosted", ivg_sequence_create(&sequence, through, NULL, &error));
  EXPECT(IVG_ERROR_UNSUPPORTED, ivg_adapter_open(&adapter, stand_in, fixture("tiny-adapter.gguf"), &error));
  EXPECT(IVG_ERROR_UNSUPPORTED,
         ivg_value_head_open(&head, stand_in, fixture("tiny-value-scalar.gguf"), &error));
  ivg_generate_options options = {.struct_size = sizeof options, .max_tokens = 300};
  EXPECT(IVG_ERROR_CONTEXT_FULL, ivg_session_begin(through, "x", 1, &options, NULL, &error));
  ivg_hosted_options hosting = {.struct_size = sizeof hosting, .finalizer = finalize, .user_data = &self};
  EXPECT_ERROR(IVG_ERROR_INVALID_ARGUMENT, "logits", ivg_model_create_hosted(&none, model, &hosting, &error));
  CHECK(self.finalized == 0);
  ivg_session_free(through);
  ivg_model_free(stand_in);
  ivg_session_free(self.session);
  /* A vocabulary-only file is enough beside it; logits that are no numbers are the host's failure. */
  ivg_model *words = open_model(fixture("tiny-vocabulary-only.gguf"));
  hosting = (ivg_hosted_options){.struct_size = sizeof hosting, .logits = nan_rows};
  REQUIRE_OK(ivg_model_create_hosted(&none, words, &hosting, &error));
  ivg_model_free(words);
  through = open_session(none, 1);
  answer out;
  generate(through, prompt, NULL, NULL, &out);
  check_status(out.status, IVG_ERROR_CALLBACK, "not numbers", "NaN", __LINE__);
  ivg_session_free(through);
  ivg_model_free(none);
}

int main(void) {
  model = open_model(fixture("tiny-llama.gguf"));
  small = open_model(fixture("tiny-llama-untuned.gguf"));
  RUN(as_base_it_is_the_model_itself);
  RUN(as_guide_it_is_the_model_itself);
  RUN(its_failure_ends_the_call);
  RUN(what_it_is_not_for);
  ivg_model_free(small);
  ivg_model_free(model);
  return check_finish();
}
