#!/usr/bin/env bash
# Tests the library as its users get it: the header, the exports, and C programs that go through libivg.so.
#
#   Tests/ABI/run.sh            all of it; ends with "N passed, N failed"
#   Tests/ABI/run.sh NAME...    only these programs (test_streaming, ...) and parts (header, binary, baseline)
#   Tests/ABI/run.sh --record   takes the exports, constants, types and instruction counts of today as the baseline
#
# Real models are used if .build/models (or $IVG_TEST_MODELS) holds them. Builds into .build/abi.
#
# For a library of another processor, as Tests/ARM/run.sh has one:
#   IVG_TEST_LIBRARY             the library, instead of what swift builds
#   IVG_TEST_CC, IVG_TEST_CXX    compilers for its processor, with their options; STRIP: what strips it
#   IVG_TEST_RUNNER              what runs its programs; what measures the process, and would measure this, is left out
#   IVG_TEST_OUT                 the folder to build into
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
root="$(cd "$here/../.." && pwd)"
cd "$root"
out="${IVG_TEST_OUT:-.build/abi}"
read -ra cc <<<"${IVG_TEST_CC:-gcc}"
read -ra cxx <<<"${IVG_TEST_CXX:-g++}"
read -ra runner <<<"${IVG_TEST_RUNNER:-}"
export IVG_TEST_FIXTURES="$root/Tests/Fixtures" IVG_TEST_MODELS="${IVG_TEST_MODELS:-$root/.build/models}"
export TMPDIR="${TMPDIR:-/tmp}"
passed=0 failed=0
warnings="-Wall -Wextra -pedantic -Werror"

# check NAME COMMAND...: one test, which the first command that fails ends; what it prints is shown then. It runs in a shell
# of its own: variables that it sets are gone after it.
check() {
  local name="$1" status=0
  shift
  set +e # in a condition, -e would be without effect
  (set -e; "$@") >"$out/log.txt" 2>&1
  status=$?
  set -e
  if [ $status -eq 0 ]; then
    passed=$((passed + 1))
    echo "ok   $name"
  else
    failed=$((failed + 1))
    sed 's/^/     /' "$out/log.txt"
    echo "FAIL $name"
  fi
}

skip() { echo "skip $1: no $2"; }
have() { command -v "$1" >/dev/null; }

# The library, as it would be installed.
mkdir -p $out/lib
noticed="$(check probe eval 'false; true')"
[ "${noticed##*$'\n'}" = "FAIL probe" ] || { echo "a test does not end with its first failure: $noticed"; exit 1; }
if [ ! "${IVG_TEST_LIBRARY:-}" ]; then
  swift build -c release --product ivg >$out/build.txt 2>&1 || { cat $out/build.txt; exit 1; }
fi
install -m 755 "${IVG_TEST_LIBRARY:-.build/release/libivg.so}" $out/lib/libivg.so.0
ln -sf libivg.so.0 $out/lib/libivg.so
library=$out/lib/libivg.so.0

