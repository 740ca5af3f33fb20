#!/usr/bin/env bash
# Writes two C files that show the header's types and numbers to tools.
#
#   mirror.sh types     a variable of each function's type: abidw sees no C types in a library built by Swift
#   mirror.sh numbers   a program that prints every constant; their values are pinned for ever
set -euo pipefail
header="$(cd "$(dirname "$0")/../.." && pwd)/include/ivg.h"

functions() { grep -oE '\bivg_[a-z_]+\(' <(grep -v '^ \*\|^/\*' "$header") | tr -d '(' | sort -u; }
constants() {
  grep -oE '^  IVG_[A-Z0-9_]+ = |(^enum \{|,) IVG_[A-Z0-9_]+ =' "$header" | grep -oE 'IVG_[A-Z0-9_]+'
}

case "$1" in
functions) functions ;;
types)
  echo '#include <ivg.h>'
  for name in $(functions); do echo "__typeof__($name) *mirror_$name;"; done
  # Types that no function names.
  for name in ivg_log_fn ivg_scorer_fn ivg_logits_processor_fn ivg_hosted_logits_fn; do
    echo "$name mirror_$name;"
  done
  ;;
numbers)
  printf '#include <ivg.h>\n#include <stdio.h>\nint main(void) {\n'
  for name in $(constants | sort -u); do echo "  printf(\"$name %d\\n\", (int)$name);"; done
  echo '  printf("IVG_GREEDY %g\n", (double)IVG_GREEDY);'
  echo '  printf("IVG_TOP_K_OFF %u\n", IVG_TOP_K_OFF);'
  printf '  return 0;\n}\n'
  ;;
esac
