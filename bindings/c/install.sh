#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Installs libivg for C and C++: library, headers, pkg-config and CMake files, man pages, the manual.
#
#   bindings/c/install.sh install   [PREFIX=/usr/local] [LIBDIR=lib] [DESTDIR=] [LIBRARY=.build/release/libivg.so]
#   bindings/c/install.sh uninstall [PREFIX=/usr/local] [LIBDIR=lib] [DESTDIR=]
#
#   PREFIX   an absolute path; spaces are fine
#   LIBDIR   within PREFIX, e.g. lib/x86_64-linux-gnu; or absolute, below PREFIX
#   DESTDIR  put before every path while copying, for packages; no installed file names it
#   LIBRARY  what was built; it is installed stripped, by $STRIP (strip)
#
# No installed file holds PREFIX: pkg-config and CMake find the rest from where their files are, so that the tree may be
# moved. Each file appears whole: it is written beside its place and renamed. Man pages are made by python3 from the
# header; without it they are left out. uninstall takes away what install has put there, for the version that it finds;
# cmake/ivg and share/doc/ivg are libivg's own and go whole, of share/man/man3 the pages that make_manual.py has made.
set -euo pipefail
umask 022 # folders that come about on the way are for all to read
here="$(cd "$(dirname "$0")" && pwd)"
root="$(cd "$here/../.." && pwd)"

fail() { echo "install.sh: $*" >&2; exit 1; }
usage() { sed -n '/^#   bindings/s/^# *//p' "$0" >&2; exit 2; }

action="${1:-}"
case "$action" in install | uninstall) shift ;; *) usage ;; esac
PREFIX=/usr/local LIBDIR=lib DESTDIR="" LIBRARY="$root/.build/release/libivg.so"
for setting in "$@"; do
  case "$setting" in
    PREFIX=* | LIBDIR=* | DESTDIR=* | LIBRARY=*) printf -v "${setting%%=*}" %s "${setting#*=}" ;;
    *) usage ;;
  esac
done

case "$PREFIX" in /*) ;; *) fail "PREFIX must be an absolute path, not \"$PREFIX\"" ;; esac
while [ "$PREFIX" != "${PREFIX%/}" ]; do PREFIX="${PREFIX%/}"; done # "/" becomes "", which every path below begins with
LIBDIR="${LIBDIR#"$PREFIX/"}"
LIBDIR="${LIBDIR%/}"
case "/$LIBDIR/" in // | //* | */../* | */./* | *//*) fail "LIBDIR must be a folder within PREFIX, not \"$LIBDIR\"" ;; esac

include="$DESTDIR$PREFIX/include" library_folder="$DESTDIR$PREFIX/$LIBDIR" manual="$DESTDIR$PREFIX/share/man/man3"
pages="$DESTDIR$PREFIX/share/doc/ivg"

# version_of HEADER: "0.1.0"
version_of() {
  local part number version=""
  for part in MAJOR MINOR PATCH; do
    number="$(sed -n "s/^#define IVG_VERSION_$part \([0-9][0-9]*\)$/\1/p" "$1")"
    [ "$number" ] || fail "$1 does not say IVG_VERSION_$part"
    version="$version${version:+.}$number"
  done
  echo "$version"
}

unfinished=""
trap 'rm -rf "$unfinished"' EXIT

# put MODE FILE PLACE: copies FILE, which appears whole.
put() {
  unfinished="$3.new"
  install -m "$1" "$2" "$unfinished"
  mv -f "$unfinished" "$3"
}

# put_link TARGET PLACE: a symbolic link, in one step also where there is one.
put_link() {
  unfinished="$2.new"
  ln -sfn "$1" "$unfinished"
  mv -fT "$unfinished" "$2"
}

# fill FILE: a template with its placeholders filled in.
fill() {
  # A ".." for every folder of LIBDIR leads from it to PREFIX, and two more lead there from pkgconfig in it.
  local up
  up="$(sed 's,[^/][^/]*,..,g' <<<"$LIBDIR")"
  sed -e "s,@VERSION@,$version,g; s,@MAJOR@,$major,g; s,@UP_FROM_LIBRARY@,$up,g; s,@UP_TO_PREFIX@,../$up,g" "$1"
}

install_library() {
  "${STRIP:-strip}" --strip-unneeded -o "$temporary/library" "$LIBRARY"
  put 755 "$temporary/library" "$library_folder/libivg.so.$version"
  put_link "libivg.so.$version" "$library_folder/libivg.so.$major"
  put_link "libivg.so.$major" "$library_folder/libivg.so"
  local other
  for other in "$library_folder/libivg.so.$major".*; do # what the links led to before is of no more use
    [ "$other" = "$library_folder/libivg.so.$version" ] || rm -f "$other"
  done
}

install_manual() {
  local page
  install -d "$pages"
  for page in "$root"/bindings/manual/*.md; do put 644 "$page" "$pages/${page##*/}"; done
  if ! command -v python3 >/dev/null; then
    echo "install.sh: no man pages: there is no python3 to make them" >&2
    return
  fi
  python3 "$here/make_manual.py" "$root/include/ivg.h" "$temporary/man"
  install -d "$manual"
  for page in "$temporary/man/"*.3; do
    if [ -L "$page" ]; then put_link "$(readlink "$page")" "$manual/${page##*/}"; else put 644 "$page" "$manual/${page##*/}"; fi
  done
}

