"""fastpool::decode is installed beside the library, and found by those who ask for it."""

from __future__ import annotations

from pathlib import Path

from building import CONSUMERS, Tree, compile_all, configure, run
from test_symbols import INTERFACE, symbols

CONSUMER = CONSUMERS / "decode"


def test_a_program_that_asks_for_the_component_decodes(tree: Tree, tmp_path: Path) -> None:
    configure(CONSUMER, tmp_path, f"-DCMAKE_PREFIX_PATH={tree.prefix}")
    compile_all(tmp_path)
    run(tmp_path / "decoding")


def test_a_component_that_does_not_exist_is_refused(tree: Tree, tmp_path: Path) -> None:
    project = "cmake_minimum_required(VERSION 3.20)\nproject(asking LANGUAGES CXX)\n"
    (tmp_path / "CMakeLists.txt").write_text(f"{project}find_package(fastpool REQUIRED COMPONENTS encode)\n")
    assert "the component 'encode'" in configure(
        tmp_path, tmp_path / "build", f"-DCMAKE_PREFIX_PATH={tree.prefix}", fails=True
    )


def test_a_program_builds_with_what_pkg_config_says(tree: Tree, tmp_path: Path) -> None:
    path = {"PKG_CONFIG_PATH": str(tree.libraries / "pkgconfig")}
    flags, libraries = (run("pkg-config", what, "fastpool-decode", **path).split() for what in ("--cflags", "--libs"))
    run("g++", "-std=c++20", *flags, CONSUMER / "main.cpp", "-o", tmp_path / "decoding", *libraries)
    run(tmp_path / "decoding", LD_LIBRARY_PATH=str(tree.libraries))


def test_the_shared_library_exports_names_of_the_interface_alone(shared_tree: Tree) -> None:
    exported = [name for _, name in symbols(shared_tree.libraries / "libfastpool_decode.so", "--dynamic")]
    assert [name for name in exported if name.startswith("fastpool::v1::decode(")]
    assert [name for name in exported if not INTERFACE.match(name)] == []
