"""The rooms of the package: no import points upward, and no import is circular.

The imports are read from the source, so those within functions and for type checkers count too.
"""

from __future__ import annotations

import ast
import importlib
import pkgutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pytest

import fast_litellm

PACKAGE = Path(fast_litellm.__file__).parent

#: From the bottom up, by the first part of a module's name below `fast_litellm`; "": the package itself. Rooms of one
#: row know nothing of each other.
ROWS = (
    ("pool_settings",),  # the settings of the core, as a table
    ("_core",),
    ("runtime",),
    ("config", "exceptions"),
    ("tls",),
    ("pool",),
    ("transport", "fleet"),
    ("acceleration",),
    ("litellm_patch",),
    ("status",),
    ("",),
    ("server",),
    ("cli",),
    ("__main__",),
)
HEIGHT = {room: height for height, row in enumerate(ROWS) for room in row}

#: These two see of the package what its users see.
OUTSIDE = {"server": {"server"}, "cli": {"cli", "server", "config", "exceptions", ""}}


class Import(NamedTuple):
    """`target`: the module below `fast_litellm`, by its name there."""

    file: str
    line: int
    target: str
    relative: bool


def _name_of(file: str) -> str:
    name = file.removesuffix(".pyi").removesuffix(".py").replace("/", ".")
    return "" if name == "__init__" else name.removesuffix(".__init__")


def _room(module: str) -> str:
    return module.partition(".")[0]


def imports_of(sources: Mapping[str, str]) -> list[Import]:
    """What of the package the files import. `sources`: path below the package -> text."""
    modules = {_name_of(file) for file in sources}
    return [found for file, text in sources.items() for found in _imports_of(file, text, modules)]


def _imports_of(file: str, text: str, modules: set[str]) -> Iterator[Import]:
    module = _name_of(file)
    package = module if file.endswith("__init__.py") else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                root, _, target = alias.name.partition(".")
                if root == "fast_litellm":
                    yield Import(file, node.lineno, target, False)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                above = package.split(".") if package else []
                base = ".".join([*above[: len(above) - node.level + 1], *filter(None, [node.module])])
            else:
                root, _, base = (node.module or "").partition(".")
                if root != "fast_litellm":
                    continue
            for alias in node.names:
                submodule = f"{base}.{alias.name}".lstrip(".")
                yield Import(file, node.lineno, submodule if submodule in modules else base, bool(node.level))


def complaints(sources: Mapping[str, str]) -> list[str]:
    """What is wrong with the imports, each with its file and line."""
    found = imports_of(sources)
    reported = [complaint for each in found if (complaint := _complaint(each))]
    cycle = _cycle(found)
    if cycle:
        reported.append("a circle: " + "; ".join(f"{each.file}:{each.line} imports {each.target}" for each in cycle))
    return reported


def _complaint(found: Import) -> str:
    importer, imported = _room(_name_of(found.file)), _room(found.target)
    reported = f"{found.file}:{found.line} imports {found.target or 'fast_litellm'}, "
    if importer not in HEIGHT or imported not in HEIGHT:
        return reported + "and one of the two is in no row"
    if importer != imported and HEIGHT[imported] >= HEIGHT[importer]:
        return reported + "which is not below it"
    if importer in OUTSIDE and imported not in OUTSIDE[importer]:
        return reported + "which is not public"
    if not found.relative and found.target:
        return reported + "which is to be imported relatively"
    return ""


def _cycle(found: list[Import]) -> list[Import]:
    """The imports of one circle of modules; empty if there is none."""
    imports: dict[str, list[Import]] = {}
    for each in found:
        imports.setdefault(_name_of(each.file), []).append(each)
    done: set[str] = set()

    def search(module: str, way: list[Import]) -> list[Import]:
        if module in done:
            return []
        for each in imports.get(module, ()):
            names = [_name_of(step.file) for step in way] + [module]
            if each.target in names:
                return [*way[names.index(each.target) :], each]
            if circle := search(each.target, [*way, each]):
                return circle
        done.add(module)
        return []

    return next((circle for module in imports if (circle := search(module, []))), [])


