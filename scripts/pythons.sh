#!/usr/bin/env bash
# The Pythons of this machine, and the package in each: what is shown on every supported version is shown with these.
#
#   scripts/pythons.sh list       interpreters from 3.10 to 3.14 with venv and their C headers, one per exact version: on
#                                 PATH and of pyenv; or just $PYTHONS ("3.12.1 3.13.0", or paths), each of which must fit
#   scripts/pythons.sh missing    the supported versions of which list has none, one line each
#   scripts/pythons.sh install    for each a virtual environment in build/stress/<version> with the package, as it stands
#                                 in this checkout, and what the tests of pool and transport need; prints their pythons
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '== %s\n' "$*" >&2; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

# Prints "version path" of an interpreter that will do.
fit() {
  "$1" -I - 2>/dev/null <<'PYTHON'
import ensurepip, os, platform, sys, sysconfig, venv
headers = os.path.join(sysconfig.get_path("include"), "Python.h")
if sys.implementation.name != "cpython" or not (3, 10) <= sys.version_info[:2] <= (3, 14) or not os.path.exists(headers):
    sys.exit(1)
print(platform.python_version(), os.path.realpath(sys.executable))
PYTHON
}

pyenv_versions() { echo "${PYENV_ROOT:-$HOME/.pyenv}/versions"; }

candidates() {
  local minor
  for minor in 10 11 12 13 14; do
    ls -d "$(pyenv_versions)"/3."$minor".*/bin/python 2>/dev/null || true
    type -ap python3."$minor" || true
  done
  type -ap python3 || true
}

list() {
  local named path
  if [ -n "${PYTHONS:-}" ]; then
    for named in $PYTHONS; do
      path=$named
      [ -x "$(pyenv_versions)/$named/bin/python" ] && path=$(pyenv_versions)/$named/bin/python
      fit "$path" || die "$named is not a CPython from 3.10 to 3.14 with venv and its C headers (Python.h)"
    done
  else
    candidates | while read -r path; do fit "$path" || true; done
  fi | sort -V -u -k1,1
}

# Again only if the sources have changed since; then incrementally, in a build folder of its own.
install() {
  local version=$1 python=$2 folder=build/stress/$1 stamp
  stamp=$folder/.stamp-installed
  if [ ! -x "$folder/bin/python" ]; then
    say "Python $version: a virtual environment in $folder"
    "$python" -m venv --clear "$folder"
  fi
  if [ ! -e "$stamp" ] || [ pyproject.toml -nt "$stamp" ] || [ locks/build.txt -nt "$stamp" ] || [ locks/pool.txt -nt "$stamp" ]; then
    say "Python $version: dependencies"
    scripts/install.sh "$folder" locks build pool
    rm -f "$stamp"
  fi
  if [ ! -e "$stamp" ] || [ -n "$(find CMakeLists.txt cmake include src python -type f ! -name '*.pyc' -newer "$stamp" -print -quit)" ]; then
    say "Python $version: building and installing the package"
    touch "$stamp.new"  # what changes during the build is for the next one
    scripts/install.sh "$folder" package --force-reinstall -C "build-dir=$folder/package" .
    mv "$stamp.new" "$stamp"
  fi
  "$folder/bin/python" -I -c 'from fast_litellm import _core'
  echo "$PWD/$folder/bin/python"
}

missing() {
  local found minor
  found=$(list)
  for minor in 10 11 12 13 14; do
    grep -q "^3\.$minor\." <<<"$found" || echo "3.$minor"
  done
}

case "${1:-}" in
  list) list ;;
  missing) missing ;;
  install)
    found=$(list)
    [ -n "$found" ] || die "found no CPython from 3.10 to 3.14 with venv and its C headers"
    while read -r version python; do
      install "$version" "$python" </dev/null
    done <<<"$found"
    ;;
  *)
    sed -n '2,8s/^# \{0,1\}//p' "$0" >&2
    exit 2
    ;;
esac
