/* SPDX-License-Identifier: Apache-2.0
 *
 * same_bits.c - prints what the library computes, to the last bit, so that two processors can be compared: run.sh demands
 * the same output of x86-64 and of 64-bit ARM.
 *
 *   same_bits [MODEL]    MODEL: a real model, for two requests more; the tiny ones are found as in Tests/ABI
 *
 * Numbers are hexadecimal, long things are hashed. Which kernels run goes to stderr, since that may differ. Ends with 1 if
 * anything went wrong.
 */
#include "../ABI/training.h"

static const char prompt[] = "The value of a text is what a reader finds in it, and na\xc3\xafve \xe6\x84\x8f\xe5\x91\xb3.";

static uint64_t hash_of(const void *bytes, size_t size) {
  const unsigned char *byte = bytes;
  uint64_t hash = 1469598103934665603u;
  for (size_t i = 0; i < size; i++) hash = (hash ^ byte[i]) * 1099511628211u;
  return hash;
}

/* The file's size and hash; it is deleted. */
static void say_file(const char *label, const char *path) {
  unsigned char *bytes = NULL;
  size_t size = 0;
  CHECK(read_file(path, &bytes, &size) && size > 100);
  printf("%s: %zu bytes %016llx\n", label, size, (unsigned long long)hash_of(bytes, size));
  free(bytes);
  unlink(path);
}

/* Tokens of the prompt, and the logits behind each of the first ones and behind all. */
static void say_logits(const char *label, const ivg_model *model, uint32_t threads) {
  enum { most = 512 };
  int32_t tokens[most];
  size_t count = 0, logit_count = 0;
  ivg_session *session = open_session(model, threads);
  ivg_sequence *sequence = NULL;
  const float *logits = NULL;
  EXPECT(IVG_OK, ivg_model_tokenize(model, prompt, strlen(prompt), 0, tokens, most, &count, &error));
  EXPECT(IVG_OK, ivg_sequence_create(&sequence, session, NULL, &error));
  if (!sequence || count < 6 || count > most) exit(2);
  printf("%s: %zu tokens %016llx\n", label, count, (unsigned long long)hash_of(tokens, count * sizeof *tokens));
  for (size_t at = 0, next; at < count; at = next) {
    next = at < 4 ? at + 1 : count;
    EXPECT(IVG_OK, ivg_sequence_evaluate(sequence, tokens + at, next - at, &error));
    EXPECT(IVG_OK, ivg_sequence_logits(sequence, &logits, &logit_count, &error));
    printf("%s: logits %zu %016llx %a %a\n", label, next,
           (unsigned long long)hash_of(logits, logit_count * sizeof *logits), (double)logits[0],
           (double)logits[logit_count - 1]);
  }
  ivg_sequence_free(sequence);
  ivg_session_free(session);
}

/* All rows of a request. */
static void say_rows(const char *label, ivg_session *session, const ivg_generate_options *options,
                     const ivg_guidance *guidance) {
  static answer out;
  ivg_result result = {.struct_size = sizeof result};
  GENERATE(session, prompt, options, guidance, &out);
  EXPECT(IVG_OK, ivg_session_result(session, &result, &error));
  for (uint32_t i = 0; i < result.candidate_count; i++) {
    ivg_candidate row = {.struct_size = sizeof row};
    EXPECT(IVG_OK, ivg_session_candidate(session, i, &row, &error));
    printf("%s: row %u end %u score %a log p %a", label, i, row.finish_reason, row.score, row.log_probability);
    for (size_t k = 0; k < row.token_count; k++) printf(" %d:%a", row.tokens[k], (double)row.log_probabilities[k]);
    if (row.guide_values)
      printf(" guides %016llx",
             (unsigned long long)hash_of(row.guide_values, row.token_count * result.guide_count * sizeof(float)));
    printf(" text %zu %016llx\n", row.text_length, (unsigned long long)hash_of(row.text, row.text_length));
  }
}

static ivg_generate_options options_with(uint64_t seed, uint32_t max_tokens) {
  return (ivg_generate_options){
      .struct_size = sizeof(ivg_generate_options), .seed = seed, .max_tokens = max_tokens, .temperature = 1};
}

