/* SPDX-License-Identifier: Apache-2.0
 *
 * process.h - what only a process of its own can show: peaks of memory, what is mapped, ends by signals.
 */
#ifndef PROCESS_H
#define PROCESS_H

#include "fixture.h"

#include <dirent.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* True where a checker's or an emulator's own memory, and its rules, make measurements of memory and address space
 * void. */
static inline bool is_instrumented(void) {
#ifdef __SANITIZE_ADDRESS__
  return true;
#else
  return is_emulated();
#endif
}

/* Runs `body` in a child and reports its failed checks as this test's own; a child that a signal ends has failed. The
 * parent must not have used the library before (a session's threads do not come along). */
static inline void in_a_process_of_its_own(const char *name, void (*body)(const void *), const void *argument) {
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    check_failures = 0;
    body(argument);
    fflush(stdout);
    _exit(check_failures != 0);
  }
  int status = -1;
  check(child > 0 && waitpid(child, &status, 0) == child, __LINE__, "%s: no child", name);
  check(status == 0, __LINE__, "%s: %s %d", name, WIFSIGNALED(status) ? "ended by signal" : "ended with",
        WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
}

/* A number of /proc/self/status, such as "Threads:"; sizes are in KiB there. */
static inline uint64_t status_number(const char *field) {
  char line[256];
  uint64_t number = 0;
  FILE *file = fopen("/proc/self/status", "r");
  while (file && fgets(line, sizeof line, file))
    if (strncmp(line, field, strlen(field)) == 0) number = strtoull(line + strlen(field), NULL, 10);
  if (file) fclose(file);
  return number;
}

static inline uint64_t status_bytes(const char *field) { return status_number(field) * 1024; }

/* What the process holds: all its pages, those of no file, and the most there ever were (or since the last
 * start_peak). */
typedef struct resident {
  uint64_t all, anonymous, peak;
} resident;

static inline resident resident_now(void) {
  return (resident){status_bytes("VmRSS:"), status_bytes("RssAnon:"), status_bytes("VmHWM:")};
}

/* Reads a byte of each page of each mapped file, so that none can come in later and count as growth. */
static inline void read_mapped_files(void) {
  char line[4352], flags[8];
  unsigned long start, end;
  FILE *maps = fopen("/proc/self/maps", "r");
  while (maps && fgets(line, sizeof line, maps)) {
    if (sscanf(line, "%lx-%lx %7s", &start, &end, flags) != 3 || flags[0] != 'r' || !strchr(line, '/')) continue;
    for (unsigned long page = start; page < end; page += 4096) (void)*(const volatile char *)page;
  }
  if (maps) fclose(maps);
}

/* From here on the peak counts anew. Files' pages are all there, so what the process grows by are its own. Huge pages,
 * which round what is taken up to 2 MiB where the system gives them to everyone, are off. False where the kernel does
 * not let a process reset its peak: nothing can be measured then. */
static inline bool start_peak(resident *before) {
  prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
  read_mapped_files();
  FILE *file = fopen("/proc/self/clear_refs", "w");
  bool done = file && fputs("5", file) >= 0;
  if (file && fclose(file) != 0) done = false;
  *before = resident_now();
  return done && before->peak <= before->all + 65536;
}

/* By how much the process has been larger since `before`. */
static inline int64_t peak_growth(const resident *before) {
  return (int64_t)status_bytes("VmHWM:") - (int64_t)before->all;
}

/* How many lines of /proc/self/maps hold `text`. */
static inline int mappings_of(const char *text) {
  char line[4352];
  int count = 0;
  FILE *maps = fopen("/proc/self/maps", "r");
  while (maps && fgets(line, sizeof line, maps)) count += strstr(line, text) != NULL;
  if (maps) fclose(maps);
  return count;
}

/* How many files the process has open. */
static inline int open_files(void) {
  int count = 0;
  DIR *folder = opendir("/proc/self/fd");
  while (folder && readdir(folder)) count++;
  if (folder) closedir(folder);
  return count;
}

#endif
