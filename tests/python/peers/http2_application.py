"""The ASGI application of two HTTP/2 peers: hypercorn serves it over HTTP/2, and nginx passes requests on to it over
HTTP/1.1. `peers/http2.py` lists its paths."""

from __future__ import annotations

import hashlib
import json
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qs, parse_qsl
from urllib.request import parse_http_list, parse_keqv_list

HELLO = b"Hello over HTTP/2\n"
PIECE = b"x" * 16384
#: What /protected/basic and /protected/digest ask for.
USER, PASSWORD = "user", "pass word"

_Message = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[_Message]]
_Send = Callable[[_Message], Awaitable[None]]
_Field = tuple[bytes, bytes]


async def application(scope: _Message, receive: _Receive, send: _Send) -> None:
    if scope["type"] != "http":
        raise RuntimeError(f"nothing but HTTP is served: {scope['type']}")
    query = {name: values[0] for name, values in parse_qs(scope["query_string"].decode()).items()}
    path: str = scope["path"]
    if path == "/hello":
        await _respond(send, 200, HELLO, (b"content-type", b"text/plain"))
    elif path == "/echo":
        await _echo(scope, receive, send)
    elif path == "/headers":
        fields = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
        host = next(value for name, value in fields if name == "host")
        seen = {"host": host, "headers": [field for field in fields if field[0] != "host"]}
        await _respond(send, 200, json.dumps(seen).encode())
    elif path == "/digest":
        length, digest = 0, hashlib.sha256()
        async for piece in _body(receive):
            length += len(piece)
            digest.update(piece)
        await _respond(send, 200, json.dumps({"length": length, "sha256": digest.hexdigest()}).encode())
    elif path == "/stream":
        await _pieces(send, (f"piece {number}\n".encode() for number in range(int(query["n"]))))
    elif path == "/big":
        left = int(query["bytes"])
        await _pieces(send, (PIECE[: left - at] for at in range(0, left, len(PIECE))))
    elif path.startswith("/status/"):
        await _start(send, int(path.removeprefix("/status/")), (b"x-status", b"bare"))
        await send({"type": "http.response.body"})
    elif path == "/cookies":
        await _respond(send, 200, b"", (b"set-cookie", b"a=1; Path=/"), (b"set-cookie", b"b=2; Path=/"))
    elif path.startswith("/redirect/"):
        await _redirect(int(path.removeprefix("/redirect/")), query, receive, send)
    elif path == "/seen":
        await _respond(send, 200, json.dumps(await _seen(scope, receive)).encode())
    elif path == "/set":
        pairs = parse_qsl(scope["query_string"].decode())
        await _respond(send, 200, b"", *[(b"set-cookie", f"{name}={value}".encode()) for name, value in pairs])
    elif path.startswith("/protected/"):
        await _protected(scope, receive, send)
    elif path == "/early413":
        await _respond(send, 413, b"too much")
    elif path == "/never":
        while (await receive())["type"] != "http.disconnect":
            pass
    elif path == "/trailers":
        await send({"type": "http.response.start", "status": 200, "headers": [], "trailers": True})
        await send({"type": "http.response.body", "body": b"before the trailers", "more_body": False})
        await send({"type": "http.response.trailers", "headers": [(b"x-trailer", b"last")]})
    else:
        await _respond(send, 404, b"not here")


async def _seen(scope: _Message, receive: _Receive) -> dict[str, Any]:
    fields = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
    body = b"".join([piece async for piece in _body(receive)])
    return {"method": scope["method"], "headers": fields, "body": body.decode("latin-1")}


async def _redirect(status: int, query: dict[str, str], receive: _Receive, send: _Send) -> None:
    async for _ in _body(receive):
        pass
    cookie = [(b"set-cookie", query["cookie"].encode())] if "cookie" in query else []
    await _respond(send, status, b"moved", (b"location", query["to"].encode()), *cookie)


async def _protected(scope: _Message, receive: _Receive, send: _Send) -> None:
    """/seen, for requests that carry USER and PASSWORD in the scheme that the path names."""
    scheme = scope["path"].removeprefix("/protected/")
    seen = await _seen(scope, receive)
    credentials = dict(seen["headers"]).get("authorization", "")
    if scheme == "basic":
        admitted = credentials == "Basic " + b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        challenge = 'Basic realm="tests"'
    else:
        admitted = credentials.startswith("Digest ") and _digest_is_right(scope["method"], credentials)
        challenge = 'Digest realm="tests", nonce="once", qop="auth", algorithm=SHA-256'
    if admitted:
        await _respond(send, 200, json.dumps(seen).encode())
    else:
        await _respond(send, 401, b"who is it?", (b"www-authenticate", challenge.encode()))


def _digest_is_right(method: str, credentials: str) -> bool:
    """RFC 7616, with `qop="auth"` and SHA-256."""

    def digest(*parts: str) -> str:
        return hashlib.sha256(":".join(parts).encode()).hexdigest()

    given = parse_keqv_list(parse_http_list(credentials.removeprefix("Digest ")))
    secret, what = digest(USER, "tests", PASSWORD), digest(method, given["uri"])
    expected = digest(secret, "once", given["nc"], given["cnonce"], "auth", what)
    return (given["username"], given["response"]) == (USER, expected)


async def _echo(scope: _Message, receive: _Receive, send: _Send) -> None:
    """Sends each piece back as it comes."""
    await _start(send, 200, *[(b"x-id", value) for name, value in scope["headers"] if name == b"x-id"])
    async for piece in _body(receive):
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body"})


async def _body(receive: _Receive) -> AsyncIterator[bytes]:
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        yield message.get("body", b"")
        if not message.get("more_body"):
            return


async def _pieces(send: _Send, pieces: Any) -> None:
    await _start(send, 200)
    for piece in pieces:
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body"})


async def _respond(send: _Send, status: int, body: bytes, *fields: _Field) -> None:
    await _start(send, status, (b"content-length", str(len(body)).encode()), *fields)
    await send({"type": "http.response.body", "body": body})


async def _start(send: _Send, status: int, *fields: _Field) -> None:
    await send({"type": "http.response.start", "status": status, "headers": list(fields)})
