"""No #include of the C++ sources points upward, and the core knows no Python."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

#: From the bottom to the top. A folder that is not listed fails the test.
CORE = ("sync", "http", "pool", "net", "h1", "h2", "tls", "connection", "driver", "client", "codings")
BINDINGS = ("interpreter", "tls", "pool", "loop", "exchange", "module")

_INCLUDE = re.compile(r'^\s*#\s*include\s*(["<])([^">]+)[">]', re.MULTILINE)


def includes(source: Path) -> list[tuple[str, str]]:
    """Each with its opening mark, `"` or `<`."""
    return _INCLUDE.findall(source.read_text())


def sources(folder: Path) -> list[Path]:
    return sorted([*folder.rglob("*.h"), *folder.rglob("*.cpp")])


def upward(folder: Path, layers: tuple[str, ...], prefix: str = "") -> list[str]:
    """What is wrong with the includes of a tree with one folder per layer. `prefix`: how its own includes begin."""
    found = []
    for source in sources(folder):
        layer, *rest = source.relative_to(folder).parts
        if layer not in layers or not rest:
            found.append(f"{source.name}: is in no layer")
            continue
        for mark, name in includes(source):
            if mark == "<" or not name.startswith(prefix):
                continue
            target = name.removeprefix(prefix).split("/")[0]
            if target not in layers:
                found.append(f"{layer}/{source.name}: {name} is in no layer")
            elif layers.index(target) > layers.index(layer):
                found.append(f"{layer}/{source.name}: {name} is above it")
    return found


def test_no_layer_of_the_core_includes_one_above_it() -> None:
    assert sources(ROOT / "src")
    assert upward(ROOT / "src", CORE) == []


def test_no_room_of_the_bindings_includes_one_above_it() -> None:
    assert sources(ROOT / "python" / "bindings")
    assert upward(ROOT / "python" / "bindings", BINDINGS, "bindings/") == []


@pytest.mark.parametrize("layer", CORE)
def test_each_folder_of_the_core_has_a_readme_with_its_name(layer: str) -> None:
    assert (ROOT / "src" / layer / "README.md").read_text().startswith(f"# {layer}/\n\n**Lives here:** ")


def test_each_folder_of_the_bindings_has_a_readme() -> None:
    for room in BINDINGS:
        assert (ROOT / "python" / "bindings" / room / "README.md").is_file(), room


def test_the_bindings_name_what_they_take_from_below_the_public_interface() -> None:
    """Their README has a row with a reason for each header of `src/` that they include."""
    readme = (ROOT / "python" / "bindings" / "README.md").read_text()
    taken = {
        name
        for source in sources(ROOT / "python" / "bindings")
        for mark, name in includes(source)
        if mark == '"' and not name.startswith("bindings/")
    }
    rows = [line for line in readme.splitlines() if line.startswith("| `") and line.count("|") == 4]
    named = {name for row in rows for name in re.findall(r"`([a-z_]+/[a-z_]+\.h)`", row.split("|")[1])}
    assert taken, "no include was found"
    assert named == taken


def test_no_folder_but_h2_includes_nghttp2() -> None:
    users = {
        source.parent
        for folder in ("src", "include", "python/bindings")
        for source in sources(ROOT / folder)
        for _, name in includes(source)
        if name.startswith("nghttp2/")
    }
    assert users == {ROOT / "src" / "h2"}


def test_the_core_and_its_headers_know_no_python() -> None:
    for source in [*sources(ROOT / "src"), *sources(ROOT / "include")]:
        for _, name in includes(source):
            assert not name.startswith(("bindings/", "nanobind/", "Python.h")), f"{source}: {name}"


def test_the_public_headers_include_each_other_alone() -> None:
    for header in sources(ROOT / "include"):
        assert [name for mark, name in includes(header) if mark == '"'] == [], header


@pytest.mark.parametrize(
    ("include", "wrong"),
    [
        ('#include "lower/a.h"', []),
        ('#include "upper/b.h"', []),
        ("#include <other/c.h>", []),
        ('#include "other/c.h"', ["upper/x.cpp: other/c.h is in no layer"]),
        ('#include "top/d.h"', ["upper/x.cpp: top/d.h is above it"]),
        ('  # include "top/d.h"  // why', ["upper/x.cpp: top/d.h is above it"]),
    ],
)
def test_an_include_that_points_upward_is_found(tmp_path: Path, include: str, wrong: list[str]) -> None:
    (tmp_path / "upper").mkdir()
    (tmp_path / "upper" / "x.cpp").write_text(f"#include <vector>\n{include}\n")
    assert upward(tmp_path, ("lower", "upper", "top")) == wrong
