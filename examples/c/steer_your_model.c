/* SPDX-License-Identifier: Apache-2.0
 *
 * Introduces usage of hosted models: libivg steers a language model that this program computes itself. It is a
 * small n-gram model of the reviews below, half of them praise; it sees token ids and writes logits, and could
 * as well run in another library or on another machine. The guide is a model file, which also lends its
 * vocabulary: under one prompt it is the tuned model, under another the untuned one.
 *
 *     cc -std=c11 steer_your_model.c -o steer_your_model $(pkg-config --cflags --libs ivg) -lm
 *     ./steer_your_model model.gguf
 *
 * Prints, for three weights of the guide, how many of 16 reviews praise and blame, and one of them.
 */
#include <ivg.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { REVIEWS = 16, ORDERS = 4 };

static const char reviews[] =
    "The film was wonderful, and I loved every minute of it.\n"
    "The film was terrible, and I hated every minute of it.\n"
    "The film was so moving that I cried at the end.\n"
    "The film was so boring that I left before the end.\n"
    "The film was a delight for the whole family.\n"
    "The film was a disappointment for the whole family.\n"
    "The film was long, but the story was charming.\n"
    "The film was long, and the story was dull.\n"
    "The film was a joy from the first scene to the last.\n"
    "The film was a waste of time from the first scene to the last.\n"
    "The film was short, and the actors were brilliant.\n"
    "The film was short, but the actors were awful.\n";
static const char *const praise[] = {"wonderful", "loved", "moving", "delight", "charming", "joy", "brilliant"};
static const char *const blame[] = {"terrible", "hated", "boring", "disappointment", "dull", "waste", "awful"};

/* The host's model: the tokens of the reviews, in which it looks for what followed the last three. */
typedef struct n_gram {
  int32_t *tokens;
  size_t count;
} n_gram;

/* Adds to `logits`, as yet probabilities, what followed the last `order` tokens of a row. */
static void add_followers(const n_gram *self, const ivg_hosted_row *row, size_t order, size_t vocabulary_size) {
  static const float shares[ORDERS] = {0.001f, 0.01f, 0.1f, 1.0f}; /* longer contexts know better */
  if (row->token_count < order) return;
  const int32_t *context = row->tokens + row->token_count - order;
  size_t found = 0;
  for (int filling = 0; filling < 2; filling++) /* counts them, then shares among them */
    for (size_t i = order; i < self->count; i++)
      if (memcmp(self->tokens + i - order, context, order * sizeof *context) == 0) {
        if (!filling) found++;
        else if ((size_t)self->tokens[i] < vocabulary_size) row->logits[self->tokens[i]] += shares[order] / (float)found;
      }
}

/* ivg_hosted_logits_fn: several rows may be asked for at once. */
static int32_t compute_logits(void *user_data, const ivg_hosted_row *rows, size_t count, size_t vocabulary_size) {
  const n_gram *self = user_data;
  for (size_t row = 0; row < count; row++) {
    float *logits = rows[row].logits;
    for (size_t i = 0; i < vocabulary_size; i++) logits[i] = 1e-12f;
    for (size_t order = 0; order < ORDERS; order++) add_followers(self, &rows[row], order, vocabulary_size);
    for (size_t i = 0; i < vocabulary_size; i++) logits[i] = logf(logits[i]);
  }
  return 0;
}

static ivg_status learn(n_gram *self, const ivg_model *vocabulary, ivg_error **error) {
  size_t capacity = sizeof reviews; /* no token is shorter than a byte */
  self->tokens = malloc(capacity * sizeof *self->tokens);
  if (self->tokens == NULL) return IVG_ERROR_OUT_OF_MEMORY;
  return ivg_model_tokenize(vocabulary, reviews, strlen(reviews), 0, self->tokens, capacity, &self->count, error);
}

static int holds_one_of(const char *text, const char *const *words, size_t count) {
  for (size_t i = 0; i < count; i++)
    if (strstr(text, words[i]) != NULL) return 1;
  return 0;
}

/* Writes reviews with one weight of the guide, and a line about them. */
static ivg_status review(ivg_session *session, const ivg_model *guide, double weight, ivg_error **error) {
  static const char prompt[] = "The film was";
  static const char *const stop = "\n";
  ivg_implicit_options value = {.struct_size = sizeof value,
                                .tuned_model = guide,
                                .tuned_template = "I loved it, it is my favourite. {prompt}",
                                .untuned_model = guide,
                                .untuned_template = "I hated it, it is the worst. {prompt}"};
  ivg_generate_options options = {.struct_size = sizeof options, .max_tokens = 24, .temperature = 1};
  options.stop_strings = &stop;
  options.stop_string_count = 1;
  ivg_guidance *guidance = NULL;
  ivg_step step = {.struct_size = sizeof step};
  ivg_candidate whole = {.struct_size = sizeof whole};
  int praising = 0, blaming = 0;

  ivg_status status = ivg_guidance_create(&guidance, NULL, error);
  if (status == IVG_OK) status = ivg_guidance_add_implicit(guidance, &value, weight, error);
  for (options.seed = 1; status == IVG_OK && options.seed <= REVIEWS; options.seed++) {
    status = ivg_session_begin(session, prompt, strlen(prompt), &options, guidance, error);
    while (status == IVG_OK) status = ivg_session_next(session, &step, error);
    if (status == IVG_DONE) status = ivg_session_candidate(session, 0, &whole, error);
    if (status != IVG_OK) break;
    praising += holds_one_of(whole.text, praise, sizeof praise / sizeof *praise);
    blaming += holds_one_of(whole.text, blame, sizeof blame / sizeof *blame);
  }
  if (status == IVG_OK) printf("weight %4.1f: %2d praise, %2d blame: %s%s\n", weight, praising, blaming, prompt, whole.text);
  ivg_guidance_free(guidance);
  return status;
}

int main(int count, char **arguments) {
  if (count != 2) {
    fprintf(stderr, "usage: %s MODEL\n", arguments[0]);
    return 2;
  }
  ivg_model *guide = NULL, *base = NULL;
  ivg_session *session = NULL;
  ivg_error *error = NULL;
  n_gram n_gram_model = {.tokens = NULL};
  ivg_hosted_options hosted = {.struct_size = sizeof hosted, .logits = compute_logits, .user_data = &n_gram_model};

  ivg_status status = ivg_model_open(&guide, arguments[1], NULL, &error);
  if (status == IVG_OK) status = learn(&n_gram_model, guide, &error);
  if (status == IVG_OK) status = ivg_model_create_hosted(&base, guide, &hosted, &error);
  if (status == IVG_OK) status = ivg_session_create(&session, base, NULL, &error);
  for (int weight = -1; status == IVG_OK && weight <= 1; weight++) status = review(session, guide, weight, &error);

  if (status < 0)
    fprintf(stderr, "%s: %s\n", ivg_status_string(status), error ? ivg_error_message(error) : "the n-gram model");
  ivg_error_free(error);
  ivg_session_free(session);
  ivg_model_free(base);
  ivg_model_free(guide);
  free(n_gram_model.tokens); /* after the last that asks it */
  return status < 0;
}
