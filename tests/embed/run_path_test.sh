#!/usr/bin/env bash
# Tests where the program looks for libraries: never in the current folder, and relative to itself for
# those of the checkout.
set -euo pipefail
source_dir=$1
program=$(realpath "$2")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
command -v readelf >/dev/null || {
  echo 'skipped: no readelf'
  exit 77
}

fail() {
  echo "run path: $1"
  exit 1
}

path=$(readelf -d "$program" | sed -n 's/.*\(RUNPATH\|RPATH\).*\[\(.*\)\]/\2/p')
[[ -z $path || ":$path:" != *::* ]] || fail "has an empty entry: [$path]"

# a library of the current folder, that says so if it is ever loaded
cat >"$work/evil.c" <<'C'
#include <unistd.h>
__attribute__((constructor)) static void loaded(void) { _exit(42); }
C
(
  cd "$work"
  "${CC:-cc}" -shared -fPIC -o libgcc_s.so.1 evil.c
  "$program" --version >/dev/null
) || fail 'the program loads a library of the current folder'

# the checkout somewhere else: the program where it was in it, and the libraries in .deps
inside=$(realpath --relative-to "$source_dir" "$program")
if [[ -d $source_dir/.deps/mujoco && $inside != ../* ]]; then
  moved=$work/moved/$inside
  mkdir -p "$(dirname "$moved")"
  cp "$program" "$moved"
  ln -s "$(realpath "$source_dir/.deps")" "$work/moved/.deps"
  ldd "$moved" >"$work/libraries"
  grep -q "libmujoco.*=> $work/moved/" "$work/libraries" || fail 'the checkout cannot be moved'
  "$moved" tasks >/dev/null || fail 'the moved program does not run'
fi
exit 0
