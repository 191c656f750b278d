#!/usr/bin/env bash
# Installs locked packages, or this package, into a virtual environment. Nothing is resolved: a lock names everything.
#
#   scripts/install.sh <environment> locks <name>...     locks/<name>.txt in this order; "build" first: it brings pip itself
#   scripts/install.sh <environment> package [args]      this package, editable, or as pip's arguments say
set -euo pipefail
cd "$(dirname "$0")/.."

usage() { sed -n '2,5s/^# \{0,1\}//p' "$0" >&2; exit 2; }
[ $# -ge 2 ] || usage
environment=$1
install=("$environment/bin/python" -m pip --disable-pip-version-check install --quiet --no-deps --no-build-isolation)
case "$2" in
  locks)
    for name in "${@:3}"; do
      # One lock after the other: the first brings the pip and the backends that install the next.
      "${install[@]}" --require-hashes --requirement "locks/$name.txt"
    done
    ;;
  package)
    shift 2
    [ $# -gt 0 ] || set -- --editable .
    "${install[@]}" "$@"
    ;;
  *) usage ;;
esac
