"""`accelerate`: the pool, and the shortcuts, under an httpx client that exists already."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

from .. import config
from ..exceptions import FleetUnavailable
from ..runtime import availability
from ..runtime.counters import counters
from . import shortcuts
from .libraries import Library, of_module
from .shortcuts.known import library_of
from .stock_settings import HTTP2_BY_CONTEXT, HttpxSettings, is_proxied, limits_of, settings_of

if TYPE_CHECKING:
    from ..tls.engine import Cert, Verify


class _AnyClient(Protocol):
    """A client of httpx or of httpx2, which need not both be installed."""

    @property
    def is_closed(self) -> bool: ...
    @property
    def trust_env(self) -> bool: ...


Client = TypeVar("Client", bound=_AnyClient)


def accelerate(client: Client, *, verify: Verify | None = None, cert: Cert | None = None) -> Client:
    """Lets `client`, an `httpx.Client` or `httpx.AsyncClient`, send through the process-wide pool; returns it.

    Each stock transport of it, its own and mounted ones, gives its place to one of ours with the same settings, read
    back from it: TLS, limits other than a library's own defaults (they bind this client alone), retries, local
    address, Unix socket, socket options, proxy. The old transport's connections are closed once idle. Transports of
    other kinds stay, and blocking ones for HTTP/2 whose context is to do TLS (threads cannot share a connection that
    runs its code); so does everything while a mock or a tracer is in place. What stayed and
    why: `get_patch_status()`. The client also gets the shortcuts of `fast_litellm.acceleration.shortcuts`.

    TLS is done with the very `ssl.SSLContext` that the client has. The client then shares connections with nobody who
    has another. If it was made with the library's own defaults, say so, `verify=True` (or the `verify` and `cert` that
    it was made with): the pool then does TLS by itself, which is faster, and shares connections and TLS sessions.

    Any thread may call it, at best before the client's first request; calling it again changes nothing. Raises
    TypeError for what is no client, and `FleetUnavailable` where configured limits of a fleet cannot be kept. With
    FAST_LITELLM_ENABLED=false, or without the native extension, the client stays as it is.
    """
    known = library_of(type(client))
    if known is None:
        raise TypeError(f"accelerate takes an httpx.Client or an httpx.AsyncClient, not {type(client).__name__}")
    obstacle = _obstacle(client)
    if obstacle:
        counters.client_stock(obstacle)
        return client
    side = _Side.of(client, of_module(known.root))
    replaced: dict[int, Any] = {}

    def successor(transport: Any) -> Any:
        if transport is None or side.is_ours(transport):
            return transport
        if id(transport) not in replaced:  # one may stand in several places
            replaced[id(transport)] = _successor(side, transport, verify, cert)
        return replaced[id(transport)]

    any_client: Any = client
    before = any_client._transport
    any_client._mounts = {pattern: successor(mounted) for pattern, mounted in any_client._mounts.items()}
    any_client._transport = successor(before)
    if any_client._transport is not before:
        counters.client_accelerated()
    if side.is_ours(any_client._transport):
        shortcuts.put_on(client)
    return client


def _obstacle(client: Any) -> str:
    if not config.enabled():
        return "FAST_LITELLM_ENABLED is false"
    if not availability.acceleration_available():
        return "the native extension is missing"
    if client.is_closed:
        return "the client is closed"
    return ""


class _Side(NamedTuple):
    """What the two kinds of clients, and httpx and its twin, do not have in common."""

    library: Library
    stock: type
    ours: Any
    accelerated: Callable[..., Any]
    leaving: type

    @classmethod
    def of(cls, client: Any, library: Library) -> _Side:
        from ..transport.httpx_classes import pooled_transports_for
        from . import transports

        name: str
        accelerated: Any
        leaving: type
        if isinstance(client, library.httpx.AsyncClient):
            name, accelerated, leaving = "AsyncHTTPTransport", transports.async_accelerated, _AsyncLeaving
        else:
            name, accelerated, leaving = "HTTPTransport", transports.accelerated, _Leaving
        ours = getattr(pooled_transports_for(library.httpx), name)
        return cls(library, getattr(library.httpx, name), ours, accelerated, leaving)

    def is_ours(self, transport: Any) -> bool:
        from .transports import AcceleratedTransport, AsyncAcceleratedTransport

        kinds: tuple[type, ...] = (AcceleratedTransport, AsyncAcceleratedTransport)
        return isinstance(transport, (*kinds, self.ours))


def _successor(side: _Side, transport: Any, verify: Any, cert: Any) -> Any:
    """Ours in the place of `transport`; `transport` itself, counted, if ours cannot do the same."""
    settings = None
    if type(transport) is side.stock and vars(transport).keys() <= {"_pool"}:  # else something was put on it
        settings = settings_of(transport, side.library)
    pool: Any = getattr(transport, "_pool", None)
    reason = "transport given"
    if settings is not None:
        reason = _not_served(side, settings, pool, by_context=verify is None)
    elif is_proxied(transport) and type(transport) is side.stock:
        reason = "proxy: of an unknown kind"
    if reason or settings is None:
        counters.client_stock(reason)
        return transport
    try:
        ours = side.ours(
            verify=settings.context if verify is None else verify,
            cert=None if verify is None else cert,
            limits=limits_of(pool, side.library),
            **settings.extras(),
            pool="default",
        )
    except FleetUnavailable:  # the stock transport would send without the limit
        raise
    except Exception as error:  # what it says of its arguments, the client had accepted
        counters.client_stock(f"refused: {type(error).__name__}: {error}")
        return transport
    made = side.accelerated(side.library, ours, lambda: transport)
    if pool._connections or pool._requests:
        made._ours = leaving = side.leaving(made, ours, transport)
        if isinstance(leaving, _Leaving):
            leaving.settle()
    return made


def _not_served(side: _Side, settings: HttpxSettings, pool: Any, *, by_context: bool) -> str:
    if settings.http2 and by_context and not side.ours._shares_engines:
        return HTTP2_BY_CONTEXT
    if not settings.http1 and not settings.http2:
        return "http1 disabled"
    backend = type(getattr(pool, "_network_backend", None))
    if backend.__name__ not in ("SyncBackend", "AutoBackend") or not backend.__module__.startswith(
        side.library.core.__name__
    ):
        return "network backend given"
    if not {"_max_connections", "_max_keepalive_connections", "_keepalive_expiry"} <= vars(pool).keys():
        return "an unknown httpcore"
    return ""


# The old transport's connections.


def _take_idle(pool: Any) -> list[Any] | None:
    """The connections of a pool that no request uses, no longer the pool's; None while there are requests."""
    lock = getattr(pool, "_optional_thread_lock", None)
    if lock is None or not hasattr(pool, "_close_connections"):  # another httpcore: they go with the client
        return []
    with lock:
        if pool._requests:
            return None
        taken, pool._connections = list(pool._connections), []
    return taken


