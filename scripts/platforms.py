"""`make platforms`: builds and tests fastpool and fast_litellm on the systems that users have.

    python3 scripts/platforms.py [--upgrade] [SUITE | SUITE:COMPILER]...

In the root file system of each Debian release below, with each of its compilers: builds the library, the benchmark and
the C++ tests, and runs these; builds the wheel, installs it into a virtual environment of that release's Python, and
runs scripts/platform_smoke.py there. Every build starts anew, through a ccache that repeats the warnings. Prints one
table and ends with 1 if something failed or a compiler warned. Logs are in build/platforms/logs.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from typing import NamedTuple

from command import CannotRun, only_run
from root_systems import FOLDER, RootSystem, check_machine, copy_source

LOGS = FOLDER / "logs"
PACKAGES = ("libboost-dev", "python3", "python3-dev", "python3-venv", "ca-certificates")


class Release(NamedTuple):
    name: str
    compilers: tuple[str, ...]


#: Together every compiler that the README names. The first is the release's own.
RELEASES = {
    "bookworm": Release("Debian 12", ("gcc-12", "clang-14", "clang-15", "clang-16")),
    "trixie": Release("Debian 13", ("gcc-14", "gcc-13", "clang-17", "clang-18", "clang-19")),
    "sid": Release("Debian sid", ("gcc-16", "gcc-15", "clang-19", "clang-21")),
}

VERSIONS = r"""
printf 'compiler %s\n' "$($CXX -dumpfullversion 2>/dev/null || $CXX -dumpversion)"
sed -n 's/_/./g; s/#define BOOST.LIB.VERSION "\(.*\)"/boost \1/p' /usr/include/boost/version.hpp
printf 'openssl %s\n' "$(pkg-config --modversion openssl)"
printf 'nghttp2 %s\n' "$(pkg-config --modversion libnghttp2)"
python3 -c 'import platform; print("python", platform.python_version())'
"""

# The release's GoogleTest may need a newer libstdc++ than an older GCC links: such a compiler builds its own.
BUILD = """
rm -rf /build/$NAME /build/$NAME-gtest
cd /source
if [ "$OWN_GTEST" = 1 ]; then
  cmake -S /usr/src/googletest -B /build/$NAME-gtest -G Ninja -DCMAKE_CXX_COMPILER=$CXX \\
    -DCMAKE_BUILD_TYPE=Release -DCMAKE_CXX_FLAGS=-w \\
    -DCMAKE_INSTALL_PREFIX=/build/$NAME-gtest/installed
  cmake --build /build/$NAME-gtest --parallel $JOBS --target install
fi
cmake --preset dev -B /build/$NAME -DCMAKE_CXX_COMPILER=$CXX -DFASTPOOL_WERROR=OFF \\
  -DCMAKE_PREFIX_PATH=/build/$NAME-gtest/installed
cmake --build /build/$NAME --parallel $JOBS -- -k 0
"""

TEST = "ctest --test-dir /build/$NAME --output-on-failure --no-tests=error --parallel $JOBS"

WHEEL = """
[ "$(/build/venv/bin/python -V 2>&1)" = "$(python3 -V)" ] || python3 -m venv --clear /build/venv
/source/scripts/install.sh /build/venv locks build pool
rm -rf /build/$NAME-wheel /build/$NAME-dist
/build/venv/bin/python -m pip --disable-pip-version-check wheel --verbose --no-build-isolation --no-deps \\
  --config-settings build-dir=/build/$NAME-wheel --wheel-dir /build/$NAME-dist /source
