"""`Engine`: what the agent needs of an engine."""

from __future__ import annotations

from typing import Protocol

from ..bargain import Report
from ..ledger import Allotment


class EngineError(Exception):
    """The engine did not answer, or refused: the round failed. The message never contains a password."""


class Engine(Protocol):
    """Used by one thread at a time. A call takes at most the pace's `patience`, in seconds, and a little more."""

    @property
    def shown(self) -> str:
        """The engine's URL without credentials."""

    def report(self, origin: str, said: Report) -> Allotment:
        """One round of one member for one origin. `EngineError` if it failed; it may have had its effect then."""

    def leave(self, origin: str, member: str) -> None:
        """Frees the room of a member that has no leases and takes none any more. `EngineError` if it failed."""

    def close(self) -> None:
        """Closes descriptors. Not in the child of a fork: see `abandon`."""

    def abandon(self) -> None:
        """For the child of a fork: drops what the parent uses, without touching it."""
