"""TLS over a connection that was handed over: what `start_tls` of the network streams gives. The context's own
`ssl.SSLObject` between two memory buffers; the stream below moves the bytes."""

from __future__ import annotations

import functools
import ssl
import threading
from collections.abc import Callable
from typing import Any, Protocol

from .waits import Deadline

_RECORD = 16 * 1024  # the most that one TLS record carries


class _Bytes(Protocol):
    """The stream below, as a session sees it (`network_stream.NetworkStream`)."""

    def get_extra_info(self, info: str) -> Any: ...
    def error(self, name: str, *arguments: Any) -> Exception: ...


class _SyncBytes(_Bytes, Protocol):
    def read(self, max_bytes: int, timeout: float | None = None) -> bytes: ...
    def write(self, buffer: bytes, timeout: float | None = None) -> None: ...
    def close(self) -> None: ...


class _AsyncBytes(_Bytes, Protocol):
    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes: ...
    async def write(self, buffer: bytes, timeout: float | None = None) -> None: ...
    async def aclose(self) -> None: ...


class _Session:
    """The TLS state, without I/O. One thread at a time, except where a lock is named."""

    def __init__(self, stream: _Bytes, ssl_context: ssl.SSLContext, server_hostname: str | None) -> None:
        self._stream = stream
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._object = ssl_context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_hostname)

    def get_extra_info(self, info: str) -> Any:
        return self._object if info == "ssl_object" else self._stream.get_extra_info(info)

    def _attempt(self, step: Callable[[], Any]) -> tuple[bool, Any]:
        """-> whether the step is done, and its result; if not, it needs more from the peer."""
        try:
            return True, step()
        except ssl.SSLWantReadError:
            return False, None

    def _fed(self, data: bytes) -> None:
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    def _failure(self, name: str, error: Exception) -> Exception:
        return self._stream.error(name, *error.args)

    def _reader(self, max_bytes: int) -> Callable[[], bytes]:
        def read() -> bytes:
            try:
                return self._object.read(max_bytes)
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):  # as a socket with suppress_ragged_eofs
                return b""

        return read


class TLSStream(_Session):
    """As `httpcore.NetworkStream`. One thread may read while another writes."""

    _stream: _SyncBytes

    def __init__(self, stream: _SyncBytes, ssl_context: ssl.SSLContext, server_hostname: str | None) -> None:
        super().__init__(stream, ssl_context, server_hostname)
        self._state = threading.Lock()  # guards the SSLObject and the buffers
        self._sending = threading.Lock()  # keeps records in their order; taken before _state

    def shake_hands(self, timeout: float | None) -> None:
        self._perform(self._object.do_handshake, timeout, ("ConnectError", "ConnectTimeout"))

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        data: bytes = self._perform(self._reader(max_bytes), timeout, ("ReadError", "ReadTimeout"))
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        unsent = memoryview(buffer).cast("B")
        while unsent:
            write = functools.partial(self._object.write, unsent[:_RECORD])
            written: int = self._perform(write, timeout, ("WriteError", "WriteTimeout"))
            unsent = unsent[written:]

    def close(self) -> None:
        self._stream.close()

    def start_tls(self, *_: Any, **__: Any) -> TLSStream:
        raise NotImplementedError("TLS within TLS within a tunnel")

    def _perform(self, step: Callable[[], Any], timeout: float | None, failures: tuple[str, str]) -> Any:
        deadline = Deadline(timeout)
        try:
            while True:
                with self._state:
                    done, result = self._attempt(step)
                self._flush(deadline)
                if done:
                    return result
                data = self._stream.read(_RECORD, deadline.left())
                with self._state:
                    self._fed(data)
        except ssl.SSLError as error:
            raise self._failure(failures[0], error) from error
        except Exception as error:
            raise _renamed(self._stream, error, failures) from error

    def _flush(self, deadline: Deadline) -> None:
        with self._sending:
            with self._state:
                data = self._outgoing.read()
            if data:
                self._stream.write(data, deadline.left())


class AsyncTLSStream(_Session):
    """As `httpcore.AsyncNetworkStream`. One task may read while another writes."""

    _stream: _AsyncBytes

    def __init__(self, stream: _AsyncBytes, ssl_context: ssl.SSLContext, server_hostname: str | None) -> None:
        import anyio

        super().__init__(stream, ssl_context, server_hostname)
        self._sending = anyio.Lock()  # keeps records in their order

    async def shake_hands(self, timeout: float | None) -> None:
        await self._perform(self._object.do_handshake, timeout, ("ConnectError", "ConnectTimeout"))

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        data: bytes = await self._perform(self._reader(max_bytes), timeout, ("ReadError", "ReadTimeout"))
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        unsent = memoryview(buffer).cast("B")
        while unsent:
            write = functools.partial(self._object.write, unsent[:_RECORD])
            written: int = await self._perform(write, timeout, ("WriteError", "WriteTimeout"))
            unsent = unsent[written:]

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(self, *_: Any, **__: Any) -> AsyncTLSStream:
        raise NotImplementedError("TLS within TLS within a tunnel")

    async def _perform(self, step: Callable[[], Any], timeout: float | None, failures: tuple[str, str]) -> Any:
        deadline = Deadline(timeout)
        try:
            while True:
                done, result = self._attempt(step)
                async with self._sending:
                    if data := self._outgoing.read():
                        await self._stream.write(data, deadline.left())
                if done:
                    return result
                self._fed(await self._stream.read(_RECORD, deadline.left()))
        except ssl.SSLError as error:
            raise self._failure(failures[0], error) from error
        except Exception as error:
            raise _renamed(self._stream, error, failures) from error


def _renamed(stream: _Bytes, error: Exception, failures: tuple[str, str]) -> Exception:
    """The exception of the operation for one of the bytes below it; another as it is."""
    kind = type(error).__name__
    if kind in ("ReadError", "WriteError"):
        return stream.error(failures[0], *error.args)
    if kind in ("ReadTimeout", "WriteTimeout"):
        return stream.error(failures[1], *error.args)
    return error
