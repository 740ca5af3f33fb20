/* SPDX-License-Identifier: Apache-2.0
 *
 * allocations.c - counts what a process asks of malloc and its relatives. Preloaded into the worker that counts.
 */
#define _GNU_SOURCE
#include <stddef.h>

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

static unsigned long count;

unsigned long allocation_count(void) { return __atomic_load_n(&count, __ATOMIC_RELAXED); }

static void one_more(void) { __atomic_fetch_add(&count, 1, __ATOMIC_RELAXED); }

void *malloc(size_t size) { return one_more(), __libc_malloc(size); }
void *calloc(size_t n, size_t size) { return one_more(), __libc_calloc(n, size); }
void *realloc(void *old, size_t size) { return one_more(), __libc_realloc(old, size); }
void *memalign(size_t alignment, size_t size) { return one_more(), __libc_memalign(alignment, size); }
void *aligned_alloc(size_t alignment, size_t size) { return one_more(), __libc_memalign(alignment, size); }
int posix_memalign(void **out, size_t alignment, size_t size) {
  *out = (one_more(), __libc_memalign(alignment, size));
  return *out || !size ? 0 : 12; /* ENOMEM */
}