/* Every architecture and weight type among the fixtures: logits, and requests with each way to sample. */
static void models(void) {
  static const char *const names[] = {
      "tiny-llama", "tiny-llama-q4_0", "tiny-llama-q8_0", "tiny-qwen2", "architectures/gemma",
      "architectures/gemma2", "architectures/gemma3", "architectures/gemma3-linear", "architectures/gpt2",
      "architectures/gpt2-quick-gelu", "architectures/llama", "architectures/llama-biases", "architectures/llama-gelu",
      "architectures/llama-linear-tied", "architectures/llama-llama3", "architectures/llama-yarn",
      "architectures/llama-yarn-scaled", "architectures/mistral", "architectures/mixtral", "architectures/olmo",
      "architectures/olmo-clip", "architectures/olmo2", "architectures/phi3", "architectures/phi3-longrope",
      "architectures/qwen2", "architectures/qwen2-window", "architectures/qwen3"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    char file[256];
    snprintf(file, sizeof file, "%s.gguf", names[i]);
    ivg_model *model = open_model(fixture(file));
    say_logits(names[i], model, 2);
    ivg_session *session = open_session(model, 1);
    for (uint64_t seed = 0; seed < 3; seed++) {
      ivg_generate_options options = options_with(seed, 40);
      options.flags = IVG_GENERATE_IGNORE_END;
      if (seed == 1) options.top_p = 0.9f, options.temperature = 0.7f;
      if (seed == 2) options.min_p = 0.02f, options.repetition_penalty = 1.2f, options.top_k = IVG_TOP_K_OFF;
      say_rows(names[i], session, &options, NULL);
    }
    ivg_session_free(session);
    ivg_model_free(model);
  }
}

/* Every kind of value as tilt and as score, in a search of several rows, and texts that are scored alone; nudging. */
static void guidance(void) {
  static const char *const labels[] = {"adapter", "model", "prompts", "vocabulary head", "scalar head", "head with adapter"};
  ivg_model *model = open_model(fixture("tiny-llama.gguf")), *small = open_model(fixture("tiny-llama-untuned.gguf"));
  ivg_adapter *adapter = NULL;
  ivg_value_head *heads[3] = {NULL};
  static const char *const files[] = {"tiny-value-vocabulary.gguf", "tiny-value-scalar.gguf", "tiny-value-lora.gguf"};
  EXPECT(IVG_OK, ivg_adapter_open(&adapter, model, fixture("tiny-adapter.gguf"), &error));
  for (int i = 0; i < 3; i++) EXPECT(IVG_OK, ivg_value_head_open(&heads[i], model, fixture(files[i]), &error));
  ivg_session *session = open_session(model, 2);
  for (int kind = 0; kind < 6; kind++) {
    ivg_guidance *guidance = new_guidance(3, 2, 4);
    /* A head with an adapter of its own cannot tilt. */
    uint32_t role = kind == 5 ? IVG_ROLE_SCORE : IVG_ROLE_TILT | IVG_ROLE_SCORE;
    ivg_implicit_options implicit = {.struct_size = sizeof implicit, .role = role};
    if (kind == 0) implicit.tuned_adapter = adapter;
    if (kind == 1) implicit.tuned_model = small;
    if (kind == 2) implicit.tuned_template = "Joyful: {prompt}", implicit.length_average = 1;
    ivg_explicit_options value = {.struct_size = sizeof value, .role = role};
    if (kind >= 3) {
      value.head = heads[kind - 3];
      EXPECT(IVG_OK, ivg_guidance_add_explicit(guidance, &value, 1.25, &error));
    } else {
      EXPECT(IVG_OK, ivg_guidance_add_implicit(guidance, &implicit, 1.25, &error));
    }
    ivg_generate_options options = options_with((uint64_t)kind, 24);
    options.flags = IVG_GENERATE_ATTRIBUTION;
    say_rows(labels[kind], session, &options, guidance);
    static const char *const texts[] = {" good", " bad, and rather long for what it says", ""};
    const size_t lengths[] = {5, 39, 0};
    double scores[3];
    EXPECT(IVG_OK, ivg_session_score(session, guidance, prompt, strlen(prompt), texts, lengths, 3, IVG_SCORE_ENDED,
                                     scores, &error));
    printf("%s: scored %a %a %a\n", labels[kind], scores[0], scores[1], scores[2]);
    ivg_guidance_free(guidance);
  }
  ivg_guidance *guidance = new_guidance(1, 1, 0);
  ivg_nudging_options nudging = {.struct_size = sizeof nudging, .nudger_model = small, .burst = 4, .threshold = 0.1f};
  EXPECT(IVG_OK, ivg_guidance_set_nudging(guidance, &nudging, &error));
  ivg_generate_options options = {.struct_size = sizeof options, .max_tokens = 40}; /* greedy by itself */
  ivg_step step = {.struct_size = sizeof step};
  EXPECT(IVG_OK, ivg_session_begin(session, prompt, strlen(prompt), &options, guidance, &error));
  while (ivg_session_next(session, &step, NULL) == IVG_OK)
    printf("nudging: %u %d %016llx\n", step.kind, step.token, (unsigned long long)hash_of(step.text, step.text_length));
  ivg_guidance_free(guidance);
  ivg_session_free(session);
  for (int i = 0; i < 3; i++) ivg_value_head_free(heads[i]);
  ivg_adapter_free(adapter);
  ivg_model_free(small);
  ivg_model_free(model);
}

