"""What httpx's own transports were made with, read back from them."""

from __future__ import annotations

import sys
from typing import Any, NamedTuple

from .libraries import Library

#: Why a blocking client for HTTP/2 keeps its transport: threads cannot share a connection whose TLS runs Python code.
HTTP2_BY_CONTEXT = "http2: blocking, under an ssl.SSLContext"


class HttpxSettings(NamedTuple):
    """What an HTTPTransport was made with, beyond TLS."""

    local_address: str | None
    uds: str | None
    retries: int
    socket_options: Any
    http1: bool
    http2: bool
    context: Any
    #: The library's Proxy, or None.
    proxy: Any = None

    def extras(self) -> dict[str, Any]:
        """Those that our transports take and a client's arguments do not say."""
        extras: dict[str, Any] = {}
        for name in ("local_address", "uds", "retries", "socket_options", "proxy", "http2"):
            if value := getattr(self, name):
                extras[name] = value
        if not self.http1:
            extras["http1"] = False
        return extras


_POOLS = (
    "ConnectionPool",
    "HTTPProxy",
    "SOCKSProxy",
    "AsyncConnectionPool",
    "AsyncHTTPProxy",
    "AsyncSOCKSProxy",
)


def is_proxied(transport: Any) -> bool:
    """Whether a stock transport goes through a proxy, in any httpcore that we know."""
    pool: Any = getattr(transport, "_pool", None)
    return getattr(pool, "_proxy", None) is not None or getattr(pool, "_proxy_url", None) is not None


def settings_of(transport: Any, library: Library) -> HttpxSettings | None:
    """Read from the httpcore pool inside a stock transport; None if there is no pool as we know it."""
    pool: Any = getattr(transport, "_pool", None)
    core = library.core
    kinds = [getattr(core, name, None) for name in _POOLS]
    if type(pool) not in kinds or getattr(pool, "_proxy", None) is not None:
        return None
    try:
        proxy = _proxy_of(pool, library)
        return HttpxSettings(
            local_address=pool._local_address,
            uds=pool._uds,
            retries=pool._retries,
            socket_options=pool._socket_options,
            http1=pool._http1,
            http2=pool._http2,
            context=pool._ssl_context,
            proxy=proxy,
        )
    except AttributeError:  # a later httpcore
        return None


def _proxy_of(pool: Any, library: Library) -> Any:
    """The proxy as it was given to the transport; its credentials may stand among the headers."""
    url: Any = getattr(pool, "_proxy_url", None)
    if url is None:
        return None
    place = library.httpx.URL(
        scheme=url.scheme.decode("ascii"), host=url.host.decode("ascii"), port=url.port, path=url.target.decode("ascii")
    )
    if hasattr(pool, "_proxy_headers"):
        return library.httpx.Proxy(place, headers=pool._proxy_headers, ssl_context=pool._proxy_ssl_context)
    auth = None if pool._proxy_auth is None else tuple(part.decode("utf-8") for part in pool._proxy_auth)
    return library.httpx.Proxy(place, auth=auth)


def limits_of(pool: Any, library: Library) -> Any:
    """The limits that an httpcore pool was made with."""

    def or_none(number: int) -> int | None:
        return None if number == sys.maxsize else number

    return library.httpx.Limits(
        max_connections=or_none(pool._max_connections),
        max_keepalive_connections=or_none(pool._max_keepalive_connections),
        keepalive_expiry=pool._keepalive_expiry,
    )
