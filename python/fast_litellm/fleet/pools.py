"""What the agent needs of a pool."""

from __future__ import annotations

from typing import Protocol


class LimitedPool(Protocol):
    """Any thread may call any of these; none waits."""

    @property
    def closed(self) -> bool:
        """Whether it gives no lease any more, for good; those that are out are still counted."""

    def set_max_leases(self, origin: str, n: int | None, *, valid_until: float | None = None) -> None:
        """At most `n` leases of the origin at once: 0: callers wait; None: no limit. What is leased stays leased. From
        the time `valid_until` of CLOCK_BOOTTIME on no new lease is admitted until the next call."""

    def usage(self, origin: str) -> tuple[int, int]:
        """Leases in use, and callers that wait for one."""
