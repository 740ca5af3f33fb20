#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Installs a wheel as a user would, in a new environment far from the repository, and generates guided text with it:
#
#   bindings/python/test_wheel.sh WHEEL MODEL [PYTHON...]
#
# PYTHON: interpreters to try, otherwise python3. Installing, importing and generating together take less than a minute.
set -euo pipefail
[ $# -ge 2 ] || { echo "usage: $0 WHEEL MODEL [PYTHON...]" >&2; exit 2; }
wheel="$(realpath "$1")" model="$(realpath "$2")"
shift 2
[ $# -gt 0 ] || set -- python3
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
fail() { echo "test_wheel.sh: $*" >&2; exit 1; }
unset IVG_LIBRARY PYTHONPATH LD_LIBRARY_PATH
cd "$work"

echo "$(basename "$wheel"): $(stat -c %s "$wheel") bytes"
python3 -m zipfile -l "$wheel"

cat >guided.py <<'PROGRAM'
import sys, time
began = time.perf_counter()
import ivg

assert ivg.__file__.startswith(sys.prefix), ivg.__file__
model = ivg.Model(sys.argv[1])
value = ivg.Implicit(tuned_template="An enthusiastic review: {prompt}", untuned_template="A review: {prompt}", role="both")
guidance = ivg.Guidance(implicit=value, search=ivg.ChunkBeamSearch(width=2, successors=2, chunk=10))
completion = model.generate("The film I saw yesterday", guidance=guidance, max_tokens=40, seed=1)
assert completion.text and completion.score == completion.candidates[0].score >= completion.candidates[-1].score
again = model.generate("The film I saw yesterday", guidance=guidance, max_tokens=40, seed=1)
assert again.candidates == completion.candidates
print(f"{completion.text!r}\nscore {completion.score:.3f}, libivg {ivg.library_version()}, {ivg.kernels_name()}, "
      f"imported and generated twice in {time.perf_counter() - began:.2f} s")
PROGRAM

number=0
for python in "$@"; do
  number=$((number + 1))
  echo "== $("$python" --version)"
  began=$(date +%s%N)
  "$python" -m venv "env$number"
  bin="$work/env$number/bin"
  "$bin/pip" install --quiet --disable-pip-version-check "$wheel"
  "$bin/pip" check
  "$bin/python" -W error guided.py "$model"
  # Without its extra the command line says what it needs; with it, it generates.
  if "$bin/ivg" --version >/dev/null 2>message.txt; then fail "ivg ran without its extra"; fi
  grep -q "ivg\[cli\]" message.txt || fail "ivg did not name its extra"
  "$bin/pip" install --quiet --disable-pip-version-check "$wheel[cli]"
  "$bin/pip" check
  "$bin/ivg" generate "$model" -p "The film" --tuned-prompt "An enthusiastic review: {prompt}" \
    --untuned-prompt "A review: {prompt}" --width 2 --successors 2 --chunk 5 --max-tokens 20 --seed 1 >text.txt 2>noise.txt
  [ -s text.txt ] || fail "ivg generate wrote nothing"
  [ ! -s noise.txt ] || fail "ivg generate wrote to stderr: $(cat noise.txt)"
  milliseconds=$((($(date +%s%N) - began) / 1000000))
  echo "installed and generated in $milliseconds ms"
  [ $milliseconds -lt 60000 ] || fail "that took more than a minute"
done
