"""The library as a part of another project, by add_subdirectory() and by FetchContent."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from building import CONSUMERS, EXAMPLE, archive, compile_all, configure, run

UNUSED = [f"-DCMAKE_DISABLE_FIND_PACKAGE_{name}=ON" for name in ("GTest", "benchmark", "Python")]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The build of a project that fetches the archive of a release."""
    folder = tmp_path_factory.mktemp("subproject")
    fetched = [f"-DARCHIVE={archive(folder)}", f"-DEXAMPLE={EXAMPLE}", "-DCMAKE_EXPORT_COMPILE_COMMANDS=ON"]
    configure(CONSUMERS / "fetch_content", folder / "build", *fetched, *UNUSED)
    compile_all(folder / "build")
    return folder / "build"


def test_a_project_that_fetches_the_archive_of_a_release_builds_and_runs(project: Path) -> None:
    run(project / "get", "--self-test")


def test_a_project_gets_none_of_the_librarys_tests(project: Path) -> None:
    assert "Total Tests: 0" in run("ctest", "-N", "--test-dir", project)


def test_a_project_installs_nothing_of_the_library(project: Path, tmp_path: Path) -> None:
    run("cmake", "--install", project, "--prefix", tmp_path)
    assert [path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()] == [Path("bin/get")]


def test_warnings_are_no_errors_in_another_project(project: Path) -> None:
    commands = [entry["command"] for entry in json.loads((project / "compile_commands.json").read_text())]
    assert any("-Wall" in command for command in commands)
    assert not [command for command in commands if "-Werror" in command]


@pytest.mark.parametrize("standard", ["", "23"])
def test_add_subdirectory_changes_no_variable_of_the_project(standard: str, tmp_path: Path) -> None:
    chosen = [f"-DCMAKE_CXX_STANDARD={standard}"] if standard else []
    configure(CONSUMERS / "add_subdirectory", tmp_path, f"-DFASTPOOL={CONSUMERS.parents[2]}", *UNUSED, *chosen)
