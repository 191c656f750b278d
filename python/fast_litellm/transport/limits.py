"""What an `httpx.Limits` means for a transport: on a pool of its own, and on one that it shares."""

from __future__ import annotations

from typing import Any

#: (max_connections, max_keepalive_connections, keepalive_expiry) that a library gives its clients unasked: httpx and
#: httpx2; the openai and anthropic SDKs. They do not say what a user wants of a shared pool, so they bind nothing
#: there.
LIBRARY_DEFAULTS = frozenset({(100, 20, 5.0), (1000, 100, 5.0)})


def of_shared(limits: Any) -> dict[str, Any]:
    """For a transport on a pool that others use too: what binds this transport, as keywords of `_core.Handle`."""
    most, idle, expiry = _checked(limits)
    if (most, idle, expiry) in LIBRARY_DEFAULTS:
        return {}
    return {"max_leases": most, "max_idle": _at_most(idle, most), "idle_timeout": expiry}


def of_own(limits: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """For a transport with a pool of its own: the pool's limits, as keywords of `_core.Pool`, and the transport's, as
    those of `_core.Handle`. An idle connection at `max_keepalive_connections` makes room for a newer one: so that limit
    is the transport's."""
    most, idle, expiry = _checked(limits)
    pool = {"max_connections": most, "max_idle_connections": 0 if idle == 0 else None, "idle_timeout": expiry}
    counted = idle is not None and (most is None or idle < most)
    return pool, {"max_idle": idle if counted else None, "idle_timeout": 0.0 if expiry == 0 else None}


def _checked(limits: Any) -> tuple[int | None, int | None, float | None]:
    most = limits.max_connections
    if most is not None and most < 1:
        raise ValueError(f"limits.max_connections must be at least 1, or None for no limit, not {most}")
    idle = limits.max_keepalive_connections
    if idle is not None and idle < 0:
        raise ValueError(f"limits.max_keepalive_connections must not be negative, not {idle}")
    expiry = limits.keepalive_expiry
    if expiry is not None and expiry < 0:
        raise ValueError(f"limits.keepalive_expiry must not be negative, not {expiry}")
    return _countable(most), _countable(idle), expiry


def _countable(limit: int | None) -> int | None:
    """None for a limit beyond what the core counts to."""
    return None if limit is not None and limit >= 2**32 - 1 else limit


def _at_most(idle: int | None, most: int | None) -> int | None:
    return min((each for each in (idle, most) if each is not None), default=None)
