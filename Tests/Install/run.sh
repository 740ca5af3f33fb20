#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Tests libivg as C and C++ users get it: installs it, builds programs against it from outside the repository with
# pkg-config and CMake, moves it, takes it away; and all examples in C and C++.
#
#   Tests/Install/run.sh        ends with "N passed, N failed"
#
# $IVG_TEST_LIBRARY is the library (.build/release/libivg.so); real models are used if .build/models (or
# $IVG_TEST_MODELS) holds them. What is not there (clang, cmake, mandoc) is skipped with a line that says so.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
root="$(cd "$here/../.." && pwd)"
library="$(realpath "${IVG_TEST_LIBRARY:-$root/.build/release/libivg.so}")"
fixtures="$root/Tests/Fixtures"
tiny="$fixtures/tiny-llama.gguf"
real="${IVG_TEST_MODELS:-$root/.build/models}/SmolLM2-135M-Instruct.Q4_1.gguf"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$work"
passed=0 failed=0
strict=(-Wall -Wextra -pedantic -Werror -Wconversion -Wshadow)

# check NAME COMMAND...: one test, which the first command that fails ends; what it prints is shown then.
check() {
  local name="$1" status=0
  shift
  set +e # in a condition, -e would be without effect
  (set -e; "$@") >"$work/log.txt" 2>&1
  status=$?
  set -e
  if [ $status -eq 0 ]; then
    passed=$((passed + 1))
    echo "ok   $name"
  else
    failed=$((failed + 1))
    sed 's/^/     /' "$work/log.txt"
    echo "FAIL $name"
  fi
}
skip() { echo "skip $1: no $2"; }
have() { command -v "$1" >/dev/null; }

# fails STATUS PATTERN COMMAND...: the command ends with STATUS and says on standard error what PATTERN does.
fails() {
  local expected="$1" pattern="$2" status=0
  shift 2
  "$@" >out.txt 2>error.txt </dev/null || status=$?
  [ "$status" -eq "$expected" ] && grep -q -- "$pattern" error.txt ||
    { echo "ended with $status, not $expected and \"$pattern\":"; cat error.txt; return 1; }
}

setup() { "$root/bindings/c/install.sh" "$1" LIBRARY="$library" "${@:2}"; }
version="$(sed -n 's/^#define IVG_VERSION_[MP][AI][A-Z]* \([0-9]*\)$/\1/p' "$root/include/ivg.h" | paste -sd.)"
major="${version%%.*}"

