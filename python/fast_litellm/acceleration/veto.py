"""A standing objection to the pool, shared by the transports that it concerns."""

from __future__ import annotations


class Veto:
    """Why an accelerated client may no longer use the pool; empty while it may. A plain attribute: set by one thread,
    read by all."""

    __slots__ = ("__weakref__", "reason")

    def __init__(self, reason: str = "") -> None:
        self.reason = reason
