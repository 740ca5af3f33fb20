#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Makes a Swift SDK for 64-bit ARM (aarch64, Linux with glibc) out of packages of Debian, in a folder: nothing is installed,
# and no privilege is needed.
#
#   Tests/ARM/get_sdk.sh FOLDER     FOLDER/ivg-aarch64.artifactbundle, for swift build --swift-sdks-path FOLDER
#
#   SWIFT          the swift that will use it (swift)
#   DEBIAN_MIRROR  a mirror of Debian; otherwise the one that apt uses on this machine, if it is a Debian
#
# In it are the C and C++ libraries of Debian's development branch, and Swift's static libraries and module interfaces from its
# package "swiftlang", which is fetched whole (about 500 MB; 120 MB are kept). The interfaces are texts: this machine's
# compiler reads them if it is at least as new, and brings its own clang and linker. An SDK that is there is kept.
# Ends with 3 and a sentence where it cannot be made.
set -euo pipefail
[ $# -eq 1 ] || { echo "usage: $0 FOLDER" >&2; exit 2; }
bundle="$1/ivg-aarch64.artifactbundle"
give_up() { echo "$*"; exit 3; }

command -v "${SWIFT:-swift}" >/dev/null || give_up "there is no swift"
target="$("${SWIFT:-swift}" -print-target-info)"
runtime="$(sed -n 's/.*"runtimeResourcePath": "\(.*\)".*/\1/p' <<<"$target")"
compiler="$(sed -nE 's/.*"compilerVersion": "[^"]*Swift version ([0-9.]+).*/\1/p' <<<"$target")"
clang="$runtime/../../bin/clang"
[ -x "$clang" ] || give_up "swift has no clang beside it, in $runtime/../../bin"

# Made for one compiler: its clang's own headers are linked to.
[ "$(cat "$bundle/made-for.txt" 2>/dev/null)" = "$compiler $runtime" ] && exit 0

for program in apt-get apt-cache dpkg-deb tar xz; do
  command -v $program >/dev/null || give_up "there is no $program"
done
mirror="${DEBIAN_MIRROR:-$(apt-get indextargets --format '$(ORIGIN) $(LABEL) $(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
  awk '$1 == "Debian" && $2 == "Debian" { print $3; exit }')}"
[ "$mirror" ] || give_up "no mirror of Debian is known: DEBIAN_MIRROR can name one"
mirror="${mirror%/}"

work="$1/fetching"
rm -rf "$work" "$bundle"
mkdir -p "$work"/{state/lists/partial,cache/archives/partial,etc/parts,packages}
work="$(cd "$work" && pwd)"
trap 'rm -rf "$work"' EXIT

# A system of another processor, in which nothing is installed: all that a package needs is fetched.
keys=/usr/share/keyrings/debian-archive-keyring.gpg
if [ ! -e $keys ]; then
  (cd "$work" && apt-get download debian-archive-keyring >/dev/null 2>&1 && dpkg-deb -x debian-archive-keyring_*.deb keys) ||
    give_up "the keys of Debian's archive cannot be had (package debian-archive-keyring)"
  keys="$work/keys$keys"
fi
echo "deb [signed-by=$keys] $mirror sid main" >"$work/etc/sources.list"
: >"$work/status"
own=(-o APT::Architecture=arm64 -o APT::Architectures=arm64 -o "Dir::State=$work/state" -o "Dir::State::status=$work/status"
  -o "Dir::Cache=$work/cache" -o "Dir::Etc::SourceList=$work/etc/sources.list" -o "Dir::Etc::SourceParts=$work/etc/parts"
  -o "Dir::Etc::Preferences=$work/none" -o "Dir::Etc::PreferencesParts=$work/etc/parts"
  -o APT::Update::Error-Mode=any -o Acquire::Languages=none -o Debug::NoLocking=1 -o APT::Sandbox::User= -o Acquire::Retries=3)
apt-get "${own[@]}" update >"$work/log.txt" 2>&1 || give_up "the lists of packages cannot be had: $(tail -n 1 "$work/log.txt")"

