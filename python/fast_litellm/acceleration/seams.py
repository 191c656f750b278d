"""The rule on mocks and tracers, and what a transport has that obeys it.

respx, pytest-httpx, vcrpy and OpenTelemetry's instrumentation of httpx work by replacing methods of httpx's transports
or of httpcore's pools and connections; pytest-socket and gevent replace parts of `socket` (`pool/replaced_sockets.py`);
others replace aiohttp's methods, under litellm's own transport. A transport that does not pass through those places
would send real, paid requests from a mocked test-suite. So each request looks whether these places, the *seams*, still
hold the libraries' own functions; if not, it goes through the stock transport. `transports.py` has what accelerated
clients get, `obeying_transport.py` the same for `HTTPTransport` and `AsyncHTTPTransport`.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Awaitable, Callable, Iterable
from types import FunctionType, ModuleType
from typing import Any

from .._core import sockets_replaced
from ..runtime.counters import counters
from ..runtime.locks import new_lock
from .libraries import Library, of_module
from .veto import Veto

_UNKNOWN = object()  # equal to nothing that a seam can hold

Judge = Callable[[object], bool]
#: Owner, attribute, is this value the library's own?
Place = tuple[Any, str, Judge]


def is_function_beside(sibling: object) -> Judge:
    """True for a plain function whose code is in the file of `sibling`'s, a function that no library replaces.

    Names prove nothing (`functools.wraps` copies them), and a module's `__file__` need not be where its code was
    compiled. Without such a sibling nothing is known, and nothing believed.
    """
    file = sibling.__code__.co_filename if type(sibling) is FunctionType else None
    return lambda value: type(value) is FunctionType and value.__code__.co_filename == file


class Seams:
    """The places where others hook in, and what they hold otherwise.

    Any thread may ask. What a seam holds is judged by what it is, not by what it was first seen to be, so a mock that
    was in place before this package came is recognised too.
    """

    def __init__(self, places: Iterable[Place]) -> None:
        self._places = tuple(places)
        self._expected: tuple[tuple[Any, str, object], ...] = ()
        self._learn()
        sockets_replaced()  # the first look imports what it needs: not in a request, which may have no descriptor left

    def untouched(self) -> bool:
        """True while every seam, and Python's `socket`, holds its own. A few attribute reads."""
        if sockets_replaced():
            return False
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


class LibrarySeams:
    """The seams of one kind of transport, of which the first is the method of the library's transport class."""

    def __init__(self, places: list[Place]) -> None:
        self.untouched = Seams(places).untouched
        self._untouched_below = Seams(places[1:]).untouched
        self._is_own = places[0][2]
        self._own: object = None  # what was last found to be

    def untouched_below(self, method: object) -> bool:
        """The same for a caller who found `method` on the library's class: whatever has been put there since."""
        if method is not self._own:
            if not self._is_own(method):
                return False
            self._own = method
        return self._untouched_below()


@functools.cache
def seams_of(httpx: ModuleType) -> LibrarySeams:
    return LibrarySeams(places(of_module(httpx)))


@functools.cache
def async_seams_of(httpx: ModuleType) -> LibrarySeams:
    return LibrarySeams(async_places(of_module(httpx)))


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


class Obeying:
    """What a transport that obeys the rule has: the stock one beside it, made when first needed.

    Any thread may send through it. It never decides for more than one request: when the mock or the tracer is gone, the
    next request goes through the pool again.
    """

    def _obey(
        self,
        library: Library,
        seams: Seams | LibrarySeams,
        make_stock: Callable[[], Any],
        vetoes: tuple[Veto, ...] = (),
    ) -> None:
        self._make_stock = make_stock
        self._vetoes = vetoes
        self._untouched = seams.untouched
        self._untouched_below = seams.untouched_below if isinstance(seams, LibrarySeams) else None
        self._other_scheme: type[Exception] = library.httpx.UnsupportedProtocol
        self._lock = new_lock()
        self._stock: Any = None  # written under _lock

    def _obstacle(self, method: Any = None) -> str:
        """Why the next request goes through the stock transport; empty if it goes through the pool. `method`: what the
        library's class had when the caller looked the method up (`unwrapping.py`); None: what it has now."""
        below = self._untouched_below
        if not (self._untouched() if method is None or below is None else below(method)):
            return "instrumented"
        for veto in self._vetoes:
            if veto.reason:
                return veto.reason
        return ""

    def _stock_for(self, reason: str) -> Any:
        counters.request_stock(reason)
        return self._stock_transport()

    def _stock_transport(self) -> Any:
        with self._lock:
            if self._stock is None:
                self._stock = self._make_stock()
            return self._stock

    def _stock_made(self) -> Any:
        with self._lock:
            return self._stock


class SyncObeying(Obeying):
    """For an `httpx.Client`."""

    def _pooled(self, request: Any) -> Any:
        raise NotImplementedError

    def handle_request(self, request: Any) -> Any:
        return self._send_as(request)

    def _send_as(self, request: Any, method: Any = None) -> Any:
        reason = self._obstacle(method)
        if not reason:
            try:
                return self._pooled(request)
            except self._other_scheme:  # nothing was sent: a WebSocket's, perhaps, which the stock transport speaks
                reason = "scheme: not http"
        stock = self._stock_for(reason)
        return (stock.handle_request if method is None else method.__get__(stock, type(stock)))(request)


class AsyncObeying(Obeying):
    """For an `httpx.AsyncClient`, on any event loop."""

    def _pooled(self, request: Any) -> Awaitable[Any]:
        raise NotImplementedError

    async def handle_async_request(self, request: Any) -> Any:
        return await self._send_as(request)

    async def _send_as(self, request: Any, method: Any = None) -> Any:
        reason = self._obstacle(method)
        if not reason:
            try:
                return await self._pooled(request)
            except self._other_scheme:
                reason = "scheme: not http"
        stock = self._stock_for(reason)
        return await (stock.handle_async_request if method is None else method.__get__(stock, type(stock)))(request)
