"""httpx's `network_stream` extension: what can be known of a response's connection, and, once the peer has agreed to
another protocol (101 Switching Protocols, 2xx to CONNECT), the connection itself, as httpcore's streams have it.

The core reads and writes without waiting; the waits are those of `waits.py`. One thread or task may read while another
writes, and any may close.
"""

from __future__ import annotations

import importlib
import os
import select
import socket
import ssl
import threading
from collections.abc import Callable
from typing import Any, ClassVar

from ..tls.session import TlsSession
from .tls_stream import AsyncTLSStream, TLSStream
from .waits import Deadline, await_ready, wait

_NOT_HANDED_OVER = (
    "this connection is the pool's: it can be read and written only after 101 Switching Protocols, or 2xx to CONNECT"
)
#: httpcore's exceptions for the core's codes.
_ERRORS = {"read_failed": "ReadError", "write_failed": "WriteError"}


class NetworkStream:
    """What both kinds have in common. Owned by its response; a connection that was handed over ends with `close()` of
    either, and never goes back to the pool."""

    __slots__ = ("_exchange", "_lock", "_socket")
    #: httpcore, or httpcore2: whose exceptions are raised.
    _core_name: ClassVar[str] = "httpcore"

    def __init__(self, exchange: Any) -> None:
        self._exchange = exchange

    def get_extra_info(self, info: str) -> Any:
        """`client_addr` and `server_addr` as `socket` gives them; `socket`: a duplicate, the caller's to close, None
        once the whole body has arrived; `ssl_object`: the `ssl.SSLObject` that speaks TLS, for looking only, or a
        `TlsSession`, which looks like one, where the core speaks it; `is_readable`: whether a read would find
        something, the end included. None for anything else."""
        exchange = self._exchange
        if info == "client_addr":
            return exchange.local_address
        if info == "server_addr":
            return exchange.peer_address
        if info == "ssl_object":
            facts = exchange.tls_session
            return exchange.ssl_object if facts is None else TlsSession(*facts)
        if info not in ("socket", "is_readable"):
            return None
        descriptor = exchange.descriptor
        if info == "is_readable":
            return descriptor < 0 or wait(descriptor, select.POLLIN, 0)
        return None if descriptor < 0 else socket.socket(fileno=os.dup(descriptor))

    def error(self, name: str, *arguments: Any) -> Exception:
        """An exception of httpcore's."""
        error: Exception = getattr(importlib.import_module(self._core_name), name)(*arguments)
        return error

    def _attempt(self, step: Callable[[Any], Any], argument: Any) -> Any:
        """A step of the core, with httpcore's exceptions."""
        if not self._exchange.switched and not self._exchange.closed:
            raise RuntimeError(_NOT_HANDED_OVER)
        try:
            return step(argument)
        except Exception as error:
            name = _ERRORS.get(getattr(error, "code", ""))
            if name is None:
                raise
            raise self.error(name, *error.args) from error

    def _waitable(self, failure: str) -> socket.socket:
        """A duplicate of the socket, so that its number stays this connection's while a caller waits for it."""
        waitable: socket.socket | None = getattr(self, "_socket", None)
        if waitable is None:
            descriptor = self._exchange.descriptor
            if descriptor < 0:
                raise self.error(failure, "the connection was closed")
            try:
                waitable = self._socket = socket.socket(fileno=os.dup(descriptor))
            except OSError as error:  # the process is out of descriptors
                raise self.error(failure, *error.args) from error
        return waitable

    def __del__(self) -> None:
        waitable: socket.socket | None = getattr(self, "_socket", None)
        if waitable is not None:
            waitable.close()


class SyncNetworkStream(NetworkStream):
    """As `httpcore.NetworkStream`. Any thread."""

    __slots__ = ()

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """At least one byte, b"" at the peer's end. Raises httpcore's ReadError and ReadTimeout."""
        deadline = Deadline(timeout)
        while True:
            with self._held():
                data: bytes | int = self._attempt(self._exchange.receive, max_bytes)
            if isinstance(data, bytes):
                return data
            if not deadline.wait(self._waitable("ReadError"), data):
                raise self.error("ReadTimeout", "timed out")

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """All of it; the timeout is for each piece that the system takes. Raises httpcore's WriteError and
        WriteTimeout."""
        unsent = memoryview(buffer).cast("B")
        deadline = Deadline(timeout)
        while unsent:
            with self._held():
                written: int = self._attempt(self._exchange.transmit, unsent)
            if written >= 0:
                unsent = unsent[written:]
                deadline = Deadline(timeout)
            elif not deadline.wait(self._waitable("WriteError"), -written):
                raise self.error("WriteTimeout", "timed out")

    def close(self) -> None:
        self._exchange.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> TLSStream:
        """TLS over this connection, through a tunnel for example. Raises httpcore's ConnectError and ConnectTimeout."""
        stream = TLSStream(self, ssl_context, server_hostname)
        try:
            stream.shake_hands(timeout)
        except BaseException:
            self.close()
            raise
        return stream

    def _held(self) -> threading.Lock:
        # Made when it is needed first: most responses hand nothing over.
        lock: threading.Lock | None = getattr(self, "_lock", None)
        if lock is None:
            with _making_locks:
                lock = getattr(self, "_lock", None)
                if lock is None:
                    lock = self._lock = threading.Lock()
        return lock


class AsyncNetworkStream(NetworkStream):
    """As `httpcore.AsyncNetworkStream`. Used by one event loop."""

    __slots__ = ()

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """At least one byte, b"" at the peer's end. Raises httpcore's ReadError and ReadTimeout."""
        import anyio
        import anyio.lowlevel

        await anyio.lowlevel.checkpoint()
        try:
            with anyio.fail_after(timeout):
                while True:
                    data: bytes | int = self._attempt(self._exchange.receive, max_bytes)
                    if isinstance(data, bytes):
                        return data
                    await await_ready(self._waitable("ReadError"), data)
        except TimeoutError as error:
            raise self.error("ReadTimeout") from error

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """All of it. Raises httpcore's WriteError and WriteTimeout."""
        import anyio
        import anyio.lowlevel

        await anyio.lowlevel.checkpoint()
        unsent = memoryview(buffer).cast("B")
        try:
            with anyio.fail_after(timeout):
                while unsent:
                    written: int = self._attempt(self._exchange.transmit, unsent)
                    if written >= 0:
                        unsent = unsent[written:]
                    else:
                        await await_ready(self._waitable("WriteError"), -written)
        except TimeoutError as error:
            raise self.error("WriteTimeout") from error

    async def aclose(self) -> None:
        self._exchange.end()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> AsyncTLSStream:
        """TLS over this connection, through a tunnel for example. Raises httpcore's ConnectError and ConnectTimeout."""
        stream = AsyncTLSStream(self, ssl_context, server_hostname)
        try:
            await stream.shake_hands(timeout)
        except BaseException:
            await self.aclose()
            raise
        return stream


_making_locks = threading.Lock()
