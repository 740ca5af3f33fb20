#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Holds every host to one promise: from what is installed alone, the same request and seed give the same bytes.
#
#   Tests/Hosts/run.sh        ends with "N passed, N failed"
#
# C and C++ get an installed prefix, Rust the crates and pkg-config, Python a wheel in an environment of its own; all far
# from the repository. From nothing to guided text must take each less than a minute. Then every program that examples/
# has in four languages runs in all of them. $IVG_TEST_LIBRARY is the library (.build/release/libivg.so); the real model is
# used if .build/models (or $IVG_TEST_MODELS) holds it. What is not there (cargo) is skipped with a line that says so.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
root="$(cd "$here/../.." && pwd)"
library="$(realpath "${IVG_TEST_LIBRARY:-$root/.build/release/libivg.so}")"
tiny="$root/Tests/Fixtures/tiny-llama.gguf"
real="$(realpath -m "${IVG_TEST_MODELS:-$root/.build/models}/SmolLM2-135M-Instruct.Q4_1.gguf")"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$work"
unset IVG_LIBRARY IVG_LIB_DIR PYTHONPATH LD_LIBRARY_PATH
passed=0 failed=0

check() { # NAME COMMAND...: one test; what the command prints is shown if it fails
  local name="$1" status=0
  shift
  set +e # in a condition, -e would be without effect
  (set -e; "$@") >log.txt 2>&1
  status=$?
  set -e
  if [ $status -eq 0 ]; then
    passed=$((passed + 1))
    echo "ok   $name"
  else
    failed=$((failed + 1))
    sed 's/^/     /' log.txt
    echo "FAIL $name"
  fi
}
have() { command -v "$1" >/dev/null; }

# What each language makes of its folder of examples: a program for each name in `./LANGUAGE/NAME`.
programs=(generate guided chat score)
languages=(c cpp python)
prefix="$work/prefix"
export PKG_CONFIG_PATH="$prefix/lib/pkgconfig"

build_c() { # LANGUAGE COMPILER STANDARD SUFFIX
  local name
  [ -d "$prefix" ] || "$root/bindings/c/install.sh" install PREFIX="$prefix" LIBRARY="$library"
  mkdir "$1"
  for name in "${programs[@]}"; do
    cp "$root/examples/$1/$name.$4" .
    # shellcheck disable=SC2046 # several words
    "$2" "-std=$3" "$name.$4" $(pkg-config --cflags --libs ivg) -Wl,-rpath,"$prefix/lib" -o "$1/$name"
  done
}
build_python() {
  local name
  python3 -m venv environment
  environment/bin/pip install --quiet --disable-pip-version-check "$wheel"
  mkdir python
  for name in "${programs[@]}"; do
    cp "$root/examples/python/$name.py" .
    printf '#!/bin/sh\nexec "%s" "%s" "$@"\n' "$work/environment/bin/python" "$work/$name.py" >"python/$name"
    chmod +x "python/$name"
  done
}
build_rust() {
  local name
  mkdir -p crates/bindings crates/examples
  cp -r "$root/bindings/rust" crates/bindings/rust
  cp -r "$root/examples/rust" crates/examples/rust
  (cd crates/bindings/rust && CARGO_TARGET_DIR="$work/target" cargo build --offline --locked --quiet --release --examples)
  mkdir rust
  for name in "${programs[@]}"; do
    printf '#!/bin/sh\nLD_LIBRARY_PATH="%s" exec "%s" "$@"\n' "$prefix/lib" "$work/target/release/examples/$name" >"rust/$name"
    chmod +x "rust/$name"
  done
}

# soon BUILD...: from nothing to guided text in less than a minute.
soon() {
  local language="$1" began milliseconds
  shift
  began=$(date +%s%N)
  "$@"
  "./$language/guided" "$model" "The film was" >guided.txt
  milliseconds=$((($(date +%s%N) - began) / 1000000))
  [ "$(grep -cE '^[01]: score -?[0-9]+\.[0-9]{3}, [0-9]+ tokens$' guided.txt)" = 2 ]
  echo "$language: installed and guided text in $milliseconds ms" | tee -a times.txt
  [ $milliseconds -lt 60000 ]
}

messages() { printf 'What is the capital of France?\n\nGrüße aus Köln!\nThank you.'; }
answers() { # LANGUAGE PROGRAM MODEL
  case "$2" in
  generate | guided) "./$1/$2" "$3" "Once upon a time, in a café in 東京," ;;
  chat) messages | "./$1/$2" "$3" ;;
  score) "./$1/$2" "$3" "My review: " "What a wonderful film!" "A waste of time. 😐" "" ;;
  esac
}
same() { # LANGUAGE PROGRAM MODEL: what C wrote, and how it ended (a long conversation fills the tiny model's context)
  local expected=0 actual=0
  answers c "$2" "$3" >expected.txt || expected=$?
  answers "$1" "$2" "$3" >actual.txt || actual=$?
  [ -s expected.txt ] && diff expected.txt actual.txt && cmp expected.txt actual.txt
  [ $expected = $actual ] && [ $actual -le 1 ] || { echo "ended with $actual, C with $expected"; return 1; }
  [ "$3" = "$tiny" ] || [ $actual = 0 ]
}
refuses() { # LANGUAGE PROGRAM: the exit statuses, and the reason
  local status=0 arguments=(/no/such/model)
  [ "$2" = chat ] || arguments+=("a")
  [ "$2" = score ] && arguments+=("b")
  "./$1/$2" "${arguments[@]}" </dev/null >out.txt 2>error.txt || status=$?
  [ $status -eq 1 ] && grep -q /no/such/model error.txt || { echo "ended with $status"; cat error.txt; return 1; }
  status=0
  "./$1/$2" </dev/null >out.txt 2>error.txt || status=$?
  [ $status -eq 2 ] && grep -qi usage error.txt || { echo "ended with $status"; cat error.txt; return 1; }
}

[ -f "$library" ] || { echo "there is no $library: make lib builds it" >&2; exit 1; }
model="$real"
[ -e "$model" ] || { echo "skip the real model: there is no $model"; model="$tiny"; }
wheel="$(IVG_LIBRARY="$library" "$root/bindings/python/build_wheel.sh" "$work/wheels")"
check "C: guided text from the installed prefix within a minute" soon c build_c c gcc c11 c
check "C++: guided text from the installed prefix within a minute" soon cpp build_c cpp g++ c++17 cc
check "Python: guided text from the wheel alone within a minute" soon python build_python
if have cargo; then
  languages+=(rust)
  check "Rust: guided text from the crates within a minute" soon rust build_rust
else
  echo "skip Rust: no cargo"
fi
cat times.txt
for language in "${languages[@]}"; do
  for program in "${programs[@]}"; do
    check "$language: $program refuses politely" refuses "$language" "$program"
    [ "$language" = c ] && continue
    check "$language: $program as in C, tiny model" same "$language" "$program" "$tiny"
    [ "$model" = "$tiny" ] || check "$language: $program as in C, real model" same "$language" "$program" "$model"
  done
done
echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
