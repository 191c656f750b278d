#!/usr/bin/env bash
# Runs parts of the test-suite and ends with non-zero if one failed, after all of them were run.
#
#   scripts/test.sh cpp python        what is asked for, in this order: cpp, asan, tsan, ubsan, python
#
# PYTEST_ARGS and CTEST_ARGS are passed on. The parts' own summary lines are the results.
set -uo pipefail
cd "$(dirname "$0")/.."
jobs=${JOBS:-$(nproc)}
failed=()

cpp() {
  local preset=$1
  printf '\n== C++ tests (%s)\n' "$preset"
  if [ ! -f "build/$preset/build.ninja" ]; then
    cmake --preset "$preset" || return 1
  fi
  cmake --build "build/$preset" --parallel "$jobs" || return 1
  # shellcheck disable=SC2086
  ctest --test-dir "build/$preset" --output-on-failure --no-tests=error --parallel "$jobs" ${CTEST_ARGS:-}
}

python() {
  printf '\n== Python tests\n'
  # shellcheck disable=SC2086
  .venv/bin/python -m pytest tests/python -q ${PYTEST_ARGS:-}
}

for part in "$@"; do
  case "$part" in
    cpp) cpp dev || failed+=("$part") ;;
    asan | tsan | ubsan) cpp "$part" || failed+=("$part") ;;
    python) python || failed+=("$part") ;;
    *) echo "unknown part: $part" >&2; exit 2 ;;
  esac
done
if [ ${#failed[@]} -gt 0 ]; then
  echo "FAILED: ${failed[*]}" >&2
  exit 1
fi
