"""The asynchronous clients that are compared: how each is set up at its best, and how it makes one call.

A client is opened once per process, in the loop that it is used in (`open_client`). Through httpx it makes requests and
reads streams, without httpx requests alone. As in http/clients.py, a call takes the status and the whole body and
raises if either is not what the server sends, and a package is imported when its client is opened.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from bench.common.workload import (
    BURST,
    EVENTS,
    PACED,
    REQUEST_BODY,
    REQUEST_HEADERS,
    RESPONSE_BODY,
    STAMP,
    TARGET,
    Peer,
)
from bench.http.clients import NotAvailable, check, check_own, needing_packages, own_package, pyreqwest_client
from bench.loops import tunnel

#: One call; of a paced stream it returns the nanoseconds from the sending of the first event to its being read.
Call = Callable[[], Coroutine[Any, Any, int | None]]
_SIZE = len(RESPONSE_BODY)
#: More connections than any row has tasks.
_CONNECTIONS = 1_000
_IDLE_SECONDS = 120


@dataclass(frozen=True)
class Opened:
    """A client ready for use: its calls by the name of the work, and the end of it."""

    calls: dict[str, Call]
    close: Callable[[], Awaitable[object]]


def _stream_call(client: Any, url: str, stamped: bool) -> Call:
    async def call() -> int | None:
        seen, delay = 0, None
        async with client.stream("POST", url, content=REQUEST_BODY, headers=REQUEST_HEADERS) as response:
            if response.status_code != 200:
                raise AssertionError(f"status {response.status_code}")
            async for line in response.aiter_lines():
                if not line:
                    continue
                if seen == 0 and stamped:
                    delay = time.monotonic_ns() - int(line[STAMP])
                seen += 1
        if seen != EVENTS + 1:
            raise AssertionError(f"{seen} events; expected {EVENTS + 1}")
        return delay

    return call


def through_httpx(client: Any, peer: Peer, stamped: bool = True) -> Opened:
    """One httpx client shared by all tasks, as programs use it. In memory events have no stamp."""
    post, url = client.post, peer.url

    async def call() -> None:
        response = await post(url, content=REQUEST_BODY, headers=REQUEST_HEADERS)
        if response.status_code != 200 or len(response.content) != _SIZE:
            check(response.status_code, len(response.content))

    streams = {
        "burst": _stream_call(client, peer.origin + BURST, False),
        "paced": _stream_call(client, peer.origin + PACED, stamped),
    }
    return Opened({"post": call, **streams}, client.aclose)


def memory_client() -> Any:
    """A stock httpx client without a network."""
    import httpx

    return httpx.AsyncClient(transport=importlib.import_module("bench.common.memory_transport").MemoryTransport())


def limits() -> Any:
    import httpx

    return httpx.Limits(
        max_connections=_CONNECTIONS, max_keepalive_connections=_CONNECTIONS, keepalive_expiry=_IDLE_SECONDS
    )


def _own_client() -> Any:
    import httpx

    transport = own_package("AsyncHTTPTransport")(limits=limits())
    return httpx.AsyncClient(transport=transport)


async def _httpx_memory(peer: Peer) -> Opened:
    return through_httpx(memory_client(), peer, stamped=False)


async def _httpx_own(peer: Peer) -> Opened:
    return through_httpx(_own_client(), peer)


async def _httpx_accelerated(peer: Peer) -> Opened:
    """The process-wide pool and the shortcuts; the client was made with httpx's defaults for TLS, and that is said."""
    import httpx

    client = own_package("accelerate")(httpx.AsyncClient(limits=limits()), verify=True)
    check_own(client)
    return through_httpx(client, peer)


async def _httpx_stock(peer: Peer) -> Opened:
    import httpx

    return through_httpx(httpx.AsyncClient(limits=limits()), peer)


async def _litellm_own(peer: Peer) -> Opened:
    """The httpx client that litellm makes for its providers, as the package's import leaves it."""
    importlib.import_module("fast_litellm")
    handlers = importlib.import_module("litellm.llms.custom_httpx.http_handler")
    client = handlers.AsyncHTTPHandler().client
    check_own(client)
    return through_httpx(client, peer)


async def _litellm_aiohttp(peer: Peer) -> Opened:
    """litellm's own transport, with the settings that litellm makes it with, and room for every task."""
    import httpx

    aiohttp = importlib.import_module("aiohttp")
    transports = importlib.import_module("litellm.llms.custom_httpx.aiohttp_transport")

    def session() -> Any:
        connector = aiohttp.TCPConnector(
            limit=_CONNECTIONS, limit_per_host=_CONNECTIONS, keepalive_timeout=_IDLE_SECONDS, ttl_dns_cache=300
        )
        return aiohttp.ClientSession(connector=connector)

    return through_httpx(httpx.AsyncClient(transport=transports.LiteLLMAiohttpTransport(client=session)), peer)


def _pyreqwest_client(peer: Peer) -> Any:
    return pyreqwest_client(importlib.import_module("pyreqwest.client").ClientBuilder(), peer)


async def _httpx_pyreqwest(peer: Peer) -> Opened:
    import httpx

    transport = importlib.import_module("pyreqwest.compatibility.httpx").HttpxTransport(_pyreqwest_client(peer))
    return through_httpx(httpx.AsyncClient(transport=transport), peer)


