#!/usr/bin/env bash
# What the project needs from the machine. `make` calls it; each command can be run alone, any number of times.
#
#   scripts/setup.sh system    system packages: installs what is missing (Debian and Ubuntu), else says what is
#   scripts/setup.sh lint      the same for clang-format and clang-tidy, which only `make lint` and `make format` need
#   scripts/setup.sh python    prints the interpreter to use: $PYTHON, or the newest fit one that is found
#   scripts/setup.sh venv      makes .venv with that interpreter, if it is not there
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '== %s\n' "$*" >&2; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

have_command() { command -v "$1" >/dev/null 2>&1; }
have_header() { echo "#include <$1>" | "${CXX:-g++}" -std=c++20 -E -x c++ - >/dev/null 2>&1; }
have_library() { echo 'int main() { return 0; }' | "${CXX:-g++}" -x c++ - -o /dev/null "-l$1" >/dev/null 2>&1; }
have_cmake() {
  have_command cmake && [ "$(printf '3.25\n%s\n' "$(cmake --version | sed -n '1s/[^0-9]*\([0-9.]*\).*/\1/p')" | sort -V | head -1)" = 3.25 ]
}
have_cxx20() { echo '#include <version>
#if __cplusplus < 202002L
#error
#endif' | "${CXX:-g++}" -std=c++20 -E -x c++ - >/dev/null 2>&1; }

# A probe decides, not the package's name: what was installed by other means counts too.
missing_packages() {
  have_cxx20 || echo g++
  have_command make || echo make
  have_cmake || echo cmake
  have_command ninja || echo ninja-build
  have_command ccache || echo ccache
  have_command pkg-config || echo pkg-config
  have_header openssl/ssl.h || echo libssl-dev
  have_header nghttp2/nghttp2.h || echo libnghttp2-dev
  { have_header gtest/gtest.h && have_library gtest; } || echo libgtest-dev
  { have_header benchmark/benchmark.h && have_library benchmark; } || echo libbenchmark-dev
  have_header relacy/relacy.hpp || echo relacy-dev
  have_header boost/beast/http/basic_parser.hpp || echo boost
  { have_command nginx || [ -x /usr/sbin/nginx ]; } || echo nginx-light
  { have_command ss || [ -x /usr/sbin/ss ]; } || echo iproute2
  find_python >/dev/null || { echo python3; echo python3-venv; echo python3-dev; }
}

missing_lint_packages() {
  have_command clang-format-19 || echo clang-format-19
  have_command clang-tidy-19 || echo clang-tidy-19
}

as_root() {
  if [ "$(id -u)" = 0 ]; then
    env DEBIAN_FRONTEND=noninteractive "$@"
  else
    sudo -n env DEBIAN_FRONTEND=noninteractive "$@"
  fi
}

# The newest Boost that this release of the distribution has.
boost_package() {
  local name
  for name in libboost1.83-dev libboost1.81-dev libboost-dev; do
    if [ -n "$(apt-cache --quiet=0 policy "$name" 2>/dev/null | sed -n 's/^ *Candidate: *//p' | grep -v '(none)')" ]; then
      echo "$name"
      return
    fi
  done
  echo libboost-dev
}

install_packages() {
  local wanted="$1" what="$2" name names=()
  [ -n "$wanted" ] || return 0
  say "missing $what: $(echo $wanted)"
  have_command apt-get || die "no apt-get here: please install these yourself (names are Debian's): $(echo $wanted)"
  [ "$(id -u)" = 0 ] || { have_command sudo && sudo -n true 2>/dev/null; } ||
    die "neither root nor sudo without a password: please run
  sudo apt-get install $(echo "$wanted" | sed 's/^boost$/libboost-dev/' | tr '\n' ' ')"
  as_root apt-get update -q >&2 || say "apt-get update failed; trying with the lists that are there"
  for name in $wanted; do
    [ "$name" = boost ] && name=$(boost_package)
    names+=("$name")
  done
  as_root apt-get install -q -y --no-install-recommends "${names[@]}" >&2 ||
    die "apt-get could not install: ${names[*]}"
}

fit_python() {
  "$1" - >/dev/null 2>&1 <<'PYTHON'
import ensurepip, os, sys, sysconfig, venv
sys.exit(not (sys.version_info >= (3, 10) and os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h"))))
PYTHON
}

find_python() {
  local candidate
  if [ -n "${PYTHON:-}" ]; then
    fit_python "$PYTHON" || return 1
    command -v "$PYTHON"
    return
  fi
  for candidate in python3 python3.13 python3.12 python3.11 python3.10 /usr/bin/python3; do
    if have_command "$candidate" && fit_python "$candidate"; then
      command -v "$candidate"
      return
    fi
  done
  return 1
}

no_python() {
  if [ -n "${PYTHON:-}" ]; then
    die "PYTHON=$PYTHON is not a Python >= 3.10 with venv and its C headers (Python.h)"
  fi
  die "found no Python >= 3.10 with venv and its C headers; install one (Debian: python3 python3-venv python3-dev) or name one: make PYTHON=/path/to/python"
}

make_venv() {
  local python
  if [ -x .venv/bin/python ] && fit_python .venv/bin/python; then
    return
  fi
  python=$(find_python) || no_python
  say "making .venv with $python ($("$python" --version))"
  "$python" -m venv --clear .venv
}

case "${1:-}" in
  system)
    # A PYTHON that was named and is unfit is a mistake to tell, not a package to install.
    if [ -n "${PYTHON:-}" ]; then find_python >/dev/null || no_python; fi
    install_packages "$(missing_packages)" "system packages"
    left=$(missing_packages)
    [ -z "$left" ] || die "still missing after the installation: $(echo $left)"
    ;;
  lint)
    install_packages "$(missing_lint_packages)" "tools for linting"
    ;;
  python)
    find_python || no_python
    ;;
  venv)
    make_venv
    ;;
  *)
    sed -n '2,7s/^# \{0,1\}//p' "$0" >&2
    exit 2
    ;;
esac
