"""The verdicts of litellm's matrix, for `make compat` and `make canary`."""

from __future__ import annotations

import sys
from typing import Any

from environments import ROOT

sys.path.insert(0, str(ROOT / "tests" / "python"))

from compat import comparing, matrix
from compat.cells import CELLS, Cell


def judged(python: str, report: dict[str, Any]) -> dict[str, comparing.Verdict]:
    """The verdict of each cell of a report. A cell in which litellm as it comes fails is tried again by itself."""
    verdicts = {cell.name: comparing.judge(cell, report["cells"][cell.name]) for cell in CELLS}
    for cell in CELLS:
        if comparing.stock_fails(cell, report["cells"][cell.name]):
            verdicts[cell.name] = _alone(python, cell, verdicts[cell.name])
    return verdicts


def _alone(python: str, cell: Cell, before: comparing.Verdict) -> comparing.Verdict:
    """litellm as it comes fails in this cell; perhaps only after what was called before it in the same process."""
    verdict = comparing.judge(cell, matrix.run(python, [cell])["cells"][cell.name])
    if verdict.state not in (comparing.POOL, comparing.STOCK):
        return before
    return verdict._replace(notes=(*verdict.notes, f"in a process of its own; after other calls {before.notes[0]}"))