# 1 Installing.
files_below() { (cd "$1" && find . ! -type d | sort); }
installs() {
  setup install PREFIX="$1" "${@:4}"
  local base="$2$1" folder="$2$1/$3" name
  for name in "$folder"/{libivg.so,"libivg.so.$major","libivg.so.$version",pkgconfig/ivg.pc} \
    "$folder"/cmake/ivg/ivgConfig{,Version}.cmake "$base"/include/ivg.{h,hpp} "$base"/share/man/man3/ivg.3 \
    "$base"/share/doc/ivg/guidance.md; do
    [ -r "$name" ] || { echo "there is no $name"; return 1; }
  done
  [ "$(readlink "$folder/libivg.so")" = "libivg.so.$major" ]
  [ "$(readlink "$folder/libivg.so.$major")" = "libivg.so.$version" ]
  [ "$(stat -c %a "$folder/libivg.so.$version")" = 755 ]
  [ "$(stat -c %a "$base/include/ivg.h")" = 644 ]
  readelf -d "$folder/libivg.so.$version" | grep "SONAME.*\[libivg\.so\.$major\]"
  ! readelf -S "$folder/libivg.so.$version" | grep -E '\.(symtab|debug)'
}
# No file names the folder it was built in, staged in, or installed into.
names_nothing() { ! grep -raF -e "$root" -e "$work" -e "${library%/*}" "$1"; }
uninstalls() {
  setup uninstall "${@:2}"
  [ -z "$(files_below "$1")" ] && [ ! -e "$1/lib/cmake/ivg" ] && [ ! -e "$1/share/doc/ivg" ] || { files_below "$1"; return 1; }
}
# Pages of others stay, also where they are named or linked alike; what earlier versions of libivg have left goes.
uninstall_knows_its_own() {
  local base="$work/shared" pages="$work/shared/share/man/man3"
  setup install PREFIX="$base"
  echo '.TH IVG_TOOL 3' >"$pages/ivg_tool.3"
  printf '.TH IVG 3\n.\\" Made of ivg.h by make_manual.py.\n' >"$pages/ivg_quotation.3"
  : >"$pages/ivg_empty.3"
  ln -s ivg_tool.3 "$pages/ivg_tool_start.3"
  ln -s ivg_gone.3 "$pages/ivg_broken.3"
  cp "$pages/ivg_models.3" "$work/elsewhere.3"
  ln -s "$work/elsewhere.3" "$pages/ivg_elsewhere.3"
  files_below "$base" >all.txt
  cp "$pages/ivg_models.3" "$pages/ivg_former.3"
  ln -s ivg_former.3 "$pages/ivg_former_function.3"
  echo "An old page" >"$base/share/doc/ivg/former.md"
  echo "# old" >"$base/lib/cmake/ivg/ivgFormer.cmake"
  setup uninstall PREFIX="$base"
  diff <(grep -E '/ivg_(tool|tool_start|quotation|empty|broken|elsewhere)\.3$' all.txt) <(files_below "$base")
  [ ! -e "$base/lib/cmake/ivg" ] && [ ! -e "$base/share/doc/ivg" ]
}
uninstalls_what_is_left() {
  setup install PREFIX="$work/partial"
  rm -r "$work/partial/share" "$work/partial/lib/cmake"
  uninstalls "$work/partial" PREFIX="$work/partial"
}
replaces() {
  local before
  before="$(files_below "$prefix")"
  cp "$prefix/lib/libivg.so.$version" "$prefix/lib/libivg.so.$major.0.0-old" # of a version before
  setup install PREFIX="$prefix"
  diff <(echo "$before") <(files_below "$prefix")
}
manual() {
  local page
  for page in "$prefix"/share/man/man3/*.3; do
    if [ -L "$page" ]; then continue; fi
    groff -man -ww -Tutf8 "$page" 2>&1 >page.txt | tee warnings.txt
    [ -s page.txt ] && [ ! -s warnings.txt ] || return 1
  done
}
lints() { [ -z "$(find "$prefix/share/man" -type f -exec mandoc -Tlint {} + | tee /dev/stderr)" ]; }
every_function_has_a_page() {
  local name
  while read -r name; do grep -q "^\.SS.*$name()" "$prefix/share/man/man3/$name.3" || { echo "$name"; return 1; }; done \
    < <(nm -D --defined-only "$library" | sed 's/.* //; s/@.*//' | grep '^ivg_')
}

installing() {
  check "install: a relative PREFIX is refused" fails 1 'PREFIX must be an absolute path' setup install PREFIX=here
  check "install: a LIBDIR elsewhere is refused" fails 1 'LIBDIR must be a folder' setup install PREFIX="$work/x" LIBDIR=/lib
  check "install: a LIBDIR that climbs is refused" fails 1 'LIBDIR must be' setup install PREFIX="$work/x" LIBDIR=lib/../..
  check "install: no library" fails 1 'there is no /no/such/file' "$root/bindings/c/install.sh" install LIBRARY=/no/such/file
  check "install: an unknown setting" fails 2 'install.sh install' setup install PREFIXX=/usr
  check "uninstall: of nothing" fails 1 'there is no ivg in' setup uninstall PREFIX="$work/x"
  check "install: nothing was written" test ! -e "$work/x"

  # As packages for systems of several architectures are made.
  local libdir
  libdir="lib/$(gcc -print-multiarch)"
  stage="$work/the stage"
  check "install: into DESTDIR" installs /usr "$stage" "$libdir" DESTDIR="$stage" LIBDIR="/usr/$libdir"
  check "install: the stage names no folder" names_nothing "$stage"
  check "pkg-config: gcc, from DESTDIR" consumer_pkg_config gcc "$stage/usr/$libdir" c
  if have cmake; then check "CMake: gcc and g++, from DESTDIR" consumer_cmake gcc g++ "$stage/usr"; fi
  check "uninstall: from DESTDIR" uninstalls "$stage" PREFIX=/usr DESTDIR="$stage" LIBDIR="$libdir"

  check "uninstall: keeps what others have put there" uninstall_knows_its_own
  check "uninstall: without the manual and the files for CMake" uninstalls_what_is_left

  prefix="$work/a prefix"
  check "install: into a folder with a space" installs "$prefix" "" lib
  check "install: no file names a folder" names_nothing "$prefix"
  check "install: over itself and an earlier version" replaces
  if have groff; then check "manual: groff has nothing to say" manual; else skip "manual" groff; fi
  if have mandoc; then check "manual: mandoc has nothing to say" lints; else skip "manual: lint" mandoc; fi
  check "manual: every function has a page" every_function_has_a_page
}

