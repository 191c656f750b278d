"""The CMake that CMakeLists.txt names as the oldest configures the library, and finds an installed one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from building import CONSUMERS, EXAMPLE, ROOT, Tree, configure, run


@pytest.fixture(scope="module")
def oldest(tools: Path) -> Path:
    return tools / "cmake"


def test_the_oldest_cmake_is_the_one_that_the_library_asks_for(oldest: Path) -> None:
    asked = re.search(r"cmake_minimum_required\(VERSION ([\d.]+)\)", (ROOT / "CMakeLists.txt").read_text())
    assert asked is not None
    assert run(oldest, "--version").startswith(f"cmake version {asked[1]}.")


def test_the_oldest_cmake_configures_the_library(oldest: Path, kind: str, tmp_path: Path) -> None:
    configure(ROOT, tmp_path, f"-DBUILD_SHARED_LIBS={'ON' if kind == 'shared' else 'OFF'}", cmake=oldest)


def test_the_oldest_cmake_configures_a_project_with_the_library_as_a_part(oldest: Path, tmp_path: Path) -> None:
    configure(CONSUMERS / "add_subdirectory", tmp_path, f"-DFASTPOOL={ROOT}", cmake=oldest)


def test_the_oldest_cmake_finds_an_installed_library(oldest: Path, tree: Tree, tmp_path: Path) -> None:
    configure(EXAMPLE, tmp_path, f"-DCMAKE_PREFIX_PATH={tree.prefix}", cmake=oldest)
