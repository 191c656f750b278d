"""The pool's transports as subclasses of the base classes of httpx, or of its twin httpx2."""

from __future__ import annotations

import functools
from types import ModuleType
from typing import Any, NamedTuple

from .asynchronous import AsyncResponseBody, AsyncTransport
from .blocking import SyncResponseBody, SyncTransport
from .http_library import http_library_of
from .network_stream import AsyncNetworkStream, SyncNetworkStream
from .traced import TracedAsyncBody, TracedSyncBody, asend_traced, send_traced


class Transports(NamedTuple):
    """The two for one library."""

    HTTPTransport: type[Any]
    AsyncHTTPTransport: type[Any]


@functools.cache
def pooled_transports_for(module: ModuleType) -> Transports:
    """The transports for `httpx` or `httpx2`, which send through the pool whatever mocks and tracers are in place.
    `acceleration` puts the rule on these around them. The same classes each time."""
    library = http_library_of(module)

    def stream(name: str, body: type, base: type) -> type[Any]:
        return type(name, (body, base), {"__module__": __name__, "_library": library})

    core = "httpcore" + module.__name__.removeprefix("httpx")

    def network(base: type) -> type[Any]:
        return type(base.__name__, (base,), {"__module__": __name__, "__slots__": (), "_core_name": core})

    def transport(name: str, ours: type, base: type, **members: Any) -> type[Any]:
        return type(
            name, (ours, base), {"__doc__": ours.__doc__, "__module__": __name__, "_library": library, **members}
        )

    return Transports(
        transport(
            "PooledTransport",
            SyncTransport,
            module.BaseTransport,
            _response_stream=stream("ResponseStream", SyncResponseBody, library.SyncByteStream),
            _traced_stream=stream("TracedStream", TracedSyncBody, library.SyncByteStream),
            _send_traced=send_traced,
            _network_stream=network(SyncNetworkStream),
        ),
        transport(
            "AsyncPooledTransport",
            AsyncTransport,
            module.AsyncBaseTransport,
            _response_stream=stream("AsyncResponseStream", AsyncResponseBody, library.AsyncByteStream),
            _traced_stream=stream("AsyncTracedStream", TracedAsyncBody, library.AsyncByteStream),
            _send_traced=asend_traced,
            _network_stream=network(AsyncNetworkStream),
        ),
    )