# 2 Programs of others.
# flags FOLDER ARGUMENT...: pkg-config's words; a shell reads them, since paths may have spaces.
flags() {
  local words
  words="$(PKG_CONFIG_PATH="$1/pkgconfig" pkg-config "${@:2}" ivg)"
  eval "flags=($words)"
}
# consumer_pkg_config COMPILER FOLDER LANGUAGE
consumer_pkg_config() {
  local standard=-std=c11 flags
  [ "$3" = cc ] && standard=-std=c++17
  cp "$root"/examples/c/generate.c "$root"/examples/cpp/generate.cc .
  [ "$(PKG_CONFIG_PATH="$2/pkgconfig" pkg-config --modversion ivg)" = "$version" ]
  flags "$2" --cflags --libs
  "$1" $standard "${strict[@]}" "generate.$3" "${flags[@]}" -o consumer
  readelf -d consumer | grep "NEEDED.*\[libivg\.so\.$major\]"
  LD_LIBRARY_PATH="$2" ./consumer "$tiny" "Once" >out.txt
  [ -s out.txt ]
}
# configure PREFIX SETTING...
configure() {
  rm -rf consumer_project
  mkdir consumer_project
  cp "$here/CMakeLists.txt" "$root/examples/c/generate.c" "$root/examples/cpp/generate.cc" consumer_project
  cmake -S consumer_project -B consumer_project/build -DCMAKE_PREFIX_PATH="$1" "${@:2}"
}
consumer_cmake() {
  configure "$3" -DVERSION=0.1 -DCMAKE_C_COMPILER="$1" -DCMAKE_CXX_COMPILER="$2"
  cmake --build consumer_project/build
  local name
  for name in c cc; do
    consumer_project/build/consumer_$name "$tiny" "Once" >out.$name
    readelf -d consumer_project/build/consumer_$name | grep "NEEDED.*\[libivg\.so\.$major\]"
  done
  [ -s out.c ] && cmp out.c out.cc
}
compilers() { # each pair that is there
  if have clang && have clang++; then echo gcc g++ clang clang++; else echo gcc g++; fi | xargs -n 2
}
consumers() {
  local c cxx where="$1" prefix="$2"
  while read -r c cxx; do
    check "pkg-config: $c, $where" consumer_pkg_config "$c" "$prefix/lib" c
    check "pkg-config: $cxx, $where" consumer_pkg_config "$cxx" "$prefix/lib" cc
    if have cmake; then check "CMake: $c and $cxx, $where" consumer_cmake "$c" "$cxx" "$prefix"; fi
  done < <(compilers)
  have clang || skip "consumers" clang
  have cmake || skip "consumers" cmake
}
versions() {
  have cmake || return 0
  local refused='compatible with requested version\|considered but not accepted'
  for asked in 9.9 0.99 1.0 '0.0...<0.1'; do
    check "CMake: version $asked is refused" fails 1 "$refused" configure "$prefix" -DVERSION="$asked"
  done
  for asked in 0 0.1 "$version" '0.1...<1'; do
    check "CMake: version $asked is accepted" configure "$prefix" -DVERSION="$asked"
  done
  check "CMake: a component is refused" fails 1 'no component x' configure "$prefix" -DVERSION=0.1 -DCOMPONENT=x
  local whole="$prefix/include/ivg.h"
  mv "$whole" "$whole.away"
  check "CMake: half an installation is refused" fails 1 'installed in part' configure "$prefix" -DVERSION=0.1
  mv "$whole.away" "$whole"
}

