"""Where a client runs; the server has core 0."""

from __future__ import annotations

import os
from collections.abc import Callable

PLACEMENTS: dict[str, str] = {"same": "same core", "cross": "cross-core", "free": "free"}


def cores_of(placement: str) -> set[int] | None:
    """None: any."""
    return {"same": {0}, "cross": {1}}.get(placement)


def pinned_to(cores: set[int] | None) -> Callable[[], None] | None:
    """The `preexec_fn` of a client's process; this program has no threads."""
    return None if cores is None else lambda: os.sched_setaffinity(0, cores)
