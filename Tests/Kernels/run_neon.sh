#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Builds neon_test.c for this machine and for 64-bit ARM, runs the latter in an emulator, and demands the same
# hash from every table of both. Needs clang, a cross sysroot (Debian: gcc-aarch64-linux-gnu) and qemu-user;
# prints "skipped" and succeeds where one is missing.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
sources="$root/Tests/Kernels/neon_test.c $root/Sources/CIVGKernels/*.c"
flags="-std=c11 -O3 -ffp-contract=off -fno-math-errno -Wall -Wextra -Werror -I$root/Sources/CIVGKernels/include"

for tool in clang aarch64-linux-gnu-gcc qemu-aarch64; do
  if ! command -v "$tool" >/dev/null; then
    echo "skipped: $tool is not installed"
    exit 0
  fi
done

# The cross compiler links: it knows where its own libraries are.
for source in $sources; do
  clang --target=aarch64-linux-gnu -isystem /usr/aarch64-linux-gnu/include $flags -c "$source" \
    -o "$work/$(basename "$source").o"
done
aarch64-linux-gnu-gcc -static "$work"/*.o -lm -o "$work/arm"
clang $flags $sources -lm -o "$work/here"

"$work/here" >"$work/results"
qemu-aarch64 -cpu max "$work/arm" >>"$work/results"
cat "$work/results"
if [ "$(cut -d' ' -f1 "$work/results" | sort -u | wc -l)" != 1 ]; then
  echo "the tables disagree"
  exit 1
fi
