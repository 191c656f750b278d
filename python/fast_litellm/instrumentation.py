"""The rule on mocks and tracers, and the transports of accelerated clients, which obey it.

respx, pytest-httpx, vcrpy and OpenTelemetry's instrumentation of httpx work by replacing methods of httpx's transports
or of httpcore's pools and connections; pytest-socket and gevent replace parts of `socket`; others replace aiohttp's
methods, under litellm's own transport. A transport that does not pass through those places would send real, paid
requests from a mocked test-suite. So each request looks whether these places, the *seams*, still hold the libraries'
own functions; if not, it goes through the stock transport.
"""

from __future__ import annotations

import _socket
import functools
import socket
import sys
from collections.abc import Callable, Iterable
from types import FunctionType, ModuleType
from typing import Any

from .counters import counters
from .locks import new_lock
from .patch.libraries import Library, of_module
from .patch.veto import Veto

_UNKNOWN = object()  # equal to nothing that a seam can hold

Judge = Callable[[object], bool]
#: Owner, attribute, is this value the library's own?
Place = tuple[Any, str, Judge]


def is_function_beside(sibling: object) -> Judge:
    """True for a plain function whose code is in the file of `sibling`'s, a function that nobody replaces.

    Names prove nothing (`functools.wraps` copies them), and a module's `__file__` need not be where its code was
    compiled. Without such a sibling nothing is known, and nothing believed.
    """
    file = sibling.__code__.co_filename if type(sibling) is FunctionType else None
    return lambda value: type(value) is FunctionType and value.__code__.co_filename == file


def _is_original_socket(value: object) -> bool:
    beside = is_function_beside(socket.has_dualstack_ipv6)
    return isinstance(value, type) and value.__module__ == "socket" and beside(value.__dict__.get("__init__"))


def _socket_places() -> list[Place]:
    sockets = is_function_beside(socket.has_dualstack_ipv6)
    return [
        (socket, "socket", _is_original_socket),
        (socket, "create_connection", sockets),
        (socket, "getaddrinfo", sockets),
    ]


class Seams:
    """The places where others hook in, and what they hold while nobody does.

    Any thread may ask. What a seam holds is judged by what it is, not by what it was first seen to be, so a mock that
    was in place before this package came is recognised too.
    """

    def __init__(self, places: Iterable[Place]) -> None:
        self._places = (*places, *_socket_places())
        self._expected: tuple[tuple[Any, str, object], ...] = ()
        self._learn()

    def untouched(self) -> bool:
        """True while every seam holds the library's own. A few attribute reads."""
        for owner, name, original in self._expected:
            if getattr(owner, name) is not original:
                return self._learn()
        return True

    def _learn(self) -> bool:
        """Looks at each seam anew; True if all are the libraries' own."""
        expected: list[tuple[Any, str, object]] = []
        for owner, name, is_original in self._places:
            value = getattr(owner, name, None)
            expected.append((owner, name, value if is_original(value) else _UNKNOWN))
        # The class inherits connect from C; a guard (pytest-socket's list of hosts) puts its own on the class.
        expected.append((socket.socket, "connect", _socket.socket.connect))
        self._expected = tuple(expected)
        return all(getattr(owner, name, None) is value for owner, name, value in expected)


def places(library: Library) -> list[Place]:
    """A library's synchronous way from its transport down to a connection."""
    httpx, core = library
    return [
        *_methods(httpx.HTTPTransport, "close", "handle_request"),
        *_methods(core.ConnectionPool, "close", "handle_request"),
        *_methods(core.HTTPConnection, "close", "handle_request"),
        *_methods(core.HTTP11Connection, "close", "handle_request"),
    ]


def async_places(library: Library) -> list[Place]:
    """The asynchronous one."""
    httpx, core = library
    return [
        *_methods(httpx.AsyncHTTPTransport, "aclose", "handle_async_request"),
        *_methods(core.AsyncConnectionPool, "aclose", "handle_async_request"),
        *_methods(core.AsyncHTTPConnection, "aclose", "handle_async_request"),
        *_methods(core.AsyncHTTP11Connection, "aclose", "handle_async_request"),
        *_anyio(),
    ]


@functools.cache
def _seams_of(httpx: ModuleType) -> tuple[Seams, Seams]:
    library = of_module(httpx)
    return Seams(places(library)), Seams(async_places(library))


def _methods(owner: Any, sibling: str, *names: str) -> list[Place]:
    beside = is_function_beside(getattr(owner, sibling))
    return [(owner, name, beside) for name in names]