# 3 Examples. All are built as C11 or C++17 with the strictest warnings.
build() { # SOURCE PROGRAM COMPILER STANDARD
  local flags
  flags "$prefix/lib" --cflags --libs
  "$3" "-std=$4" -g "${strict[@]}" "$1" "${flags[@]}" -Wl,-rpath,"$prefix/lib" -lm -pthread -o "$2"
}
build_examples() {
  local source name
  for source in "$root"/examples/c/*.c; do
    name="$(basename "$source" .c)"
    have clang && check "example: $name.c with clang" build "$source" clang.out clang c11
    check "example: $name.c with gcc" build "$source" "./$name.c.out" gcc c11
  done
  for source in "$root"/examples/cpp/*.cc; do
    name="$(basename "$source" .cc)"
    have clang++ && check "example: $name.cc with clang++" build "$source" clang.out clang++ c++17
    check "example: $name.cc with g++" build "$source" "./$name.cc.out" g++ c++17
  done
}
messages() { printf 'What is the capital of France?\n\nAnd of Italy?\r\nThank you.'; }
# same_in_both MODEL NAME ARGUMENT...: the same bytes, and some, in C and in C++.
same_in_both() {
  local language
  for language in c cc; do messages | "./$2.$language.out" "$1" "${@:3}" >"out.$language"; done
  [ -s out.c ] && cmp out.c out.cc
}
continues() { ./generate.c.out "$real" "Once upon a time" | grep "^Once upon a time."; }
converses() {
  messages | ./chat.c.out "$real" >out.txt
  [ "$(grep -c '^> ' out.txt)" = 3 ] && grep Paris out.txt && grep Rome out.txt
}
prefers() { # what the guide prefers is praise
  ./steer_your_model.c.out "$real" | tee out.txt
  read -r less_praise less_blame < <(sed -n 's/weight -1.0: *\([0-9]*\) praise, *\([0-9]*\) blame.*/\1 \2/p' out.txt)
  read -r more_praise more_blame < <(sed -n 's/weight  1.0: *\([0-9]*\) praise, *\([0-9]*\) blame.*/\1 \2/p' out.txt)
  [ "$more_praise" -gt "$less_praise" ] && [ "$more_blame" -lt "$less_blame" ]
}
three_lines() { [ "$(./steer_your_model.c.out "$tiny" | grep -c '^weight')" = 3 ]; }
foresees() { # what was foreseen is at least what was used, and within the budget
  ./edge.c.out "$1" "$2" "The weather" | tee out.txt
  sed -n 's/.*beside it \([0-9.]*\) MiB used, \([0-9.]*\) MiB foreseen/\1 \2/p' out.txt |
    awk -v budget="$2" '{ lines++; if ($1 > $2 || $2 > budget || $1 <= 0) exit 1 } END { exit lines != 1 }'
}
same_user_twice() { # the first half of the texts is the second
  ./personal.cc.out "$tiny" "$fixtures/tiny-adapter.gguf" "$fixtures/tiny-adapter.gguf" "The film" | head -n -1 >out.txt
  local half=$(($(stat -c %s out.txt) / 2))
  [ $half -gt 8 ]
  cmp <(head -c $half out.txt) <(tail -c $half out.txt)
}
two_users() {
  local adapters="$root/examples/sentiment/models"
  ./personal.cc.out "$real" "$adapters/tuned-dpo.gguf" "$adapters/untuned-sft.gguf" "The film was" >out.txt
  # 33 passes at most, for the tokens of both.
  grep -E '^[0-9]+ tokens for 2 users in ([1-9]|[12][0-9]|3[0-3]) passes, ' out.txt
  [ "$(grep -c '^The film was ' out.txt)" = 2 ] && [ "$(grep '^The film was ' out.txt | sort -u | wc -l)" = 2 ]
}
run_examples() {
  local name language model label
  for model in "$tiny" "$real"; do
    label="$(basename "$model" .gguf)"
    [ -e "$model" ] || { skip "examples" "$model"; continue; }
    check "examples in C and C++: generate, $label" same_in_both "$model" generate "Once upon a time"
    check "examples in C and C++: guided, $label" same_in_both "$model" guided "The film was"
    check "examples in C and C++: chat, $label" same_in_both "$model" chat
    check "examples in C and C++: score, $label" same_in_both "$model" score "My review: " "What a film!" "A waste." ""
  done
  for language in c cc; do
    for name in generate guided; do
      check "example: $name.$language says what is wrong" fails 1 /no/such/model "./$name.$language.out" /no/such/model "Once"
      check "example: $name.$language says how it is used" fails 2 usage: "./$name.$language.out"
    done
    check "example: chat.$language says what is wrong" fails 1 /no/such/model ./chat.$language.out /no/such/model
    check "example: chat.$language says how it is used" fails 2 usage: ./chat.$language.out
    check "example: chat.$language needs weights" fails 1 vocabulary ./chat.$language.out "$fixtures/tiny-vocabulary-only.gguf"
    check "example: score.$language says what is wrong" fails 1 /no/such/model ./score.$language.out /no/such/model a b
    check "example: score.$language says how it is used" fails 2 usage: ./score.$language.out "$tiny" a
  done
  check "example: steer_your_model.c runs" three_lines
  check "example: steer_your_model.c says what is wrong" fails 1 /no/such/model ./steer_your_model.c.out /no/such/model
  check "example: steer_your_model.c says how it is used" fails 2 usage: ./steer_your_model.c.out
  check "example: edge.c keeps its word" foresees "$tiny" 1
  check "example: edge.c says what is wrong" fails 1 /no/such/model ./edge.c.out /no/such/model 1 a
  for name in 0 -1 x 1x 99999999999999999999; do
    check "example: edge.c refuses a budget of $name" fails 2 usage: ./edge.c.out "$tiny" $name a
  done
  check "example: personal.cc: the same user twice" same_user_twice
  check "example: personal.cc says what is wrong" fails 1 /no/such ./personal.cc.out "$tiny" /no/such /no/such a
  check "example: personal.cc says how it is used" fails 2 usage: ./personal.cc.out
  [ -e "$real" ] || return 0
  check "example: generate.c goes on with the prompt" continues
  check "example: chat.c remembers" converses
  check "example: steer_your_model.c steers" prefers
  check "example: edge.c keeps its word on a real model" foresees "$real" 16
  check "example: edge.c declines what does not fit" fails 1 'MiB beside the file, which is more than 7 MiB\|out of memory' \
    ./edge.c.out "$real" 7 "The weather"
  check "example: personal.cc: two users" two_users
}