class _Leaving:
    """Stands before our transport until the old one has no connections any more, which each request looks for."""

    def __init__(self, owner: Any, ours: Any, old: Any) -> None:
        self._owner = owner
        self._successor = ours
        self._old = old
        self._pool = ours._pool

    def settle(self) -> None:
        taken = _take_idle(self._old._pool)
        if taken is None:
            return
        self._owner._ours = self._successor
        try:
            self._old._pool._close_connections(taken)
        except Exception:
            _not_closed()

    def handle_request(self, request: Any) -> Any:
        self.settle()
        return self._successor.handle_request(request)

    def close(self) -> None:
        try:
            self._successor.close()
        finally:
            self._old.close()

    def __repr__(self) -> str:
        return repr(self._successor)


class _AsyncLeaving:
    """The same; a connection is closed on the event loop that it is of, so not before the first request there."""

    def __init__(self, owner: Any, ours: Any, old: Any) -> None:
        self._owner = owner
        self._successor = ours
        self._old = old
        self._pool = ours._pool

    async def _settle(self) -> None:
        taken = _take_idle(self._old._pool)
        if taken is None:
            return
        self._owner._ours = self._successor
        try:
            await self._old._pool._close_connections(taken)
        except Exception:
            _not_closed()

    async def handle_async_request(self, request: Any) -> Any:
        await self._settle()
        return await self._successor.handle_async_request(request)

    async def aclose(self) -> None:
        try:
            await self._successor.aclose()
        finally:
            await self._old.aclose()

    def __repr__(self) -> str:
        return repr(self._successor)


def _not_closed() -> None:
    """Connections of an event loop that is gone, mostly. No request must fail for that."""
    logging.getLogger("fast_litellm").info("an old connection of an accelerated client was not closed", exc_info=True)
