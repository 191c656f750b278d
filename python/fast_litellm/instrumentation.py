"""The rule on mocks and tracers, and the transport of an accelerated client, which obeys it.

respx, pytest-httpx, vcrpy and OpenTelemetry's instrumentation of httpx work by replacing methods of httpx's transport
or of httpcore's pool and connections; pytest-socket and gevent replace parts of `socket`. A transport that does not
pass through those places would send real, paid requests from a mocked test-suite. So each request looks whether these
places, the *seams*, still hold the libraries' own functions; if not, it goes through httpx's own transport.
"""

from __future__ import annotations

import _socket
import socket
import threading
from collections.abc import Callable
from types import FunctionType
from typing import Any

import httpcore
import httpx

from .status import counters

_UNKNOWN = object()  # equal to nothing that a seam can hold


def _is_function_beside(sibling: object) -> Callable[[object], bool]:
    """True for a plain function whose code is in the file of `sibling`'s, a function that nobody replaces.

    Names prove nothing (`functools.wraps` copies them), and a module's `__file__` need not be where its code was
    compiled.
    """
    assert isinstance(sibling, FunctionType)
    file = sibling.__code__.co_filename
    return lambda value: type(value) is FunctionType and value.__code__.co_filename == file


def _is_original_socket(value: object) -> bool:
    beside = _is_function_beside(socket.has_dualstack_ipv6)
    return isinstance(value, type) and value.__module__ == "socket" and beside(value.__dict__.get("__init__"))


class Seams:
    """The places where others hook in, and what they hold while nobody does.

    Any thread may ask. What a seam holds is judged by what it is, not by what it was first seen to be, so a mock that
    was in place before this package came is recognised too.
    """

    def __init__(self) -> None:
        transport = _is_function_beside(httpx.HTTPTransport.close)
        pool = _is_function_beside(httpcore.ConnectionPool.close)
        connection = _is_function_beside(httpcore.HTTPConnection.close)
        http11 = _is_function_beside(httpcore.HTTP11Connection.close)
        sockets = _is_function_beside(socket.has_dualstack_ipv6)
        #: owner, attribute, is this value the library's own?
        self._places: tuple[tuple[Any, str, Callable[[object], bool]], ...] = (
            (httpx.HTTPTransport, "handle_request", transport),
            (httpcore.ConnectionPool, "handle_request", pool),
            (httpcore.HTTPConnection, "handle_request", connection),
            (httpcore.HTTP11Connection, "handle_request", http11),
            (socket, "socket", _is_original_socket),
            (socket, "create_connection", sockets),
            (socket, "getaddrinfo", sockets),
        )
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


seams = Seams()


class Veto:
    """Why an accelerated client may no longer use the pool; shared by the transports it concerns. A plain attribute:
    set by one thread, read by all."""

    __slots__ = ("__weakref__", "reason")

    def __init__(self, reason: str = "") -> None:
        self.reason = reason


class AcceleratedTransport(httpx.BaseTransport):
    """What an accelerated client has as its transport: ours, and httpx's own beside it, made when first needed.

    Owned by the httpx client; any thread may send through it. It never decides for more than one request: when the mock
    or the tracer is gone, the next request goes through the pool again.
    """

    def __init__(
        self, ours: httpx.BaseTransport, make_stock: Callable[[], httpx.BaseTransport], vetoes: tuple[Veto, ...] = ()
    ) -> None:
        self._ours = ours
        self._make_stock = make_stock
        self._vetoes = vetoes
        self._lock = threading.Lock()
        self._stock: httpx.BaseTransport | None = None  # written under _lock

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if not seams.untouched():
            reason = "instrumented"
        else:
            for veto in self._vetoes:
                if veto.reason:
                    reason = veto.reason
                    break
            else:
                return self._ours.handle_request(request)
        counters.request_stock(reason)
        return self._stock_transport().handle_request(request)

    def close(self) -> None:
        self._ours.close()
        with self._lock:
            stock = self._stock
        if stock is not None:
            stock.close()

    def _stock_transport(self) -> httpx.BaseTransport:
        with self._lock:
            if self._stock is None:
                self._stock = self._make_stock()
            return self._stock

    @property
    def _pool(self) -> _BothPools:
        """litellm asks an evicted client's `_transport._pool.connections` whether any is busy before it closes it."""
        return _BothPools(self._ours, self._stock)

    def __repr__(self) -> str:
        return f"<AcceleratedTransport over {self._ours!r}>"


class _BothPools:
    """The connections that requests of one client are using, in our pool and in httpx's own."""

    def __init__(self, *transports: httpx.BaseTransport | None) -> None:
        self._transports = transports

    @property
    def connections(self) -> list[Any]:
        pools = (getattr(transport, "_pool", None) for transport in self._transports)
        return [connection for pool in pools for connection in getattr(pool, "connections", ())]
