"""`HTTPTransport` and `AsyncHTTPTransport` themselves: the pool's transports, under the rule of `seams.py`.

An accelerated client has a transport that obeys the rule around one that does not; one that a program names itself is
both. While a mock, a tracer, or a replaced `socket` is in place, requests go through the library's own transport, made
with the same arguments.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, NoReturn

from .._core import sockets_replaced
from ..exceptions import NotOffered
from ..transport.asynchronous import AsyncTransport
from ..transport.base import OpenLeases, Transport
from ..transport.blocking import SyncTransport
from .libraries import of_module
from .seams import AsyncObeying, LibrarySeams, Obeying, SyncObeying, async_seams_of, seams_of

_SIGNATURE = inspect.signature(Transport)
_OWN_ARGUMENTS = ("pool", "tls_settings", "proxy_bind")


class _ObeyingTransport(Obeying, Transport):
    _stock_class: str
    _seams_for: Callable[[Any], LibrarySeams]
    _closed = False

    def __init__(self, *args: Any, **keywords: Any) -> None:
        try:
            super().__init__(*args, **keywords)
        except TypeError as error:
            # gevent's contexts know its own sockets alone: the library's transport, which uses these, takes all.
            if not sockets_replaced():
                raise
            self._be_without_handle(error)
        module = self._library.module
        given = {**_SIGNATURE.bind(*args, **keywords).arguments}
        own = {name: given.pop(name, None) for name in _OWN_ARGUMENTS}
        stock_class = self._stock_class

        def make_stock() -> Any:  # without `self`: a transport that nothing refers to is freed at once
            if own["tls_settings"] is not None:
                raise NotOffered(
                    f"a mock, a tracer or replaced sockets are in place, so this request is {module.__name__}'s own "
                    "transport's, which cannot be given tls_settings: use verify and cert"
                )
            return getattr(module, stock_class)(**given)

        self._obey(of_module(module), type(self)._seams_for(module), make_stock)

    def _be_without_handle(self, error: TypeError) -> None:
        handle: Any = _NoHandle(error)
        self._native_pool: Any = None
        self._owns_pool = False
        self._handle = handle
        self._send = self._start = handle.send
        self._pool = OpenLeases(handle)

    def _obstacle(self, method: Any = None) -> str:
        return "" if self._closed else super()._obstacle(method)  # closed: says so itself

    def _close(self) -> None:
        self._closed = True
        super()._close()

    def __repr__(self) -> str:
        if self._native_pool is None:
            return f"<{type(self).__name__} over the library's own>"
        return super().__repr__()


class SyncObeyingTransport(_ObeyingTransport, SyncObeying, SyncTransport):
    _stock_class = "HTTPTransport"
    _seams_for = staticmethod(seams_of)
    _pooled = SyncTransport.handle_request

    def close(self) -> None:
        """Lets go of the handle; without `pool=`, closes the connections too. Calling it again is harmless."""
        self._close()
        stock = self._stock_made()
        if stock is not None:
            stock.close()


class AsyncObeyingTransport(_ObeyingTransport, AsyncObeying, AsyncTransport):
    _stock_class = "AsyncHTTPTransport"
    _seams_for = staticmethod(async_seams_of)
    _pooled = AsyncTransport.handle_async_request

    async def aclose(self) -> None:
        """Lets go of the handle; without `pool=`, closes the connections too. Calling it again is harmless."""
        self._close()
        stock = self._stock_made()
        if stock is not None:
            await stock.aclose()


class _NoHandle:
    """Of a transport that can serve no request itself, and says why if it must."""

    request_count = 0
    open_leases = 0

    def __init__(self, error: TypeError) -> None:
        self._error = error

    def send(self, *_: Any) -> NoReturn:
        raise self._error

    def close(self) -> None:
        pass
