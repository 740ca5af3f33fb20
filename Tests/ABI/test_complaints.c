/* SPDX-License-Identifier: Apache-2.0
 *
 * test_complaints.c - what users of libraries of this kind complain about, each as a test that it cannot happen here,
 * named after where it was reported: the process, here; answers in test_complaints_answers.c. README.md lists them all,
 * also those that other tests hold.
 */
#include "process.h"

#include <link.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>

static const char prompt[] = "The value of a text is what a reader finds in it.";

static bool ask(const ivg_model *model, uint32_t threads, uint64_t seed, answer *out) {
  ivg_session *session = open_session(model, threads);
  ivg_generate_options options = {
      .struct_size = sizeof options, .max_tokens = 24, .seed = seed, .flags = IVG_GENERATE_IGNORE_END};
  GENERATE(session, prompt, &options, NULL, out);
  ivg_session_free(session);
  return out->status == IVG_DONE;
}

/* For another processor: which kernels it runs, and what they generate. */
static int say(void) {
  ivg_model *model = open_model(fixture("tiny-llama-q4_0.gguf"));
  static answer out;
  if (!ask(model, 1, 7, &out)) return 1;
  printf("%s", ivg_kernels_name());
  for (size_t i = 0; i < out.token_count; i++) printf(" %d:%a", out.tokens[i], (double)out.log_probabilities[i]);
  printf("\n");
  ivg_model_free(model);
  return 0;
}

/* llama.cpp #5481, llama-cpp-python #839, #1506. One library starts on emulated processors without AVX, without AVX2
 * and with it, and computes the same bits. */
static void llama_cpp_5481_illegal_instruction(void) {
#ifdef __x86_64__
  static const char *const processors[][2] = {
      {"core2duo", "portable "}, {"Nehalem", "portable "}, {"SandyBridge", "portable "}, {"Haswell", "avx2 "}};
  char path[4096], command[8192], line[8192], first[8192] = "";
  ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);
  REQUIRE(length > 0);
  path[length] = 0;
  if (is_instrumented() || system("command -v qemu-x86_64 >/dev/null") != 0) {
    printf("     skipped: no qemu-x86_64 (Debian: qemu-user), or a sanitizer\n");
    return;
  }
  for (size_t i = 0; i < sizeof processors / sizeof *processors; i++) {
    const char *kernels = processors[i][1];
    snprintf(command, sizeof command, "qemu-x86_64 -cpu %s '%s' --say 2>/dev/null", processors[i][0], path);
    FILE *pipe = popen(command, "r");
    line[0] = 0;
    bool held = pipe && fgets(line, sizeof line, pipe);
    int status = pipe ? pclose(pipe) : -1;
    check(held && status == 0, __LINE__, "%s: status %d", processors[i][0], status);
    check(strncmp(line, kernels, strlen(kernels)) == 0, __LINE__, "%s: %.20s", processors[i][0], line);
    const char *text = strchr(line, ' ');
    if (i == 0 && text) snprintf(first, sizeof first, "%s", text);
    check(text && strlen(text) > 100 && strcmp(text, first) == 0, __LINE__, "%s: other bits", processors[i][0]);
  }
#else
  printf("     skipped: not x86-64\n");
#endif
}

static int note_object(struct dl_phdr_info *info, size_t size, void *count) {
  (void)size;
  ++*(int *)count;
  return check(!strstr(info->dlpi_name, "musl"), __LINE__, "loaded: %s", info->dlpi_name) ? 0 : 1;
}

/* llama-cpp-python #1628: a wheel for glibc that needs musl. run.sh checks the library's list of dependencies. */
static void llama_cpp_python_1628_linked_against_musl(void) {
  int objects = 0;
  dl_iterate_phdr(note_object, &objects);
  CHECK(objects > 3);
}

static ivg_session *interrupted;
static void on_interrupt(int number) {
  (void)number;
  ivg_session_cancel(interrupted);
}

static int32_t interrupt_third(void *user_data, uint32_t row, const int32_t *tokens, size_t count, float *logits,
                               size_t size) {
  (void)row, (void)tokens, (void)logits, (void)size;
  if (count == 3 && !(*(int *)user_data)++) raise(SIGINT);
  return 0;
}