"""

SMOKE = """
/build/venv/bin/python -m pip --disable-pip-version-check install --no-index --no-deps --force-reinstall \\
  /build/$NAME-dist/*.whl
cd /build && venv/bin/python -I /source/scripts/platform_smoke.py
"""


@dataclass
class Outcome:
    """One row of the table."""

    system: str
    compiler: str
    versions: dict[str, str] = field(default_factory=dict)
    warnings: set[str] = field(default_factory=set)
    built: bool = False
    tests: str = "-"
    smoke: str = "-"
    passed: bool = False

    def cells(self) -> list[str]:
        kind = {"gcc": "GCC", "clang": "Clang"}[self.compiler.partition("-")[0]]
        versions = [self.versions.get(name, "?") for name in ("boost", "openssl", "nghttp2", "python")]
        compiler = f"{kind} {self.versions.get('compiler', self.compiler.partition('-')[2])}"
        warnings = str(len(self.warnings)) if self.built else "does not build"
        return [self.system, compiler, *versions, warnings, self.tests, self.smoke]


TITLES = ["system", "compiler", "Boost", "OpenSSL", "nghttp2", "Python", "warnings", "C++ tests", "Python smoke"]


def versions_of(text: str) -> dict[str, str]:
    """The versions, by name, among what VERSIONS printed."""
    return dict(re.findall(r"^([a-z]\w*) (\d.*)$", text, re.MULTILINE))


def warnings_of(text: str) -> set[str]:
    """The distinct warnings of a build, but for those of other projects' sources that are compiled with ours."""
    found = set(re.findall(r"(\S+: warning: .*)", text))
    found |= set(re.findall(r"(CMake (?:Deprecation )?Warning.*(?:\n +.*)?)", text))
    return {warning.strip() for warning in found if "/site-packages/" not in warning}


def count_of(text: str) -> str:
    """How many C++ tests passed, of how many, from ctest's summary."""
    summary = re.search(r"tests passed, (\d+) tests? failed out of (\d+)", text)
    if summary is None:
        return "did not run"
    failed, total = map(int, summary.groups())
    skipped = len(re.findall(r"^\t *\d+ - .* \((?:Skipped|Disabled)\)$", text, re.MULTILINE))
    return f"{total - failed - skipped} of {total}" + (f", {skipped} skipped" if skipped else "")


class Trial:
    """One release with one compiler."""

    def __init__(self, suite: str, compiler: str) -> None:
        self._root = RootSystem(suite)
        self._suite, self._compiler = suite, compiler
        kind, _, version = compiler.partition("-")
        self._environment = {
            "NAME": compiler,
            "CXX": {"gcc": "g++-", "clang": "clang++-"}[kind] + version,
            "JOBS": os.environ.get("JOBS") or str(os.cpu_count()),
            "OWN_GTEST": str(int(kind == "gcc" and compiler != RELEASES[suite].compilers[0])),
        }
        self._environment["CMAKE_BUILD_PARALLEL_LEVEL"] = self._environment["JOBS"]

    def run(self) -> Outcome:
        outcome = Outcome(RELEASES[self._suite].name, self._compiler)
        _, versions = self._step("versions", VERSIONS)
        outcome.versions = versions_of(versions)

        built, text = self._step("build", BUILD)
        outcome.warnings |= warnings_of(text)
        tested = False
        if built:
            tested, text = self._step("test", TEST)
            outcome.tests = count_of(text)

        packed, text = self._step("wheel", WHEEL)
        outcome.warnings |= warnings_of(text)
        smoked = False
        if packed:
            smoked, _ = self._step("smoke", SMOKE)
            outcome.smoke = "passed" if smoked else "FAILED"
        outcome.built = built and packed
        outcome.passed = tested and smoked and not outcome.warnings
        return outcome

    def _step(self, name: str, script: str) -> tuple[bool, str]:
        """Whether it succeeded, and its output."""
        path = LOGS / f"{self._suite}-{self._compiler}-{name}.log"
        with path.open("w") as log:
            try:
                self._root.run(script, log, **self._environment)
                succeeded = True
            except subprocess.CalledProcessError:
                succeeded = False
        if not succeeded:
            print(f"   FAILED: {name}, see {path}", flush=True)
        return succeeded, path.read_text(errors="replace")


def chosen(names: list[str]) -> dict[str, list[str]]:
    """The compilers to try, by suite; all if none is named."""
    plan: dict[str, list[str]] = {}
    for name in names or RELEASES:
        suite, _, compiler = name.partition(":")
        if suite not in RELEASES or (compiler and compiler not in RELEASES[suite].compilers):
            known = ", ".join(f"{suite}:{one}" for suite, release in RELEASES.items() for one in release.compilers)
            raise CannotRun(f"{name} is none of: {known}")
        plan.setdefault(suite, []).extend([compiler] if compiler else RELEASES[suite].compilers)
    return plan


def prepare(suite: str, upgrade: bool) -> None:
    packages = [*PACKAGES]
    for compiler in RELEASES[suite].compilers:
        packages.append(compiler.replace("gcc", "g++"))
    path = LOGS / f"{suite}-root.log"
    with path.open("w") as log:
        try:
            RootSystem(suite).prepare(["g++", *packages], log, upgrade=upgrade)
        except subprocess.CalledProcessError:
            raise CannotRun(f"the root file system of {suite} could not be made, see {path}") from None


def table(outcomes: list[Outcome]) -> str:
    rows = [TITLES, *(outcome.cells() for outcome in outcomes)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(TITLES))]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    lines = [" | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    title, *body = (f"| {line} |" for line in lines)
    return "\n".join([title, rule, *body])


def main() -> int:
    parser = argparse.ArgumentParser(prog="make platforms", description="Builds and tests on Debian 12, 13 and sid.")
    parser.add_argument("names", nargs="*", metavar="SUITE[:COMPILER]", help="only these")
    parser.add_argument("--upgrade", action="store_true", help="upgrade the packages of the root file systems first")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    outcomes = []
    try:
        plan = chosen(arguments.names)
        check_machine()
        with only_run(FOLDER, "make platforms"):
            LOGS.mkdir(exist_ok=True)
            copy_source()
            for suite, compilers in plan.items():
                print(f"== {RELEASES[suite].name}: root file system", flush=True)
                prepare(suite, arguments.upgrade)
                for compiler in compilers:
                    print(f"== {RELEASES[suite].name}: {compiler}", flush=True)
                    outcomes.append(Trial(suite, compiler).run())
    except CannotRun as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    finally:
        if outcomes:
            print("\n" + table(outcomes), flush=True)
            for outcome in outcomes:
                for warning in sorted(outcome.warnings):
                    print(f"{outcome.system}, {outcome.compiler}: {warning}", flush=True)
    return 0 if all(outcome.passed for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
