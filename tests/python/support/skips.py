"""Why tests are skipped: sorted into what no run can do, what this machine cannot, and what it could have run.

A reason begins with its kind:

    case:       the test does not apply to this parameter, or to this build
    machine:    this machine, kernel or Python lacks something that no make target installs
    elsewhere:  another make target runs it

Every other skip is one that this machine could have run (`importorskip`, or a reason without a kind), and a failure in
continuous integration (CI=true). A module that the locks leave out on this Python counts as the machine's reason.

`make test` runs its parts with SKIPS_VARIABLE naming a folder, where each part leaves its skips, and ends with

    python tests/python/support/skips.py report FOLDER

which prints all of them and ends with status 1 if one is a failure. `skips.py ctest FOLDER PART FILE` leaves those of
C++ tests, from ctest's JUnit file. Needs nothing but the standard library, and no installed package.
"""

from __future__ import annotations

import json
import os
import re
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import NamedTuple

SKIPS_VARIABLE = "FAST_LITELLM_TEST_SKIPS"
LOCK = Path(__file__).resolve().parents[3] / "locks" / "test.txt"


class Kind(Enum):
    CASE = "case"
    MACHINE = "machine"
    ELSEWHERE = "elsewhere"
    AVOIDABLE = "avoidable"


TITLES = {
    Kind.CASE: "do not apply to a parameter or build",
    Kind.ELSEWHERE: "run by another make target",
    Kind.MACHINE: "not possible on this machine",
    Kind.AVOIDABLE: "this machine could have run them",
}


class Skip(NamedTuple):
    test: str
    reason: str


def in_continuous_integration(environment: Mapping[str, str]) -> bool:
    return environment.get("CI", "").lower() not in ("", "0", "false")


def classify(reason: str, left_out: Iterable[str]) -> Kind:
    """The kind of a reason; `left_out` are the modules that the locks do not install on this Python."""
    prefix, _, _ = reason.partition(":")
    if prefix in (kind.value for kind in Kind if kind is not Kind.AVOIDABLE):
        return Kind(prefix)
    missing = re.match(r"could not import '([\w]+)", reason)
    return Kind.MACHINE if missing and missing.group(1) in left_out else Kind.AVOIDABLE


def modules_left_out(lock: Path, python: tuple[int, int]) -> set[str]:
    """Modules of packages that the lock installs on other Pythons alone, judged by its lines' Python versions."""
    here: set[str] = set()
    elsewhere: set[str] = set()
    for line in lock.read_text().splitlines() if lock.exists() else ():
        name = re.match(r"([\w.-]+)==", line)
        if name is None:
            continue
        fits = all(_holds(python, *bound) for bound in re.findall(r"python_full_version (\S+) '3\.(\d+)[.*\d]*'", line))
        (here if fits else elsewhere).add(name.group(1).replace("-", "_"))
    return elsewhere - here


def _holds(python: tuple[int, int], operator: str, minor: str) -> bool:
    bound = (3, int(minor))
    return {"<": python < bound, ">=": python >= bound, "==": python == bound}.get(operator, True)


def report(skips: Iterable[Skip], left_out: Iterable[str]) -> tuple[list[str], bool]:
    """The lines of the report, and whether a skip is avoidable."""
    found: dict[Kind, dict[str, list[str]]] = {}
    for skip in skips:
        found.setdefault(classify(skip.reason, left_out), {}).setdefault(skip.reason, []).append(skip.test)
    lines = []
    for kind in TITLES:
        reasons = found.get(kind)
        if reasons is None:
            continue
        lines.append(f"{sum(map(len, reasons.values()))} skipped, {TITLES[kind]}:")
        for reason, tests in sorted(reasons.items()):
            lines.append(f"  {len(tests)} x {reason.removeprefix(f'{kind.value}: ')}")
            lines.extend(f"      {place}" for place in (sorted(tests) if kind is Kind.AVOIDABLE else _places(tests)))
    return lines or ["no test was skipped"], Kind.AVOIDABLE in found


def _places(tests: Iterable[str]) -> list[str]:
    """Tests without their parameters."""
    return sorted({test.partition("[")[0] for test in tests})


# --- C++ --------------------------------------------------------------------------------------------------------------


def of_ctest(file: Path, part: str) -> Iterator[Skip]:
    """What ctest's JUnit file says was skipped, with GoogleTest's reason."""
    for case in ElementTree.parse(file).iter("testcase"):
        if case.find("skipped") is None:
            continue
        output = case.findtext("system-out") or ""
        reason = re.search(r": Skipped\n(.*?)\n*^\[  SKIPPED \]", output, flags=re.MULTILINE | re.DOTALL)
        plain = re.search(r"^\[  SKIPPED \] (.*)", output, flags=re.MULTILINE)
        text = reason.group(1) if reason else plain.group(1) if plain else "no reason given"
        yield Skip(f"{part}: {case.get('name')}", " ".join(text.split()))


# --- one folder for all parts of a run --------------------------------------------------------------------------------


def leave(folder: Path, part: str, skips: Iterable[Skip]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{part}.json").write_text(json.dumps(list(skips)))


def collected(folder: Path) -> list[Skip]:
    return [Skip(*one) for file in sorted(folder.glob("*.json")) for one in json.loads(file.read_text())]


def main(arguments: list[str]) -> int:
    if arguments[:1] == ["ctest"] and len(arguments) == 4:
        leave(Path(arguments[1]), arguments[2], of_ctest(Path(arguments[3]), arguments[2]))
        return 0
    if arguments[:1] == ["report"] and len(arguments) == 2:
        lines, avoidable = report(collected(Path(arguments[1])), modules_left_out(LOCK, sys.version_info[:2]))
        print(*lines, sep="\n", flush=True)
        return int(avoidable and in_continuous_integration(os.environ))
    print("usage: skips.py ctest FOLDER PART FILE | report FOLDER", file=sys.stderr)
    return 2


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