/* llama-cpp-python #599, PR #733. The host's handler stays in place and stops the request, which can go on;
 * test_cancel.c does it in the middle of a long prompt, too. */
static void llama_cpp_python_599_interrupt_is_ignored(void) {
  ivg_model *model = open_model(fixture("tiny-llama.gguf"));
  struct sigaction handler = {.sa_handler = on_interrupt}, before, after;
  sigaction(SIGINT, &handler, &before);
  interrupted = open_session(model, 2);
  int raised = 0, steps = 0;
  ivg_generate_options options = {.struct_size = sizeof options,
                                  .max_tokens = 12,
                                  .flags = IVG_GENERATE_IGNORE_END,
                                  .logits_processor = interrupt_third,
                                  .logits_processor_data = &raised};
  ivg_step step = {.struct_size = sizeof step};
  EXPECT(IVG_OK, ivg_session_begin(interrupted, prompt, strlen(prompt), &options, NULL, &error));
  ivg_status status;
  while ((status = ivg_session_next(interrupted, &step, NULL)) == IVG_OK) steps++;
  CHECK(status == IVG_ERROR_CANCELLED && raised == 1 && steps >= 2 && steps <= 4);
  while ((status = ivg_session_next(interrupted, &step, NULL)) == IVG_OK) steps++;
  CHECK(status == IVG_DONE && steps == 12);
  sigaction(SIGINT, &before, &after);
  CHECK(after.sa_handler == on_interrupt);
  ivg_session_free(interrupted);
  ivg_model_free(model);
}

static int32_t spoil(void *user_data, uint32_t row, const int32_t *tokens, size_t count, float *logits, size_t size) {
  (void)row, (void)tokens, (void)count;
  for (size_t i = 0; i < size; i++) logits[i] = *(const float *)user_data;
  return 0;
}

static void outrageous_requests(const void *argument) {
  (void)argument;
  ivg_model *model = open_model(fixture("tiny-llama.gguf")), *none = NULL;
  ivg_session *session = open_session(model, 2);
  char *text = malloc(1 << 20);
  memset(text, 'x', 1 << 20);
  EXPECT_ERROR(IVG_ERROR_CONTEXT_FULL, "256", ivg_session_begin(session, text, 1 << 20, NULL, NULL, &error));
  static const float values[] = {NAN, INFINITY, -INFINITY};
  for (size_t i = 0; i < 3; i++) {
    float value = values[i];
    ivg_generate_options options = {
        .struct_size = sizeof options, .logits_processor = spoil, .logits_processor_data = &value};
    ivg_step step = {.struct_size = sizeof step};
    EXPECT(IVG_OK, ivg_session_begin(session, prompt, strlen(prompt), &options, NULL, &error));
    /* Nothing that could be drawn is an invalid request, no number at all a defect of the callback. */
    EXPECT(i == 2 ? IVG_ERROR_INVALID_ARGUMENT : IVG_ERROR_CALLBACK, ivg_session_next(session, &step, &error));
  }
  EXPECT(IVG_ERROR_CORRUPT_FILE, ivg_model_open(&none, fixture("README.md"), NULL, &error));
  EXPECT(IVG_ERROR_IO, ivg_model_open(&none, "/", NULL, &error));
  CHECK(ivg_model_token_ends(model, INT32_MIN) == 0 && ivg_model_token_ends(model, INT32_MAX) == 0);
  static answer out;
  GENERATE(session, prompt, NULL, NULL, &out);
  free(text);
  ivg_session_free(session);
  ivg_model_free(model);
}

/* llama.cpp #24098, ggml PR #701: GGML_ASSERT takes the host along. test_input.c, test_flips.c and test_errors.c hold
 * thousands more. */
static void llama_cpp_24098_abort(void) {
  in_a_process_of_its_own("outrageous requests", outrageous_requests, NULL);
}

