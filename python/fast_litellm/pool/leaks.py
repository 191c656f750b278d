"""Telling of leases that are held too long. The native core calls `report` on Python's main thread, or on a thread that
asks for statistics; once for each lease."""

from __future__ import annotations

import logging


def report(endpoint: str, connection_id: str, age: float, place: str) -> None:
    """`place`: where the lease was taken, "file:line in function"; "" if that is not known."""
    logging.getLogger("fast_litellm").warning(
        "a connection to %s was leased %.1f s ago and has not been given back (id %s); it was taken at %s",
        endpoint,
        age,
        connection_id,
        place or "a place that was not noted",
    )
