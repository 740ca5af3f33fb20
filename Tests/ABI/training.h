/* SPDX-License-Identifier: Apache-2.0
 *
 * training.h - data to train on, and trainers that run to their end.
 */
#ifndef TRAINING_H
#define TRAINING_H

#include "fixture.h"

#include <unistd.h>

/* A path in a folder of this process. One of eight buffers in turn. */
static inline const char *temporary(const char *name) {
  static char paths[8][4096], folder[2048];
  static int turn;
  if (!folder[0]) {
    const char *parent = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/ivg-training-XXXXXX", parent ? parent : "/tmp");
    if (!mkdtemp(folder)) exit(2);
  }
  turn = (turn + 1) % 8;
  snprintf(paths[turn], sizeof paths[turn], "%s/%s", folder, name);
  return paths[turn];
}

/* Removes the folder and what is in it. */
static inline void remove_temporary(void) {
  char command[4200];
  snprintf(command, sizeof command, "rm -rf '%s'", temporary(""));
  if (system(command)) printf("     could not remove %s\n", temporary(""));
}

typedef enum { pairs, rewards, texts } layout;

/* Lines that can be learned: an answer with "good" in it is better than the same with "bad". Each has `words`
 * random words. */
static inline const char *write_data(const char *name, layout kind, int lines, int words) {
  static const char *const all[] = {"film", "plot", "actor", "scene", "music", "story", "end", "cast"};
  const char *path = temporary(name);
  FILE *file = fopen(path, "w");
  uint64_t state = 88172645463325252u;
  if (!file) exit(2);
  for (int line = 0; line < lines; line++) {
    char text[8192] = "";
    for (int i = 0; i < words; i++) {
      state ^= state << 13, state ^= state >> 7, state ^= state << 17;
      strcat(strcat(text, " "), all[state % 8]);
    }
    bool good = line % 2;
    if (kind == pairs)
      fprintf(file, "{\"prompt\":\"Say%d\",\"chosen\":\"%s good\",\"rejected\":\"%s bad\"}\n", line, text, text);
    else if (kind == rewards)
      fprintf(file, "{\"prompt\":\"Say\",\"completion\":\"%s%s\",\"reward\":%d}\n", good ? " good" : " bad", text,
              good);
    else
      fprintf(file, "{\"prompt\":\"Say\",\"completion\":\"%s good\"}\n", text);
  }
  fclose(file);
  return path;
}

/* Options of a small preference run: seven steps. */
static inline ivg_trainer_options small_run(const char *data) {
  return (ivg_trainer_options){.struct_size = sizeof(ivg_trainer_options),
                               .objective = IVG_OBJECTIVE_PREFERENCE,
                               .data_path = data,
                               .thread_count = 1,
                               .batch_size = 4,
                               .epochs = 1000,
                               .max_steps = 7,
                               .rank = 4,
                               .seed = 3};
}

static inline ivg_trainer *new_trainer(const ivg_model *model, const ivg_trainer_options *options) {
  ivg_trainer *trainer = NULL;
  EXPECT(IVG_OK, ivg_trainer_create(&trainer, model, options, &error));
  if (!trainer) exit(2);
  return trainer;
}

/* The next piece of work that is not cancelled. */
static inline ivg_status next_report(ivg_trainer *trainer, ivg_trainer_report *report) {
  ivg_status status;
  report->struct_size = sizeof *report;
  do status = ivg_trainer_next(trainer, report, NULL);
  while (status == IVG_ERROR_CANCELLED);
  return status;
}

/* Trains until `step` steps are made, or to the end. The last report is in *report. */
static inline ivg_status train_to(ivg_trainer *trainer, uint64_t step, ivg_trainer_report *report) {
  ivg_status status;
  while ((status = next_report(trainer, report)) == IVG_OK)
    if (report->kind == IVG_REPORT_TRAIN && report->step >= step) break;
  return status;
}

/* What a run is judged by. */
typedef struct result {
  unsigned char *bytes;
  size_t size;
} result;

/* What the trainer would save now. */
static inline result saved(ivg_trainer *trainer) {
  result out = {NULL, 0};
  const char *path = temporary("result.gguf");
  EXPECT(IVG_OK, ivg_trainer_save(trainer, path, &error));
  CHECK(read_file(path, &out.bytes, &out.size) && out.size > 100);
  unlink(path);
  return out;
}

/* Trains to the end, and frees. */
static inline result finished(ivg_trainer *trainer) {
  ivg_trainer_report report;
  CHECK(train_to(trainer, UINT64_MAX, &report) == IVG_DONE);
  result out = saved(trainer);
  ivg_trainer_free(trainer);
  return out;
}

/* Compares and frees both. */
static inline bool same_result(result a, result b) {
  bool same = a.size == b.size && a.size > 0 && memcmp(a.bytes, b.bytes, a.size) == 0;
  free(a.bytes);
  free(b.bytes);
  return same;
}

#endif