# 1 The header alone, under each language and compiler.
compiles() { printf '#include <ivg.h>\n' | "$@" $warnings -Iinclude -fsyntax-only -; }
header() {
  for standard in c99 c11; do
    check "header: gcc $standard" compiles gcc -xc -std=$standard -Wstrict-prototypes
  done
  have clang && check "header: clang c11" compiles clang -xc -std=c11 -Wstrict-prototypes
  for compiler in g++ clang++; do
    have $compiler || { skip "header: $compiler" $compiler; continue; }
    for standard in c++11 c++17; do
      check "header: $compiler $standard" compiles $compiler -xc++ -std=$standard
    done
  done
  twice() {
    for unit in a b; do
      "${cxx[@]}" -std=c++11 $warnings -Iinclude -c "$here/double_include_$unit.cc" -o $out/double_include_$unit.o
    done
    "${cxx[@]}" $out/double_include_[ab].o -o $out/double_include -L$out/lib -livg -Wl,-rpath,'$ORIGIN/lib'
    "${runner[@]}" $out/double_include
  }
  check "header: twice in each of two units" twice
  # Programs in the header's own text, as a reader would copy them.
  programs() {
    mkdir -p $out/header
    "$here/header_blocks.py" --programs $out/header || return 1
    for source in $out/header/*.c; do
      "${cc[@]}" -std=c99 $warnings -Iinclude "$source" -o "${source%.c}" -L$out/lib -livg || return 1
    done
  }
  check "header: every declaration has its block" "$here/header_blocks.py"
  check "header: what a block lacks is noticed" "$here/header_blocks.py" --self-test
  check "header: its programs compile" programs
}

# 2 What the library exports and needs.
exported() { nm -D --defined-only $library | sed 's/.* //; s/@.*//' | grep -v '^IVG_0$' | sort; }
needed() { readelf -d $library | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p'; }
binary() {
  same_exports() { diff <(exported) "$here/exports.txt"; }
  declared() { diff <(exported) <("$here/mirror.sh" functions); }
  # What a program prints is taken first, so that its failure is none of "nothing found".
  versioned() {
    local symbols
    symbols="$(nm -D --defined-only $library)"
    ! grep ' T ' <<<"$symbols" | grep -v '@@IVG_0$'
  }
  soname() { [[ "$(readelf -d $library)" == *SONAME*"[libivg.so.0]"* ]]; }
  # ld-linux is glibc's own loader, which libm and libc bring along.
  needs() {
    local libraries
    libraries="$(needed)"
    [ "$libraries" ]
    ! grep -vE '^(lib(c|m|stdc\+\+)\.so\.6|libgcc_s\.so\.1|ld-linux.*\.so\.[0-9])$' <<<"$libraries"
  }
  size() {
    "${STRIP:-strip}" -o $out/stripped.so $library
    bytes=$(stat -c %s $out/stripped.so)
    echo "stripped: $bytes bytes"
    [ "$bytes" -le 9800000 ]
  }
  # Debian 12, Ubuntu 22.04, RHEL 9.
  old_glibc() {
    newest=$(nm -D $library | grep -oE 'GLIBC_2\.[0-9]+' | sort -uV | tail -1)
    echo "needs $newest: $(nm -D $library | grep "$newest")"
    [ "$(printf 'GLIBC_2.34\n%s\n' "$newest" | sort -V | tail -1)" = GLIBC_2.34 ]
  }
  foundation() {
    local symbols
    symbols="$(nm $library)"
    ! grep -E '10Foundation|NSObject|CFString' <<<"$symbols"
  }
  check "library: exports are exports.txt" same_exports
  check "library: exports are the header's functions" declared
  check "library: exports are versioned" versioned
  check "library: soname" soname
  check "library: needs nothing but the C and C++ runtimes" needs
  check "library: at most 9.8 MB stripped" size
  if [ ${#runner[@]} -eq 0 ]; then
    check "library: content with glibc 2.34" old_glibc
  else
    echo "skip library: content with glibc 2.34: it is linked against another system"
  fi
  check "library: no Foundation" foundation
}

# 3 Types and constants against their baseline.
mirror() {
  "$here/mirror.sh" types >$out/ivg_types.c
  "${cc[@]}" -g -shared -fPIC "-fdebug-prefix-map=$out/=" -Iinclude $out/ivg_types.c -o $out/ivg_types.so
  "$here/mirror.sh" numbers >$out/ivg_numbers.c
  "${cc[@]}" -Iinclude $out/ivg_numbers.c -o $out/ivg_numbers
}
describe_types() {
  abidw --no-comp-dir-path --no-corpus-path --no-show-locs --no-elf-needed --no-architecture --out-file "$1" \
    $out/ivg_types.so
}
baseline() {
  mirror
  # A line that is gone or changed breaks hosts; new ones may come.
  numbers() { "${runner[@]}" $out/ivg_numbers >$out/numbers.txt && diff $out/numbers.txt "$here/constants.txt"; }
  types() { describe_types $out/ivg.abi && abidiff --no-architecture "$here/ivg.abi" $out/ivg.abi; }
  check "baseline: constants" numbers
  if have abidiff && have abidw; then
    check "baseline: types" types
  else
    skip "baseline: types" "abigail-tools"
  fi
}

# 5 Instructions of the portable kernels and all around them: a guard against slowness that is no timing. Counted as the
# difference of two runs, so that opening and the prompt do not count.
# Without debugging information, which valgrind may be too old to read.
compile_counter() {
  mkdir -p $out/counted
  strip -o $out/counted/libivg.so.0 $library
  gcc -std=c11 -O1 -g $warnings -D_GNU_SOURCE -Iinclude "$here/count_instructions.c" -o $out/count_instructions \
    -L$out/lib -livg -lm -lpthread -Wl,-rpath,'$ORIGIN/lib'
}
collected() {
  LD_LIBRARY_PATH=$out/counted IVG_KERNELS=portable SWIFT_DETERMINISTIC_HASHING=1 valgrind --tool=callgrind --callgrind-out-file=/dev/null \
    $out/count_instructions "$@" 2>&1 | sed -n 's/.*Collected : \([0-9]*\).*/\1/p'
}
# per_token ROWS: instructions for one more token in each row.
per_token() { echo $((($(collected "$1" 40) - $(collected "$1" 20)) / 20)); }
instructions() {
  for rows in 1 16; do echo "$rows $(per_token $rows)"; done
}
near_baseline() {
  instructions | tee $out/instructions.txt
  while read -r rows expected; do
    actual=$(sed -n "s/^$rows //p" $out/instructions.txt)
    [ "$actual" -gt 0 ] && [ $((actual * 100)) -le $((expected * 105)) ] ||
      { echo "$rows rows: $actual instructions a token, $expected recorded"; return 1; }
    [ $((actual * 100)) -ge $((expected * 95)) ] ||
      { echo "$rows rows: $actual, fewer than the $expected recorded: run.sh --record takes it"; return 1; }
  done <"$here/instructions.txt"
}

if [ "${1:-}" = --record ]; then
  mirror
  exported >"$here/exports.txt"
  $out/ivg_numbers >"$here/constants.txt"
  describe_types "$here/ivg.abi"
  compile_counter
  instructions >"$here/instructions.txt"
  exit
fi

# 4 Programs.
program() {
  local name="$1" variables=""
  # So that what malloc has given out is exact: see test_leaks.c.
  [ "$name" = test_leaks ] && variables="GLIBC_TUNABLES=glibc.malloc.tcache_count=0:glibc.malloc.arena_max=1"
  # Files that are written thousands of times belong into memory.
  [ "$name" = test_flips ] && [ -w /dev/shm ] && variables="TMPDIR=/dev/shm"
  echo "$name"
  if ! "${cc[@]}" -std=c11 -O1 -g $warnings -D_GNU_SOURCE ${CHECK_FLAGS:-} -Iinclude "$here/$name.c" \
    -o "$out/$name" -L$out/lib -livg -lm -lpthread -Wl,-rpath,'$ORIGIN/lib'; then
    failed=$((failed + 1))
    echo "FAIL $name: does not compile"
    return
  fi
  local status=0
  env $variables "${runner[@]}" "$out/$name" >"$out/$name.txt" 2>&1 || status=$?
  sed 's/^/  /' "$out/$name.txt"
  passed=$((passed + $(grep -c '^ok ' "$out/$name.txt" || true)))
  local failures
  failures=$(grep -c '^FAIL ' "$out/$name.txt" || true)
  [ $status -eq 0 ] || [ "$failures" -gt 0 ] && [ $status -lt 2 ] ||
    { failures=$((failures + 1)); echo "FAIL $name: ended with $status"; }
  failed=$((failed + failures))
}

if [ $# -gt 0 ]; then
  for name in "$@"; do
    case "$name" in header | binary | baseline) "$name" ;; *) program "$name" ;; esac
  done
else
  header
  binary
  baseline
  for source in "$here"/test_*.c; do program "$(basename "$source" .c)"; done
  if [ ${#runner[@]} -gt 0 ]; then
    echo "skip instructions: the programs run in an emulator"
  elif have valgrind; then
    check "instructions: compiles" compile_counter
    check "instructions: within 5 % of the baseline" near_baseline
  else
    skip "instructions" valgrind
  fi
fi
echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
