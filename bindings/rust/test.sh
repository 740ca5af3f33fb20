#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Tests the Rust crates and examples, offline.
#
#   IVG_LIB_DIR     the folder of libivg.so; .build/release of the repository if it is not set
#   IVG_TEST_MODEL  a model file; SmolLM2 in .build/models if it is not set (make model)
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
root="$(cd "$here/../.." && pwd)"
cd "$here"
IVG_LIB_DIR="$(realpath "${IVG_LIB_DIR:-../../.build/release}")"
export IVG_LIB_DIR CARGO_TARGET_DIR="$root/.build/rust" CARGO_TERM_COLOR=never CARGO_NET_OFFLINE=true
model="$(realpath -m "${IVG_TEST_MODEL:-$root/.build/models/SmolLM2-135M-Instruct.Q4_1.gguf}")"
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT

have() { command -v "$1" >/dev/null; }
fail() { echo "FAIL $*" >&2; exit 1; }
ok() { echo "ok   $*"; }

# expect STATUS COMMAND...: the command ends with this status.
expect() {
  local wanted="$1" status=0
  shift
  "$@" </dev/null >"$scratch/output.txt" 2>&1 || status=$?
  [ "$status" = "$wanted" ] || { cat "$scratch/output.txt"; fail "$* ended with $status, not $wanted"; }
}

if ! have cargo; then
  echo "skip Rust: no cargo"
  exit 0
fi
[ -e "$IVG_LIB_DIR/libivg.so" ] || fail "there is no libivg.so in $IVG_LIB_DIR: make lib, or set IVG_LIB_DIR"

# 1 The crates. `command && ok ...` would not do: -e has no effect on what is left of "&&".
if python3 -c 'import pycparser' 2>/dev/null && have cc; then
  python3 generate_bindings.py --check
  ok "bindings.rs is that of ivg.h"
else
  echo "skip bindings.rs: no pycparser or no cc"
fi
if have ruff; then
  ruff check --quiet --no-cache --config ../python/pyproject.toml ../header.py generate_bindings.py
  ruff format --quiet --no-cache --check --config ../python/pyproject.toml ../header.py generate_bindings.py
  ok "ruff"
else
  echo "skip ruff: not installed"
fi
if cargo fmt --version >/dev/null 2>&1; then
  cargo fmt --all --check
  ok "format"
else
  echo "skip format: no rustfmt"
fi
if cargo clippy --version >/dev/null 2>&1; then
  cargo clippy --offline --locked --quiet --all-targets -- -D warnings
  ok "clippy"
else
  echo "skip clippy: not installed"
fi
IVG_TEST_MODEL="$model" cargo test --offline --locked --quiet
ok "unit, integration and documentation tests"
RUSTDOCFLAGS="-D warnings" cargo doc --offline --locked --quiet --no-deps
ok "documentation"

# 2 The examples, started without cargo.
cargo build --offline --locked --quiet --release --examples
examples="$CARGO_TARGET_DIR/release/examples"
expect 2 "$examples/generate"
expect 2 "$examples/guided" one
expect 2 "$examples/chat"
expect 2 "$examples/score" one two
for arguments in "generate missing.gguf prompt" "guided missing.gguf prompt" "chat missing.gguf" "score missing.gguf a b"; do
  # shellcheck disable=SC2086 # several words
  expect 1 "$examples"/$arguments
  grep -q missing.gguf "$scratch/output.txt" || fail "$arguments does not name the file"
done
if [ -e "$model" ]; then
  # Into files: a reader that ends at its first match would break the pipe of a program that writes on.
  "$examples/generate" "$model" "The film was" >"$scratch/generate.txt"
  grep -q "^The film was ." "$scratch/generate.txt" || fail "example generate"
  "$examples/guided" "$model" "The film was" >"$scratch/guided.txt"
  grep -qE "^0: score -?[0-9.]+, [0-9]+ tokens$" "$scratch/guided.txt" || fail "example guided"
  printf 'Hello!\n\nName a colour.\n' | "$examples/chat" "$model" >"$scratch/chat.txt"
  [ "$(grep -cE '^> (Hello!|Name a colour\.)$' "$scratch/chat.txt")" = 2 ] || fail "example chat"
  "$examples/score" "$model" "The film:" " Wonderful." " Dreadful." >"$scratch/score.txt"
  [ "$(grep -cE '^ *-?[0-9]+\.[0-9]{3}  ' "$scratch/score.txt")" = 2 ] || fail "example score"
  ok "examples"
else
  echo "skip examples with a model: $model is missing (make model)"
fi

# 3 A crate of somebody else, with the library found by IVG_LIB_DIR, by pkg-config, and not at all.
mkdir -p "$scratch/stranger/src" "$scratch/pc"
cat >"$scratch/stranger/Cargo.toml" <<END
[package]
name = "stranger"
version = "0.1.0"
edition = "2021"
[dependencies]
ivg = { path = "$here/ivg" }
[workspace]
END
cat >"$scratch/stranger/src/main.rs" <<'END'
fn main() -> Result<(), ivg::Error> {
    let path = std::env::args_os().nth(1).expect("a model");
    let mut session = ivg::Model::open(path)?.session()?;
    println!("{} tokens", session.generate("Once", &ivg::GenerateOptions::new().max_tokens(3).ignore_end(true))?.tokens.len());
    Ok(())
}
END
printf 'libdir=%s\nName: ivg\nDescription: test\nVersion: 0.1.0\nLibs: -L${libdir} -livg\n' "$IVG_LIB_DIR" >"$scratch/pc/ivg.pc"
stranger() {
  (cd "$scratch/stranger" && CARGO_TARGET_DIR="$scratch/target" "$@" cargo run --offline --quiet -- "$root/Tests/Fixtures/tiny-llama.gguf")
}
[ "$(stranger env)" = "3 tokens" ] || fail "another crate, with IVG_LIB_DIR"
if have pkg-config; then
  [ "$(stranger env -u IVG_LIB_DIR PKG_CONFIG_PATH="$scratch/pc")" = "3 tokens" ] || fail "another crate, with pkg-config"
else
  echo "skip another crate with pkg-config: not installed"
fi
# Relative to the folder of ivg-sys, where its build script runs, this one holds the library.
nearby="$(realpath --relative-to=ivg-sys "$IVG_LIB_DIR")"
if stranger env IVG_LIB_DIR="$nearby" 2>"$scratch/output.txt"; then fail "another crate, with a relative IVG_LIB_DIR"; fi
grep -q "must be absolute: build scripts run in another folder" "$scratch/output.txt" || fail "a relative path is not told"
grep -qF '"$PWD/.build/release"' "$scratch/output.txt" || fail "how a path becomes absolute is not told"
if stranger env -u IVG_LIB_DIR PKG_CONFIG_LIBDIR="$scratch/nowhere" PKG_CONFIG_PATH= 2>"$scratch/output.txt"; then
  fail "another crate, built without the library"
fi
grep -q "set IVG_LIB_DIR to the folder" "$scratch/output.txt" || fail "the remedy is not told"
if grep -q panicked "$scratch/output.txt"; then fail "the build script panics"; fi
ok "another crate"
