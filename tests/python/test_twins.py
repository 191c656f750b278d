"""Code that is written once, asynchronously: the blocking code in the tree is what `make twins` generates."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from support.scripts import script


def _tree(source: str) -> str:
    """The code whatever its format, and the order of imported names, which the formatter sorts."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            node.names.sort(key=lambda alias: alias.name)
    return ast.dump(tree)


twins = script("twins")


@pytest.mark.parametrize(("source", "twin"), twins.TWINS.items(), ids=[path.name for path in twins.TWINS])
def test_the_generated_blocking_code_is_current(source: Path, twin: Path) -> None:
    made = _tree(twins.blocking(source.read_text()))
    assert made == _tree(twin.read_text()), f"{twin.name} is not made of {source.name}: run `make twins`"


def test_async_and_await_are_dropped_and_names_are_replaced() -> None:
    source = "async def f(a):\n    async for b in a.__aiter__():\n        await b.aclose()  # aiter_raw\n"
    expected = "def f(a):\n    for b in a.__iter__():\n        b.close()\n"
    assert ast.dump(ast.parse(twins.blocking(source))) == ast.dump(ast.parse(expected))
    assert "# iter_raw" in twins.blocking(source)