def _sources() -> dict[str, str]:
    files = [file for pattern in ("*.py", "*.pyi") for file in PACKAGE.rglob(pattern)]
    return {file.relative_to(PACKAGE).as_posix(): file.read_text() for file in sorted(files)}


def test_no_import_points_upward_and_no_import_is_circular() -> None:
    assert complaints(_sources()) == []


def test_every_room_is_in_the_order_and_every_name_in_the_order_is_a_room() -> None:
    assert {_room(_name_of(file)) for file in _sources()} == set(HEIGHT)


@pytest.mark.parametrize(
    ("file", "text", "complaint"),
    [
        (
            "pool/one.py",
            "from ..transport.base import X",
            "pool/one.py:1 imports transport.base, which is not",
        ),
        ("pool/one.py", "def f():\n    from .. import status", "pool/one.py:2 imports status, which is not below it"),
        ("tls/one.py", "if TYPE_CHECKING:\n    from ..pool import lease", "tls/one.py:2 imports pool.lease, which is"),
        ("config.py", "from .exceptions import Forked", "config.py:1 imports exceptions, which is not below it"),
        ("status.py", "import fast_litellm", "status.py:1 imports fast_litellm, which is not below it"),
        ("cli/one.py", "from ..pool.lease import Lease", "cli/one.py:1 imports pool.lease, which is not public"),
        ("pool/one.py", "from fast_litellm.tls.engine import Cert", "pool/one.py:1 imports tls.engine, which is to be"),
        ("pool/one.py", "from . import lease", "a circle: pool/lease.py:1 imports pool.one; pool/one.py:1 imports"),
        ("attic/one.py", "from ..pool import lease", "attic/one.py:1 imports pool.lease, and one of the two is in no"),
    ],
)
def test_an_import_that_breaks_the_order_is_named(file: str, text: str, complaint: str) -> None:
    """The check itself, on a small package: the import is the only wrong one there."""
    others = {
        "__init__.py": "",
        "config.py": "",
        "exceptions.py": "",
        "status.py": "from .pool import lease",
        "tls/engine.py": "",
        "transport/base.py": "from ..pool.lease import Lease",
        "pool/lease.py": "def f():\n    pass" if "circle" not in complaint else "from .one import thing",
    }
    assert complaints(others) == []
    reported = complaints({**others, file: text})
    assert len(reported) == 1
    assert reported[0].startswith(complaint)


def test_every_folder_says_what_lives_there() -> None:
    for file in [*PACKAGE.rglob("*.py")]:
        folder = file.parent
        opening = folder / "__init__.py"
        said = ast.get_docstring(ast.parse(opening.read_text())) if opening.exists() else None
        said = said or (folder / "README.md").read_text()
        assert len(said.splitlines()) >= 3, f"{folder.relative_to(PACKAGE)} does not say what lives there"


def test_no_module_has_the_name_of_a_public_function_or_class() -> None:
    """Importing such a module would replace the function or class by the module."""
    modules = {each.name for each in pkgutil.iter_modules([str(PACKAGE)])}
    assert not modules & set(fast_litellm.__all__)


def test_public_names_stay_what_they_are_whatever_is_imported() -> None:
    program = (
        "import importlib, pkgutil, types, fast_litellm as f\n"
        "before = {name: getattr(f, name) for name in f.__all__}\n"
        "for found in pkgutil.walk_packages(f.__path__, 'fast_litellm.'):\n"
        "    if not found.name.endswith('__main__'):\n"
        "        importlib.import_module(found.name)\n"
        "for name, value in before.items():\n"
        "    assert not isinstance(value, types.ModuleType), name\n"
        "    assert getattr(f, name) is value, name\n"
        "print('the same')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout == "the same\n", done.stderr


def test_accelerate_is_the_function_and_not_a_module() -> None:
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("fast_litellm.accelerate")
    assert callable(fast_litellm.accelerate)
    assert not isinstance(fast_litellm.accelerate, ModuleType)
