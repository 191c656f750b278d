"""The clock of a member and of the SQLite engine."""

from __future__ import annotations

import time


def boot_time() -> float:
    """Seconds since the boot (CLOCK_BOOTTIME). The clock goes on while the process is stopped or the host sleeps, and
    cannot be set."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
