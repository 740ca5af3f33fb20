/* SPDX-License-Identifier: Apache-2.0
 *
 * test_allocations.c - between tokens nothing is allocated: counts the calls that the library makes to malloc
 * and its kin, which this program defines itself.
 */
#include "fixture.h"

#include <errno.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* glibc's own, under the names it keeps for those who replace the public ones. */
extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

static atomic_long calls;
static atomic_bool counting;

static void count_call(void) {
  if (counting) calls++;
}

void *malloc(size_t size) {
  count_call();
  return __libc_malloc(size);
}

void *calloc(size_t count, size_t size) {
  count_call();
  return __libc_calloc(count, size);
}

void *realloc(void *memory, size_t size) {
  count_call();
  return __libc_realloc(memory, size);
}

void *memalign(size_t alignment, size_t size);
void *memalign(size_t alignment, size_t size) {
  count_call();
  return __libc_memalign(alignment, size);
}

void *aligned_alloc(size_t alignment, size_t size) { return memalign(alignment, size); }

int posix_memalign(void **out, size_t alignment, size_t size) {
  *out = memalign(alignment, size);
  return *out ? 0 : ENOMEM;
}

void *mmap(void *address, size_t length, int protection, int flags, int file, off_t offset) {
  count_call();
  return (void *)syscall(SYS_mmap, address, length, protection, flags, file, offset);
}

static ivg_model *model;
static const ivg_adapter *adapter;
static const ivg_value_head *head;
enum { WARM_UP = 8 };

/* Calls per step behind the first WARM_UP steps; the largest, and the sum in `*total`. */
static long most_calls(ivg_session *session, const ivg_generate_options *options,
                       const ivg_guidance *guidance, int warm_up, long *total) {
  static const char prompt[] = "The value of a text is what a reader finds in it.";
  ivg_step step = {.struct_size = sizeof step};
  long most = 0;
  *total = 0;
  EXPECT(IVG_OK, ivg_session_begin(session, prompt, strlen(prompt), options, guidance, &error));
  for (int number = 0;; number++) {
    calls = 0;
    counting = true;
    ivg_status status = ivg_session_next(session, &step, NULL);
    counting = false;
    if (status != IVG_OK) {
      CHECK(status == IVG_DONE);
      break;
    }
    if (number < warm_up) continue;
    *total += calls;
    if (calls > most) most = calls;
  }
  return most;
}

static void the_counter_counts(void) {
  calls = 0;
  counting = true;
  ivg_model_free(open_model(fixture("tiny-llama-q4_0.gguf")));
  counting = false;
  CHECK(calls > 10);
}

static void one_row(void) {
  const char *const stops[2] = {"never in it", "nor this"};
  for (uint32_t threads = 1; threads <= 2; threads++) {
    ivg_session *session = open_session(model, threads);
    for (int kind = 0; kind < 6; kind++) {
      ivg_generate_options options = {
          .struct_size = sizeof options, .max_tokens = 96, .flags = IVG_GENERATE_IGNORE_END};
      if (kind == 1) options.temperature = IVG_GREEDY;
      if (kind == 2) options.stop_strings = stops, options.stop_string_count = 2;
      if (kind == 3)
        options.repetition_penalty = 1.2f, options.top_log_probabilities = 20, options.top_p = 0.9f;
      if (kind == 4) options.flags |= IVG_GENERATE_ATTRIBUTION;
      if (kind == 5) options.top_k = IVG_TOP_K_OFF;
      long total, most = most_calls(session, &options, NULL, WARM_UP, &total);
      check(most == 0, __LINE__, "%u threads, options %d: %ld calls in a step, %ld in all", threads, kind,
            most, total);
    }
    ivg_session_free(session);
  }
}

static void one_row_guided(void) {
  static const char *const names[] = {"adapter", "two prompts", "vocabulary head", "two guides"};
  ivg_session *session = open_session(model, 2);
  for (int kind = 0; kind < 4; kind++) {
    ivg_guidance *guidance = new_guidance(1, 1, 0);
    ivg_implicit_options implicit = {.struct_size = sizeof implicit};
    ivg_explicit_options value = {.struct_size = sizeof value, .head = head, .role = IVG_ROLE_TILT};
    if (kind == 0 || kind == 3) implicit.tuned_adapter = adapter;
    else implicit.tuned_template = "Joyful: {prompt}", implicit.untuned_template = "Plain: {prompt}";
    if (kind != 2) EXPECT(IVG_OK, ivg_guidance_add_implicit(guidance, &implicit, 1, &error));
    if (kind >= 2) EXPECT(IVG_OK, ivg_guidance_add_explicit(guidance, &value, 1, &error));
    ivg_generate_options options = {
        .struct_size = sizeof options, .max_tokens = 96, .flags = IVG_GENERATE_IGNORE_END};
    long total, most = most_calls(session, &options, guidance, WARM_UP, &total);
    check(most == 0, __LINE__, "%s: %ld calls in a step, %ld in all", names[kind], most, total);
    ivg_guidance_free(guidance);
  }
  ivg_session_free(session);
}

/* Not promised; said here so that it can be seen to grow. */
static void chunk_search(void) {
  ivg_session *session = open_session(model, 2);
  ivg_guidance *guidance = new_guidance(2, 2, 8);
  ivg_implicit_options implicit = {.struct_size = sizeof implicit, .role = 3, .tuned_adapter = adapter};
  ivg_explicit_options value = {.struct_size = sizeof value, .head = head};
  EXPECT(IVG_OK, ivg_guidance_add_implicit(guidance, &implicit, 1, &error));
  EXPECT(IVG_OK, ivg_guidance_add_explicit(guidance, &value, 1, &error));
  ivg_generate_options options = {
      .struct_size = sizeof options, .max_tokens = 96, .flags = IVG_GENERATE_IGNORE_END};
  long total, most = most_calls(session, &options, guidance, 2, &total);
  printf("     IVG, W 2, K 2, L 8: %.2f calls a token and row, at most %ld a chunk\n",
         (double)total / (80 * 4), most);
  CHECK(most < 1000);
  ivg_guidance_free(guidance);
  ivg_session_free(session);
}

int main(void) {
  ivg_adapter *opened_adapter = NULL;
  ivg_value_head *opened_head = NULL;
  model = open_model(fixture("tiny-llama.gguf"));
  EXPECT(IVG_OK, ivg_adapter_open(&opened_adapter, model, fixture("tiny-adapter.gguf"), &error));
  EXPECT(IVG_OK, ivg_value_head_open(&opened_head, model, fixture("tiny-value-vocabulary.gguf"), &error));
  adapter = opened_adapter;
  head = opened_head;
  RUN(the_counter_counts);
  RUN(one_row);
  RUN(one_row_guided);
  RUN(chunk_search);
  ivg_value_head_free(opened_head);
  ivg_adapter_free(opened_adapter);
  ivg_model_free(model);
  return check_finish();
}