# What is there today, and whether this compiler can read it.
swift_version="$( (apt-cache "${own[@]}" show swiftlang 2>/dev/null || true) | sed -n 's/^Version: //p' | sort -V | tail -n 1)"
[ "$swift_version" ] || give_up "Debian has no package swiftlang for arm64 now"
[ "$(printf '%s\n' "${swift_version%%-*}" "$compiler" | sort -V | tail -n 1)" = "$compiler" ] ||
  give_up "Debian's Swift is $swift_version, and this compiler, $compiler, is older"
cxx="$(apt-cache "${own[@]}" pkgnames 'libstdc++-' | sed -nE '/^libstdc\+\+-[0-9]+-dev$/p' | sort -V | tail -n 1)"
[ "$cxx" ] || give_up "Debian has no package libstdc++-...-dev for arm64 now"

apt-get "${own[@]}" install --download-only --no-install-recommends -y libc6-dev "$cxx" >"$work/log.txt" 2>&1 ||
  give_up "$(tail -n 1 "$work/log.txt")"
(cd "$work/packages" && apt-get "${own[@]}" download "swiftlang=$swift_version" >"$work/log.txt" 2>&1) ||
  give_up "swiftlang cannot be had: $(tail -n 1 "$work/log.txt")"

# One tree, as on the device: libraries and headers; Swift's where its compiler looks for them in a system.
root="$work/bundle/aarch64/root"
mkdir -p "$root"
for archive in "$work"/cache/archives/*.deb; do dpkg-deb -x "$archive" "$root"; done
[ -e "$root/lib" ] || ln -s usr/lib "$root/lib"
dpkg-deb --fsys-tarfile "$work"/packages/swiftlang_*.deb |
  tar -x -C "$work/packages" --wildcards --exclude='*/linux/*Foundation*' \
    './usr/libexec/swift/lib/swift_static/linux/*' './usr/libexec/swift/lib/swift_static/shims/*'
mv "$work/packages/usr/libexec/swift/lib/swift_static" "$root/usr/lib/"
# Compiled modules are for the compiler that made them; without them the interfaces beside them are read.
find "$root/usr/lib/swift_static" -name '*.swiftmodule' -type f -delete
ln -s "$("$clang" -print-resource-dir)" "$root/usr/lib/swift_static/clang"
[ -e "$root/usr/lib/swift_static/linux/libswiftCore.a" ] || give_up "swiftlang $swift_version has no static libraries"

printf 'import Glibc\nimport Synchronization\nlet one = Atomic(sqrt(1.0))\n' >"$work/probe.swift"
"$runtime/../../bin/swiftc" -target aarch64-unknown-linux-gnu -sdk "$root" -resource-dir "$root/usr/lib/swift_static" \
  -module-cache-path "$work/modules" -typecheck "$work/probe.swift" >"$work/log.txt" 2>&1 ||
  give_up "compiler $compiler cannot read the interfaces of swiftlang $swift_version: $(grep -m 1 error: "$work/log.txt")"

# The library is linked to Swift's static libraries (Package.swift), so they are all the resources there are.
cat >"$work/bundle/info.json" <<'END'
{
  "schemaVersion": "1.0",
  "artifacts": {"ivg-aarch64": {"type": "swiftSDK", "version": "1.0.0", "variants": [{"path": "aarch64"}]}}
}
END
cat >"$work/bundle/aarch64/swift-sdk.json" <<'END'
{
  "schemaVersion": "4.0",
  "targetTriples": {
    "aarch64-unknown-linux-gnu": {
      "sdkRootPath": "root",
      "swiftResourcesPath": "root/usr/lib/swift_static",
      "swiftStaticResourcesPath": "root/usr/lib/swift_static"
    }
  }
}
END
echo "Swift $swift_version, $(cd "$work/cache/archives" && echo libc6_*.deb "$cxx"*.deb)" >"$work/bundle/contents.txt"
echo "$compiler $runtime" >"$work/bundle/made-for.txt"
mv "$work/bundle" "$bundle"
