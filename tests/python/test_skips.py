"""A run ends with what was skipped and why; in continuous integration a test that could have run fails it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support import skips
from support.skips import Kind, Skip

TESTS = Path(__file__).resolve().parent
SKIPS = TESTS / "support" / "skips.py"

CASES = """
import pytest

@pytest.mark.parametrize("number", [1, 2])
def test_a_case(number):
    if number == 2:
        pytest.skip("case: of the other number")

def test_of_another_machine():
    pytest.skip("machine: no such device")

@pytest.mark.skipif(True, reason="elsewhere: `make stress` runs it")
def test_of_another_target():
    pass

@pytest.mark.xfail
def test_that_is_known_to_fail():
    assert False
"""
A_MODULE_IS_MISSING = """
import pytest

def test_with_a_module():
    pytest.importorskip("not_installed_anywhere")
"""
A_WHOLE_FILE = """
import pytest

pytest.importorskip("not_installed_anywhere")
"""

CTEST = """<?xml version="1.0" encoding="UTF-8"?>
<testsuite name="(empty)" tests="3" skipped="2">
  <testcase name="Dial.connects" status="run"><system-out>[       OK ] Dial.connects (0 ms)</system-out></testcase>
  <testcase name="Dial.races_families" status="notrun">
    <skipped message="SKIP_REGULAR_EXPRESSION_MATCHED"/>
    <system-out>[ RUN      ] Dial.races_families
dial_test.cpp:164: Skipped
machine: no ::1
[  SKIPPED ] Dial.races_families (0 ms)
[  PASSED  ] 0 tests.
[  SKIPPED ] 1 test, listed below:
[  SKIPPED ] Dial.races_families
</system-out>
  </testcase>
  <testcase name="model_checks" status="notrun">
    <skipped message="SKIP_REGULAR_EXPRESSION_MATCHED"/>
    <system-out>[  SKIPPED ] Relacy is not installed
</system-out>
  </testcase>
</testsuite>
"""


def run_pytest(folder: Path, text: str, **variables: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_some.py").write_text(text)
    (folder / "test_another.py").write_text("def test_that_passes():\n    pass\n")
    return _run(["-m", "pytest", "-p", "support.skips_plugin", "-p", "no:cacheprovider", str(folder)], variables)


def run_skips(*arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
    return _run([str(SKIPS), *map(str, arguments)], variables)


def _run(arguments: list[str], variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if name not in ("CI", skips.SKIPS_VARIABLE)}
    environment = {**inherited, "PYTHONPATH": str(TESTS), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", **variables}
    return subprocess.run(
        [sys.executable, *arguments], env=environment, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("case: of the other kind", Kind.CASE),
        ("machine: a link with delay needs root", Kind.MACHINE),
        ("elsewhere: `make stress` runs it", Kind.ELSEWHERE),
        ("could not import 'uvloop': No module named 'uvloop'", Kind.AVOIDABLE),
        ("could not import 'anthropic': No module named 'anthropic'", Kind.MACHINE),
        ("could not import 'anthropic._base_client': No module named 'anthropic'", Kind.MACHINE),
        ("needs a C compiler", Kind.AVOIDABLE),
        ("avoidable: not a kind that a reason may claim", Kind.AVOIDABLE),
    ],
)
def test_a_reason_names_its_kind_and_a_skip_without_a_kind_could_have_run(reason: str, kind: Kind) -> None:
    assert skips.classify(reason, left_out={"anthropic"}) is kind


def test_what_the_locks_leave_out_on_a_python_is_no_fault_of_the_set_up(tmp_path: Path) -> None:
    lock = tmp_path / "lock.txt"
    lock.write_text(
        "anthropic==2.14.0 ; python_full_version >= '3.11' \\\n    --hash=sha256:0\n"
        "backports-zstd==1.8.0 ; python_full_version < '3.14' \\\n"
        "httpx2==2.14.0 ; python_full_version < '3.11' \\\n"
        "httpx2==2.16.2 ; python_full_version >= '3.11' \\\n"
        "numpy==2.4.6 ; python_full_version == '3.11.*' \\\n"
        "trio==0.35.0 \\\n"
    )
    assert skips.modules_left_out(lock, (3, 10)) == {"anthropic", "numpy"}
    assert skips.modules_left_out(lock, (3, 11)) == set()
    assert skips.modules_left_out(lock, (3, 14)) == {"backports_zstd", "numpy"}


@pytest.mark.parametrize("ci", ["", "true"])
def test_skips_of_cases_and_machines_are_listed_separately_and_fail_no_run(tmp_path: Path, ci: str) -> None:
    done = run_pytest(tmp_path, CASES, CI=ci)
    assert done.returncode == 0, done.stdout
    reported = done.stdout.partition(" skipped =")[2]
    for line in (
        "1 skipped, do not apply to a parameter or build:\n  1 x of the other number\n",
        "1 skipped, run by another make target:\n  1 x `make stress` runs it\n",
        "1 skipped, not possible on this machine:\n  1 x no such device\n",
    ):
        assert line in reported
    assert "could have run" not in reported


@pytest.mark.parametrize("text", [A_MODULE_IS_MISSING, A_WHOLE_FILE], ids=["test", "file"])
def test_a_skip_that_this_machine_could_have_run_fails_continuous_integration_alone(tmp_path: Path, text: str) -> None:
    for ci, status in (("", 0), ("false", 0), ("true", 1)):
        done = run_pytest(tmp_path, text, CI=ci)
        assert done.returncode == status, done.stdout
        assert "1 skipped, this machine could have run them:" in done.stdout
        assert "could not import 'not_installed_anywhere'" in done.stdout


def test_parts_of_a_run_leave_their_skips_for_one_report_at_its_end(tmp_path: Path) -> None:
    folder, junit = tmp_path / "skips", tmp_path / "tests.xml"
    junit.write_text(CTEST)
    assert run_pytest(tmp_path, CASES, **{skips.SKIPS_VARIABLE: str(folder)}).returncode == 0
    assert run_skips("ctest", folder, "C++ (dev)", junit).returncode == 0
    assert skips.collected(folder)[:2] == [
        Skip("C++ (dev): Dial.races_families", "machine: no ::1"),
        Skip("C++ (dev): model_checks", "Relacy is not installed"),
    ]
    done = run_skips("report", folder)
    assert done.returncode == 0
    assert (
        "2 skipped, not possible on this machine:\n  1 x no ::1\n      C++ (dev): Dial.races_families\n" in done.stdout
    )
    assert done.stdout.endswith(
        "1 skipped, this machine could have run them:\n  1 x Relacy is not installed\n      C++ (dev): model_checks\n"
    )
    assert run_skips("report", folder, CI="true").returncode == 1


def test_a_run_without_skips_says_so(tmp_path: Path) -> None:
    done = run_skips("report", tmp_path, CI="true")
    assert (done.returncode, done.stdout) == (0, "no test was skipped\n")
