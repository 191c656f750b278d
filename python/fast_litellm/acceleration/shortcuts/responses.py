"""A response made of what the core has read, without httpx's constructors.

`Response.__init__` and `Headers.__init__` look at each argument's kind and encode and lower-case each name; the core
gives a list of headers as `Headers` keeps it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...transport.base import extensions_of
from .known import Library

RELIES_ON = ("_models:Response.__init__", "_models:Headers.__init__")


def adopt(library: Library, client: Any, transports: tuple[Any, ...]) -> None:
    """Has the transports of an accelerated client make their responses here."""
    for ours in _pooled(client, *transports):
        if ours._library.Response is library.models.Response:
            ours._response = _maker(library, type(ours))


def release(client: Any) -> None:
    for ours in _pooled(client):
        ours.__dict__.pop("_response", None)


def _pooled(client: Any, *transports: Any) -> list[Any]:
    """The pool's transports, beneath those that obey the rule on mocks and those that wait for an old one to end."""
    found = [*transports, getattr(client, "_transport", None), *getattr(client, "_mounts", {}).values()]
    below = [transport._ours for transport in found if "_ours" in getattr(transport, "__dict__", ())]
    return [getattr(ours, "_successor", ours) for ours in below]


def _maker(library: Library, kind: Any) -> Callable[[Any], Any]:
    """`Transport._response` for transports of one kind. Keeps no transport alive."""
    make_stock, response_stream, network_stream = kind._response, kind._response_stream, kind._network_stream
    response_class: Any = library.models.Response
    header_class: Any = library.models.Headers
    new_response, new_headers = response_class.__new__, header_class.__new__
    initialize, initialize_headers = response_class.__init__, header_class.__init__

    def make(exchange: Any) -> Any:
        if response_class.__init__ is not initialize or header_class.__init__ is not initialize_headers:
            return make_stock(exchange)
        headers = new_headers(header_class)
        headers._list = exchange.header_items
        headers._encoding = None
        # The attributes of Response.__init__, in its order.
        response = new_response(response_class)
        response.status_code = exchange.status
        response.headers = headers
        response._request = None
        response.next_request = None
        response.extensions = extensions_of(exchange, network_stream(exchange))
        response.history = []
        response.is_closed = False
        response.is_stream_consumed = False
        response.default_encoding = "utf-8"
        response.stream = response_stream(exchange)
        response._num_bytes_downloaded = 0
        return response

    return make
