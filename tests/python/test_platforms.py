"""`make platforms`: its plan covers what the README promises, and its table counts what builds and tests printed."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

import pytest

from support.scripts import script

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def platforms() -> ModuleType:
    return script("platforms")


def test_every_compiler_that_the_readme_names_is_tried(platforms: ModuleType) -> None:
    tried = {compiler for release in platforms.RELEASES.values() for compiler in release.compilers}
    readme = " ".join((ROOT / "README.md").read_text().split())
    promised = re.search(r"GCC (\d+) to (\d+) and Clang (\d+) to (\d+)", readme)
    assert promised is not None
    gcc_first, gcc_last, clang_first, clang_last = map(int, promised.groups())
    assert {f"gcc-{version}" for version in range(gcc_first, gcc_last + 1)} <= tried
    assert {f"clang-{version}" for version in range(clang_first, clang_last + 1)} <= tried


def test_names_choose_a_release_or_one_of_its_compilers(platforms: ModuleType) -> None:
    assert set(platforms.chosen([])) == set(platforms.RELEASES)
    assert platforms.chosen(["sid:gcc-16"]) == {"sid": ["gcc-16"]}
    assert platforms.chosen(["bookworm"]) == {"bookworm": [*platforms.RELEASES["bookworm"].compilers]}


@pytest.mark.parametrize("name", ["etch", "sid:gcc-12", "gcc-16"])
def test_an_unknown_name_is_refused_with_the_known_ones(platforms: ModuleType, name: str) -> None:
    with pytest.raises(platforms.CannotRun, match=r"none of: bookworm:gcc-12, .*sid:gcc-16"):
        platforms.chosen([name])


def test_the_table_has_the_versions_that_were_printed(platforms: ModuleType) -> None:
    log = """
$ printf 'compiler %s\\n' "$($CXX -dumpversion)"
compiler 14.2.0
boost 1.83
openssl 3.5.1
nghttp2 1.64.0
python 3.13.5
"""
    row = platforms.Outcome("Debian 13", "gcc-14", platforms.versions_of(log)).cells()
    titles = ("compiler", "Boost", "OpenSSL", "nghttp2", "Python")
    shown = dict(zip(platforms.TITLES, row, strict=True))
    assert [shown[title] for title in titles] == ["GCC 14.2.0", "1.83", "3.5.1", "1.64.0", "3.13.5"]


def test_a_warning_counts_once_wherever_it_is_repeated(platforms: ModuleType) -> None:
    log = """
  [5/9] Building CXX object a.o
  ../source/python/bindings/event_loop.h:60:31: warning: declaration of 'loop' shadows a member [-Wshadow]
     60 |   LoopObject(nanobind::object loop)
  [6/9] Building CXX object b.o
  ../source/python/bindings/event_loop.h:60:31: warning: declaration of 'loop' shadows a member [-Wshadow]
/usr/include/c++/16/variant:524:22: warning: 'index' may be used uninitialized [-Wmaybe-uninitialized]
CMake Warning (dev) at CMakeLists.txt:34 (find_package):
  Policy CMP0167 is not set: The FindBoost module is removed.
WARNING: Running pip as the 'root' user
"""
    assert len(platforms.warnings_of(log)) == 3


def test_a_warning_in_the_source_of_another_project_is_not_counted(platforms: ModuleType) -> None:
    log = "/venv/lib/python3.14/site-packages/nanobind/src/nb_type.cpp:1:2: warning: unused variable [-Wunused]"
    assert platforms.warnings_of(log) == set()


def test_the_table_says_how_many_tests_passed_and_how_many_were_skipped(platforms: ModuleType) -> None:
    assert platforms.count_of("100% tests passed, 0 tests failed out of 867\n") == "867 of 867"
    log = """
99% tests passed, 1 tests failed out of 867

The following tests did not run:
\t 12 - Socket.speaks_ipv6 (Skipped)

The following tests FAILED:
\t343 - Conversation.is_cut_anywhere (Failed)
"""
    assert platforms.count_of(log) == "865 of 867, 1 skipped"
    assert platforms.count_of("Segmentation fault") == "did not run"
