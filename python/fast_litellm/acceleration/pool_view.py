"""`_pool` of an accelerated transport: what others read of httpcore's pool inside httpx's own transports.

litellm asks an evicted client's `_transport._pool.connections` whether any is busy before it closes it; the SDKs' own
tests count `_pool._requests`; anything else is looked for in the pool of the stock transport beside ours.
"""

from __future__ import annotations

import functools
from types import ModuleType
from typing import Any, Protocol

from .passing import passing_for


class Viewed(Protocol):
    """What a view needs of an accelerated transport (`transports.Accelerated`)."""

    _ours: Any
    _stock: Any

    def _stock_transport(self) -> Any: ...
    def _change(self, reason: str) -> None: ...


class PoolView:
    """The requests of one client that are under way, in our pool and in the stock transport's own. Any thread."""

    __slots__ = ("_transport",)
    _transport: Viewed

    def __init__(self, transport: Viewed) -> None:
        object.__setattr__(self, "_transport", transport)

    @property
    def connections(self) -> list[Any]:
        """Those in use; each has `is_idle()`."""
        return self._both("connections")

    @property
    def _requests(self) -> list[Any]:
        return self._both("_requests")

    def _both(self, name: str) -> list[Any]:
        transport = self._transport
        found: list[Any] = []
        for each in (transport._ours, transport._stock):
            found += getattr(getattr(each, "_pool", None), name, ())
            # litellm's aiohttp transport: what its connector handed out.
            connector = getattr(getattr(each, "client", None), "connector", None)
            found += [_Busy() for _ in getattr(connector, "_acquired", ())]
        return found


class _FullView(PoolView):
    """Passes for httpcore's pool: its other attributes are those of the stock transport's pool. Once one of them is
    set (as a network backend of the program's own is), requests go through that pool."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._transport._stock_transport()._pool, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._transport._stock_transport()._pool, name, value)
        self._transport._change("transport changed")


def passing(core: ModuleType, transport: Viewed) -> PoolView:
    """For the pool that a transport of its kind has, of httpcore or its twin."""
    asynchronous = hasattr(transport, "aclose")
    made: PoolView = _class_for(core.AsyncConnectionPool if asynchronous else core.ConnectionPool)(transport)
    return made


@functools.cache
def _class_for(pool: type) -> Any:
    return type("PoolView", (_FullView,), {"__slots__": (), "__doc__": _FullView.__doc__, **passing_for(pool)})


class _Busy:
    def is_idle(self) -> bool:
        return False
