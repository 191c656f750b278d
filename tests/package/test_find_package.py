"""An installed library is found by find_package()."""

from __future__ import annotations

from pathlib import Path

import pytest

from building import EXAMPLE, ROOT, Tree, compile_all, configure, run, version_of_the_headers


def without(*packages: str) -> list[str]:
    return [f"-DCMAKE_DISABLE_FIND_PACKAGE_{name}=ON" for name in packages]


def asking_for(version: str, folder: Path) -> Path:
    project = "cmake_minimum_required(VERSION 3.20)\nproject(asking LANGUAGES CXX)\n"
    (folder / "CMakeLists.txt").write_text(f"{project}find_package(fastpool {version} REQUIRED)\n")
    return folder


def test_the_example_builds_against_an_installed_library_and_runs(tree: Tree, tmp_path: Path) -> None:
    configure(EXAMPLE, tmp_path, f"-DCMAKE_PREFIX_PATH={tree.prefix}")
    compile_all(tmp_path)
    run(tmp_path / "get", "--self-test")


def test_a_shared_library_asks_its_users_for_no_library_of_its_own(shared_tree: Tree, tmp_path: Path) -> None:
    prefix = f"-DCMAKE_PREFIX_PATH={shared_tree.prefix}"
    configure(EXAMPLE, tmp_path, prefix, *without("OpenSSL", "nghttp2", "Threads", "Boost"))


def test_a_static_library_does_not_ask_its_users_for_boost(static_tree: Tree, tmp_path: Path) -> None:
    configure(EXAMPLE, tmp_path, f"-DCMAKE_PREFIX_PATH={static_tree.prefix}", *without("Boost"))


@pytest.mark.parametrize("package", ["OpenSSL", "nghttp2"])
def test_a_static_library_asks_its_users_for_what_it_links(static_tree: Tree, package: str, tmp_path: Path) -> None:
    prefix = f"-DCMAKE_PREFIX_PATH={static_tree.prefix}"
    assert package in configure(EXAMPLE, tmp_path, prefix, *without(package), fails=True)


def test_a_request_for_another_minor_version_is_refused(static_tree: Tree, tmp_path: Path) -> None:
    major, minor, _ = version_of_the_headers()
    prefix = f"-DCMAKE_PREFIX_PATH={static_tree.prefix}"
    configure(asking_for(f"{major}.{minor}", tmp_path), tmp_path / "same", prefix)
    newer = asking_for(f"{major}.{int(minor) + 1}", tmp_path)
    assert "fastpool" in configure(newer, tmp_path / "newer", prefix, fails=True)


def test_the_public_headers_and_no_others_are_installed(tree: Tree) -> None:
    public, installed = (folder / "include" for folder in (ROOT, tree.prefix))
    headers = {path.relative_to(public) for path in public.rglob("*") if path.is_file()}
    assert {path.relative_to(installed) for path in installed.rglob("*") if path.is_file()} == headers