def _anyio() -> list[Place]:
    """Where httpcore's asynchronous connections come from; loaded with the SDKs, if at all."""
    anyio = sys.modules.get("anyio")
    if anyio is None:
        return []
    beside = is_function_beside(getattr(anyio, "connect_unix", None))
    return [(anyio, "connect_tcp", beside)]


class _Accelerated:
    """What an accelerated client has as its transport: ours, and the stock one beside it, made when first needed.

    Owned by the client; any thread may send through it. It never decides for more than one request: when the mock or
    the tracer is gone, the next request goes through the pool again.
    """

    def __init__(
        self,
        library: Library,
        seams: Seams,
        ours: Any,
        make_stock: Callable[[], Any],
        vetoes: tuple[Veto, ...] = (),
    ) -> None:
        self._ours = ours
        self._make_stock = make_stock
        self._vetoes = vetoes
        self._untouched = seams.untouched
        self._other_scheme: type[Exception] = library.httpx.UnsupportedProtocol
        self._lock = new_lock()
        self._stock: Any = None  # written under _lock

    def _obstacle(self) -> str:
        """Why the next request goes through the stock transport; empty if it goes through the pool."""
        if not self._untouched():
            return "instrumented"
        for veto in self._vetoes:
            if veto.reason:
                return veto.reason
        return ""

    def _stock_for(self, reason: str) -> Any:
        counters.request_stock(reason)
        with self._lock:
            if self._stock is None:
                self._stock = self._make_stock()
            return self._stock

    @property
    def _pool(self) -> _BothPools:
        """litellm asks an evicted client's `_transport._pool.connections` whether any is busy before it closes it."""
        return _BothPools(self._ours, self._stock)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} over {self._ours!r}>"


class AcceleratedTransport(_Accelerated):
    """For an `httpx.Client`."""

    def handle_request(self, request: Any) -> Any:
        reason = self._obstacle()
        if not reason:
            try:
                return self._ours.handle_request(request)
            except self._other_scheme:  # nothing was sent: a WebSocket's, perhaps, which the stock transport speaks
                reason = "scheme: not http"
        return self._stock_for(reason).handle_request(request)

    def close(self) -> None:
        self._ours.close()
        with self._lock:
            stock = self._stock
        if stock is not None:
            stock.close()


class AsyncAcceleratedTransport(_Accelerated):
    """For an `httpx.AsyncClient`, on any event loop."""

    async def handle_async_request(self, request: Any) -> Any:
        reason = self._obstacle()
        if not reason:
            try:
                return await self._ours.handle_async_request(request)
            except self._other_scheme:
                reason = "scheme: not http"
        return await self._stock_for(reason).handle_async_request(request)

    async def aclose(self) -> None:
        try:
            await self._ours.aclose()
        finally:
            with self._lock:
                stock = self._stock
            if stock is not None:
                await stock.aclose()


def accelerated(
    library: Library, ours: Any, make_stock: Callable[[], Any], vetoes: tuple[Veto, ...] = ()
) -> AcceleratedTransport:
    """The transport of a client of `library`: `ours` while nothing stands against it, else what `make_stock` makes."""
    kind = of_library(AcceleratedTransport, library.httpx.BaseTransport)
    made: AcceleratedTransport = kind(library, _seams_of(library.httpx)[0], ours, make_stock, vetoes)
    return made


def async_accelerated(
    library: Library, ours: Any, make_stock: Callable[[], Any], vetoes: tuple[Veto, ...] = ()
) -> AsyncAcceleratedTransport:
    kind = of_library(AsyncAcceleratedTransport, library.httpx.AsyncBaseTransport)
    made: AsyncAcceleratedTransport = kind(library, _seams_of(library.httpx)[1], ours, make_stock, vetoes)
    return made


@functools.cache
def of_library(kind: type, base: type) -> Any:
    """`kind` as a transport of the library that `base` is of: whoever asks gets one that is both."""
    return type(kind.__name__, (kind, base), {"__doc__": kind.__doc__, "__module__": __name__})


class _BothPools:
    """The connections that requests of one client are using, in our pool and in the stock transport's own."""

    def __init__(self, *transports: Any) -> None:
        self._transports = transports

    @property
    def connections(self) -> list[Any]:
        found: list[Any] = []
        for transport in self._transports:
            found += getattr(getattr(transport, "_pool", None), "connections", ())
            # litellm's aiohttp transport: what its connector handed out.
            connector = getattr(getattr(transport, "client", None), "connector", None)
            found += [_Busy() for _ in getattr(connector, "_acquired", ())]
        return found


class _Busy:
    def is_idle(self) -> bool:
        return False
