#!/usr/bin/env bash
# Tests the README's example: it is the file that is compiled, it builds against the installed
# package alone, and with a trained bundle it prints what the README says.
set -euo pipefail
source_dir=$1
build_dir=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

block() { # the README's first code block of a language, without its fences
  awk -v open="\`\`\`$1" '$0 == open {inside = 1; next} /^```$/ {if (inside) exit} inside' \
    "$source_dir/README.md"
}

diff <(block cpp) "$source_dir/tests/embed/main.cpp" ||
  { echo "README.md: its C++ example is not tests/embed/main.cpp"; exit 1; }

[[ $(<"$source_dir/README.md") == *"$(<"$source_dir/tests/embed/own_models.cpp")"* ]] ||
  { echo "README.md: its example of own models is not tests/embed/own_models.cpp"; exit 1; }

# a short training of the example's task; the bundle is what a robot would be given
"$SOFTMPC_PROGRAM" train lq --steps 3000 --seed 5 --threads 1 --out "$work/run" --quiet \
  --set planner.rollouts=100 --set planner.variance=1 --set planner.horizon=6 \
  --set model.width=32 --set critic.width=32 --set model.batch_size=64 \
  --set critic.batch_size=64 >/dev/null

cmake --install "$build_dir" --prefix "$work/installed" >/dev/null
cmake -S "$source_dir/tests/embed" -B "$work/build" -DCMAKE_PREFIX_PATH="$work/installed" \
  -DCMAKE_BUILD_TYPE=Release >/dev/null
cmake --build "$work/build" >/dev/null

# what else the package promises
[[ -n $(find "$work/installed/share/doc" -name LICENSE) ]] || { echo "the package has no licence"; exit 1; }
if nm -DC --defined-only "$work/build/libplugin.so" | grep -E ' T .*softmpc::|nlohmann::'; then
  echo "a shared library that plans exports the functions above, which are not its own"
  exit 1
fi
sed 's/COMPONENTS core/COMPONENTS core planer/' "$source_dir/tests/embed/CMakeLists.txt" >"$work/CMakeLists.txt"
if cmake -S "$work" -B "$work/wrong" -DCMAKE_PREFIX_PATH="$work/installed" >"$work/wrong.log" 2>&1 ||
  ! grep -q "no component 'planer', only core, cuda, rules, tasks, train, c" <(tr -s '\n ' ' ' <"$work/wrong.log"); then
  echo "a wrong component is not named:"
  cat "$work/wrong.log"
  exit 1
fi
if command -v pkg-config >/dev/null && pkg-config --exists eigen3; then
  flags=$(PKG_CONFIG_PATH=$(dirname "$(find "$work/installed" -name softmpc.pc)") \
    pkg-config --cflags --libs softmpc eigen3)
  # shellcheck disable=SC2086 # several flags
  "${CXX:-c++}" "$source_dir/tests/embed/main.cpp" -o "$work/by_pkg_config" $flags
fi
"$work/installed/bin/softmpc" tasks >/dev/null || { echo "the installed program does not start"; exit 1; }

"$work/build/embed" "$work/run/model.safetensors" | tee "$work/printed"

# numbers differ between instruction sets; the form, and that it works, do not
[[ $(grep -cE '^t [0-9.]+  position [+-][0-9.]+  status ok$' "$work/printed") == 4 ]] ||
  { echo "the example does not print four lines of the README's form"; exit 1; }
"$work/build/built_in" "$work/run/model.safetensors" >"$work/built_in.log" ||
  { echo "what was trained on a built-in task does not plan by its rules:"; cat "$work/built_in.log"; exit 1; }
"$work/build/own_models" || { echo "the example of own models has findings, see above"; exit 1; }
awk '{p = $4; p = p < 0 ? -p : p} END {exit !(p < 0.3)}' "$work/printed" ||
  { echo "the example does not bring the position to 0"; exit 1; }
