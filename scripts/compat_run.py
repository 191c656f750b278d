"""The verdicts of the matrices, for `make compat` and `make canary`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from environments import ROOT

sys.path.insert(0, str(ROOT / "tests" / "python"))

from compat import comparing, matrix
from compat.cells import CELLS, PROXIED_CELLS, Cell
from compat.sdk_cells import PROXIED_SDK_CELLS

#: `matrix.run` or `matrix.run_proxied`
Run: TypeAlias = Callable[[str, Sequence[Cell]], dict[str, Any]]


def judged(
    python: str, report: dict[str, Any], cells: Sequence[Cell] = CELLS, again: Run = matrix.run
) -> dict[str, comparing.Verdict]:
    """The verdict of each cell of a report. A cell in which litellm as it comes fails is tried again by itself, by
    `again`."""
    verdicts = {cell.name: comparing.judge(cell, report["cells"][cell.name]) for cell in cells}
    for cell in cells:
        if comparing.stock_fails(cell, report["cells"][cell.name]):
            verdicts[cell.name] = _alone(python, cell, verdicts[cell.name], again)
    return verdicts


def proxied(python: str, progress: Callable[[str], None] = lambda text: None) -> dict[str, comparing.Verdict]:
    """The verdicts of litellm with a proxy in the environment."""
    report = matrix.run_proxied(python, progress=progress)
    return judged(python, report, PROXIED_CELLS, matrix.run_proxied)


def proxied_sdks(python: str) -> dict[str, comparing.Verdict]:
    """The verdicts of the SDKs' clients with a proxy."""
    report = matrix.run_proxied_sdks(python)
    return {cell.name: comparing.judge(cell, report["cells"][cell.name]) for cell in PROXIED_SDK_CELLS}


def _alone(python: str, cell: Cell, before: comparing.Verdict, again: Run) -> comparing.Verdict:
    """litellm as it comes fails in this cell; perhaps only after what was called before it in the same process."""
    verdict = comparing.judge(cell, again(python, [cell])["cells"][cell.name])
    if verdict.state not in (comparing.POOL, comparing.STOCK):
        return before
    return verdict._replace(notes=(*verdict.notes, f"in a process of its own; after other calls {before.notes[0]}"))
