"""The transports of accelerated clients: the pool's transport under the rule of `seams.py`, the stock one beside it."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from typing import Any

from . import pool_view
from .libraries import Library
from .passing import passing_for
from .seams import AsyncObeying, LibrarySeams, Obeying, Seams, SyncObeying, async_seams_of, seams_of
from .unwrapping import Unwrapping
from .veto import Veto


class Accelerated(Obeying):
    """What an accelerated client has as its transport: ours, and the stock one beside it. Owned by the client."""

    def __init__(
        self,
        library: Library,
        seams: Seams | LibrarySeams,
        ours: Any,
        make_stock: Callable[[], Any],
        vetoes: tuple[Veto, ...] = (),
    ) -> None:
        self._obey(library, seams, make_stock, vetoes)
        self._ours = ours
        self._library_passed_for = library if isinstance(seams, LibrarySeams) else None
        self._view: pool_view.PoolView | None = None

    @property
    def _pool(self) -> pool_view.PoolView:
        """What litellm, the SDKs' own tests and hacks of users look at inside httpx's transports."""
        if self._view is None:
            library = self._library_passed_for
            self._view = pool_view.PoolView(self) if library is None else pool_view.passing(library.core, self)
        return self._view

    def _change(self, reason: str) -> None:
        """The stock transport was changed by hand: from now on it takes the requests."""
        self._vetoes = (*self._vetoes, Veto(reason))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} over {self._ours!r}>"


class AcceleratedTransport(Accelerated, SyncObeying):
    """For an `httpx.Client`."""

    def _pooled(self, request: Any) -> Any:
        return self._ours.handle_request(request)

    def close(self) -> None:
        self._ours.close()
        stock = self._stock_made()
        if stock is not None:
            stock.close()


class AsyncAcceleratedTransport(Accelerated, AsyncObeying):
    """For an `httpx.AsyncClient`, on any event loop."""

    def _pooled(self, request: Any) -> Awaitable[Any]:
        begun: Awaitable[Any] = self._ours.handle_async_request(request)
        return begun

    async def aclose(self) -> None:
        try:
            await self._ours.aclose()
        finally:
            stock = self._stock_made()
            if stock is not None:
                await stock.aclose()


def accelerated(
    library: Library, ours: Any, make_stock: Callable[[], Any], vetoes: tuple[Veto, ...] = ()
) -> AcceleratedTransport:
    """The transport of a client of `library`: `ours` while nothing stands against it, else what `make_stock` makes.
    `isinstance` takes it for the library's own."""
    kind = _passing(AcceleratedTransport, library.httpx.BaseTransport, library.httpx.HTTPTransport, "handle_request")
    made: AcceleratedTransport = kind(library, seams_of(library.httpx), ours, make_stock, vetoes)
    return made


def async_accelerated(
    library: Library, ours: Any, make_stock: Callable[[], Any], vetoes: tuple[Veto, ...] = ()
) -> AsyncAcceleratedTransport:
    httpx = library.httpx
    kind = _passing(
        AsyncAcceleratedTransport, httpx.AsyncBaseTransport, httpx.AsyncHTTPTransport, "handle_async_request"
    )
    made: AsyncAcceleratedTransport = kind(library, async_seams_of(httpx), ours, make_stock, vetoes)
    return made


@functools.cache
def of_library(kind: type, base: type) -> Any:
    """`kind` as a transport of the library that `base` is of: an `isinstance` check sees both."""
    return type(kind.__name__, (kind, base), {"__doc__": kind.__doc__, "__module__": __name__})


@functools.cache
def _passing(kind: Any, base: type, stock: type, method: str) -> Any:
    """The same, passing for the library's own transport class `stock`."""
    return type(
        kind.__name__,
        (kind, base),
        {
            "__doc__": kind.__doc__,
            "__module__": __name__,
            method: Unwrapping(method, kind._send_as, stock),
            **passing_for(stock),
        },
    )
