"""What of Python's `socket` is replaced: by gevent or eventlet, by a guard (pytest-socket), by a resolver of one's own.

Connections of the pool are opened by native code, which would pass by what stands there, and block the hub of gevent or
eventlet. So transports send such requests through the library's own transport (`acceleration/seams.py`), and the
methods of a pool that need a connection refuse. `_core.sockets_replaced()` is the cheap question, asked with each
request; it asks here again after something was written to the module or the class.
"""

from __future__ import annotations

import _socket
import socket
from collections.abc import Callable, Iterator
from types import FunctionType
from typing import Any

from ..exceptions import SocketsReplaced

#: Methods of socket.socket that stock transports use, on one event loop or another.
_INHERITED = (
    "__new__",
    "bind",
    "connect",
    "connect_ex",
    "getpeername",
    "getsockname",
    "recv",
    "recv_into",
    "send",
    "sendall",
    "sendmsg",
    "setblocking",
    "setsockopt",
    "settimeout",
    "shutdown",
)


def replaced() -> str:
    """The first thing of `socket` that is not Python's own, and where it comes from; empty if there is none."""
    return next(_found(), "")


def refuse() -> None:
    """Raises SocketsReplaced if anything is replaced."""
    what = replaced()
    if what:
        raise SocketsReplaced(
            f"{what} stands in the place of Python's own, and connections of this pool, which native code opens, would "
            "pass it by (and block a gevent or eventlet hub): use an httpx client, as it comes or over "
            "fast_litellm.HTTPTransport or AsyncHTTPTransport, which go httpx's own way while it is there"
        )


def _found() -> Iterator[str]:
    # A function of the module that no library replaces: what is the module's own was compiled from the same file, and
    # looks its names up in the same module (eventlet compiles Python's file a second time).
    sibling: Any = socket.has_dualstack_ipv6
    file, module = sibling.__code__.co_filename, sibling.__globals__

    def is_own(value: Any) -> bool:
        return type(value) is FunctionType and value.__code__.co_filename == file and value.__globals__ is module

    for name in ("getaddrinfo", "create_connection"):
        value = getattr(socket, name, None)
        if not is_own(value):
            yield _described(f"socket.{name}", value)
    kind: Any = socket.socket
    if not (isinstance(kind, type) and kind.__module__ == "socket" and kind.__mro__[1:2] == (_socket.socket,)):
        yield _described("socket.socket", kind)
        return
    yield from _replaced_methods(kind, is_own)


def _replaced_methods(kind: Any, is_own: Callable[[Any], bool]) -> Iterator[str]:
    for name in ("__init__", "close"):
        if not is_own(kind.__dict__.get(name)):
            yield _described(f"socket.socket.{name}", kind.__dict__.get(name))
    for name in _INHERITED:
        if getattr(kind, name, None) is not getattr(_socket.socket, name, None):
            yield _described(f"socket.socket.{name}", getattr(kind, name, None))


def _described(place: str, value: Any) -> str:
    module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(name, str):
        module, name = type(value).__module__, type(value).__qualname__
    return f"{place}: {module}.{name}"
