"""The results of httpx's own parser and of a transport for the same server's bytes, in one form."""

from __future__ import annotations

import socket
import threading
from typing import Any, NamedTuple

import h11
import httpx

_MOST_OF_A_HEAD = 100 * 1024  # httpcore's
_PATIENCE = 60.0  # seconds; only a failing test waits that long


class Reading(NamedTuple):
    """A response that was read, or why it was refused."""

    refused: str | None
    status: int = 0
    version: bytes = b""
    reason: bytes = b""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes = b""


def read_with_h11(data: bytes, method: str = "POST") -> Reading:
    """As httpcore uses h11: `data` is all that the server sends before it closes."""
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MOST_OF_A_HEAD)
    connection.send(h11.Request(method=method, target="/", headers=[("host", "localhost")]))
    connection.send(h11.EndOfMessage())
    pieces = [data[start : start + 65536] for start in range(0, len(data), 65536)] + [b""]
    head: Any = None
    body = b""
    try:
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                connection.receive_data(pieces.pop(0))
            elif isinstance(event, h11.Response):
                head = event
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                break
    except h11.RemoteProtocolError as error:
        return Reading(str(error))
    return Reading(
        None,
        head.status_code,
        b"HTTP/" + head.http_version,
        bytes(head.reason),
        _headers(head.headers.raw_items()),
        body,
    )


class ByteServer:
    """Answers each request with bytes that the test sets, and closes the connection behind them."""

    def __init__(self) -> None:
        self.answer = b""
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=16)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            with peer:
                peer.settimeout(_PATIENCE)
                asked = b""
                while b"\r\n\r\n" not in asked and (more := peer.recv(65536)):
                    asked += more
                if not asked:
                    continue
                try:
                    peer.sendall(self.answer)
                    peer.shutdown(socket.SHUT_WR)
                    while peer.recv(65536):  # until the client closes, lest a reset overtake the answer
                        pass
                except OSError:
                    pass

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(_PATIENCE)


def read_with(client: httpx.Client, server: ByteServer, data: bytes, method: str = "POST") -> Reading:
    server.answer = data
    try:
        with client.stream(method, server.url, headers={"connection": "close"}) as response:
            body = b"".join(response.iter_raw())
    except (httpx.RemoteProtocolError, httpx.ReadError) as error:
        return Reading(str(error) or type(error).__name__)
    return Reading(
        None,
        response.status_code,
        response.extensions["http_version"],
        response.extensions["reason_phrase"],
        _headers(response.headers.raw),
        body,
    )


def _headers(pairs: list[tuple[bytes, bytes]]) -> tuple[tuple[bytes, bytes], ...]:
    # h11 changes the one value that it understands to small letters.
    return tuple(
        (bytes(name), bytes(value).lower() if name.lower() == b"transfer-encoding" else bytes(value))
        for name, value in pairs
    )
