"""The pytest plugin that reports skips by kind, and fails a run in continuous integration that skipped too much."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from support.skips import LOCK, SKIPS_VARIABLE, Skip, in_continuous_integration, leave, modules_left_out, report

_skips = pytest.StashKey[list[Skip]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_skips] = []
    config.pluginmanager.register(_Recorder(config.stash[_skips]))


class _Recorder:
    def __init__(self, skips: list[Skip]) -> None:
        self._skips = skips

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._record(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self._record(report)

    def _record(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        # An expected failure counts as skipped, but has no place in the source.
        if report.skipped and isinstance(report.longrepr, tuple):
            self._skips.append(Skip(report.nodeid, report.longrepr[2].removeprefix("Skipped: ")))


def _report(config: pytest.Config) -> tuple[list[str], bool]:
    return report(config.stash[_skips], modules_left_out(LOCK, sys.version_info[:2]))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    # `make test` prints them at its end, with those of the C++ tests.
    if SKIPS_VARIABLE in os.environ or not config.stash[_skips]:
        return
    lines, avoidable = _report(config)
    terminalreporter.section("skipped")
    for line in lines:
        terminalreporter.write_line(line)
    if avoidable and in_continuous_integration(os.environ):
        terminalreporter.write_line("CI=true: a test that this machine could have run was skipped", red=True)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    if hasattr(session.config, "workerinput"):  # of pytest-xdist: the process that it reports to counts its skips
        return
    if folder := os.environ.get(SKIPS_VARIABLE):
        leave(Path(folder), Path(session.config.args[0]).name, session.config.stash[_skips])
    if exitstatus == pytest.ExitCode.OK and in_continuous_integration(os.environ) and _report(session.config)[1]:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
