"""What httpx's own transports were made with, read back from them."""

from __future__ import annotations

from typing import Any, NamedTuple

from .libraries import Library


class HttpxSettings(NamedTuple):
    """What an HTTPTransport was made with, beyond TLS."""

    local_address: str | None
    uds: str | None
    retries: int
    socket_options: Any
    http1: bool
    http2: bool
    context: Any

    def extras(self) -> dict[str, Any]:
        """Those that our transports take and a client's arguments do not say."""
        extras: dict[str, Any] = {}
        for name in ("local_address", "uds", "retries", "socket_options"):
            if value := getattr(self, name):
                extras[name] = value
        return extras


def settings_of(transport: Any, library: Library) -> HttpxSettings | None:
    """Read from the httpcore pool inside a stock transport; None if there is no pool as we know it, or a proxy's."""
    pool: Any = getattr(transport, "_pool", None)
    core = library.core
    if type(pool) not in (core.ConnectionPool, core.AsyncConnectionPool) or getattr(pool, "_proxy", None) is not None:
        return None
    try:
        return HttpxSettings(
            local_address=pool._local_address,
            uds=pool._uds,
            retries=pool._retries,
            socket_options=pool._socket_options,
            http1=pool._http1,
            http2=pool._http2,
            context=pool._ssl_context,
        )
    except AttributeError:  # a later httpcore
        return None
