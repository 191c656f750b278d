#!/usr/bin/env bash
# The tests of threads, limits and exits, for as long and as often as a test-suite that people run all day cannot. Ends with
# one line per part, and with non-zero if one failed, after all of them were run.
#
#   scripts/stress.sh              all parts; or STRESS_PARTS="exit pool", in that order
#
#   exit      the interpreter exits while threads wait and work in the pool, STRESS_RUNS (200) times on each Python
#   suite     the tests of pool and transport, once on each Python
#   pool      the stress test of the C++ pool, STRESS_SECONDS (60) in each of STRESS_BUILDS (dev asan tsan)
#   repeat    the tests of threads and forks, STRESS_REPEATS (10) times
#   fleet     STRESS_ROUNDS (10,000,000) rounds of the simulated fleet, and its processes with the usual times
#   proxy     the LiteLLM proxy, accelerated and not, with FAST_LITELLM_TEST_PROXY_REQUESTS (2000) requests each
#
# PYTHONS="3.12.1 /path/to/python3" instead of all that scripts/pythons.sh finds. Logs are in build/stress/logs.
set -uo pipefail
cd "$(dirname "$0")/.."
jobs=${JOBS:-$(nproc)}
logs=build/stress/logs
results=()
failed=0
pythons=()

say() { printf '\n== %s\n' "$*"; }

# run <name of the result> <log> <command...>: shows the output, keeps it, and notes how it ended and how long it took.
run() {
  local name=$1 log=$logs/$2 begin=$SECONDS ended
  shift 2
  if "$@" 2>&1 | tee "$log"; then ended=passed; else ended="FAILED, see $log"; failed=1; fi
  results+=("$name: $ended, $((SECONDS - begin)) s")
}

install_pythons() {
  local found
  [ ${#pythons[@]} -eq 0 ] || return 0
  say 'the package in each Python'
  if ! found=$(CMAKE_BUILD_PARALLEL_LEVEL=$jobs scripts/pythons.sh install); then
    results+=('the package in each Python: FAILED')
    failed=1
  fi
  [ -z "$found" ] || mapfile -t pythons <<<"$found"
  [ -z "${PYTHONS:-}" ] || return 0
  for found in $(scripts/pythons.sh missing); do
    results+=("Python $found: not run, this machine has none")
  done
}

version_of() { basename "$(dirname "$(dirname "$1")")"; }

part_exit() {
  local python runs=${STRESS_RUNS:-200}
  install_pythons
  for python in "${pythons[@]}"; do
    say "Python $(version_of "$python"): exits, $runs of each kind"
    run "exit, Python $(version_of "$python"), $runs of each kind" "exit-$(version_of "$python").log" \
      env FAST_LITELLM_TEST_PYTHONS="$python" FAST_LITELLM_EXIT_RUNS="$runs" "$python" -m pytest -p no:cacheprovider -v -s \
      tests/python/blocking_transport/test_interpreter_exit.py
  done
}

part_suite() {
  local python
  install_pythons
  for python in "${pythons[@]}"; do
    say "Python $(version_of "$python"): pool and transport"
    run "suite, Python $(version_of "$python")" "suite-$(version_of "$python").log" \
      "$python" -m pytest -p no:cacheprovider -q tests/python/pool tests/python/blocking_transport \
      tests/python/tls tests/python/test_exceptions.py \
      --deselect tests/python/blocking_transport/test_interpreter_exit.py
  done
}

stress_pool() {
  local preset=$1 seconds=$2
  [ -f "build/$preset/build.ninja" ] || cmake --preset "$preset" || return 1
  cmake --build "build/$preset" --parallel "$jobs" --target fastpool_pool_tests || return 1
  # Run without ctest, whose time limit is the suite's. The time is for all shapes of the test that takes it, together.
  local program=build/$preset/tests/fastpool_pool_tests shapes
  shapes=$("$program" --gtest_filter='*Stress.nothing_leaks*' --gtest_list_tests | grep -c '^  ')
  [ "$shapes" -gt 0 ] || { echo 'the stress test is missing'; return 1; }
  FASTPOOL_STRESS_SECONDS=$(((seconds + shapes - 1) / shapes)) "$program" --gtest_filter='*Stress*'
}

part_pool() {
  local preset seconds=${STRESS_SECONDS:-60}
  for preset in ${STRESS_BUILDS:-dev asan tsan}; do
    say "the C++ pool for $seconds s ($preset)"
    run "pool, $preset, $seconds s" "pool-$preset.log" stress_pool "$preset" "$seconds"
  done
}

repeat() {
  local round
  for round in $(seq "$1"); do
    echo "-- round $round of $1"
    .venv/bin/python -m pytest -q tests/python/blocking_transport/test_threads.py tests/python/blocking_transport/test_fork.py || return 1
  done
}

part_repeat() {
  local rounds=${STRESS_REPEATS:-10}
  say "threads and forks, $rounds times"
  run "repeat, $rounds times" repeat.log repeat "$rounds"
}

part_fleet() {
  local rounds=${STRESS_ROUNDS:-10000000}
  say "the simulated fleet, $rounds rounds"
  run "fleet, $rounds rounds" fleet-simulation.log \
    env PYTHONPATH=tests/python .venv/bin/python -m fleet.simulation --rounds "$rounds" --seed "${STRESS_SEED:-1}"
  say 'the processes of a fleet, with the usual times'
  run 'fleet, processes' fleet-processes.log \
    env FAST_LITELLM_TEST_FLEET_FACTOR=1 .venv/bin/python -m pytest -q -s tests/python/fleet/test_processes.py
}

part_proxy() {
  local requests=${FAST_LITELLM_TEST_PROXY_REQUESTS:-2000}
  say "the LiteLLM proxy, $requests requests"
  run "proxy, $requests requests" proxy.log \
    env FAST_LITELLM_TEST_PROXY_REQUESTS="$requests" .venv/bin/python -m pytest -q tests/python/proxy
}

mkdir -p "$logs"
for part in ${STRESS_PARTS:-exit suite pool repeat fleet proxy}; do
  case "$part" in
    exit | suite | pool | repeat | fleet | proxy) "part_$part" ;;
    *) echo "unknown part: $part (exit, suite, pool, repeat, fleet, proxy)" >&2; exit 2 ;;
  esac
done
say 'results'
printf '%s\n' "${results[@]}"
exit "$failed"
