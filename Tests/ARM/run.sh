#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Builds the whole library for 64-bit ARM on a machine that is none, and tests it in an emulator: the binary and the programs
# of Tests/ABI, and that it computes the bits that this machine's library computes.
#
#   Tests/ARM/run.sh            all of it, half an hour or more; ends with "N passed, N failed"
#   Tests/ARM/run.sh NAME...    only these programs and parts of Tests/ABI/run.sh, and no comparison
#   Tests/ARM/run.sh bits       only the comparison
#
#   SWIFT            the swift that builds (swift); DEBIAN_MIRROR, see get_sdk.sh
#   IVG_TEST_MODELS  where a real model may be, for two requests more (.build/models)
#
# Needs what `make lib` has built, a swift with its clang, qemu-user (Tests/get_tools.sh), and packages of Debian that
# get_sdk.sh fetches. Says "skipped" with the reason, and succeeds, where one of them cannot be had; on a 64-bit ARM there is
# nothing to emulate: there `make test` tests all of this, and more. Builds into .build/aarch64.
#
# Left out are programs that measure what the emulator itself takes (memory, time), start themselves anew, or take too long.
set -euo pipefail
cd "$(dirname "$0")/../.."
sdks=.build/tools-aarch64 out=.build/aarch64
strict="-std=c11 -Wall -Wextra -pedantic -Werror -D_GNU_SOURCE"
skip() { echo "skipped: $*"; exit 0; }

[ "$(uname -m)" != aarch64 ] || skip "this machine is a 64-bit ARM: make test"
command -v qemu-aarch64 >/dev/null || skip "there is no qemu-aarch64 (Debian: qemu-user)"
[ -e .build/release/libivg.so ] || { echo "run.sh: make lib first" >&2; exit 2; }
status=0
reason="$(Tests/ARM/get_sdk.sh $sdks)" || status=$?
[ $status -ne 3 ] || skip "$reason"
[ $status -eq 0 ] || exit $status
cat $sdks/ivg-aarch64.artifactbundle/contents.txt

# Swift notices neither another SDK nor a change of a C struct (see the Makefile).
mkdir -p $out
cat $sdks/ivg-aarch64.artifactbundle/contents.txt Sources/CIVGKernels/include/CIVGKernels.h >$out/now.txt
cmp -s $out/now.txt $out/built-for.txt || rm -rf $out/build
mv $out/now.txt $out/built-for.txt
"${SWIFT:-swift}" build -c release --product ivg --swift-sdks-path $sdks --swift-sdk ivg-aarch64 --scratch-path $out/build \
  >$out/build.txt 2>&1 || { cat $out/build.txt; exit 1; }

# The system that the library is linked to is the one that it runs on. Relative paths: they have no spaces.
system=$sdks/ivg-aarch64.artifactbundle/aarch64/root
runtime="$("${SWIFT:-swift}" -print-target-info | sed -n 's/.*"runtimeResourcePath": "\(.*\)".*/\1/p')"
mkdir -p $out/bin
for tool in clang clang++; do ln -sfn "$runtime/../../bin/$tool" $out/bin/$tool; done
ln -sfn "$runtime/../../bin/llvm-objcopy" $out/bin/llvm-strip # strips under this name
cross="--target=aarch64-unknown-linux-gnu --sysroot=$system -fuse-ld=lld -Qunused-arguments"
export IVG_TEST_LIBRARY=$out/build/release/libivg.so IVG_TEST_OUT=$out/abi STRIP=$out/bin/llvm-strip
export IVG_TEST_CC="$out/bin/clang $cross" IVG_TEST_CXX="$out/bin/clang++ $cross"
emulator="qemu-aarch64 -L $system -cpu"

# Part one: what Tests/ABI tests.
programs() {
  IVG_TEST_RUNNER="$emulator max" IVG_TEST_MODELS=/nonexistent Tests/ABI/run.sh "$@"
}

