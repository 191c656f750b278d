"""The installed libraries, built once for all tests, the compilers, and the tools that no distribution has."""

from __future__ import annotations

import shutil
import subprocess
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest

from building import ROOT, Tree, install_library

pytest_plugins = ["support.skips_plugin"]

KINDS = ("static", "shared")
CLANGS = ("clang++", *(f"clang++-{version}" for version in range(25, 13, -1)))
TOOLS = ROOT / "build" / "package" / "tools"
LOCK = ROOT / "locks" / "package.txt"


@pytest.fixture(scope="session", autouse=True)
def _shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Every build below the tests' folder finds what another one has compiled."""
    with pytest.MonkeyPatch.context() as patch:
        if shutil.which("ccache"):
            patch.setenv("CMAKE_CXX_COMPILER_LAUNCHER", "ccache")
        patch.setenv("CCACHE_BASEDIR", str(tmp_path_factory.getbasetemp()))
        patch.setenv("CCACHE_NOHASHDIR", "1")
        yield


@pytest.fixture(scope="session")
def static_tree(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    return install_library(tmp_path_factory.mktemp("static"), "static")


@pytest.fixture(scope="session")
def shared_tree(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    return install_library(tmp_path_factory.mktemp("shared"), "shared")


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def tree(request: pytest.FixtureRequest, kind: str) -> Tree:
    """Each of the two."""
    found: Tree = request.getfixturevalue(f"{kind}_tree")
    return found


@pytest.fixture(scope="session", params=("g++", "clang++"))
def compiler(request: pytest.FixtureRequest) -> str:
    names = CLANGS if request.param == "clang++" else ("g++",)
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        pytest.skip(f"machine: no {request.param}")
    return found


@pytest.fixture(scope="session")
def tools() -> Path:
    """The programs of locks/package.txt, in an environment of their own that is kept in build/."""
    stamp = TOOLS / "package.txt"
    if not stamp.exists() or stamp.read_text() != LOCK.read_text():
        venv.create(TOOLS, clear=True, with_pip=True)
        install = [str(ROOT / "scripts" / "install.sh"), str(TOOLS), "locks", "build", "package"]
        done = subprocess.run(install, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        if done.returncode:
            pytest.skip(f"machine: {LOCK.name} cannot be installed: {done.stdout.strip().splitlines()[-1]}")
        stamp.write_text(LOCK.read_text())
    return TOOLS / "bin"
