"""The method of a transport of ours, found as it would be on the library's own transport.

A tracer may wrap the method of httpx's transport class, for all clients, or that of one client's transport. Which
wrappers a request then passes depends on when each was put there: the method that is looked up through a transport is
the class's at that moment, and what is put on the transport itself comes first. OpenTelemetry's
`uninstrument_client(client)` looks the class's wrapper up through the transport, and puts on the transport what that
wraps. Our transports have methods of their own, so each look-up notes what the library's class has, and finds ours
wrapped if that is.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FunctionType, MethodType
from typing import Any, NamedTuple


class _Found(NamedTuple):
    """What the library's class has, and ours for it."""

    theirs: Any
    ours: Callable[..., Any]
    wrapped: bool


class Unwrapping:
    """A transport's method. No data descriptor, as no function is. Any thread.

    `function(transport, request, theirs)` sends the request as `theirs`, the method `name` of the library's class
    `stock`, would.
    """

    def __init__(self, name: str, function: FunctionType, stock: Any) -> None:
        self._name = name
        self._function = function
        self._stock = stock
        self._found = self._look(None)

    def __get__(self, transport: Any, owner: Any = None) -> Any:
        if transport is None:
            return self._function
        theirs = self._stock.__dict__.get(self._name)
        found = self._found
        if found.theirs is not theirs:
            found = self._found = self._look(theirs)
        return MethodType(found.ours, transport) if not found.wrapped else _wrapped(self, found, transport)

    def _look(self, theirs: Any) -> _Found:
        wrapper: Any = getattr(sys.modules.get("wrapt"), "FunctionWrapper", None)
        return _Found(theirs, self.ours_for(theirs), wrapper is not None and isinstance(theirs, wrapper))

    def ours_for(self, theirs: Any) -> Callable[..., Any]:
        """The function with `theirs` as its last argument's default: still a coroutine function if it is one."""
        function = self._function
        return FunctionType(function.__code__, function.__globals__, self._name, (theirs,), function.__closure__)


def _wrapped(method: Unwrapping, found: _Found, transport: Any) -> Any:
    """Calls ours, and is a wrapper around what ours is without theirs."""
    below = MethodType(method.ours_for(found.theirs.__wrapped__), transport)
    ours = MethodType(found.ours, transport)

    def call(wrapped: Any, instance: Any, args: Any, keywords: Any) -> Any:
        return ours(*args, **keywords)

    return sys.modules["wrapt"].FunctionWrapper(below, call)
