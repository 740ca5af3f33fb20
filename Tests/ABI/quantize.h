/* SPDX-License-Identifier: Apache-2.0
 *
 * quantize.h - quantising in a folder of a test's own, for the tests of quantizers.
 */
#ifndef QUANTIZE_H
#define QUANTIZE_H

#include "process.h"

#include <fcntl.h>

static char folder[4096], target[4200], second[4200];

/* Makes the folder; false if that fails. */
static inline bool make_folder(void) {
  const char *root = getenv("TMPDIR");
  snprintf(folder, sizeof folder, "%s/ivg-quantize-XXXXXX", root ? root : "/tmp");
  if (!mkdtemp(folder)) return false;
  snprintf(target, sizeof target, "%s/target.gguf", folder);
  snprintf(second, sizeof second, "%s/second.gguf", folder);
  return true;
}

static inline ivg_quantizer *begin(const char *source, const char *to, ivg_quantize_options options) {
  ivg_quantizer *quantizer = NULL;
  options.struct_size = sizeof options;
  EXPECT(IVG_OK, ivg_quantizer_create(&quantizer, source, to, &options, &error));
  return quantizer;
}

/* Quantises to the end; returns the last status. */
static inline ivg_status finish(ivg_quantizer *quantizer) {
  ivg_quantize_report report = {.struct_size = sizeof report};
  ivg_status status = IVG_OK;
  while (quantizer && status == IVG_OK) status = ivg_quantizer_next(quantizer, &report, &error);
  ivg_quantizer_free(quantizer);
  return status;
}

/* Files in the folder. */
static inline int file_count(void) {
  int count = 0;
  DIR *listing = opendir(folder);
  for (struct dirent *entry; listing && (entry = readdir(listing));) count += entry->d_name[0] != '.';
  if (listing) closedir(listing);
  return count;
}

/* Whether a file may have no name until it is complete. */
static inline bool has_nameless_files(void) {
  int file = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (file >= 0) close(file);
  return file >= 0;
}

static inline bool same_files(const char *a, const char *b) {
  unsigned char *x = NULL, *y = NULL;
  size_t n = 0, m = 1;
  bool same = read_file(a, &x, &n) && read_file(b, &y, &m) && n == m && memcmp(x, y, n) == 0;
  free(x);
  free(y);
  return same;
}

#endif
