"""`HTTPTransport` and `AsyncHTTPTransport`: the pool under an `httpx.Client` or `httpx.AsyncClient`, and their
twins for httpx2."""

from __future__ import annotations

import functools
import inspect
from types import ModuleType
from typing import TYPE_CHECKING, Any

from ..transport.base import Transport
from ..transport.http_library import http_library_of
from ..transport.httpx_classes import Transports, pooled_transports_for
from .obeying_transport import AsyncObeyingTransport, SyncObeyingTransport
from .unwrapping import Unwrapping

if TYPE_CHECKING:
    import httpx

    from ..transport.asynchronous import AsyncTransport
    from ..transport.blocking import SyncTransport

    class HTTPTransport(SyncTransport, httpx.BaseTransport): ...

    class AsyncHTTPTransport(AsyncTransport, httpx.AsyncBaseTransport): ...


@functools.cache
def transports_for(module: ModuleType) -> Transports:
    """The transports for `httpx` or `httpx2`: subclasses of that module's own base classes, giving its responses and
    raising its exceptions. The same classes each time."""
    library = http_library_of(module)
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


def __getattr__(name: str) -> Any:
    # httpx is imported when its transports are asked for: who uses httpx2 alone has no httpx.
    if name not in Transports._fields:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import httpx

    for field, value in zip(Transports._fields, transports_for(httpx), strict=True):
        globals()[field] = value
    return globals()[name]
