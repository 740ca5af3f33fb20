/* SPDX-License-Identifier: Apache-2.0
 *
 * ceilings.c - the machine's own limit on reading: bytes per second that `threads` threads can read from memory
 * too large for any cache, the best of several rounds. Compiled for this CPU by bench.py.
 */
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef uint64_t lanes __attribute__((vector_size(64)));

typedef struct task {
  const char *data;
  size_t size;
  uint64_t sum;
} task;

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void *read_all(void *argument) {
  task *t = argument;
  lanes a = {0}, b = {0}, c = {0}, d = {0};
  for (const char *p = t->data; p < t->data + t->size; p += 256) {
    __builtin_prefetch(p + 4096, 0, 1);
    __builtin_prefetch(p + 4160, 0, 1);
    __builtin_prefetch(p + 4224, 0, 1);
    __builtin_prefetch(p + 4288, 0, 1);
    a += *(const lanes *)p;
    b += *(const lanes *)(p + 64);
    c += *(const lanes *)(p + 128);
    d += *(const lanes *)(p + 192);
  }
  a += b + c + d;
  for (int i = 0; i < 8; i++) t->sum += a[i];
  return NULL;
}

/* Bytes per second; 0 if there is no memory. */
double read_bandwidth(size_t bytes, int threads, int rounds) {
  size_t each = bytes / (size_t)threads / 4096 * 4096;
  char *data = aligned_alloc(4096, each * (size_t)threads + 8192);
  task tasks[64] = {0};
  pthread_t others[64];
  double best = 0;
  if (!data || threads > 64) return 0;
  memset(data, 1, each * (size_t)threads + 8192);
  for (int round = 0; round < rounds; round++) {
    double start = now();
    for (int i = 0; i < threads; i++) {
      tasks[i] = (task){data + each * (size_t)i, each, 0};
      if (i > 0) pthread_create(&others[i], NULL, read_all, &tasks[i]);
    }
    read_all(&tasks[0]);
    for (int i = 1; i < threads; i++) pthread_join(others[i], NULL);
    double rate = (double)each * threads / (now() - start);
    best = rate > best ? rate : best;
  }
  free(data);
  return best;
}
