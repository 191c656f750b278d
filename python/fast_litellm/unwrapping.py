"""Taking a tracer off one client.

OpenTelemetry's `instrument()` wraps the method of httpx's transport class, so all clients are traced; its
`uninstrument_client(client)` looks that wrapper up through the client's transport and puts what it wraps on the
transport itself. Our transports have a method of their own, where no wrapper would be found: so while there is one on
httpx's class, theirs looks wrapped too.
"""

from __future__ import annotations

import sys
from types import FunctionType, MethodType
from typing import Any


class Unwrapping:
    """A transport's method, found wrapped while that of the library's class is. No data descriptor: what is put on the
    transport itself comes first, as with any method."""

    def __init__(self, function: FunctionType, stock: Any) -> None:
        self._function = function
        self._stock = stock
        self._name = function.__name__

    def __get__(self, transport: Any, owner: Any = None) -> Any:
        if transport is None:
            return self._function
        method = MethodType(self._function, transport)
        replaced = self._stock.__dict__.get(self._name)
        return method if type(replaced) is FunctionType else _found_wrapped(method, replaced)


def _found_wrapped(method: MethodType, replaced: Any) -> Any:
    wrapper: Any = getattr(sys.modules.get("wrapt"), "FunctionWrapper", None)
    if wrapper is None or not isinstance(replaced, wrapper):
        return method

    def call(wrapped: Any, instance: Any, args: Any, keywords: Any) -> Any:
        return method(*args, **keywords)

    return wrapper(_Unwrapped(method.__self__, replaced.__wrapped__), call)


class _Unwrapped:
    """What is left of the method when the wrapper is taken off."""

    def __init__(self, transport: Any, function: Any) -> None:
        self.__self__ = transport
        self._function = function

    def __call__(self, request: Any) -> Any:
        return self.__self__._handle_below(self._function, request)
