"""Transports that litellm or an SDK makes for its own client: not the user's, so ours may stand in their place.

litellm makes one of aiohttp for every asynchronous client, and one of httpx's for `force_ipv4`; the anthropic SDK makes
one of httpx's with socket options. What such a transport would do follows from its settings.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

from ..locks import new_lock
from .libraries import Library


class AiohttpSettings(NamedTuple):
    """The settings that litellm gave its aiohttp transport."""

    #: An ssl.SSLContext, or False to verify nothing.
    verify: Any
    local_address: str | None = None
    socket_options: tuple[tuple[int, int, int], ...] = ()
    #: Seconds that this client's idle connections are kept, if the user chose it; None for the pool's own.
    keepalive_expiry: float | None = None
    #: aiohttp's own trust_env: it then looks for proxies and passwords in the environment, with each request.
    trust_env: bool = False
    #: Whether litellm's transport, asked for a proxy now, would look for one in the environment.
    looks_for_proxies: Callable[[], bool] = bool
    #: Why it must be left as it is; empty if it need not.
    refusal: str = ""


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


class OwnTransports:
    """Those that litellm made, while they live. Any thread may call it; it keeps none alive."""

    def __init__(self) -> None:
        self._lock = new_lock()
        # guarded by _lock. The value: settings of one of aiohttp; None for one of httpx's, which tells them itself.
        self._made: weakref.WeakKeyDictionary[Any, AiohttpSettings | None] = weakref.WeakKeyDictionary()

    def remember(self, transport: Any, settings: AiohttpSettings | None = None) -> None:
        with self._lock:
            self._made[transport] = settings

    def knows(self, transport: Any) -> bool:
        with self._lock:
            return transport in self._made

    def aiohttp_settings(self, transport: Any) -> AiohttpSettings | None:
        with self._lock:
            return self._made.get(transport)
