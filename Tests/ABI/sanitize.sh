#!/usr/bin/env bash
# The slow half of the tests: sanitizers over the Swift tests, leak checkers over the C programs, more bit
# flips.
#
#   Tests/ABI/sanitize.sh [swift | c]    default: both; further words go to swift test
#
# The Swift tests run instrumented, with the library's own code in them. The C programs go through the real
# library, which is not instrumented: there the sanitizer's malloc and valgrind see what it takes, writes
# past and forgets.
set -euo pipefail
cd "$(dirname "$0")/../.."
out=.build/abi
export IVG_TEST_FIXTURES="$PWD/Tests/Fixtures" IVG_TEST_MODELS="${IVG_TEST_MODELS:-$PWD/.build/models}"

swift_tests() {
  # A report of either sanitizer ends the test run with an error. Some tests ask for more memory than there
  # is, and expect an error; the old test runner, which finds nothing to run here, forgets some bytes of its
  # own.
  mkdir -p $out
  echo "leak:libXCTest" >$out/leaks.txt
  export ASAN_OPTIONS="detect_leaks=1 allocator_may_return_null=1" TSAN_OPTIONS="allocator_may_return_null=1"
  export LSAN_OPTIONS="suppressions=$PWD/$out/leaks.txt print_suppressions=0"
  swift test --sanitize=address --scratch-path .build/address "$@"
  swift test --sanitize=thread --scratch-path .build/thread "$@"
}

c_programs() {
  # Without these three: one replaces malloc itself, the others measure what the sanitizer changes.
  local name programs=()
  for name in Tests/ABI/test_*.c; do
    name=$(basename "$name" .c)
    case $name in test_allocations | test_memory | test_cancel | test_training_cancel) ;; *) programs+=("$name") ;; esac
  done
  CHECK_FLAGS="-fsanitize=address,undefined" ASAN_OPTIONS=detect_leaks=1 Tests/ABI/run.sh "${programs[@]}"

  Tests/ABI/run.sh test_leaks test_flips test_sequences # anew, without the sanitizer
  for seed in 2 3 4 5; do TMPDIR=/dev/shm $out/test_flips 50000 $seed; done

  if command -v valgrind >/dev/null; then
    # Stripped, since valgrind may not know the form of the debug information. "Possibly lost" are type
    # descriptions of the language runtime, to which only inner pointers are kept.
    mkdir -p $out/stripped
    strip -o $out/stripped/libivg.so.0 $out/lib/libivg.so.0
    for name in test_leaks test_sequences; do
      echo "valgrind $name"
      IVG_KERNELS=avx2 LD_LIBRARY_PATH=$out/stripped valgrind --quiet --leak-check=full \
        --errors-for-leak-kinds=definite --show-leak-kinds=definite --error-exitcode=9 $out/$name 5 >/dev/null
    done
  else
    echo "skip valgrind: not installed"
  fi
}

case "${1:-}" in
swift) shift && swift_tests "$@" ;;
c) c_programs ;;
*) swift_tests && c_programs ;;
esac
echo "sanitizers: nothing found"