if [ $# -gt 0 ] && [ "$*" != bits ]; then
  programs "$@"
  exit
fi

passed=0 failed=0
# check NAME COMMAND...: one test; what it prints is shown if it fails.
check() {
  local name="$1"
  shift
  if "$@" >$out/log.txt 2>&1; then
    passed=$((passed + 1))
    echo "ok   $name"
  else
    failed=$((failed + 1))
    sed 's/^/     /' $out/log.txt | cut -c1-300 | head -n 40
    echo "FAIL $name"
  fi
}

# Part two: the same bits. This machine's best kernels say what they must be. The processors have, and lack, the instructions
# that dispatch looks for: dot products, and the atomic ones of ARMv8.1 for which code could have been made.
here=$out/here
mkdir -p $here/lib $out/abi/lib
install -m 755 .build/release/libivg.so $here/lib/libivg.so.0
install -m 755 $IVG_TEST_LIBRARY $out/abi/lib/libivg.so.0
for folder in $here $out/abi; do ln -sf libivg.so.0 $folder/lib/libivg.so; done
# compile FOLDER SOURCE COMPILER...: a program in FOLDER named as its source, with the library in FOLDER/lib.
compile() {
  local folder="$1" source="$2" name
  shift 2
  name="$(basename "${source%.*}")"
  "$@" -O1 -g -Iinclude "$source" -o "$folder/$name" -L"$folder/lib" -livg -lm -Wl,-rpath,'$ORIGIN/lib'
}
export IVG_TEST_FIXTURES="$PWD/Tests/Fixtures" IVG_TEST_MODELS="${IVG_TEST_MODELS:-$PWD/.build/models}"
model="$IVG_TEST_MODELS/SmolLM2-135M-Instruct.Q4_1.gguf"
[ -e "$model" ] || { echo "skip same bits: real model: no $model"; model=""; }

# the_same KERNELS MODEL COMMAND...: the command runs these kernels and prints what this machine does.
the_same() {
  local kernels="$1" model="$2"
  shift 2
  "$@" $out/abi/same_bits ${model:+"$model"} >$out/there.txt 2>$out/kernels.txt ||
    { cat $out/there.txt $out/kernels.txt; return 1; }
  [ "$(cat $out/kernels.txt)" = "$kernels" ] || { echo "other kernels than $kernels: $(cat $out/kernels.txt)"; return 1; }
  [ "$(wc -l <$out/there.txt)" -gt 800 ] || { cat $out/there.txt; return 1; }
  if [ "$model" ]; then diff $here/bits.txt $out/there.txt; else diff <(grep -v '^real' $here/bits.txt) $out/there.txt; fi
}
on_this_machine() { $here/same_bits ${model:+"$model"} >$here/bits.txt; }
segments() { # as far apart as the largest pages that kernels for this processor have
  local headers
  headers="$(readelf -lW $IVG_TEST_LIBRARY | awk '$1 == "LOAD" { print $NF }')"
  echo "$headers"
  [ "$headers" ] && ! grep -vx 0x10000 <<<"$headers"
}
# An example in C and in C++ prints the same here and there, and ends alike where something goes wrong.
example() {
  local source="$1" name folder text run status
  shift
  name="$(basename "${source%.*}")"
  case "$source" in
    *.c) compile $here "$source" "${CC:-cc}" -std=c11 && compile $out/abi "$source" $IVG_TEST_CC -std=c11 ;;
    *) compile $here "$source" "${CXX:-c++}" -std=c++17 && compile $out/abi "$source" $IVG_TEST_CXX -std=c++17 ;;
  esac || return 1
  $here/$name Tests/Fixtures/tiny-llama.gguf "A value" >$out/said-here.txt &&
    $emulator max $out/abi/$name Tests/Fixtures/tiny-llama.gguf "A value" >$out/said-there.txt &&
    [ -s $out/said-here.txt ] && cmp $out/said-here.txt $out/said-there.txt || return 1
  for folder in $here $out/abi; do
    status=0 run=""
    [ $folder = $here ] || run="$emulator max"
    text="$($run $folder/$name /nonexistent.gguf "A value" 2>&1)" || status=$?
    [ $status -eq 1 ] && [[ "$text" == *nonexistent.gguf* ]] || { echo "$folder: ended with $status: $text"; return 1; }
  done
}
# Damaged files, fewer than where nothing is emulated.
flips() { compile $out/abi Tests/ABI/test_flips.c $IVG_TEST_CC $strict && $emulator max $out/abi/test_flips 2000 1; }

compile $here Tests/ARM/same_bits.c "${CC:-cc}" $strict
compile $out/abi Tests/ARM/same_bits.c $IVG_TEST_CC $strict
check "same bits: here" on_this_machine
check "same bits: neon-dotprod" the_same neon-dotprod "$model" $emulator max
for processor in cortex-a53 cortex-a72; do check "same bits: $processor" the_same portable "" $emulator $processor; done
check "pages of 64 KiB" segments
for source in examples/c/guided.c examples/cpp/guided.cc; do check "$source" example $source; done
check "damaged files" flips

# Part one again, all that an emulator lets be measured, and is not too slow in it.
if [ $# -eq 0 ]; then
  names=(header binary baseline)
  for source in Tests/ABI/test_*.c; do
    name="$(basename "$source" .c)"
    case $name in
      test_budget | test_budget_kept | test_budget_training | test_memory | test_leaks) ;; # measure memory
      test_quantize | test_training_cancel) ;;                                              # race against the clock
      test_cold_start | test_flips) ;;                                                      # start anew; above
      *) names+=("$name") ;;
    esac
  done
  status=0
  programs "${names[@]}" | tee $out/programs.txt || status=$?
  last="$(tail -n 1 $out/programs.txt)"
  [[ "$last" =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed$ ]] || { echo "Tests/ABI/run.sh did not come to its end"; exit 1; }
  passed=$((passed + BASH_REMATCH[1])) failed=$((failed + BASH_REMATCH[2]))
  [ $status -eq 0 ] || [ $failed -gt 0 ] || failed=1
fi
echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
