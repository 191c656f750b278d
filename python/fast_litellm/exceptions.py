"""What the pool's errors are in Python: one table from the core's codes to exceptions.

Requests raise httpx's own exceptions, so that code which handles httpx's handles ours. Each exception carries `.code`,
`.phase` and `.bytes_sent` as the core saw them; where the system said something, its `OSError` is the `__cause__`.

One row differs from httpx on purpose. A connection that ended early after bytes of the request went out is a
`ReadError`, never a `RemoteProtocolError`: callers replay on the latter, and a POST may have been processed.
"""

from __future__ import annotations

import importlib
import os
from types import ModuleType


class PoolClosed(RuntimeError):
    """The pool, or the transport, was closed before or while the call waited."""


class Forked(RuntimeError):
    """The lease or response belongs to the process that forked this one, or other code in this process has closed its
    socket (`os.closerange`). Make a new request."""


class StaleLease(ValueError):
    """The connection id is not, or no longer, a lease."""


class SocketsReplaced(RuntimeError):
    """Python's own `socket` was replaced (by gevent, eventlet, a test's guard), and connections of the pool would pass
    by what stands there."""


class FleetUnavailable(RuntimeError):
    """The limits that this process is to share with others (docs/fleet.md) cannot be kept: redis-py is missing, or the
    URL or a limit is wrong. Nothing is sent: without the pool the limits would silently not hold."""


class NotOffered(NotImplementedError, ValueError):
    """Understood, but not offered (yet)."""


#: code -> exception: one of ours, or a name in httpx (or a library with httpx's names).
TABLE: dict[str, type[Exception] | str] = {
    "invalid_argument": ValueError,
    "unsupported": NotOffered,
    "stale_lease": StaleLease,
    "pool_timeout": "PoolTimeout",
    "pool_closed": PoolClosed,
    "forked": Forked,
    "resolve_failed": "ConnectError",
    "connect_failed": "ConnectError",
    "connect_timeout": "ConnectTimeout",
    "tls_failed": "ConnectError",
    "write_failed": "WriteError",
    "write_timeout": "WriteTimeout",
    "read_failed": "ReadError",
    "read_timeout": "ReadTimeout",
    "local_protocol": "LocalProtocolError",
    "remote_protocol": "RemoteProtocolError",
    "interrupted": "ReadError",
    "out_of_memory": MemoryError,
    "total_timeout": "ReadTimeout",
    "cancelled": "ReadError",
    "body_too_large": "ReadError",
    "proxy_failed": "ProxyError",
}

#: Callers take these two for "nothing was sent, try again"; once a byte was, they must not see them.
ONCE_BYTES_WERE_SENT = {"ConnectError": "ReadError", "ConnectTimeout": "ReadTimeout"}


def error_factory(
    code: str, phase: str, bytes_sent: int, os_error: int, detail: str, *, library: str = "httpx"
) -> BaseException:
    """The exception for an error of the core; `library` has httpx's names and is imported here, not before.

    A code that the table does not know becomes a `RuntimeError`: a wrong guess could invite a replay.
    """
    kind = TABLE.get(code, RuntimeError)
    if code == "proxy_failed":  # the proxy's words alone, as httpx has them; the endpoint's name stands in front
        detail = detail.partition(": ")[2] or detail
    if isinstance(kind, str):
        if bytes_sent:
            kind = ONCE_BYTES_WERE_SENT.get(kind, kind)
        kind = _exception(importlib.import_module(library), kind)
    error = kind(detail or f"{code} ({phase})")
    error.__dict__.update(code=code, phase=phase, bytes_sent=bytes_sent)
    if os_error:
        error.__cause__ = OSError(os_error, os.strerror(os_error))
    return error


#: phase -> (code, bytes sent). After the connect phase the request may have been processed. How many bytes of it were
#: sent is not known here: 1 says that a replay is not safe.
_CANNOT_WATCH = {"connect": ("connect_failed", 0), "write": ("write_failed", 1), "read_body": ("read_failed", 1)}


def cannot_watch(error: OSError, *, library: str = "httpx", phase: str = "connect") -> BaseException:
    """The exception for an event loop that cannot wait for a connection, since the process is out of descriptors:
    `ConnectError`, `WriteError` or `ReadError`, by the phase of the request ("connect", "write" or "read_body")."""
    code, bytes_sent = _CANNOT_WATCH[phase]
    detail = f"the event loop cannot watch a connection: {error.strerror or error}"
    return error_factory(code, phase, bytes_sent, error.errno or 0, detail, library=library)


def _exception(library: ModuleType, name: str) -> type[Exception]:
    found: type[Exception] = getattr(library, name)
    return found
