/* SPDX-License-Identifier: Apache-2.0
 *
 * test_quantize_files.c - what a quantizer leaves in its folder: after a kill, on a full disk, on other systems.
 */
#include "quantize.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>

static char third[4200];

/* What is at the target stays until the new file is there; an unfinished one goes with its quantizer. */
static void old_file_stays(void) {
  FILE *file = fopen(target, "wb");
  REQUIRE(file && fwrite("old", 1, 3, file) == 3);
  fclose(file);
  unsigned char *bytes = NULL;
  size_t size = 0;
  ivg_quantizer *quantizer = begin(fixture("tiny-llama.gguf"), target, (ivg_quantize_options){.type = "Q8_0"});
  ivg_quantize_report report = {.struct_size = sizeof report};
  REQUIRE_OK(ivg_quantizer_next(quantizer, &report, &error));
  CHECK(read_file(target, &bytes, &size) && size == 3 && file_count() == (has_nameless_files() ? 1 : 2));
  free(bytes);
  ivg_quantizer_free(quantizer);
  CHECK(file_count() == 1);
  EXPECT(IVG_DONE, finish(begin(fixture("tiny-llama.gguf"), target, (ivg_quantize_options){.type = "Q8_0"})));
  CHECK(read_file(target, &bytes, &size) && size > 1000 && file_count() == 1);
  free(bytes);
  unlink(target);
}

/* A process that is killed leaves nothing, or where every file has a name, nothing under the target's. */
static void killed(void) {
  const char *source = real_model("F16");
  if (!source) source = fixture("tiny-llama.gguf");
  int kills = 0;
  for (int round = 0; round < 4; round++) {
    pid_t child = fork();
    if (child == 0) { /* nothing of the library was used in this process before: see the header on fork */
      finish(begin(source, target, (ivg_quantize_options){.type = "Q4_0", .thread_count = 1}));
      _exit(0);
    }
    usleep(20000 + 30000 * (unsigned)round);
    kill(child, SIGKILL);
    int status = 0;
    waitpid(child, &status, 0);
    if (!WIFSIGNALED(status)) continue;
    kills++;
    CHECK(access(target, F_OK) != 0 && (!has_nameless_files() || file_count() == 0));
  }
  CHECK(kills > 0 || !real_model("F16"));
  DIR *listing = opendir(folder);
  for (struct dirent *entry; listing && (entry = readdir(listing));) {
    if (entry->d_name[0] == '.') continue;
    snprintf(second, sizeof second, "%s/%.90s", folder, entry->d_name);
    unlink(second);
  }
  if (listing) closedir(listing);
  snprintf(second, sizeof second, "%s/second.gguf", folder);
}

/* From here on a system call fails with `code`, if `flag` is in its third argument or 0. False where a process cannot
 * forbid itself anything. */
static bool forbid(uint32_t call, uint32_t flag, uint32_t code) {
  const uint16_t condition = flag ? BPF_JMP | BPF_JSET | BPF_K : BPF_JMP | BPF_JGE | BPF_K;
  struct sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 3),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2])),
      BPF_JUMP(condition, flag, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | code),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog filter = {sizeof program / sizeof *program, program};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter, 0, 0) == 0;
}

static void quantize_restricted(const void *argument) {
  const bool links = *(const bool *)argument;
  const char *source = fixture("tiny-llama.gguf");
  if (links ? !forbid(SYS_linkat, 0, EACCES) : !forbid(SYS_openat, O_TMPFILE & ~O_DIRECTORY, EOPNOTSUPP)) {
    printf("     skipped: no seccomp\n");
    return;
  }
  CHECK(links || !has_nameless_files());
  int before = file_count();
  ivg_quantizer *quantizer = begin(source, target, (ivg_quantize_options){.type = "Q8_0"});
  CHECK(file_count() == before + (has_nameless_files() ? 0 : 1));
  EXPECT(IVG_DONE, finish(quantizer));
  ivg_quantizer_free(begin(source, target, (ivg_quantize_options){.type = "Q4_0"})); /* unfinished */
  CHECK(file_count() == before + 1);
}

/* Where links are forbidden, as security modules may do, and where every file has a name: the same file. */
static void other_systems(void) {
  for (int links = 0; links < 2; links++) {
    const bool chosen = links;
    in_a_process_of_its_own(links ? "no links" : "names only", quantize_restricted, &chosen);
    if (access(target, F_OK) == 0) CHECK(rename(target, links ? third : second) == 0);
  }
  if (file_count() == 0) return;
  EXPECT(IVG_DONE, finish(begin(fixture("tiny-llama.gguf"), target, (ivg_quantize_options){.type = "Q8_0"})));
  CHECK(file_count() == 3 && same_files(target, second) && same_files(target, third));
  unlink(target);
  unlink(second);
  unlink(third);
}

/* A disk that is full: the limit of a file's size stands for it. */
static void full_disk(void) {
  struct rlimit old, small = {20000, 20000};
  getrlimit(RLIMIT_FSIZE, &old);
  small.rlim_max = old.rlim_max;
  signal(SIGXFSZ, SIG_IGN);
  ivg_quantizer *quantizer = begin(fixture("tiny-llama.gguf"), target, (ivg_quantize_options){.type = "F16"});
  ivg_quantize_report report = {.struct_size = sizeof report};
  setrlimit(RLIMIT_FSIZE, &small);
  ivg_status status = IVG_OK;
  while (status == IVG_OK) {
    status = ivg_quantizer_next(quantizer, &report, &error);
    if (status == IVG_OK) continue;
    EXPECT_ERROR(IVG_ERROR_IO, "cannot write", status);
  }
  setrlimit(RLIMIT_FSIZE, &old);
  CHECK(file_count() == 0);
  EXPECT_ERROR(IVG_ERROR_IO, "cannot write", ivg_quantizer_next(quantizer, &report, &error)); /* ever after */
  ivg_quantizer_free(quantizer);
}

int main(void) {
  if (!make_folder()) return 2;
  snprintf(third, sizeof third, "%s/third.gguf", folder);
  RUN(killed); /* before anything of the library was used in this process */
  RUN(other_systems);
  RUN(old_file_stays);
  RUN(full_disk);
  rmdir(folder);
  return check_finish();
}