def through_arequest(pool: Any, peer: Peer) -> Opened:
    """`await pool.arequest(url, ...)`: a lease for every request."""
    try:
        arequest = pool.arequest
    except AttributeError as error:
        raise NotAvailable(f"the pool has no arequest: {error}") from error
    origin = peer.origin

    async def call() -> None:
        response = await arequest(origin, "POST", TARGET, headers=REQUEST_HEADERS, content=REQUEST_BODY)
        if response.status_code != 200 or len(response.content) != _SIZE:
            check(response.status_code, len(response.content))

    async def close() -> None:
        pool.close()

    return Opened({"post": call}, close)


async def _pool(peer: Peer) -> Opened:
    return through_arequest(own_package("SimpleConnectionPool")("bench"), peer)


def through_pyreqwest(client: Any, peer: Peer) -> Opened:
    post, url = client.post, peer.url

    async def call() -> None:
        response = await post(url).headers(REQUEST_HEADERS).body_bytes(REQUEST_BODY).build().send()
        content = await response.bytes()
        if response.status != 200 or len(content) != _SIZE:
            check(response.status, len(content))

    return Opened({"post": call}, client.close)


async def _pyreqwest(peer: Peer) -> Opened:
    return through_pyreqwest(_pyreqwest_client(peer), peer)


async def _aiohttp(peer: Peer) -> Opened:
    aiohttp = importlib.import_module("aiohttp")
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=_IDLE_SECONDS)
    session = aiohttp.ClientSession(
        connector=connector, auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar(), headers=dict(REQUEST_HEADERS)
    )
    post, url = session.post, importlib.import_module("yarl").URL(peer.url, encoded=True)

    async def call() -> None:
        async with post(url, data=REQUEST_BODY, allow_redirects=False) as response:
            content = await response.read()
            if response.status != 200 or len(content) != _SIZE:
                check(response.status, len(content))

    return Opened({"post": call}, session.close)


def _through_tunnel(transport: Any, peer: Peer) -> Opened:
    import httpx

    return through_httpx(httpx.AsyncClient(transport=transport), peer)


def _own_transport(peer: Peer, **more: Any) -> Any:
    return own_package("AsyncHTTPTransport")(verify=peer.ca_file, limits=limits(), **more)


async def _tls_own(peer: Peer) -> Opened:
    return _through_tunnel(_own_transport(peer), peer)


async def _tunnel_own(peer: Peer) -> Opened:
    return _through_tunnel(_own_transport(peer, proxy=tunnel.proxy_url()), peer)


async def _tunnel_accelerated(peer: Peer, proxy: bool = True) -> Opened:
    import httpx

    url = tunnel.proxy_url() if proxy else None
    stock = httpx.AsyncClient(limits=limits(), verify=tunnel.context_of(peer.ca_file), proxy=url)
    client = own_package("accelerate")(stock, verify=peer.ca_file)
    check_own(client)
    return through_httpx(client, peer)


async def _tls_accelerated(peer: Peer) -> Opened:
    return await _tunnel_accelerated(peer, proxy=False)


async def _tunnel_stock(peer: Peer) -> Opened:
    import httpx

    context = tunnel.context_of(peer.ca_file)
    return _through_tunnel(httpx.AsyncHTTPTransport(verify=context, limits=limits(), proxy=tunnel.proxy_url()), peer)


async def _tunnel_aiohttp(peer: Peer) -> Opened:
    aiohttp = importlib.import_module("aiohttp")
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=_IDLE_SECONDS, ssl=tunnel.context_of(peer.ca_file))
    session = aiohttp.ClientSession(
        connector=connector, auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar(), headers=dict(REQUEST_HEADERS)
    )
    post, url = session.post, importlib.import_module("yarl").URL(peer.url, encoded=True)
    proxy = tunnel.proxy_url()

    async def call() -> None:
        async with post(url, data=REQUEST_BODY, allow_redirects=False, proxy=proxy) as response:
            content = await response.read()
            if response.status != 200 or len(content) != _SIZE:
                check(response.status, len(content))

    return Opened({"post": call}, session.close)


_OPENERS: dict[str, Callable[[Peer], Awaitable[Opened]]] = {
    "httpx_memory": _httpx_memory,
    "httpx_own": _httpx_own,
    "httpx_accelerated": _httpx_accelerated,
    "httpx_litellm": _litellm_own,
    "httpx_aiohttp": _litellm_aiohttp,
    "httpx_pyreqwest": _httpx_pyreqwest,
    "httpx_stock": _httpx_stock,
    "pool": _pool,
    "pyreqwest": _pyreqwest,
    "aiohttp": _aiohttp,
    "tls_own": _tls_own,
    "tls_accelerated": _tls_accelerated,
    "tunnel_own": _tunnel_own,
    "tunnel_accelerated": _tunnel_accelerated,
    "tunnel_stock": _tunnel_stock,
    "tunnel_aiohttp": _tunnel_aiohttp,
}


async def open_client(name: str, peer: Peer) -> Opened:
    """Sets a client up; NotAvailable if its package is missing."""
    with needing_packages():
        return await _OPENERS[name](peer)
