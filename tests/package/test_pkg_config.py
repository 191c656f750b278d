"""An installed library is found by pkg-config, by a program without CMake."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from building import EXAMPLE, Tree, run, version_of_the_headers


@pytest.fixture(autouse=True)
def _needs_pkg_config() -> None:
    if shutil.which("pkg-config") is None:
        pytest.skip("machine: no pkg-config")


def pkg_config(tree: Tree, *arguments: str) -> list[str]:
    # In front of the system's own folders, where openssl.pc is.
    return run("pkg-config", *arguments, "fastpool", PKG_CONFIG_PATH=str(tree.libraries / "pkgconfig")).split()


def test_the_example_builds_with_what_pkg_config_says_and_runs(tree: Tree, compiler: str, tmp_path: Path) -> None:
    program = tmp_path / "get"
    flags = ["-std=c++20", *pkg_config(tree, "--cflags"), EXAMPLE / "get.cpp"]
    run(compiler, *flags, "-o", program, *pkg_config(tree, "--libs"))
    run(program, "--self-test", LD_LIBRARY_PATH=str(tree.libraries))


def test_a_program_links_a_shared_library_and_nothing_that_it_uses(shared_tree: Tree) -> None:
    assert [flag for flag in pkg_config(shared_tree, "--libs") if flag.startswith("-l")] == ["-lfastpool"]


def test_a_program_links_what_a_static_library_uses(static_tree: Tree) -> None:
    assert {"-lfastpool", "-lssl", "-lcrypto", "-lnghttp2"} <= set(pkg_config(static_tree, "--libs"))


def test_a_tree_that_was_moved_is_found_where_it_is(static_tree: Tree, tmp_path: Path) -> None:
    moved = Tree("static", static_tree.build, tmp_path / "elsewhere")
    shutil.copytree(static_tree.prefix, moved.prefix)
    folders = [Path(flag[2:]).resolve() for flag in pkg_config(moved, "--cflags") if flag.startswith("-I")]
    assert folders == [(moved.prefix / "include").resolve()]


def test_the_version_is_that_of_the_headers(tree: Tree) -> None:
    assert pkg_config(tree, "--modversion") == [".".join(version_of_the_headers())]
