/* SPDX-License-Identifier: Apache-2.0
 *
 * test_flips.c - one bit of a model file is wrong: opening it and drawing two tokens is an error or a text,
 * never a crash or a hang. Ten thousand bits by default, half of them in the file's head, and as many in files of
 * other families; `test_flips COUNT SEED` for more.
 */
#include "fixture.h"

#include <signal.h>
#include <unistd.h>

static volatile size_t current_bit;
static char scratch[4096];
static int flips = 10000;
static uint64_t seed = 1;

/* Says which bit it was; only what is allowed in a signal handler. */
static void on_crash(int number) {
  char line[64] = "     crash or hang at bit ";
  size_t end = strlen(line), bit = current_bit;
  char digits[24];
  int count = 0;
  do digits[count++] = (char)('0' + bit % 10);
  while (bit /= 10);
  while (count > 0) line[end++] = digits[--count];
  line[end++] = '\n';
  if (write(STDOUT_FILENO, line, end) < 0) _exit(3);
  signal(number, SIG_DFL);
  raise(number);
}

static uint64_t next_random(void) {
  seed ^= seed << 13;
  seed ^= seed >> 7;
  return seed ^= seed << 17;
}

static void flip(const char *name, size_t head_size, int flips) {
  unsigned char *bytes = NULL;
  size_t size = 0;
  int counts[3] = {0, 0, 0};
  double slowest = 0;
  REQUIRE(read_file(fixture(name), &bytes, &size));
  FILE *file = fopen(scratch, "wb");
  REQUIRE(file && fwrite(bytes, 1, size, file) == size);
  setvbuf(file, NULL, _IONBF, 0);
  for (int number = 0; number < flips; number++) {
    size_t place = (size_t)(next_random() % (number % 2 ? size : head_size));
    int bit = (int)(next_random() % 8);
    unsigned char wrong = (unsigned char)(bytes[place] ^ 1u << bit);
    current_bit = place * 8 + (size_t)bit;
    fseek(file, (long)place, SEEK_SET);
    fwrite(&wrong, 1, 1, file);
    alarm(60); /* a hang is a failure, too */
    double begun = seconds_now();
    ivg_model *model = NULL;
    ivg_session *session = NULL;
    ivg_session_options session_options = {
        .struct_size = sizeof session_options, .thread_count = 1, .memory_budget = 64 << 20};
    ivg_generate_options options = {.struct_size = sizeof options, .max_tokens = 2};
    ivg_step step = {.struct_size = sizeof step};
    ivg_status status = ivg_model_open(&model, scratch, NULL, &error);
    if (status == IVG_OK) status = ivg_session_create(&session, model, &session_options, &error);
    if (status == IVG_OK) status = ivg_session_begin(session, "The value", 9, &options, NULL, &error);
    while (status == IVG_OK) status = ivg_session_next(session, &step, &error);
    CHECK(status == IVG_DONE || (status < 0 && status != IVG_ERROR_INTERNAL && error));
    counts[!model ? 0 : status == IVG_DONE ? 2 : 1]++;
    ivg_error_free(error);
    error = NULL;
    ivg_session_free(session);
    ivg_model_free(model);
    if (seconds_now() - begun > slowest) slowest = seconds_now() - begun;
    fseek(file, (long)place, SEEK_SET);
    fwrite(bytes + place, 1, 1, file);
  }
  alarm(0);
  fclose(file);
  unlink(scratch);
  free(bytes);
  printf(
      "     %s: %d not opened, %d opened but ended by an error, %d gave a text; the slowest took %.0f ms\n",
      name, counts[0], counts[1], counts[2], slowest * 1e3);
}

static void bits_of_a_model(void) { flip("tiny-llama-q4_0.gguf", 8000, flips); }

/* A tenth as many in each of the other families. */
static void bits_of_other_families(void) {
  static const char *const names[] = {"gpt2", "mistral", "mixtral", "qwen3", "gemma2", "gemma3", "olmo-clip",
                                      "olmo2", "phi3-longrope", "llama-yarn"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    char name[64];
    snprintf(name, sizeof name, "architectures/%s.gguf", names[i]);
    flip(name, 9000, flips / 10);
  }
}

int main(int count, char **arguments) {
  if (count > 1) flips = atoi(arguments[1]);
  if (count > 2) seed = strtoull(arguments[2], NULL, 10);
  static const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTRAP, SIGALRM};
  for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) signal(signals[i], on_crash);
  const char *folder = getenv("TMPDIR");
  snprintf(scratch, sizeof scratch, "%s/ivg-flips-%ld.gguf", folder ? folder : "/tmp", (long)getpid());
  RUN(bits_of_a_model);
  RUN(bits_of_other_families);
  return check_finish();
}
