/* SPDX-License-Identifier: Apache-2.0
 *
 * cold_start.c - from nothing to the first token: loads libivg by dlopen, opens a model, makes a session, reads a
 * prompt of sixteen tokens and draws one, then gives everything back; says what each step cost and what it left behind.
 *
 *     cc -std=c11 -D_GNU_SOURCE -I include cold_start.c -o cold_start -ldl -lm
 *     cold_start path/to/libivg.so.0 MODEL.gguf [THREADS]
 *
 * Prints a line "name value" for each figure: times in milliseconds, sizes in bytes. Tests/ABI/test_cold_start.c checks
 * what holds on any machine, cold_start.py takes medians.
 */
#include <ivg.h>

#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <fenv.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static FILE *report; /* the real standard output */

/* The library's functions, as a host finds them that loads it by hand. */
static struct {
  __typeof__(&ivg_model_open) model_open;
  __typeof__(&ivg_model_free) model_free;
  __typeof__(&ivg_model_tokenize) tokenize;
  __typeof__(&ivg_model_detokenize) detokenize;
  __typeof__(&ivg_session_create) session_create;
  __typeof__(&ivg_session_free) session_free;
  __typeof__(&ivg_session_begin) begin;
  __typeof__(&ivg_session_next) next;
  __typeof__(&ivg_session_result) result;
  __typeof__(&ivg_error_message) message;
} api;

static void fail(const char *what, const char *why) {
  fprintf(report, "error %s: %s\n", what, why ? why : "unknown");
  exit(1);
}

static void find(void *library, const char *name, void *pointer) {
  void *symbol = dlsym(library, name);
  if (!symbol) fail(name, "not exported");
  memcpy(pointer, &symbol, sizeof symbol);
}

static void checked(ivg_status status, const char *what, const ivg_error *error) {
  if (status < 0) fail(what, error ? api.message(error) : NULL);
}

/* A figure of /proc/self/status; signal masks are hexadecimal. */
static unsigned long long status_number(const char *field, int base) {
  char line[256];
  unsigned long long number = 0;
  FILE *file = fopen("/proc/self/status", "r");
  while (file && fgets(line, sizeof line, file))
    if (strncmp(line, field, strlen(field)) == 0) number = strtoull(line + strlen(field), NULL, base);
  if (file) fclose(file);
  return number;
}

static int open_files(void) {
  int count = 0;
  DIR *folder = opendir("/proc/self/fd");
  while (folder && readdir(folder)) count++;
  if (folder) closedir(folder);
  return count;
}

static int mappings_of(const char *path) {
  char line[8192];
  int count = 0;
  FILE *maps = fopen("/proc/self/maps", "r");
  while (maps && fgets(line, sizeof line, maps)) count += strstr(line, path) != NULL;
  if (maps) fclose(maps);
  return count;
}

/* How this thread rounds, and whether it keeps numbers that are very small. */
static int rounds_as(void) {
  volatile float smallest = 1e-40f, one = 1;
  return fegetround() * 2 + (smallest * one != 0);
}

/* Where the clocks stood when a phase began. */
static struct {
  struct timespec wall, processor;
  struct rusage usage;
  unsigned long long file_pages, own_pages;
} began;

static double milliseconds_since(clockid_t clock, const struct timespec *start) {
  struct timespec now;
  clock_gettime(clock, &now);
  return (double)(now.tv_sec - start->tv_sec) * 1e3 + (double)(now.tv_nsec - start->tv_nsec) * 1e-6;
}

static void phase_begins(void) {
  began.file_pages = status_number("RssFile:", 10);
  began.own_pages = status_number("RssAnon:", 10);
  getrusage(RUSAGE_SELF, &began.usage);
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &began.processor);
  clock_gettime(CLOCK_MONOTONIC, &began.wall);
}

static void phase_ends(const char *name) {
  double wall = milliseconds_since(CLOCK_MONOTONIC, &began.wall);
  double processor = milliseconds_since(CLOCK_PROCESS_CPUTIME_ID, &began.processor);
  struct rusage now;
  getrusage(RUSAGE_SELF, &now);
  long long file_pages = (long long)(status_number("RssFile:", 10) - began.file_pages) * 1024;
  long long own_pages = (long long)(status_number("RssAnon:", 10) - began.own_pages) * 1024;
  fprintf(report, "%s_ms %.3f\n%s_processor_ms %.3f\n", name, wall, name, processor);
  fprintf(report, "%s_faults %ld\n%s_disk_faults %ld\n", name, now.ru_minflt - began.usage.ru_minflt, name,
          now.ru_majflt - began.usage.ru_majflt);
  fprintf(report, "%s_file_bytes %lld\n%s_own_bytes %lld\n", name, file_pages, name, own_pages);
}

