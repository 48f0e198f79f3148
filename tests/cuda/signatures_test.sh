#!/usr/bin/env bash
# Tests that the emulator has each function of the intrinsics with the same result and parameters.
set -euo pipefail
cd "${1:-$(dirname "$0")/../..}"

# text FILE...: without comments, all white space one space.
text() { sed -E 's|//.*||' "$@" | tr '\n' ' ' | tr -s ' '; }

emulator=$(text cuda/emulator/intrinsics.h cuda/emulator/wgmma.h)
count=0
missing=''
while IFS= read -r signature; do
  count=$((count + 1))
  if [[ $emulator != *"$signature"* ]]; then missing+="  $signature"$'\n'; fi
done < <(text cuda/kernels/intrinsics_ptx.cuh cuda/kernels/intrinsics_wgmma.cuh |
  grep -oE 'SOFTMPC_DEVICE [^{;"]*\) \{' | sed -E 's/^SOFTMPC_DEVICE //; s/ \{$//' |
  grep -vE '^std::uint64_t wgmma_') # descriptors are the same source

if [[ -n $missing || $count -lt 50 ]]; then
  printf 'signatures: %d read; not in the emulator:\n%s' "$count" "$missing"
  exit 1
fi
echo "signatures: the emulator has all $count"
