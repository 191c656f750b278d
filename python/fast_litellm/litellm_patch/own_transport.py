"""Transports that litellm or an SDK makes for its own client: not the user's, so ours may stand in their place.

litellm makes one of aiohttp for every asynchronous client, and one of httpx's for `force_ipv4`; the anthropic SDK makes
one of httpx's with socket options. What such a transport would do follows from its settings.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

from ..runtime.locks import new_lock


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


def is_spread(transport: Any) -> bool:
    """Whether it is litellm's transport for HTTP/2, which spreads requests over httpx's transports, its lanes: httpx
    has one connection to an origin, where the pool opens as many as its streams need."""
    kind = type(transport)
    return kind.__module__.startswith("litellm.") and kind.__name__ == "AsyncHTTP2ConnectionSpread"


def lane_of(spread: Any) -> Any | None:
    """One more of its lanes, for the settings; None if it is not as we know it."""
    try:
        return spread._lanes._new_transport(spread._lanes._limits)
    except Exception:  # a later litellm; or what it says, it has said to its caller
        return None
