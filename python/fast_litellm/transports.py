"""`HTTPTransport` and `AsyncHTTPTransport`: the pool under an `httpx.Client` or `httpx.AsyncClient`, and their
twins for httpx2."""

from __future__ import annotations

import functools
import inspect
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from .async_transport import AsyncResponseBody, AsyncTransport
from .http_library import library_of
from .network_stream import AsyncNetworkStream, SyncNetworkStream
from .obeying_transport import AsyncObeyingTransport, SyncObeyingTransport
from .sync_transport import SyncResponseBody, SyncTransport
from .traced_transport import TracedAsyncBody, TracedSyncBody
from .transport_base import Transport
from .unwrapping import Unwrapping

if TYPE_CHECKING:
    import httpx

    class HTTPTransport(SyncTransport, httpx.BaseTransport): ...

    class AsyncHTTPTransport(AsyncTransport, httpx.AsyncBaseTransport): ...


class Transports(NamedTuple):
    """The two for one library."""

    HTTPTransport: type[Any]
    AsyncHTTPTransport: type[Any]


@functools.cache
def transports_for(module: ModuleType) -> Transports:
    """The transports for `httpx` or `httpx2`: subclasses of that module's own base classes, giving its responses and
    raising its exceptions. The same classes each time."""
    library = library_of(module)
    signature = inspect.signature(Transport)
    limits = signature.parameters["limits"].replace(default=library.default_limits)
    signature = signature.replace(
        parameters=[limits if each.name == "limits" else each for each in signature.parameters.values()]
    )
    pooled = pooled_transports_for(module)

    def transport(name: str, ours: Any, method: str) -> type[Any]:
        documented = {
            "__doc__": Transport.__doc__,
            "__module__": __name__,
            "__signature__": signature,  # with the library's own default for limits
            method: Unwrapping(method, ours._send_as, getattr(module, name)),
        }
        return type(name, (ours, getattr(pooled, name)), documented)

    return Transports(
        transport("HTTPTransport", SyncObeyingTransport, "handle_request"),
        transport("AsyncHTTPTransport", AsyncObeyingTransport, "handle_async_request"),
    )


@functools.cache
def pooled_transports_for(module: ModuleType) -> Transports:
    """Their bases, which send through the pool whatever is in place: for `instrumentation`'s transports, which look."""
    library = library_of(module)

    def stream(name: str, body: type, base: type) -> type[Any]:
        return type(name, (body, base), {"__module__": __name__})

    core = "httpcore" + module.__name__.removeprefix("httpx")

    def network(base: type) -> type[Any]:
        return type(base.__name__, (base,), {"__module__": __name__, "__slots__": (), "_core_name": core})

    def transport(name: str, ours: type, base: type, **members: type) -> type[Any]:
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
            _network_stream=network(SyncNetworkStream),
        ),
        transport(
            "AsyncPooledTransport",
            AsyncTransport,
            module.AsyncBaseTransport,
            _response_stream=stream("AsyncResponseStream", AsyncResponseBody, library.AsyncByteStream),
            _traced_stream=stream("AsyncTracedStream", TracedAsyncBody, library.AsyncByteStream),
            _network_stream=network(AsyncNetworkStream),
        ),
    )


def __getattr__(name: str) -> Any:
    # httpx is imported when its transports are asked for: who uses httpx2 alone has no httpx.
    if name not in Transports._fields:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import httpx

    for field, value in zip(Transports._fields, transports_for(httpx), strict=True):
        globals()[field] = value
    return globals()[name]
