"""Which symbols the libraries have, and how the shared one names itself."""

from __future__ import annotations

import re
from pathlib import Path

from building import CONSUMERS, Tree, run, version_of_the_headers

#: What a compiler derives from a class.
DERIVED = ("typeinfo for ", "typeinfo name for ", "vtable for ")
#: The names that a shared library may export.
INTERFACE = re.compile(rf"(?:{'|'.join(DERIVED)})?fastpool::v1::(?!\w+::State\b)")


def symbols(library: Path, *arguments: str) -> list[tuple[str, str]]:
    """The kind (nm's letter) and the demangled name of each symbol that is defined."""
    lines = run("nm", "--defined-only", "--demangle", *arguments, library).splitlines()
    found = re.findall(r"^[0-9a-f]+ (\S) (.+)$", "\n".join(lines), re.MULTILINE)
    assert found
    return found


def test_no_symbol_is_unique_in_the_process(tree: Tree) -> None:
    assert [name for kind, name in symbols(tree.library) if kind == "u"] == []


def test_a_shared_library_exports_names_of_the_interface_alone(shared_tree: Tree) -> None:
    exported = [name for _, name in symbols(shared_tree.library, "--dynamic")]
    assert [name for name in exported if name.startswith("fastpool::v1::Client::send(")]
    assert [name for name in exported if not INTERFACE.match(name)] == []


def test_a_shared_library_has_every_function_that_its_headers_declare(
    shared_tree: Tree, compiler: str, tmp_path: Path
) -> None:
    flags = ["-std=c++20", "-DFASTPOOL_SHARED", f"-I{shared_tree.prefix}/include", "-fvisibility=hidden"]
    run(compiler, *flags, CONSUMERS / "interface.cpp", "-o", tmp_path / "program", shared_tree.library)


def test_a_shared_library_is_named_by_its_minor_version(shared_tree: Tree) -> None:
    dynamic = run("readelf", "--dynamic", "--wide", shared_tree.library)
    major, minor, _ = version_of_the_headers()
    assert re.findall(r"\(SONAME\).*\[(.+)\]", dynamic) == [f"libfastpool.so.{major}.{minor}"]
