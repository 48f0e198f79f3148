#!/usr/bin/env bash
# Tests that each dependency stays in its room, and that the library makes no forbidden call.
set -euo pipefail
cd "${1:-$(dirname "$0")/..}"

failures=0
rooms=()
for room in include src cuda models tasks tools tests bench; do
  if [[ -d $room ]]; then rooms+=("$room"); fi
done

# report RULE LINES: one failed rule and where.
report() {
  if [[ -n $2 ]]; then
    printf 'layering: %s:\n%s\n' "$1" "$2"
    failures=$((failures + 1))
  fi
}

# includes PATTERN ALLOWED: #include lines of PATTERN outside the folders ALLOWED.
includes() {
  grep -rnE --include='*.h' --include='*.cpp' --include='*.cu' --include='*.cuh' \
    "^[[:space:]]*#[[:space:]]*include[[:space:]]*[<\"]($1)" "${rooms[@]}" | grep -vE "^($2)/" || true
}

report 'only models/torch/ and tests/models/ include torch' \
  "$(includes '(torch|ATen|c10)/' 'models/torch|tests/models')"
report 'only tasks/ and tests/tasks/ include MuJoCo' "$(includes 'mujoco[/.]' 'tasks|tests/tasks')"
report 'only cuda/ includes CUDA headers' "$(includes 'cuda|nvrtc|cub/|thrust/|cublas|curand' 'cuda|tests/cuda')"
report 'only cuda/ holds .cu and .cuh' \
  "$(find "${rooms[@]}" \( -name '*.cu' -o -name '*.cuh' \) | grep -vE '^(cuda|tests/cuda|bench)/' || true)"
report 'public headers include only each other, Eigen and the standard library' \
  "$(grep -rnE '^[[:space:]]*#[[:space:]]*include[[:space:]]*("|<[^>]*/)' include 2>/dev/null |
    grep -vE '[<"](softmpc|Eigen|sys)/' || true)"

# A member function may bear such a name (x.time()); the C library's may not be called.
library=()
for room in include src models tasks cuda; do
  if [[ -d $room ]]; then library+=("$room"); fi
done
report 'the library never calls exit, abort, rand, srand or time' \
  "$(grep -rnE --include='*.h' --include='*.cpp' --include='*.cu' --include='*.cuh' \
    '(^|[^.>_[:alnum:]])(exit|_exit|abort|rand|srand|time)[[:space:]]*\(' "${library[@]}" |
    grep -vE '^[^:]*:[0-9]+:[[:space:]]*(//|\*)|//.*(exit|abort|rand|time)[[:space:]]*\(|double ([A-Za-z]+::)?time\(const ' || true)"
report 'the library prints nothing to standard output' \
  "$(grep -rnE '(^|[^_[:alnum:]])(std::cout|printf|puts)([[:space:]]*\(|[^_[:alnum:]])' "${library[@]}" |
    grep -vE '^[^:]*:[0-9]+:[[:space:]]*//|snprintf|fprintf' || true)"
report 'notes of unfinished work belong in an issue' \
  "$(grep -rnE --exclude=layering_test.sh '\b(TODO|FIXME|XXX)\b' "${rooms[@]}" CMakeLists.txt || true)"

if ((failures > 0)); then
  echo "layering: $failures rules broken"
  exit 1
fi
echo "layering: all rules hold in ${rooms[*]}"
