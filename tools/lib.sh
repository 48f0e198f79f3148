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

# build PRESET [TARGET...]: configures where needed, then builds everything or the targets.
build() {
  cd "$root" || die "cannot enter $root"
  local preset="$1"
  shift
  note "building preset $preset${*:+: $*}"
  mkdir -p .deps
  cmake --preset "$preset" >"$root/.deps/configure-$preset.log" 2>&1 || {
    cat "$root/.deps/configure-$preset.log" >&2
    die "configuring preset $preset failed, see above"
  }
  cmake --build --preset "$preset" --parallel "$(jobs)" ${1:+--target "$@"} ||
    die "building preset $preset failed, see above"
}