static void with_output_caught(const void *argument) {
  (void)argument;
  FILE *caught = tmpfile();
  int out = dup(1), err = dup(2);
  REQUIRE(caught && out >= 0 && err >= 0);
  fflush(stdout);
  dup2(fileno(caught), 1);
  dup2(fileno(caught), 2);
  ivg_model *model = NULL;
  ivg_session *session = NULL;
  ivg_step step = {.struct_size = sizeof step};
  ivg_status opened = ivg_model_open(&model, fixture("tiny-llama.gguf"), NULL, NULL);
  ivg_model *none = NULL;
  ivg_status missing = ivg_model_open(&none, "/nowhere.gguf", NULL, NULL);
  ivg_status made = model ? ivg_session_create(&session, model, NULL, NULL) : opened;
  int steps = 0;
  if (made == IVG_OK && ivg_session_begin(session, prompt, strlen(prompt), NULL, NULL, NULL) == IVG_OK)
    while (ivg_session_next(session, &step, NULL) == IVG_OK) steps++;
  ivg_session_free(session);
  ivg_model_free(model);
  fflush(stdout);
  struct stat written = {0};
  fstat(fileno(caught), &written);
  dup2(out, 1);
  dup2(err, 2);
  CHECK(opened == IVG_OK && missing == IVG_ERROR_NOT_FOUND && made == IVG_OK && steps > 0);
  CHECK(written.st_size == 0);
}

/* llama-cpp-python #1245, #478, #1134. */
static void llama_cpp_python_1245_noisy_stderr(void) {
  in_a_process_of_its_own("a silent run", with_output_caught, NULL);
}

static ivg_model *late_model;
static ivg_session *late_session;
static void free_late(void) {
  ivg_model_free(late_model);
  ivg_session_free(late_session);
}

/* Ends the process in the middle of a request, with worker threads waiting. */
static void exits(const void *frees) {
  late_model = open_model(fixture("tiny-llama.gguf"));
  if (*(const bool *)frees) atexit(free_late);
  late_session = open_session(late_model, 3);
  ivg_step step = {.struct_size = sizeof step};
  EXPECT(IVG_OK, ivg_session_begin(late_session, prompt, strlen(prompt), NULL, NULL, &error));
  EXPECT(IVG_OK, ivg_session_next(late_session, &step, &error));
  exit(check_failures);
}

/* llama-cpp-python #1610, #2002, #1998, #806: errors when the interpreter ends. The library has nothing that runs then;
 * handles may be left, or freed in any order by the last handler. */
static void llama_cpp_python_1610_errors_at_exit(void) {
  static const bool ways[] = {false, true};
  /* What is left on purpose a sanitizer would report. */
  for (int i = is_instrumented(); i < 2; i++) in_a_process_of_its_own("exit", exits, &ways[i]);
}

static void opens_and_frees(const void *argument) {
  const char *path = argument;
  resident settled = {0, 0, 0};
  int files = open_files();
  static answer out;
  for (int round = 0; round < 24; round++) {
    ivg_model *model = open_model(path);
    CHECK(mappings_of(path) >= 1 && ask(model, 2, 1, &out));
    ivg_model_free(model);
    CHECK(mappings_of(path) == 0 && open_files() == files);
    malloc_trim(0); /* what malloc keeps for itself is no matter of the library's */
    if (round == 7) settled = resident_now();
  }
  int64_t growth = (int64_t)(resident_now().anonymous - settled.anonymous);
  printf("     16 more rounds: %+.3f MB\n", (double)growth / 1e6);
  CHECK(is_instrumented() || growth < 300000);
}

/* llama-cpp-python #302, #1442: the file is unmapped, its descriptor closed, and the process does not grow. */
static void llama_cpp_python_1442_memory_never_freed(void) {
  char path[4096];
  REQUIRE(realpath(fixture("tiny-llama.gguf"), path));
  in_a_process_of_its_own("rounds", opens_and_frees, path);
}

typedef struct talker {
  pthread_t thread;
  const ivg_model *model;
  int different;
  const answer *wanted;
} talker;

