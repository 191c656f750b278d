"""Each public header compiles alone, without warnings, without exceptions and RTTI, and names installed types alone."""

from __future__ import annotations

import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from building import CONSUMERS, ROOT, run

INCLUDE = ROOT / "include"
HEADERS = sorted(path.relative_to(INCLUDE) for path in (INCLUDE / "fastpool").rglob("*.h"))
WARNINGS = ("-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror")
WITHOUT = ("-fno-exceptions", "-fno-rtti")

#: A data member without an initialiser.
MEMBER = re.compile(r"^  (?!using |friend |static |return )[\w:][\w:<>, *&]*? (\w+);", re.MULTILINE)


def check(compiler: str, standard: str, source: Path) -> None:
    run(compiler, f"-std={standard}", *WARNINGS, *WITHOUT, f"-I{INCLUDE}", "-fsyntax-only", source)


@pytest.mark.parametrize("standard", ["c++20", "c++23"])
def test_each_header_compiles_alone_without_warnings(compiler: str, standard: str, tmp_path: Path) -> None:
    def check_alone(header: Path) -> None:
        source = tmp_path / f"{header.stem}.cpp"
        source.write_text(f"#include <{header}>\n#include <{header}>\n")
        check(compiler, standard, source)

    assert HEADERS
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(check_alone, HEADERS))


@pytest.mark.parametrize("standard", ["c++20", "c++23"])
def test_designated_initialisers_and_results_compile_without_warnings(compiler: str, standard: str) -> None:
    check(compiler, standard, CONSUMERS / "interface.cpp")


def forward_declared(header: Path) -> set[tuple[str, str, str]]:
    """The classes of internal namespaces that a header declares: file, namespace, name."""
    text = (INCLUDE / header).read_text()
    spaces = re.findall(r"^namespace fastpool::(\w+) \{\n(.*?)^\}", text, re.MULTILINE | re.DOTALL)
    return {
        (str(header), space, name)
        for space, body in spaces
        for name in re.findall(r"^(?:class|struct|enum class) (\w+)", body, re.MULTILINE)
    }


@pytest.mark.parametrize("header", HEADERS, ids=str)
def test_a_header_names_no_internal_type(header: Path) -> None:
    assert forward_declared(header) == set()


@pytest.mark.parametrize("header", HEADERS, ids=str)
def test_what_a_header_defines_is_in_the_versioned_namespace(header: Path) -> None:
    spaces = re.findall(r"^namespace fastpool(.*) \{$", (INCLUDE / header).read_text(), re.MULTILINE)
    assert [space for space in spaces if not space.startswith("::inline v1")] == []


def uninitialised(text: str) -> list[str]:
    """Members of structs, as the aggregates are, that have no initialiser: they warn where others are designated."""
    found = []
    for name, body in re.findall(r"^struct (?:\w+ )?(\w+) \{\n(.*?)^\};", text, re.MULTILINE | re.DOTALL):
        members = re.sub(r"//.*", "", body)
        found += [f"{name}::{member}" for member in MEMBER.findall(members)]
    return found


@pytest.mark.parametrize("header", HEADERS, ids=str)
def test_every_member_of_an_aggregate_has_an_initialiser(header: Path) -> None:
    assert uninitialised((INCLUDE / header).read_text()) == []


def test_a_member_without_an_initialiser_is_found() -> None:
    text = "struct EXPORT One {\n  int a = 0;\n  std::vector<int, more> b;  ///< why\n  void f();\n};\n"
    assert uninitialised(text) == ["One::b"]
