#!/usr/bin/env bash
# Formatters and linters. `lint.sh check` changes nothing and reports all that is wrong; `lint.sh format` formats.
# `lint.sh check fast` leaves clang-tidy out, which takes minutes where it has not passed before.
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
      # The extension's own database is there once it was built.
      databases=(build/dev)
      for database in build/python/*/compile_commands.json; do
        [ -e "$database" ] && databases+=("$(dirname "$database")")
      done
      mapfile -t units < <(printf '%s\n' "${sources[@]}" | grep '\.cpp$')
      run clang-tidy .venv/bin/python scripts/clang_tidy.py --jobs "${JOBS:-$(nproc)}" "${databases[@]}" --sources "${units[@]}"
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
