/* SPDX-License-Identifier: Apache-2.0
 *
 * latency.h - how long calls take to return after a cancel.
 *
 * On a machine that has other things to do, a single wait by the clock says little. So a bound is held to what the
 * process itself worked until each return, on all its threads together, and to the median of the waits by the clock,
 * which also sees a call that sleeps.
 */
#ifndef LATENCY_H
#define LATENCY_H

#include "check.h"

typedef struct moment {
  double clock, work; /* seconds */
} moment;

static inline moment moment_now(void) {
  struct timespec work;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &work);
  return (moment){seconds_now(), (double)work.tv_sec + (double)work.tv_nsec * 1e-9};
}

enum { latency_limit = 4096 };

typedef struct latency {
  int count;
  double waits[latency_limit]; /* ascending */
  double most_work;
} latency;

/* A call returned that was cancelled at `cancelled`. */
static inline void latency_add(latency *all, moment cancelled, moment returned) {
  double wait = returned.clock - cancelled.clock, work = returned.work - cancelled.work;
  if (work > all->most_work) all->most_work = work;
  if (all->count == latency_limit) return;
  int place = all->count++;
  for (; place > 0 && all->waits[place - 1] > wait; place--) all->waits[place] = all->waits[place - 1];
  all->waits[place] = wait;
}

static inline double latency_median(const latency *all) { return all->count ? all->waits[all->count / 2] : 0; }

/* Prints what was seen, and says whether there was something, below `bound` seconds where times mean something. */
static inline bool latency_is_below(const latency *all, double bound) {
  printf("     cancelled %d times: returned after %.1f ms (median), %.1f (latest), with %.1f ms of work at most\n",
         all->count, latency_median(all) * 1e3, all->count ? all->waits[all->count - 1] * 1e3 : 0,
         all->most_work * 1e3);
  return all->count > 0 && (is_emulated() || (latency_median(all) < bound && all->most_work < bound));
}

#endif
