#!/usr/bin/env bash
# Runs parts of the test-suite and ends with non-zero if one failed, after all of them were run.
#
#   scripts/test.sh cpp python        what is asked for, in this order: cpp, asan, tsan, ubsan, package, python
#
# CTEST_ARGS, PACKAGE_ARGS and PYTEST_ARGS are passed on. The parts' own summary lines are the results. After the last part follows what
# was skipped and why; with CI=true a skip that this machine could have run is a failure (tests/python/support/skips.py).
set -uo pipefail
cd "$(dirname "$0")/.."
jobs=${JOBS:-$(nproc)}
failed=()
export FAST_LITELLM_TEST_SKIPS=$PWD/build/skips
rm -rf "$FAST_LITELLM_TEST_SKIPS"
if [ -x .venv/bin/python ]; then interpreter=.venv/bin/python; else interpreter=$(scripts/setup.sh python) || exit 1; fi

cpp() {
  local preset=$1 junit=$PWD/build/$1/tests.xml result
  printf '\n== C++ tests (%s)\n' "$preset"
  if [ ! -f "build/$preset/build.ninja" ]; then
    cmake --preset "$preset" || return 1
  fi
  cmake --build "build/$preset" --parallel "$jobs" || return 1
  rm -f "$junit"
  # shellcheck disable=SC2086
  ctest --test-dir "build/$preset" --output-on-failure --no-tests=error --parallel "$jobs" --output-junit "$junit" ${CTEST_ARGS:-}
  result=$?
  [ ! -e "$junit" ] || "$interpreter" tests/python/support/skips.py ctest "$FAST_LITELLM_TEST_SKIPS" "C++ ($preset)" "$junit" || return 1
  return "$result"
}

# Many tests wait for a peer, so as many processes as processors would leave these idle. A choice of tests runs in one.
python() {
  local parallel=(--numprocesses "$((jobs + 1))" --dist loadfile)
  printf '\n== Python tests\n'
  [ -z "${PYTEST_ARGS:-}" ] || parallel=()
  # shellcheck disable=SC2086
  .venv/bin/python -m pytest tests/python -q "${parallel[@]}" ${PYTEST_ARGS:-}
}

package() {
  printf '\n== Tests of the C++ package\n'
  # shellcheck disable=SC2086
  .venv/bin/python -m pytest tests/package -q ${PACKAGE_ARGS:-}
}

for part in "$@"; do
  case "$part" in
    cpp) cpp dev || failed+=("$part") ;;
    asan | tsan | ubsan) cpp "$part" || failed+=("$part") ;;
    package) package || failed+=("$part") ;;
    python) python || failed+=("$part") ;;
    *) echo "unknown part: $part" >&2; exit 2 ;;
  esac
done
printf '\n== Skipped\n'
"$interpreter" tests/python/support/skips.py report "$FAST_LITELLM_TEST_SKIPS" || failed+=('skips that this machine could have run')
if [ ${#failed[@]} -gt 0 ]; then
  echo "FAILED: ${failed[*]}" >&2
  exit 1
fi
