"""How the reports look: tables in Markdown, a line per target, and the blocks of README.md."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path


def table(heading: list[str], rows: list[list[str]]) -> Iterator[str]:
    """The lines of a table: the first column to the left, the figures to the right."""
    widths = [max(len(row[column]) for row in [heading, *rows]) for column in range(len(heading))]
    for row in [heading, ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])], *rows]:
        cells = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)]
        yield "| " + " | ".join([row[0].ljust(widths[0]), *cells[1:]]) + " |"


def verdict(name: str, reached: bool | None, figures: str) -> str:
    """The line of a target; None: it was not measured, and the figures say why."""
    word = {True: "reached", False: "NOT REACHED", None: "not measured"}[reached]
    return f"- {word}: {name}: {figures}"


def update_readme(path: Path, name: str, figures: str) -> bool:
    """Puts the figures in the place of those between the marks of that name; False if there are none."""
    begin, end = f"<!-- {name} figures: begin -->", f"<!-- {name} figures: end -->"
    text = path.read_text()
    block = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    if not block.search(text):
        return False
    path.write_text(block.sub(lambda _: f"{begin}\n{figures}\n{end}", text))
    return True
