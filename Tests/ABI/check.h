/* SPDX-License-Identifier: Apache-2.0
 *
 * check.h - all that the programs of this folder share to test: one line per test, a count at the end.
 *
 * A failed check is printed and counted; the test goes on, so that one run shows all there is. REQUIRE leaves
 * the test, for what makes the rest of it pointless.
 */
#ifndef CHECK_H
#define CHECK_H

#include <ivg.h>

#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* True where an emulator runs the program: its memory and time are then not the library's. Who runs one in an emulator says
 * so in IVG_TEST_RUNNER, see run.sh. */
static inline bool is_emulated(void) {
  const char *runner = getenv("IVG_TEST_RUNNER");
  return runner && runner[0];
}

static int check_failures;     /* in the running test */
static int check_tests_failed; /* so far */
static ivg_error *error;       /* every call's last argument; EXPECT looks at it and frees it */

__attribute__((format(printf, 3, 4))) static inline bool check(bool held, int line, const char *format, ...) {
  if (held) return true;
  va_list arguments;
  va_start(arguments, format);
  printf("     line %d: ", line);
  vprintf(format, arguments);
  printf("\n");
  va_end(arguments);
  check_failures++;
  return false;
}

/* The status must be `wanted`; an error must come with a message (that holds `text`), a success without. */
static inline bool check_status(ivg_status status, ivg_status wanted, const char *text, const char *call,
                                int line) {
  bool held = check(status == wanted, line, "%s: %s (%d), not %d: %s", call, ivg_status_string(status),
                    status, wanted, error ? ivg_error_message(error) : "no message");
  if (status < 0) {
    held = check(error && ivg_error_status(error) == status && ivg_error_message(error)[0], line,
                 "%s: an error without its message", call) &&
           held;
    if (held && text)
      held = check(strstr(ivg_error_message(error), text) != NULL, line, "%s: no \"%s\" in: %s", call, text,
                   ivg_error_message(error));
  } else {
    held = check(!error, line, "%s: a message without an error", call) && held;
  }
  ivg_error_free(error);
  error = NULL;
  return held;
}

#define CHECK(condition) check((condition), __LINE__, "%s", #condition)
#define EXPECT(wanted, call) check_status((call), (wanted), NULL, #call, __LINE__)
#define EXPECT_ERROR(wanted, text, call) check_status((call), (wanted), (text), #call, __LINE__)
#define REQUIRE(condition) \
  do { \
    if (!(condition)) { \
      check(false, __LINE__, "%s", #condition); \
      return; \
    } \
  } while (0)
#define REQUIRE_OK(call) \
  do { \
    if (!EXPECT(IVG_OK, call)) return; \
  } while (0)

#define RUN(test) check_run(test, #test)
static inline void check_run(void (*test)(void), const char *name) {
  check_failures = 0;
  test();
  ivg_error_free(error);
  error = NULL;
  printf("%s %s\n", check_failures ? "FAIL" : "ok  ", name);
  fflush(stdout);
  if (check_failures) check_tests_failed++;
}

/* main's result. */
static inline int check_finish(void) { return check_tests_failed != 0; }

static inline double seconds_now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

#endif