/* Every objective: each step's figures, and the file that comes of it. */
static void training(void) {
  static const uint32_t objectives[] = {IVG_OBJECTIVE_SUPERVISED, IVG_OBJECTIVE_PREFERENCE, IVG_OBJECTIVE_REWARD,
                                        IVG_OBJECTIVE_VALUE};
  ivg_model *model = open_model(fixture("tiny-llama.gguf"));
  for (size_t i = 0; i < 4; i++) {
    char label[32];
    layout kind = i == 0 ? texts : i == 3 ? rewards : pairs;
    ivg_trainer_options options = small_run(write_data("data.jsonl", kind, 24, 6));
    options.objective = objectives[i];
    options.dropout = 0.1f;
    options.weight_decay = 0.01f;
    options.evaluation_fraction = 0.2;
    options.thread_count = 2;
    snprintf(label, sizeof label, "training %zu", i);
    ivg_trainer *trainer = new_trainer(model, &options);
    ivg_trainer_report report;
    while (next_report(trainer, &report) == IVG_OK)
      printf("%s: step %llu kind %u loss %a gradient %a margin %a kl %a\n", label, (unsigned long long)report.step,
             report.kind, report.loss, report.gradient_norm, report.margin, report.kl);
    const char *path = temporary("trained.gguf");
    EXPECT(IVG_OK, ivg_trainer_save(trainer, path, &error));
    say_file(label, path);
    ivg_trainer_free(trainer);
  }
  ivg_model_free(model);
}

/* Every type of weights, as a file and as what is computed with it. */
static void quantizing(void) {
  static const char *const types[] = {"F32",    "F16",    "BF16",   "Q8_0",   "Q4_0",   "Q4_1",   "Q5_0",   "Q5_1",  "Q2_K",
                                      "Q3_K_S", "Q3_K_M", "Q3_K_L", "Q4_K_S", "Q4_K_M", "Q5_K_S", "Q5_K_M", "Q6_K"};
  for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
    const char *path = temporary("quantized.gguf");
    ivg_quantize_options options = {.struct_size = sizeof options, .type = types[i], .thread_count = 2};
    ivg_quantize_report report = {.struct_size = sizeof report};
    ivg_quantizer *quantizer = NULL;
    EXPECT(IVG_OK, ivg_quantizer_create(&quantizer, fixture("architectures/qwen3.gguf"), path, &options, &error));
    if (!quantizer) exit(2);
    while (ivg_quantizer_next(quantizer, &report, NULL) == IVG_OK)
      if (report.ends_tensor) printf("%s: %s error %a\n", types[i], report.tensor, report.error);
    ivg_quantizer_free(quantizer);
    ivg_model *model = open_model(path);
    say_logits(types[i], model, 1);
    ivg_model_free(model);
    say_file(types[i], path);
  }
}

/* What users do with a model of more than a few numbers: one row, and a guided search. */
static void real(const char *path) {
  ivg_model *model = open_model(path);
  say_logits("real", model, 2);
  ivg_session *session = open_session(model, 2);
  ivg_generate_options options = options_with(1, 24);
  say_rows("real", session, &options, NULL);
  ivg_guidance *guidance = new_guidance(2, 2, 10);
  ivg_implicit_options implicit = {.struct_size = sizeof implicit,
                                   .role = IVG_ROLE_TILT | IVG_ROLE_SCORE,
                                   .tuned_template = "A review by someone who loved it: {prompt}",
                                   .untuned_template = "A review: {prompt}"};
  EXPECT(IVG_OK, ivg_guidance_add_implicit(guidance, &implicit, 1, &error));
  options = options_with(1, 40);
  say_rows("real, guided", session, &options, guidance);
  ivg_guidance_free(guidance);
  ivg_session_free(session);
  ivg_model_free(model);
}

int main(int count, char **arguments) {
  fprintf(stderr, "%s\n", ivg_kernels_name());
  models();
  guidance();
  training();
  quantizing();
  if (count > 1) real(arguments[1]);
  remove_temporary();
  return check_failures != 0;
}