install_all() {
  [ -f "$LIBRARY" ] || fail "there is no $LIBRARY: make lib builds it"
  version="$(version_of "$root/include/ivg.h")" major="${version%%.*}"
  [[ "$(readelf -d "$LIBRARY")" == *SONAME*"[libivg.so.$major]"* ]] || fail "$LIBRARY is not libivg.so.$major"
  temporary="$(mktemp -d)"
  trap 'rm -rf "$unfinished" "$temporary"' EXIT
  install -d "$include" "$library_folder/pkgconfig" "$library_folder/cmake/ivg"
  install_library
  local name
  for name in ivg.h ivg.hpp; do put 644 "$root/include/$name" "$include/$name"; done
  fill "$here/ivg.pc.in" >"$temporary/ivg.pc"
  put 644 "$temporary/ivg.pc" "$library_folder/pkgconfig/ivg.pc"
  for name in ivgConfig ivgConfigVersion; do
    fill "$here/$name.cmake.in" >"$temporary/$name.cmake"
    put 644 "$temporary/$name.cmake" "$library_folder/cmake/ivg/$name.cmake"
  done
  install_manual
}

# is_made PAGE: make_manual.py made this man page, or the one beside it that it is a link to.
is_made() {
  local first=""
  if [ -L "$1" ]; then case "$(readlink "$1")" in */*) return 1 ;; esac; fi # install makes no link to another folder
  [ -f "$1" ] || return 1
  IFS= read -r first <"$1" || true # a file may be empty
  [ "$first" = '.\" Made of ivg.h by make_manual.py.' ]
}

uninstall_man_pages() {
  local page made=()
  # All are looked at before any goes: a link is known by its page. Other packages may have pages named alike.
  for page in "$manual/ivg.3" "$manual/ivg_"*.3; do
    if is_made "$page"; then made+=("$page"); fi
  done
  rm -f ${made[@]+"${made[@]}"}
}

uninstall_all() {
  [ -f "$include/ivg.h" ] || fail "there is no ivg in $DESTDIR$PREFIX"
  version="$(version_of "$include/ivg.h")" major="${version%%.*}"
  [ -f "$library_folder/libivg.so.$version" ] || fail "there is no libivg.so.$version in $library_folder: LIBDIR?"
  rm -f "$library_folder/libivg.so" "$library_folder/libivg.so.$major" "$library_folder/libivg.so.$version"
  rm -f "$library_folder/pkgconfig/ivg.pc"
  uninstall_man_pages
  rm -f "$include/ivg.hpp" "$include/ivg.h"
  rm -rf "$library_folder/cmake/ivg" "$pages" # also what an earlier version has left there
}

"${action}_all"
