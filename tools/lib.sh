# Shared by the scripts in tools/; source it after setting `program`.
# shellcheck shell=bash
: "${program:?set it before sourcing lib.sh}"

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"

note() { printf '%s: %s\n' "$program" "$*"; }

die() {
  printf '%s: error: %s\n' "$program" "$*" >&2
  exit 1
}

# jobs: as many compilers as there are cores, but 2 GiB of memory for each (LibTorch's headers are large).
jobs() {
  local cores memory
  cores="$(nproc)"
  memory="$(awk '/^MemAvailable:/ {print int($2 / 2097152)}' /proc/meminfo)"
  if ((memory < 1)); then memory=1; fi
  echo "${SOFTMPC_JOBS:-$((cores < memory ? cores : memory))}"
}

# build PRESET [TARGET]: configures where needed, then builds all, or TARGET and what it needs.
build() {
  cd "$root" || die "cannot enter $root"
  note "building preset $1"
  mkdir -p .deps
  cmake --preset "$1" >"$root/.deps/configure-$1.log" 2>&1 || {
    cat "$root/.deps/configure-$1.log" >&2
    die "configuring preset $1 failed, see above"
  }
  cmake --build --preset "$1" --parallel "$(jobs)" ${2:+--target "$2"} || die "building preset $1 failed, see above"
}