static void load(const char *path) {
  phase_begins();
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!library) fail("dlopen", dlerror());
  phase_ends("dlopen");
  find(library, "ivg_model_open", &api.model_open);
  find(library, "ivg_model_free", &api.model_free);
  find(library, "ivg_model_tokenize", &api.tokenize);
  find(library, "ivg_model_detokenize", &api.detokenize);
  find(library, "ivg_session_create", &api.session_create);
  find(library, "ivg_session_free", &api.session_free);
  find(library, "ivg_session_begin", &api.begin);
  find(library, "ivg_session_next", &api.next);
  find(library, "ivg_session_result", &api.result);
  find(library, "ivg_error_message", &api.message);
}

/* The text of the first sixteen tokens of a longer one. */
static size_t sixteen_tokens(const ivg_model *model, char *text, size_t capacity) {
  static const char source[] =
      "Once upon a time, in a small town by the sea, there lived a girl who liked to count the ships that came in.";
  int32_t tokens[256];
  size_t count = 0, length = 0;
  ivg_error *error = NULL;
  checked(api.tokenize(model, source, strlen(source), 0, tokens, 256, &count, &error), "tokenize", error);
  if (count > 16) count = 16;
  checked(api.detokenize(model, tokens, count, 0, text, capacity, &length, &error), "detokenize", error);
  return length;
}

static void first_token(const ivg_model *model, uint32_t threads) {
  char prompt[4096];
  ivg_error *error = NULL;
  ivg_session *session = NULL;
  ivg_session_options limits = {.struct_size = sizeof limits, .thread_count = threads, .context_length = 64};
  ivg_step step = {.struct_size = sizeof step};
  ivg_result result = {.struct_size = sizeof result};
  ivg_generate_options options = {.struct_size = sizeof options, .max_tokens = 4, .temperature = IVG_GREEDY};
  size_t length = sixteen_tokens(model, prompt, sizeof prompt);
  phase_begins();
  checked(api.session_create(&session, model, &limits, &error), "session", error);
  phase_ends("session");
  phase_begins();
  checked(api.begin(session, prompt, length, &options, NULL, &error), "begin", error);
  checked(api.next(session, &step, &error), "next", error);
  phase_ends("first_token");
  checked(api.result(session, &result, &error), "result", error);
  fprintf(report, "prompt_tokens %llu\ntoken %d\n", (unsigned long long)result.prompt_token_count, (int)step.token);
  fprintf(report, "threads_in_session %llu\n", status_number("Threads:", 10));
  api.session_free(session);
  fprintf(report, "threads_after_session %llu\n", status_number("Threads:", 10));
}

/* Sends what anyone writes to standard output and error to a file, which is looked at in the end. */
static int catch_output(void) {
  FILE *caught = tmpfile();
  report = fdopen(dup(1), "w");
  if (!caught || !report) exit(2);
  setvbuf(report, NULL, _IONBF, 0);
  fflush(stdout);
  dup2(fileno(caught), 1);
  dup2(fileno(caught), 2);
  return fileno(caught);
}

int main(int count, char **arguments) {
  if (count < 3 || count > 4) {
    fprintf(stderr, "usage: %s LIBRARY MODEL [THREADS]\n", arguments[0]);
    return 2;
  }
  char path[4096];
  uint32_t threads = count == 4 ? (uint32_t)strtoul(arguments[3], NULL, 10) : 1;
  ivg_model *model = NULL;
  ivg_error *error = NULL;
  if (!realpath(arguments[2], path)) return 2;
  struct timespec start;
  clock_gettime(CLOCK_MONOTONIC, &start);
  int caught = catch_output(), files = open_files();
  unsigned long long handlers = status_number("SigCgt:", 16);
  int rounding = rounds_as();
  load(arguments[1]);
  fprintf(report, "threads_after_dlopen %llu\n", status_number("Threads:", 10));
  fprintf(report, "files_after_dlopen %d\n", open_files() - files);
  unsigned long long space = status_number("VmSize:", 10);
  phase_begins();
  checked(api.model_open(&model, path, NULL, &error), "open", error);
  phase_ends("open");
  fprintf(report, "mappings_while_open %d\n", mappings_of(path));
  first_token(model, threads);
  fprintf(report, "total_ms %.3f\n", milliseconds_since(CLOCK_MONOTONIC, &start));
  api.model_free(model);
  struct stat written = {0};
  fstat(caught, &written);
  fprintf(report, "mappings_after_free %d\nfiles_after_free %d\n", mappings_of(path), open_files() - files);
  fprintf(report, "space_after_free %lld\n", (long long)(status_number("VmSize:", 10) - space) * 1024);
  unsigned long long glibc = 3ull << 31; /* signals 32 and 33 are its own, for threads */
  fprintf(report, "new_signal_handlers %llu\n", status_number("SigCgt:", 16) & ~handlers & ~glibc);
  fprintf(report, "rounding_changed %d\n", rounds_as() != rounding);
  fprintf(report, "printed_bytes %lld\n", (long long)written.st_size);
  return 0;
}
