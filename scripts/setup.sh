#!/usr/bin/env bash
# What the project needs from the machine. `make` calls it; each command can be run alone, any number of times.
#
#   scripts/setup.sh system    system packages: installs what is missing (Debian and Ubuntu), else prints the command to run
#   scripts/setup.sh lint      the same for clang-format and clang-tidy, which only `make lint` and `make format` need
#   scripts/setup.sh docs      the same for Doxygen, which only `make docs` needs
#   scripts/setup.sh bench     the same for what `make bench` needs: the HTTP libraries that it compares with, and nginx
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
have_nginx() { have_command nginx || [ -x /usr/sbin/nginx ]; }

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
  # Only Debian and its relatives package it; CMake leaves the model checks out elsewhere.
  have_header relacy/relacy.hpp || ! have_command apt-get || echo relacy-dev
  have_header boost/beast/http/basic_parser.hpp || echo boost
  have_header asio.hpp || echo libasio-dev
  have_header uv.h || echo libuv1-dev
  have_header zlib.h || echo zlib1g-dev
  { have_header brotli/decode.h && have_header brotli/encode.h; } || echo libbrotli-dev
  have_header zstd.h || echo libzstd-dev
  have_nginx || echo nginx-light
  have_command tinyproxy || echo tinyproxy
  { have_command squid || [ -x /usr/sbin/squid ]; } || echo squid
  have_command microsocks || ! have_command apt-get || echo microsocks
  have_command redis-server || echo redis-server
  { have_command nghttpd || [ -x /usr/sbin/nghttpd ]; } || echo nghttp2-server
  { have_command ss || [ -x /usr/sbin/ss ]; } || echo iproute2
  find_python >/dev/null || { echo python3; echo python3-venv; echo python3-dev; }
}

missing_lint_packages() {
  have_command clang-format-19 || echo clang-format-19
  have_command clang-tidy-19 || echo clang-tidy-19
}

missing_docs_packages() {
  have_command doxygen || echo doxygen
}

missing_bench_packages() {
  { have_header curl/curl.h && have_library curl; } || echo libcurl4-openssl-dev
  have_header httplib.h || echo libcpp-httplib-dev
  have_nginx || echo nginx-light
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

# The packages' names by package manager: Debian's as above, then dnf's (Fedora), apk's (Alpine), pacman's (Arch).
OTHER_NAMES='
g++              gcc-c++                 g++            gcc
make             make                    make           make
cmake            cmake                   cmake          cmake
ninja-build      ninja-build             samurai        ninja
ccache           ccache                  ccache         ccache
pkg-config       pkgconf-pkg-config      pkgconf        pkgconf
libssl-dev       openssl-devel           openssl-dev    openssl
libnghttp2-dev   libnghttp2-devel        nghttp2-dev    libnghttp2
libgtest-dev     gtest-devel             gtest-dev      gtest
libbenchmark-dev google-benchmark-devel  benchmark-dev  benchmark
boost            boost-devel             boost-dev      boost
libasio-dev      asio-devel              asio-dev       asio
libuv1-dev       libuv-devel             libuv-dev      libuv
zlib1g-dev       zlib-devel              zlib-dev       zlib
libbrotli-dev    brotli-devel            brotli-dev     brotli
libzstd-dev      libzstd-devel           zstd-dev       zstd
nginx-light      nginx                   nginx          nginx
tinyproxy        tinyproxy               tinyproxy      tinyproxy
squid            squid                   squid          squid
redis-server     redis                   redis          redis
nghttp2-server   nghttp2                 nghttp2        nghttp2
iproute2         iproute                 iproute2       iproute2
doxygen          doxygen                 doxygen        doxygen
libcurl4-openssl-dev libcurl-devel       curl-dev       curl
python3          python3                 python3        python
python3-venv     python3                 python3        python
python3-dev      python3-devel           python3-dev    python
'

# Prints the command that installs these with the package manager that is here; nothing where a name is not known.
other_command() {
  local command wanted debian dnf apk pacman name names=
  if have_command dnf; then command='dnf install' wanted=dnf
  elif have_command apk; then command='apk add' wanted=apk
  elif have_command pacman; then command='pacman -S --needed' wanted=pacman
  else return 0
  fi
  for name in $1; do
    while read -r debian dnf apk pacman; do
      [ "$debian" = "$name" ] && break
    done <<<"$OTHER_NAMES"
    [ -n "$debian" ] || return 0
    case "$names " in *" ${!wanted} "*) ;; *) names+=" ${!wanted}" ;; esac
  done
  echo "$command$names"
}

install_packages() {
  local wanted="$1" what="$2" name names=() command
  [ -n "$wanted" ] || return 0
  say "missing $what: $(echo $wanted)"
  if ! have_command apt-get; then
    command=$(other_command "$wanted")
    [ -z "$command" ] || die "no apt-get here: please run, as root,
  $command"
    die "no apt-get here: please install these yourself (names are Debian's): $(echo $wanted)"
  fi
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
sys.exit(not ((3, 10) <= sys.version_info[:2] <= (3, 14) and os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h"))))
PYTHON
}

find_python() {
  local candidate
  if [ -n "${PYTHON:-}" ]; then
    fit_python "$PYTHON" || return 1
    command -v "$PYTHON"
    return
  fi
  for candidate in python3 python3.14 python3.13 python3.12 python3.11 python3.10 /usr/bin/python3; do
    if have_command "$candidate" && fit_python "$candidate"; then
      command -v "$candidate"
      return
    fi
  done
  return 1
}

no_python() {
  if [ -n "${PYTHON:-}" ]; then
    die "PYTHON=$PYTHON is not a Python from 3.10 to 3.14 with venv and its C headers (Python.h)"
  fi
  die "found no Python from 3.10 to 3.14 with venv and its C headers; install one (Debian: python3 python3-venv python3-dev) or name one: make PYTHON=/path/to/python"
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
  docs)
    install_packages "$(missing_docs_packages)" "tools for the documentation"
    ;;
  bench)
    install_packages "$(missing_bench_packages)" "libraries that the benchmark compares with, and its server"
    ;;
  python)
    find_python || no_python
    ;;
  venv)
    make_venv
    ;;
  *)
    sed -n '2,9s/^# \{0,1\}//p' "$0" >&2
    exit 2
    ;;
esac
