#!/usr/bin/env bash
# Tests the C package: the README's example is the file that is compiled, it builds in C99 against the
# installed package alone, and plans with a Hopper where MuJoCo and LibTorch are not. What libsoftmpc.so.0
# exports is what symbols.txt says, what it needs is the system's.
set -euo pipefail
source_dir=$1
build_dir=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
  echo "c: $1"
  exit 1
}

# block LANGUAGE: the README's first code block of it, without its fences
block() {
  awk -v open="\`\`\`$1" '$0 == open {inside = 1; next} /^```$/ {if (inside) exit} inside' \
    "$source_dir/README.md"
}
diff <(block c) "$source_dir/tests/c/main.c" || fail "README.md: its C example is not tests/c/main.c"

"$SOFTMPC_PROGRAM" train Hopper --steps 400 --seed 3 --threads 1 --out "$work/run" --quiet \
  --set planner.rollouts=40 --set model.width=32 --set critic.width=32 --set trainer.learning_starts=200 \
  >/dev/null
bundle=$work/run/model.safetensors

cmake --install "$build_dir" --prefix "$work/installed" >/dev/null
library=$(find "$work/installed" -name libsoftmpc.so.0)
[[ -n $library ]] || fail 'libsoftmpc.so.0 is not installed'

diff <(nm -D --defined-only "$library" | awk '$2 != "A" {sub(/@.*/, "", $3); print $3}' | sort) \
  "$source_dir/tests/c/symbols.txt" || fail 'the library exports other functions than tests/c/symbols.txt'
# libgcc_s belongs to libstdc++, the loader to libc
others=$(readelf -d "$library" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' |
  grep -vE '^(libc|libm|libstdc\+\+|libgcc_s|libpthread|libdl|ld-linux[^.]*)\.so\.[0-9]+$' || true)
[[ -z $others ]] || fail "the library needs $others"
! readelf -d "$library" | grep -E 'RPATH|RUNPATH' || fail 'the library has a run path'
ldd "$library" >"$work/ldd"
! grep -E 'not found|lib(torch|c10|mujoco|cuda)' "$work/ldd" || fail 'the library reaches for the libraries above'

cmake -S "$source_dir/tests/c" -B "$work/build" -DCMAKE_PREFIX_PATH="$work/installed" \
  -DCMAKE_BUILD_TYPE=Release >/dev/null
cmake --build "$work/build" >"$work/build.log" 2>&1 || { cat "$work/build.log"; fail 'the example does not build'; }
! ldd "$work/build/plan" | grep -E 'torch|mujoco' || fail 'the example reaches for MuJoCo or LibTorch'
env -u LD_LIBRARY_PATH "$work/build/plan" "$bundle" | tee "$work/printed"
[[ $(grep -cE '^status ok  torques( [+-][01]\.[0-9]{2}){3}$' "$work/printed") == 3 ]] ||
  fail "the example does not print three lines of the README's form"
"$work/build/plan_cpp" "$bundle" || fail 'c_api.hpp does not plan'

# without CMake
if command -v pkg-config >/dev/null; then
  folder=$(dirname "$(find "$work/installed" -name softmpc-c.pc)")
  flags=$(PKG_CONFIG_PATH=$folder pkg-config --cflags --libs softmpc-c)
  # shellcheck disable=SC2086 # several flags
  "${CC:-cc}" -std=c99 -Wall -Wextra -pedantic -Werror "$source_dir/tests/c/main.c" -o "$work/by_pkg_config" $flags
  LD_LIBRARY_PATH=$(dirname "$library") "$work/by_pkg_config" "$bundle" >/dev/null ||
    fail 'the program built by pkg-config does not run'
fi
