/* SPDX-License-Identifier: Apache-2.0
 *
 * system.c - calls of the system that Swift cannot import.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "CIVGKernels.h"

int civg_processor_count(void) {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
  long online = sysconf(_SC_NPROCESSORS_ONLN);
  return online > 0 ? (int)online : 1;
}

void civg_wait_while(const void *word, uint32_t value) {
  syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

void civg_wake_all(const void *word) {
  syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

void civg_write_back(int descriptor, int64_t offset, int64_t count, int waits) {
  const unsigned waiting = SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WAIT_AFTER;
  sync_file_range(descriptor, offset, count, SYNC_FILE_RANGE_WRITE | (waits ? waiting : 0));
}

/* Swift's C library module brings a use of hypotf, whose present version only glibc 2.35 has; everything else is content
 * with 2.34. With this one, which nothing calls, so is the whole. Goes when Swift's module no longer has it, or 2.35 is
 * everywhere. */
#if defined(__linux__)
__attribute__((visibility("hidden"))) float hypotf(float x, float y) {
  if (__builtin_isinf(x) || __builtin_isinf(y)) return __builtin_inff();
  return (float)__builtin_sqrt((double)x * x + (double)y * y);
}
#endif
