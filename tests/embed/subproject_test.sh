#!/usr/bin/env bash
# Tests that a robot's project can add this folder as it is: neither MuJoCo nor LibTorch is asked for,
# the planner is optimised, nothing of it is installed with the robot.
set -euo pipefail
source_dir=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
  echo "subproject: $1"
  exit 1
}

# configure NAME OPTIONS...: the project without dependencies but those of the system
configure() {
  local name=$1
  shift
  cmake -S "$source_dir/tests/embed/subproject" -B "$work/$name" -DSOFTMPC_SOURCE="$source_dir" \
    -DSOFTMPC_DEPS_DIR="$work/none" -DCMAKE_EXPORT_COMPILE_COMMANDS=ON \
    "$@" >"$work/$name.log" 2>&1
}

configure plain || fail "does not configure: $(grep -A2 -m1 'CMake Error' "$work/plain.log")"
commands=$(grep -F /src/planner.cpp "$work/plain/compile_commands.json")
grep -q -e ' -O3 ' <<<"$commands" || fail 'without a build type the planner is not optimised'
grep -q 'CMAKE_BUILD_TYPE is empty' "$work/plain.log" || fail 'nothing is said of the empty build type'
grep -F /embed/plugin.cpp "$work/plain/compile_commands.json" | grep -q -e ' -O' &&
  fail "the robot's own files are compiled with softmpc's options"
if [[ -e $work/plain/softmpc/models ]] || grep -q /tasks/mujoco_ "$work/plain/compile_commands.json"; then
  fail 'tasks or trainer are built though nobody asked'
fi
cmake --install "$work/plain" --prefix "$work/installed" >/dev/null
[[ -z $(find "$work/installed" -type f 2>/dev/null) ]] || fail "softmpc's files are installed with the robot"

configure debug -DCMAKE_BUILD_TYPE=Debug || fail 'does not configure with a build type'
grep -F /src/planner.cpp "$work/debug/compile_commands.json" | grep -q -e ' -O3 ' &&
  fail "a build type of the robot's choice is overruled"
exit 0
