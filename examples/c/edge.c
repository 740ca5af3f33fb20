/* SPDX-License-Identifier: Apache-2.0
 *
 * Introduces usage on a small device: one thread, a budget of memory, and what a request will take, asked for
 * before anything is taken. Says how long the first token took, and how much memory. The file is mapped: its
 * pages are the system's, which takes them back when it is short; the budget is about all else.
 *
 *     cc -std=c11 edge.c -o edge $(pkg-config --cflags --libs ivg)
 *     ./edge model.gguf 64 "The weather today"           (64 MiB)
 */
#define _POSIX_C_SOURCE 200809L /* clock_gettime */
#include <ivg.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const double mebibyte = 1024.0 * 1024.0;

static double milliseconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

/* A field of /proc/self/status in MiB; 0 where there is no such thing. VmHWM: the most that was ever resident. */
static double resident(const char *field) {
  char line[256];
  double kibibytes = 0;
  FILE *status = fopen("/proc/self/status", "r");
  while (status != NULL && fgets(line, sizeof line, status) != NULL)
    if (strncmp(line, field, strlen(field)) == 0) kibibytes = strtod(line + strlen(field) + 1, NULL);
  if (status != NULL) fclose(status);
  return kibibytes / 1024;
}

/* What the request will take. The session's context is made just long enough for it. */
static ivg_status plan(const ivg_model *model, const char *prompt, const ivg_generate_options *options,
                       ivg_session_options *session, uint64_t *required, ivg_error **error) {
  uint32_t flags = IVG_TOKENIZE_SPECIAL | IVG_TOKENIZE_BEGIN;
  size_t token_count = 0;
  ivg_status status = ivg_model_tokenize(model, prompt, strlen(prompt), flags, NULL, 0, &token_count, error);
  if (status == IVG_ERROR_BUFFER_TOO_SMALL) { /* only the number is wanted */
    ivg_error_free(*error);
    *error = NULL;
    status = IVG_OK;
  }
  if (status != IVG_OK) return status;
  session->context_length = (uint32_t)token_count + options->max_tokens;
  return ivg_memory_required(model, session, options, NULL, token_count, required, error);
}

/* Streams the text; `*first` receives when the first of its continuation came. */
static ivg_status stream(ivg_session *session, const char *prompt, double *first, ivg_error **error) {
  ivg_step step = {.struct_size = sizeof step};
  ivg_status status;
  printf("%s", prompt);
  while ((status = ivg_session_next(session, &step, error)) == IVG_OK) {
    if (*first == 0) *first = milliseconds();
    fwrite(step.text, 1, step.text_length, stdout);
    fflush(stdout);
  }
  return status;
}

int main(int count, char **arguments) {
  double start = milliseconds(), first = 0;
  char *end = NULL;
  errno = 0;
  unsigned long budget = count == 4 ? strtoul(arguments[2], &end, 10) : 0;
  if (count != 4 || *end != '\0' || errno != 0 || budget == 0 || budget > 1 << 20) {
    fprintf(stderr, "usage: %s MODEL MEBIBYTES PROMPT\n", arguments[0]);
    return 2;
  }
  const char *prompt = arguments[3];
  ivg_model *model = NULL;
  ivg_session *session = NULL;
  ivg_error *error = NULL;
  ivg_generate_options options = {.struct_size = sizeof options, .max_tokens = 32, .seed = 1};
  ivg_session_options limits = {.struct_size = sizeof limits, .thread_count = 1};
  limits.memory_budget = (uint64_t)budget << 20;
  ivg_model_info info = {.struct_size = sizeof info};
  ivg_result result = {.struct_size = sizeof result};
  uint64_t required = 0;

  ivg_status status = ivg_model_open(&model, arguments[1], NULL, &error);
  if (status == IVG_OK) status = ivg_model_information(model, &info, &error);
  if (status == IVG_OK) status = plan(model, prompt, &options, &limits, &required, &error);
  int fits = status == IVG_OK && required <= limits.memory_budget;
  if (status == IVG_OK && !fits)
    fprintf(stderr, "this request takes %.1f MiB beside the file, which is more than %lu MiB\n",
            (double)required / mebibyte, budget);
  if (fits) status = ivg_session_create(&session, model, &limits, &error);
  if (fits && status == IVG_OK) status = ivg_session_begin(session, prompt, strlen(prompt), &options, NULL, &error);
  if (fits && status == IVG_OK) status = stream(session, prompt, &first, &error);
  if (status == IVG_DONE) status = ivg_session_result(session, &result, &error);

  double rate = result.generate_seconds > 0 ? (double)(result.token_count - 1) / result.generate_seconds : 0;
  if (fits && status == IVG_OK)
    printf("\n%.0f ms from start to first token, %.1f tokens/s after it\n"
           "%.1f MiB file mapped; beside it %.1f MiB used, %.1f MiB foreseen\n"
           "%.1f MiB resident at most, of which %.1f MiB are not the files'\n",
           first - start, rate, (double)info.file_size / mebibyte, (double)result.memory_used / mebibyte,
           (double)required / mebibyte, resident("VmHWM"), resident("RssAnon"));
  if (status < 0) fprintf(stderr, "%s: %s\n", ivg_status_string(status), ivg_error_message(error));
  ivg_error_free(error);
  ivg_session_free(session);
  ivg_model_free(model);
  return status < 0 || !fits;
}