# 4 ivg.hpp, and the program that the header alone was enough for.
hpp() { # COMPILER STANDARD
  build "$here/test_hpp.cc" ./test_hpp "$1" "$2"
  ./test_hpp "$fixtures"
}
uninterrupted() { ./streaming_cancel "$1" "Once upon a time" >whole.txt 2>error.txt && [ ! -s error.txt ]; }
interrupted() { # by itself, after each of its steps
  ./streaming_cancel "$1" "Once upon a time" 1 >parts.txt 2>error.txt
  [ "$(grep -c '^\[interrupted after' error.txt)" -ge 3 ] && cmp whole.txt parts.txt
}
interrupted_from_outside() { # by as many signals as it lives to see; the text is the same at whatever point they come
  rm -f parts.txt # what an earlier test left would be taken for a sign of life
  ./streaming_cancel "$1" "Once upon a time" >parts.txt 2>error.txt &
  local process=$! status=0
  until [ -s parts.txt ] || ! kill -0 $process 2>/dev/null; do sleep 0.01; done # its handler is in place by then
  while kill -INT $process 2>/dev/null; do sleep 0.05; done
  wait $process || status=$?
  [ $status -eq 0 ] && cmp whole.txt parts.txt
}
headers() {
  local compiler standard model
  for compiler in g++ clang++; do
    have $compiler || { skip "ivg.hpp" $compiler; continue; }
    for standard in c++17 c++20; do check "ivg.hpp: $compiler $standard" hpp $compiler $standard; done
  done
  check "streaming_cancel.c compiles" build "$here/streaming_cancel.c" ./streaming_cancel gcc c11
  for model in "$tiny" "$real"; do
    [ -e "$model" ] || continue
    check "streaming_cancel: $(basename "$model"), in one" uninterrupted "$model"
    check "streaming_cancel: $(basename "$model"), in parts" interrupted "$model"
    check "streaming_cancel: $(basename "$model"), with signals from outside" interrupted_from_outside "$model"
  done
}

[ -f "$library" ] || { echo "there is no $library: make lib builds it" >&2; exit 1; }
installing
consumers "as installed" "$prefix"
versions
build_examples
run_examples
headers
mkdir "$work/elsewhere"
mv "$prefix" "$work/elsewhere/moved there"
prefix="$work/elsewhere/moved there"
consumers "moved" "$prefix"
check "uninstall: leaves nothing" uninstalls "$prefix" PREFIX="$prefix"
echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
