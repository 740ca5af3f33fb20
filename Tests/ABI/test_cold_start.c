/* SPDX-License-Identifier: Apache-2.0
 *
 * test_cold_start.c - what loading the library, opening a model and the first token leave in a process that has not
 * used it before: no thread, no output, no signal handler, no open file, no address space. Times are printed; only
 * bounds that no busy machine breaks are checked.
 *
 * Works on Tests/Benchmarks/cold_start.c, which it compiles: this program has loaded the library already.
 */
#include "process.h"

#include <limits.h>

static char folder[PATH_MAX]; /* of this program, with the library under lib */

static bool compile(void) {
  char source[PATH_MAX], command[4 * PATH_MAX];
  ssize_t length = readlink("/proc/self/exe", folder, sizeof folder - 1);
  if (length < 0) return false;
  folder[length] = 0;
  *strrchr(folder, '/') = 0;
  snprintf(source, sizeof source, "%s", __FILE__);
  char *last = strrchr(source, '/');
  snprintf(last ? last : source, 8, last ? "/.." : ".");
  snprintf(command, sizeof command,
           "gcc -std=c11 -O1 -Wall -Wextra -pedantic -Werror -D_GNU_SOURCE -I'%s/../include' "
           "'%s/Benchmarks/cold_start.c' -o '%s/cold_start' -ldl -lm",
           source, source, folder);
  return system(command) == 0;
}

/* What the program said, "name value" a line. */
static char said[16384];

static double figure(const char *name) {
  size_t length = strlen(name);
  for (const char *line = said; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL)
    if (strncmp(line, name, length) == 0 && line[length] == ' ') return strtod(line + length, NULL);
  return NAN;
}

static bool run(const char *model, int threads) {
  char command[4 * PATH_MAX];
  snprintf(command, sizeof command, "'%s/cold_start' '%s/lib/libivg.so.0' '%s' %d", folder, folder, model, threads);
  FILE *pipe = popen(command, "r");
  if (!pipe) return false;
  size_t length = fread(said, 1, sizeof said - 1, pipe);
  said[length] = 0;
  bool done = pclose(pipe) == 0;
  return check(done, __LINE__, "cold_start failed: %s", said);
}

static void expect_clean(int threads) {
  printf("     dlopen %.1f, open %.1f, session %.1f, first token %.1f ms; %.0f, %.0f, %.0f, %.0f pages faulted in\n",
         figure("dlopen_ms"), figure("open_ms"), figure("session_ms"), figure("first_token_ms"),
         figure("dlopen_faults") + figure("dlopen_disk_faults"), figure("open_faults") + figure("open_disk_faults"),
         figure("session_faults") + figure("session_disk_faults"),
         figure("first_token_faults") + figure("first_token_disk_faults"));
  CHECK(figure("prompt_tokens") >= 16 && figure("prompt_tokens") <= 17);
  CHECK(figure("threads_after_dlopen") == 1 && figure("files_after_dlopen") == 0);
  CHECK(figure("threads_in_session") == threads && figure("threads_after_session") == 1);
  CHECK(figure("mappings_while_open") >= 1 && figure("mappings_after_free") == 0);
  CHECK(figure("files_after_free") == 0);
  CHECK(figure("printed_bytes") == 0);
  CHECK(figure("new_signal_handlers") == 0 && figure("rounding_changed") == 0);
  /* Measured: 2 to 3 ms, and 25 to 80 for a vocabulary of 49,152 tokens. */
  CHECK(figure("dlopen_processor_ms") < 1000 && figure("open_processor_ms") < 3000);
  CHECK(figure("dlopen_own_bytes") < 2e6);
}

/* malloc keeps an arena's address space of 64 MiB for each thread that there was, and glibc up to 40 MiB of stacks. */
static double kept_space(int threads) { return 8e6 + (threads - 1) * (64 << 20) + (threads > 1 ? 40e6 : 0); }

static void a_tiny_model(void) {
  REQUIRE(run(fixture("tiny-llama.gguf"), 1));
  expect_clean(1);
  CHECK(figure("space_after_free") <= kept_space(1));
  REQUIRE(run(fixture("tiny-llama.gguf"), 3));
  expect_clean(3);
  CHECK(figure("space_after_free") <= kept_space(3));
}

static void a_real_model(void) {
  const char *path = real_model("Q4_1");
  if (!path) {
    printf("     skipped: no real model\n");
    return;
  }
  REQUIRE(run(path, 1));
  expect_clean(1);
  /* Opening reads header and vocabulary, not weights: 98 MB of file, of which the system brings some around each
   * read. */
  CHECK(figure("open_file_bytes") < 20e6 && figure("open_own_bytes") < 12e6);
  CHECK(figure("first_token_file_bytes") > 20e6);
  CHECK(figure("space_after_free") <= kept_space(1));
}

int main(void) {
  if (!compile()) {
    printf("FAIL cold_start.c does not compile\n");
    return 1;
  }
  RUN(a_tiny_model);
  RUN(a_real_model);
  return check_finish();
}
