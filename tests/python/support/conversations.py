"""The same conversation with two clients, one with shortcuts and one without, recorded so that both can be compared."""

from __future__ import annotations

import asyncio
import gzip
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, NamedTuple

import httpx
import pytest

from fast_litellm.acceleration import shortcuts
from peers.scripted import Connection, Request, ScriptedServer

#: Arguments of one call of the client's `request`; a URL that begins with a slash is the server's, unless "relative".
Step = dict[str, Any]


class Observed(NamedTuple):
    """All that can be seen of a conversation, from the caller's side and from the server's."""

    outcomes: list[dict[str, Any]]
    requests: list[Request]
    cookies: list[Any]
    log: list[tuple[Any, ...]]


class Conversations:
    """Holds conversations with one server. `library` makes the clients."""

    def __init__(self, server: ScriptedServer, caplog: pytest.LogCaptureFixture, level: int = logging.INFO) -> None:
        self.server = server
        #: The lowest level of the library's log records that a handler takes.
        self.level = level
        self._caplog = caplog
        #: The shortcuts that a client must get.
        self.expected = tuple(shortcuts.SHORTCUTS)

    def hold(
        self, client: Any, steps: list[Step], *, quick: bool, prepare: Callable[[Any], None] | None = None
    ) -> Observed:
        if quick:
            shortcuts.put_on(client)
            assert shortcuts.names_on(client) == self.expected, shortcuts.states()
        if prepare is not None:
            prepare(client)
        logger = type(client).__module__.partition(".")[0]
        before = len(self.server.requests)
        self._caplog.clear()
        with self._caplog.at_level(self.level, logger=logger):
            if hasattr(client, "aclose"):
                outcomes = asyncio.run(_converse_async(client, self.server.url, steps))
            else:
                outcomes = _converse(client, self.server.url, steps)
        return Observed(
            outcomes,
            self.server.requests[before:],
            describe_cookies(client.cookies),
            [
                (record.name, record.levelno, record.getMessage(), record.pathname, record.funcName, record.lineno)
                for record in self._caplog.records
                if record.name == logger
            ],
        )


def _converse(client: httpx.Client, url: str, steps: list[Step]) -> list[dict[str, Any]]:
    outcomes = []
    with client:
        for step in steps:
            try:
                outcomes.append(describe(client.request(**_arguments(url, step, pieces))))
            except Exception as error:
                outcomes.append(describe_error(error))
    return outcomes


async def _converse_async(client: httpx.AsyncClient, url: str, steps: list[Step]) -> list[dict[str, Any]]:
    outcomes = []
    async with client:
        for step in steps:
            try:
                outcomes.append(describe(await client.request(**_arguments(url, step, async_pieces))))
            except Exception as error:
                outcomes.append(describe_error(error))
    return outcomes


def pieces(items: list[bytes]) -> Iterator[bytes]:
    yield from items


async def async_pieces(items: list[bytes]) -> AsyncIterator[bytes]:
    for item in items:
        yield item


def _arguments(url: str, step: Step, in_pieces: Callable[[list[bytes]], Any]) -> Step:
    target = step.get("url", "/")
    absolute = isinstance(target, str) and target.startswith("/") and not step.get("relative")
    arguments = {**step, "method": step.get("method", "POST"), "url": url + target if absolute else target}
    arguments.pop("relative", None)
    if "pieces" in step:
        arguments["content"] = in_pieces(arguments.pop("pieces"))
    for name in ("content", "headers"):  # one that is consumed
        if callable(arguments.get(name)):
            arguments[name] = arguments[name]()
    return arguments


def describe(response: httpx.Response) -> dict[str, Any]:
    return {
        "kind": type(response),
        "status": response.status_code,
        "headers": response.headers.raw,
        "content": response.content,
        "text": response.text,
        "encoding": response.encoding,
        "http version": response.http_version,
        "reason": response.reason_phrase,
        "downloaded": response.num_bytes_downloaded,
        "closed": response.is_closed,
        "consumed": response.is_stream_consumed,
        "elapsed": response.elapsed.total_seconds() > 0,
        "cookies": describe_cookies(response.cookies),
        "extensions": sorted(response.extensions),
        "stream": type(response.stream),
        "attributes": list(vars(response)),
        "request": describe_request(response.request),
        "next request": describe_request(response.next_request) if response.next_request else None,
        "history": [describe(earlier) for earlier in response.history],
        "error": describe_error(error) if (error := _raised(response)) else None,
    }


def _raised(response: httpx.Response) -> Exception | None:
    try:
        response.raise_for_status()
    except httpx.HTTPStatusError as error:
        return error
    return None


def describe_cookies(cookies: httpx.Cookies) -> list[Any]:
    return [list(vars(cookie).items()) for cookie in cookies.jar]


def describe_request(request: httpx.Request) -> dict[str, Any]:
    return {
        "kind": type(request),
        "method": request.method,
        "url": (str(request.url), type(request.url), request.url.raw_path),
        "headers": request.headers.raw,
        "header list": request.headers._list,
        "encoding": request.headers.encoding,
        "extensions": request.extensions,
        "stream": type(request.stream),
        "content": getattr(request, "_content", None),
        "attributes": list(vars(request)),
    }


def describe_error(error: BaseException) -> dict[str, Any]:
    request = getattr(error, "_request", None)
    return {
        "error": type(error),
        "message": str(error),
        "cause": type(error.__cause__),
        "request": describe_request(request) if request is not None else None,
    }


async def answer(connection: Connection) -> None:
    """The request's path chooses the response."""
    while True:
        request = await connection.request()
        path = request.target.partition("?")[0]
        if path == "/cookie":
            await connection.respond(b"sweet", "200 OK", "Set-Cookie: a=1; Path=/", "set-cookie: b=2; HttpOnly")
        elif path == "/old-cookie":
            await connection.respond(b"old", "200 OK", "Set-Cookie2: c=3; Version=1; Path=/")
        elif path == "/expire":
            await connection.respond(b"", "200 OK", "SET-COOKIE: a=1; Path=/; Max-Age=0")
        elif path == "/redirect":
            await connection.respond(b"over there", "302 Found", "Location: /landing", "Set-Cookie: seen=yes; Path=/")
        elif path == "/moved":
            await connection.respond(b"", "307 Temporary Redirect", "Location: /landing")
        elif path == "/nowhere":
            await connection.respond(b"lost", "302 Found", "Location: https://[/")
        elif path == "/gzip":
            await connection.respond(gzip.compress(b"packed" * 50, mtime=0), "200 OK", "Content-Encoding: gzip")
        elif path == "/broken-gzip":
            await connection.respond(b"not gzip at all", "200 OK", "Content-Encoding: gzip")
        elif path == "/chunked":
            head = (
                b"HTTP/1.1 200 Fine\r\nTransfer-Encoding: chunked\r\nContent-Type: text/plain; charset=latin-1\r\n\r\n"
            )
            await connection.send(head + b"3\r\na\xe9c\r\n2\r\nde\r\n0\r\n\r\n")
        elif path == "/truncated":
            await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
            return
        elif path == "/hang-up":
            return
        elif path == "/nothing":
            await connection.send(b"HTTP/1.1 204 No Content\r\n\r\n")
        elif path == "/limit":
            await connection.respond(b'{"error": "slow down"}', "429 Too Many Requests", "Retry-After: 1")
        elif path == "/latin":
            await connection.send(b"HTTP/1.0 200 \xc9t\xe9\r\nX-Name: \xe9\r\ncontent-length: 2\r\n\r\nok")
            return
        else:
            await connection.respond(request.raw_head + request.body, "200 OK", "Content-Type: application/json")
