#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Fetches programs that some tests need and this machine lacks into a folder, out of the system's own packages (Debian,
# Ubuntu). Nothing is installed, and no privilege is needed.
#
#   Tests/get_tools.sh FOLDER      then FOLDER/bin belongs in front of PATH
#
# They are: cmake; abidw and abidiff; a C compiler for 64-bit ARM and an emulator to run what it makes. What cannot be had is
# named, and the tests that need it say that they skip it.
set -euo pipefail
mkdir -p "$1/bin"
folder="$(cd "$1" && pwd)"

declare -A packages=([cmake]=cmake [abidw]=abigail-tools [aarch64-linux-gnu-gcc]=gcc-aarch64-linux-gnu [qemu-aarch64]=qemu-user)
missing=()
for program in "${!packages[@]}"; do
  [ -x "$folder/bin/$program" ] || command -v "$program" >/dev/null || missing+=("${packages[$program]}")
done
[ ${#missing[@]} -gt 0 ] || exit 0

give_up() { echo "get_tools.sh: without ${missing[*]}: $*" >&2; exit 0; }
command -v apt-get >/dev/null && command -v dpkg >/dev/null || give_up "there is no apt-get"

# Lists and archives of our own; what is installed is still known, so that only the rest is fetched.
own=(-o "Dir::State=$folder/state" -o "Dir::State::status=/var/lib/dpkg/status" -o "Dir::Cache=$folder/cache"
  -o Debug::NoLocking=1 -o APT::Sandbox::User= -o Acquire::Retries=3)
mkdir -p "$folder"/state/lists/partial "$folder"/cache/archives/partial
apt-get "${own[@]}" update >"$folder/log.txt" 2>&1 || give_up "the lists of packages cannot be had: $(tail -1 "$folder/log.txt")"
apt-get "${own[@]}" install --download-only --no-install-recommends -y "${missing[@]}" >"$folder/log.txt" 2>&1 ||
  give_up "$(tail -1 "$folder/log.txt")"
for archive in "$folder"/cache/archives/*.deb; do dpkg -x "$archive" "$folder/root"; done
rm -rf "$folder/cache" "$folder/state"

# The programs look for their libraries and data beside them.
for program in "$folder"/root/usr/bin/*; do
  cat >"$folder/bin/$(basename "$program")" <<END
#!/bin/sh
LD_LIBRARY_PATH="$folder/root/usr/lib/$(uname -m)-linux-gnu:$folder/root/lib/$(uname -m)-linux-gnu\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}" \\
  exec "$program" "\$@"
END
  chmod +x "$folder/bin/$(basename "$program")"
done