/* No CHECK here: its counters are for one thread. */
static void *talk(void *argument) {
  talker *self = argument;
  for (int i = 0; i < 6; i++) {
    ivg_session *session = NULL;
    ivg_session_options limits = {.struct_size = sizeof limits, .thread_count = 2};
    ivg_generate_options options = {
        .struct_size = sizeof options, .max_tokens = 24, .seed = 11, .flags = IVG_GENERATE_IGNORE_END};
    ivg_step step = {.struct_size = sizeof step};
    ivg_candidate best = {.struct_size = sizeof best};
    ivg_status status = ivg_session_create(&session, self->model, &limits, NULL);
    if (status == IVG_OK) status = ivg_session_begin(session, prompt, strlen(prompt), &options, NULL, NULL);
    while (status == IVG_OK) status = ivg_session_next(session, &step, NULL);
    if (status == IVG_DONE) status = ivg_session_candidate(session, 0, &best, NULL);
    if (status != IVG_OK || best.token_count != self->wanted->token_count ||
        memcmp(best.tokens, self->wanted->tokens, best.token_count * sizeof *best.tokens) != 0)
      self->different++;
    ivg_session_free(session);
  }
  return NULL;
}

/* llama-cpp-python #1367, #471, ctransformers #38, #52, gpt4all #2444. test_threads.c holds more, and sanitize.sh runs
 * the library's own code under the thread sanitizer. */
static void llama_cpp_python_1367_two_threads(void) {
  static answer wanted;
  ivg_model *model = open_model(fixture("tiny-llama.gguf"));
  CHECK(ask(model, 1, 11, &wanted));
  talker talkers[2];
  for (int i = 0; i < 2; i++) {
    talkers[i] = (talker){.model = model, .wanted = &wanted};
    REQUIRE(pthread_create(&talkers[i].thread, NULL, talk, &talkers[i]) == 0);
  }
  for (int i = 0; i < 2; i++) {
    pthread_join(talkers[i].thread, NULL);
    CHECK(talkers[i].different == 0);
  }
  ivg_model_free(model);
}

/* CVE-2024-34359, CVE-2026-5760, llama-cpp-python #1096, #2023: a template that reaches for code is refused; templates
 * are recognised, not run. */
static void cve_2024_34359_template_runs_code(void) {
  static const char *const templates[] = {
      "{{ ''.__class__.__mro__[1].__subclasses__() }}",
      "{% for c in [].__class__.__base__.__subclasses__() %}{{ c.__init__.__globals__ }}{% endfor %}",
      "{% for m in messages %}{{ m['content'] }}{% endfor %}{{ cycler.__init__.__globals__.os.popen('id').read() }}",
      "{% include '/etc/passwd' %}", "{% for i in range(1000000000) %}x{% endfor %}", "{{", ""};
  ivg_model *model = open_model(fixture("tiny-llama.gguf"));
  const ivg_chat_message message = {"user", "{{ 7 * 7 }}", 11};
  char text[4096];
  size_t needed = 0;
  for (size_t i = 0; i < sizeof templates / sizeof *templates; i++)
    EXPECT(IVG_ERROR_UNSUPPORTED, ivg_model_render_chat(model, templates[i], strlen(templates[i]), &message, 1, 0, text,
                                                        sizeof text, &needed, &error));
  EXPECT(IVG_OK, ivg_model_render_chat(model, NULL, 0, &message, 1, 0, text, sizeof text, &needed, &error));
  CHECK(strstr(text, "{{ 7 * 7 }}") && !strstr(text, "49"));
  ivg_model_free(model);
}

int main(int count, char **arguments) {
  if (count == 2 && strcmp(arguments[1], "--say") == 0) return say();
  /* Those with processes of their own first: a child must not have a parent's session. */
  RUN(llama_cpp_24098_abort);
  RUN(llama_cpp_python_1245_noisy_stderr);
  RUN(llama_cpp_python_1610_errors_at_exit);
  RUN(llama_cpp_python_1442_memory_never_freed);
  RUN(llama_cpp_5481_illegal_instruction);
  RUN(llama_cpp_python_1628_linked_against_musl);
  RUN(llama_cpp_python_599_interrupt_is_ignored);
  RUN(llama_cpp_python_1367_two_threads);
  RUN(cve_2024_34359_template_runs_code);
  return check_finish();
}
