"""The Python clients of this part: how each is set up for one protocol, at its best.

Each protocol is forced: HTTP/2 without TLS needs prior knowledge, and the server refuses requests of the other one.
"""

from __future__ import annotations

import importlib
import ssl
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.common.workload import REQUEST_BODY, REQUEST_HEADERS, RESPONSE_BODY, Peer
from bench.http import clients as blocking
from bench.http.clients import check, check_own, needing_packages, own_package, pyreqwest_client
from bench.http2.server import DOWNLOAD, DOWNLOAD_SIZE
from bench.loops import clients as tasks
from bench.loops.clients import limits

_SIZE = len(RESPONSE_BODY)
#: More connections than any row has tasks.
_IDLE_CONNECTIONS = 1_000


def _verify(peer: Peer) -> str | bool:
    return peer.ca_file if peer.ca_file is not None else True


def _context(peer: Peer) -> ssl.SSLContext | bool:
    return ssl.create_default_context(cafile=peer.ca_file) if peer.ca_file is not None else True


def _protocols(http2: bool) -> dict[str, bool]:
    return {"http1": not http2, "http2": http2}


def _httpx(kind: str, peer: Peer, http2: bool) -> Any:
    """A stock client."""
    httpx = importlib.import_module("httpx")
    return getattr(httpx, kind)(verify=_context(peer), limits=limits(), **_protocols(http2))


def _accelerated(kind: str, peer: Peer, http2: bool) -> Any:
    """The process-wide pool and the shortcuts; the client was made with these settings for TLS, and that is said."""
    client = own_package("accelerate")(_httpx(kind, peer, http2), verify=_verify(peer))
    check_own(client)
    return client


def _over_transport(kind: str, transport: str, peer: Peer, http2: bool) -> Any:
    httpx = importlib.import_module("httpx")
    made = own_package(transport)(verify=_verify(peer), limits=limits(), **_protocols(http2))
    return getattr(httpx, kind)(transport=made)


def _pool(peer: Peer, http2: bool) -> Any:
    return own_package("SimpleConnectionPool")("bench", verify=_verify(peer), **_protocols(http2))


def _pyqwest_transport(kind: str, peer: Peer, http2: bool) -> Any:
    """Nothing that the workload does not use; every connection is kept."""
    pyqwest = importlib.import_module("pyqwest")
    return getattr(pyqwest, kind)(
        tls_ca_cert=Path(peer.ca_file).read_bytes() if peer.ca_file is not None else None,
        http_version=pyqwest.HTTPVersion.HTTP2 if http2 else pyqwest.HTTPVersion.HTTP1,
        pool_max_idle_per_host=_IDLE_CONNECTIONS,
        enable_gzip=False,
        enable_brotli=False,
        enable_zstd=False,
        enable_otel=False,
        follow_redirects=False,
    )


# ---- on threads ------------------------------------------------------------------------------------------------------


def _blocking_pyqwest(peer: Peer, http2: bool) -> blocking.Opened:
    transport = _pyqwest_transport("SyncHTTPTransport", peer, http2)
    post, url = importlib.import_module("pyqwest").SyncClient(transport).post, peer.url

    def call() -> None:
        response = post(url, REQUEST_HEADERS, REQUEST_BODY)
        content = response.content
        if response.status != 200 or len(content) != _SIZE:
            check(response.status, len(content))

    return blocking.Opened(lambda: call, transport.close)


def _blocking_pyreqwest(peer: Peer, http2: bool) -> blocking.Opened:
    builder = importlib.import_module("pyreqwest.client").SyncClientBuilder()
    return blocking.through_pyreqwest(pyreqwest_client(builder, peer, http2), peer)


_BLOCKING: dict[str, Callable[[Peer, bool], blocking.Opened]] = {
    "accelerated": lambda peer, http2: blocking.through_httpx(_accelerated("Client", peer, http2), peer.url),
    "transport": lambda peer, http2: blocking.through_httpx(
        _over_transport("Client", "HTTPTransport", peer, http2), peer.url
    ),
    "request": lambda peer, http2: blocking.through_request(_pool(peer, http2), peer),
    "httpx": lambda peer, http2: blocking.through_httpx(_httpx("Client", peer, http2), peer.url),
    "pyqwest": _blocking_pyqwest,
    "pyreqwest": _blocking_pyreqwest,
}


def open_blocking(name: str, peer: Peer, http2: bool) -> blocking.Opened:
    """Sets a client for threads up; NotAvailable if its package is missing."""
    with needing_packages():
        return _BLOCKING[name](peer, http2)


# ---- in tasks --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Streaming(tasks.Opened):
    """A client that also streams. `download` reads the file and tells the size of each piece; `stall` begins a download
    and leaves its body unread until the client is closed."""

    download: Callable[[Callable[[int], None]], Coroutine[Any, Any, None]]
    stall: Callable[[], Coroutine[Any, Any, None]]


def _with_streams(client: Any, peer: Peer) -> Streaming:
    opened = tasks.through_httpx(client, peer)
    url, unread = peer.origin + DOWNLOAD, AsyncExitStack()

    async def download(tell: Callable[[int], None]) -> None:
        size = 0
        async with client.stream("GET", url) as response:
            async for piece in response.aiter_raw():
                size += len(piece)
                tell(len(piece))
        if response.status_code != 200 or size != DOWNLOAD_SIZE:
            raise AssertionError(f"status {response.status_code}, {size} bytes of {DOWNLOAD_SIZE}")

    async def stall() -> None:
        response = await unread.enter_async_context(client.stream("GET", url))
        if response.status_code != 200:
            raise AssertionError(f"status {response.status_code}")

    async def close() -> None:
        await unread.aclose()
        await opened.close()

    return Streaming(opened.calls, close, download, stall)


def _pyqwest(peer: Peer, http2: bool) -> tasks.Opened:
    transport = _pyqwest_transport("HTTPTransport", peer, http2)
    post, url = importlib.import_module("pyqwest").Client(transport).post, peer.url

    async def call() -> None:
        response = await post(url, REQUEST_HEADERS, REQUEST_BODY)
        content = response.content
        if response.status != 200 or len(content) != _SIZE:
            check(response.status, len(content))

    return tasks.Opened({"post": call}, transport.aclose)


def _pyreqwest(peer: Peer, http2: bool) -> tasks.Opened:
    builder = importlib.import_module("pyreqwest.client").ClientBuilder()
    return tasks.through_pyreqwest(pyreqwest_client(builder, peer, http2), peer)


_IN_TASKS: dict[str, Callable[[Peer, bool], tasks.Opened]] = {
    "accelerated": lambda peer, http2: _with_streams(_accelerated("AsyncClient", peer, http2), peer),
    "transport": lambda peer, http2: _with_streams(
        _over_transport("AsyncClient", "AsyncHTTPTransport", peer, http2), peer
    ),
    "arequest": lambda peer, http2: tasks.through_arequest(_pool(peer, http2), peer),
    "httpx": lambda peer, http2: _with_streams(_httpx("AsyncClient", peer, http2), peer),
    "pyqwest": _pyqwest,
    "pyreqwest": _pyreqwest,
}


async def open_in_tasks(name: str, peer: Peer, http2: bool) -> tasks.Opened:
    """Sets a client for tasks up, in the loop that uses it; NotAvailable if its package is missing."""
    with needing_packages():
        return _IN_TASKS[name](peer, http2)
