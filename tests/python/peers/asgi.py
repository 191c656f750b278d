"""uvicorn on loopback with a small application, for bodies that stream."""

from __future__ import annotations

import hashlib
import json
import socket
import threading
import time
from collections.abc import Awaitable, Callable, MutableMapping
from types import TracebackType
from typing import Any

import uvicorn

from support.certificates import Identity

_PATIENCE = 60.0
_Message = MutableMapping[str, Any]


async def application(
    scope: MutableMapping[str, Any],
    receive: Callable[[], Awaitable[_Message]],
    send: Callable[[_Message], Awaitable[None]],
) -> None:
    """/digest answers with the length and SHA-256 of the request's body, /bytes/N with N bytes, chunked; else 404."""
    path: str = scope["path"]
    if path == "/digest":
        length, digest = 0, hashlib.sha256()
        while True:
            message = await receive()
            piece = message.get("body", b"")
            length += len(piece)
            digest.update(piece)
            if not message.get("more_body"):
                break
        body = json.dumps({"length": length, "sha256": digest.hexdigest()}).encode()
        await _start(send, 200, (b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()))
        await send({"type": "http.response.body", "body": body})
    elif path.startswith("/bytes/"):
        left = int(path.removeprefix("/bytes/"))
        await _start(send, 200)
        piece = b"x" * 65536
        while left > 0:
            await send({"type": "http.response.body", "body": piece[:left], "more_body": True})
            left -= len(piece)
        await send({"type": "http.response.body", "body": b""})
    else:
        await _start(send, 404, (b"content-length", b"0"))
        await send({"type": "http.response.body", "body": b""})


async def _start(send: Callable[[_Message], Awaitable[None]], status: int, *headers: tuple[bytes, bytes]) -> None:
    await send({"type": "http.response.start", "status": status, "headers": list(headers)})


class AsgiServer:
    """One uvicorn in its own thread, from `with` to its end; over TLS with an identity."""

    def __init__(self, identity: Identity | None = None, *, application: Any = application) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=511)
        scheme = "http" if identity is None else "https"
        self.url = f"{scheme}://127.0.0.1:{self._listener.getsockname()[1]}"
        self._server = uvicorn.Server(
            uvicorn.Config(
                application,
                lifespan="off",
                log_level="error",
                ssl_certfile=identity.certificate if identity else None,
                ssl_keyfile=identity.key if identity else None,
                timeout_keep_alive=300,
                timeout_graceful_shutdown=1,
            )
        )
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._listener]}, name="uvicorn", daemon=True
        )

    def __enter__(self) -> AsgiServer:
        self._thread.start()
        end = time.monotonic() + _PATIENCE
        while not self._server.started:
            if time.monotonic() > end or not self._thread.is_alive():
                raise RuntimeError("uvicorn did not start")
            time.sleep(0.01)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.should_exit = True
        self._thread.join(_PATIENCE)
        self._listener.close()
