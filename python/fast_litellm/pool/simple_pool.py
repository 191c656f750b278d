"""`SimpleConnectionPool`, and the functions on the process-wide pool "default".

Pools are known by their names. The pool "default" carries litellm's calls and lasts as long as the process, or until it
is closed. Any other pool lasts while something refers to it: a variable, a transport, an open lease.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from .. import _core
from ..config import default_pool_settings
from ..exceptions import Forked, NotOffered, cannot_watch, error_factory
from ..pool_settings import POOL_SETTINGS
from ..runtime.hooks import default_pool_made
from ..runtime.locks import new_rlock
from ..tls.engine import Cert, Verify, engine_from
from .lease import Lease

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import EllipsisType

    from ..runtime.event_loops import Refusal

    def get_connection(endpoint: str, *, timeout: float | None = 0) -> str | None:
        """`SimpleConnectionPool.get_connection` of the pool "default"."""

    def return_connection(connection_id: str) -> bool:
        """`SimpleConnectionPool.return_connection` of the pool "default"."""

    def remove_connection(connection_id: str) -> bool:
        """`SimpleConnectionPool.remove_connection` of the pool "default"."""

    def health_check_connection(connection_id: str) -> bool:
        """`SimpleConnectionPool.health_check` of the pool "default"."""

    def cleanup_expired_connections() -> int:
        """`SimpleConnectionPool.cleanup` of the pool "default"."""

    def get_connection_pool_stats() -> dict[str, Any]:
        """`SimpleConnectionPool.get_stats` of the pool "default"."""


__all__ = [
    "SimpleConnectionPool",
    "cleanup_expired_connections",
    "get_connection",
    "get_connection_pool_stats",
    "health_check_connection",
    "remove_connection",
    "return_connection",
]

_lock = new_rlock()
# Guarded by _lock: the pools that are not closed, by their names.
_pools: weakref.WeakValueDictionary[str, SimpleConnectionPool] = weakref.WeakValueDictionary()
# Guarded by _lock: keeps the pool "default" from its first use on.
_default_pool: SimpleConnectionPool | None = None


class SimpleConnectionPool(_core.Pool):
    """A pool of connections, known by its name: equal names are the same pool, in the whole process. Keep a reference
    to it: a pool that nothing refers to and that has no open lease closes its connections and ends ("default" stays).

    Limits count connections (dialing, idle and leased ones); None means no limit. Times are in seconds. `verify`,
    `cert` and `trust_env` say how TLS is spoken on leases and in `request`, as in httpx. What is left out has the
    default; of a pool that exists already, what is left out is as it is, and naming another value is a ValueError.

    `get_connection(endpoint)` leases a connection: an idle one, or one that connects on first use, or None at the
    limit. Ids are used up by `return_connection` and `remove_connection`: a stale one changes nothing.

    `get_stats()` counts, among more, `total_connections`, `active_connections` (leased) and `idle_connections`.

    `http2=True`: `request` and `arequest` to a URL speak HTTP/2 where the server chooses it (ALPN), and share
    connections; with `http1=False` nothing else, also to `http://` (prior knowledge). A lease has a connection for
    itself, whatever it speaks. Not together with a `verify` that is an `ssl.SSLContext` (`NotOffered`).

    `leak_after`: a lease held longer than so many seconds is reported once, as a warning of the logger "fast_litellm"
    that says where it was taken; None: leases are not watched.

    `dns_lifetime`: for how many seconds the addresses of a name serve new connections; they are looked up again before
    that if none of them can be connected to. 0: each connection looks them up, or shares a look-up that is under way.

    Any thread may call any method; the GIL is released wherever a method waits.
    """

    _options: dict[str, Any]

    def __new__(cls, pool_name: str = "default", **options: Any) -> SimpleConnectionPool:
        with _lock:
            return _pools.get(pool_name) or super().__new__(cls)

    def __init__(
        self,
        pool_name: str = "default",
        *,
        max_connections_per_endpoint: int | EllipsisType | None = ...,
        max_connections: int | EllipsisType | None = ...,
        max_idle_connections: int | EllipsisType | None = ...,
        idle_timeout: float | EllipsisType | None = ...,
        max_lifetime: float | EllipsisType | None = ...,
        leak_after: float | EllipsisType | None = ...,
        dns_lifetime: float | EllipsisType = ...,
        verify: Verify | EllipsisType = ...,
        cert: Cert | EllipsisType | None = ...,
        trust_env: bool | EllipsisType = ...,
        http1: bool | EllipsisType = ...,
        http2: bool | EllipsisType = ...,
    ) -> None:
        if not isinstance(pool_name, str):
            raise TypeError(f"a pool's name is a str, not {type(pool_name).__name__}")
        given: dict[str, Any] = {
            "max_connections_per_endpoint": max_connections_per_endpoint,
            "max_connections": max_connections,
            "max_idle_connections": max_idle_connections,
            "idle_timeout": idle_timeout,
            "max_lifetime": max_lifetime,
            "leak_after": leak_after,
            "dns_lifetime": dns_lifetime,
            "verify": verify,
            "cert": cert,
            "trust_env": trust_env,
            "http1": http1,
            "http2": http2,
        }
        given = {name: value for name, value in given.items() if value is not ...}
        for setting in POOL_SETTINGS:
            if setting.name in given:
                setting.checked(given[setting.name])
        with _lock:
            if _pools.get(pool_name) is self:
                self._must_agree(given)
                return
            options = {**_defaults(), **given}
            limits = {name: value for name, value in options.items() if name not in _OF_CONNECTIONS}
            engine = engine_from(options["verify"], options["cert"], options["trust_env"], by_socket=False)
            allows_http1, allows_http2 = bool(options["http1"]), bool(options["http2"])
            if not allows_http1 and not allows_http2:
                raise ValueError("http1=False needs http2=True: one of the protocols must be allowed")
            if allows_http2 and engine.context is not None:
                raise NotOffered("http2=True with an ssl.SSLContext: threads cannot share what runs its code")
            super().__init__(
                pool_name,
                default_tls=engine.settings,
                default_ssl_context=engine.context,
                error_factory=error_factory,
                http1=allows_http1,
                http2=allows_http2,
                **limits,
            )
            self._options = options
            _pools[pool_name] = self
            if pool_name == "default":
                global _default_pool
                try:
                    default_pool_made(self)
                except BaseException:
                    # Without what belongs to it, nobody gets it.
                    del _pools[pool_name]
                    raise
                _default_pool = self

    def _must_agree(self, given: dict[str, Any]) -> None:
        for name, value in given.items():
            if self._options[name] != value:
                raise ValueError(
                    f"the pool {self.name!r} exists already, with {name}={self._options[name]!r}, not {value!r}; "
                    "leave it out, or choose another name"
                )

    def lease(self, endpoint: str, *, timeout: float | None = None) -> Lease:
        """For `with pool.lease("https://host") as connection: connection.request("GET", "/")`.

        `timeout`: seconds to wait for a connection when the limits are reached (None: for ever), then
        `httpx.PoolTimeout`. ValueError for a bad endpoint, on entering the block.
        """
        return Lease(self, endpoint, timeout)

    async def arequest(
        self,
        connection: str,
        method: str,
        target: str,
        *,
        headers: Sequence[tuple[str, str]] | Sequence[_core.HeaderPair] | dict[str, str] | None = None,
        content: bytes | str | None = None,
        timeout: float | _core.TimeoutTuple | None = 5.0,
    ) -> _core.Response:
        """`request`, for asyncio (uvloop) and trio."""
        try:
            return await self.start_request(
                _event_loop(cannot_watch), connection, method, target, headers, content, timeout
            )
        except Forked as error:
            # Other code has closed the pool's descriptors. A lease is lost with them.
            if getattr(error, "bytes_sent", 1) or "://" not in connection:
                raise
        from ..runtime.event_loops import renewed_event_loop

        return await self.start_request(
            renewed_event_loop(cannot_watch), connection, method, target, headers, content, timeout
        )

    def drain(self, timeout: float | None = 30.0) -> bool:
        """Ends the pool gracefully. New leases and requests are refused with `PoolClosed`, those that are queued
        already are served, idle connections are closed now and leased ones when they come back. Waits for these at
        most `timeout` seconds (None: for ever), then `close()`. True if all came back in time. The name is free again
        from the start."""
        if timeout is not None and not timeout >= 0:  # refuses nan too; before the name is given up
            raise ValueError(f"timeout must be None or a number of seconds >= 0, not {timeout!r}")
        self._give_up_name()
        return super().drain(timeout)

    def close(self) -> None:
        """Closes the idle connections and ends the waits for a lease with `PoolClosed`; leased connections are
        closed when they come back. The name is free again."""
        self._give_up_name()
        super().close()

    def _give_up_name(self) -> None:
        with _lock:
            if _pools.get(self.name) is self:
                del _pools[self.name]
                if self.name == "default":
                    global _default_pool
                    _default_pool = None
                    for name in _FUNCTIONS:
                        globals().pop(name, None)

    def __repr__(self) -> str:
        stats = self.get_stats()
        return (
            f"<{type(self).__name__} {self.name!r}: {stats['total_connections']} connections, "
            f"{stats['active_connections']} active, {stats['idle_connections']} idle>"
        )


def _event_loop(refusal: Refusal) -> _core.EventLoop:
    # At the first call: asyncio is not imported for those who do not use it.
    from ..runtime.event_loops import event_loop

    globals()["_event_loop"] = event_loop
    return event_loop(refusal)


def _defaults() -> dict[str, Any]:
    return {
        **default_pool_settings(),
        "verify": True,
        "cert": None,
        "trust_env": True,
        "http1": True,
        "http2": False,
    }


#: What options say of connections, beside the pool's settings.
_OF_CONNECTIONS = ("verify", "cert", "trust_env", "http1", "http2")


_FUNCTIONS = {
    "get_connection": "get_connection",
    "return_connection": "return_connection",
    "remove_connection": "remove_connection",
    "health_check_connection": "health_check",
    "cleanup_expired_connections": "cleanup",
    "get_connection_pool_stats": "get_stats",
}


def __getattr__(name: str) -> Any:
    # The functions are the bound methods of the native pool themselves: a call costs no Python frame. The pool is made
    # when the first of them is asked for.
    if name not in _FUNCTIONS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with _lock:
        value = getattr(SimpleConnectionPool("default"), _FUNCTIONS[name])
        globals()[name] = value
    return value
