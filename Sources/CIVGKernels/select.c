/* SPDX-License-Identifier: Apache-2.0
 *
 * select.c - which table this CPU can run. Asks the CPU and, for wide registers, the operating system.
 */
#include "tables.h"

#if defined(__aarch64__)
#include <sys/auxv.h>
#endif

static int same_text(const char *a, const char *b) {
  while (*a && *a == *b) a++, b++;
  return *a == *b;
}

size_t civg_matmul_scratch(const civg_kernels *kernels, size_t rows, size_t columns) {
  return CIVG_SCRATCH_BYTES + rows * 256 + rows * columns * kernels->scratch_element;
}

#if defined(__x86_64__)
/* CPUID leaf 7, subleaf 1: vector neural network instructions on 256-bit registers without AVX-512. */
static int has_avxvnni(void) {
  uint32_t a = 7, b, c = 1, d;
  __asm__("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
  return a >> 4 & 1;
}
#endif

/* Tables that this CPU can run, best first; returns how many. */
static size_t runnable(const civg_kernels *tables[4]) {
  size_t count = 0;
#if defined(__x86_64__)
  /* The compiler's cpu model counts a vector feature only where the system saves its registers. */
  __builtin_cpu_init();
  int avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
  int avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
               __builtin_cpu_supports("avx512vnni");
  if (avx512) tables[count++] = &civg_kernels_avx512vnni;
  if (avx2 && has_avxvnni()) tables[count++] = &civg_kernels_avxvnni;
  if (avx2) tables[count++] = &civg_kernels_avx2;
#elif defined(__aarch64__)
  const unsigned long asimd_dotprod = 1ul << 20; /* HWCAP_ASIMDDP */
  if (getauxval(AT_HWCAP) & asimd_dotprod) tables[count++] = &civg_kernels_neon_dotprod;
#endif
  tables[count++] = &civg_kernels_portable;
  return count;
}

const civg_kernels *civg_kernels_select(const char *name) {
  const civg_kernels *tables[4];
  size_t count = runnable(tables);
  if (!name) return tables[0];
  for (size_t i = 0; i < count; i++)
    if (same_text(tables[i]->name, name)) return tables[i];
  return NULL;
}
