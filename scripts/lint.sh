#!/usr/bin/env bash
# Formatters and linters. `lint.sh check` changes nothing and reports all that is wrong; `lint.sh format` formats.
# `lint.sh check fast` leaves clang-tidy out, which takes minutes.
set -uo pipefail
cd "$(dirname "$0")/.."
mapfile -t sources < <(find include src tests bench examples python/bindings \( -name '*.h' -o -name '*.cpp' \) -not -path '*/build/*' | sort)
failed=()
run() {
  local name=$1
  shift
  printf '== %s\n' "$name"
  "$@" || failed+=("$name")
}

case "${1:-}" in
  format)
    clang-format-19 -i "${sources[@]}"
    .venv/bin/ruff check --fix --quiet --exit-zero .
    .venv/bin/ruff format .
    ;;
  check)
    run clang-format clang-format-19 --dry-run -Werror "${sources[@]}"
    run "ruff check" .venv/bin/ruff check .
    run "ruff format" .venv/bin/ruff format --check .
    run mypy .venv/bin/python -m mypy
    if [ "${2:-}" != fast ]; then
      cmake --preset dev >/dev/null || exit 1
      mapfile -t units < <(printf '%s\n' "${sources[@]}" | grep -E '^src/.*\.cpp$')
      # xargs runs one clang-tidy per file, and tells if any of them failed.
      run clang-tidy sh -c 'printf "%s\0" "$@" | xargs -0 -n 1 -P "$JOBS" clang-tidy-19 --quiet -p build/dev' lint "${units[@]}"
    fi
    ;;
  *)
    echo "usage: scripts/lint.sh check [fast] | format" >&2
    exit 2
    ;;
esac
if [ ${#failed[@]} -gt 0 ]; then
  printf 'FAILED: %s\n' "${failed[@]}" >&2
  exit 1
fi
