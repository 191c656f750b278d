"""`HTTPTransport`: the pool under an `httpx.Client`.

A request costs a few attribute reads here and one call into the core, which leases a connection, writes, and reads the
head of the response with the GIL released.
"""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias

import httpx

from . import _core
from .exceptions import NotOffered, error_factory
from .simple_pool import SimpleConnectionPool
from .tls import Cert, Verify, settings_from

SocketOption: TypeAlias = "tuple[int, int, int] | tuple[int, int, bytes | bytearray] | tuple[int, int, None, int]"

_DEFAULT_LIMITS = httpx.Limits(max_connections=100, max_keepalive_connections=20, keepalive_expiry=5.0)
_NO_TIMEOUTS: _core.TimeoutTuple = (None, None, None, None)
# What httpx makes of `content=b"..."`: one piece, kept in `_stream`. Not exported, so found by looking.
_WHOLE_BODY: Any = type(httpx.Request("POST", "http://localhost", content=b"-").stream)
_KNOWS_WHOLE_BODY = getattr(_WHOLE_BODY(b"-"), "_stream", None) == b"-"


class HTTPTransport(httpx.BaseTransport):
    """Sends httpx's requests through a pool. Takes the arguments of `httpx.HTTPTransport`, and keyword-only:

    `pool`: a pool or the name of one, shared with others. Closing the transport then lets go of its own handle only,
    and `limits` other than httpx's default cap the connections that this transport may use at once, on top of the
    pool's limits. Without `pool` the transport has a pool of its own, for which `limits` mean what httpx says, and
    closes it, sockets included, with itself.

    `tls_settings`: settings for the core as they are, in place of `verify`, `cert` and `trust_env`.

    Refused at construction: `http1=False`, `http2=True`, `proxy` (`NotOffered`, a ValueError), an `ssl.SSLContext` as
    `verify` (TypeError), files that cannot be read (OSError) or used (ValueError).

    Any thread may send through it; a forked child makes its own connections. Requests raise httpx's exceptions, see
    `exceptions.py`; after `close()`, `PoolClosed`.
    """

    def __init__(
        self,
        verify: Verify = True,
        cert: Cert | None = None,
        trust_env: bool = True,
        http1: bool = True,
        http2: bool = False,
        limits: httpx.Limits = _DEFAULT_LIMITS,
        proxy: httpx.Proxy | httpx.URL | str | None = None,
        uds: str | None = None,
        local_address: str | None = None,
        retries: int = 0,
        socket_options: Iterable[SocketOption] | None = None,
        *,
        pool: _core.Pool | str | None = None,
        tls_settings: _core.TlsSettings | None = None,
    ) -> None:
        if not http1:
            raise NotOffered("http1=False: this transport speaks HTTP/1.1 only")
        if http2:
            raise NotOffered("http2=True: this transport does not speak HTTP/2 yet")
        if proxy is not None:
            raise NotOffered("proxy: this transport does not use proxies yet; use httpx.HTTPTransport")
        if retries < 0:
            raise ValueError(f"retries must not be negative, not {retries}")
        if tls_settings is None:
            tls_settings = settings_from(verify, cert, trust_env)
        elif verify is not True or cert is not None:
            raise ValueError("tls_settings stands in place of verify and cert: give one or the other")
        if local_address is not None:
            ipaddress.ip_address(local_address)  # a ValueError that names it, if it is none
        options = _socket_options(socket_options)

        max_leases = None
        if pool is None:
            shared: _core.Pool = _own_pool(limits)
        else:
            shared = SimpleConnectionPool(pool) if isinstance(pool, str) else pool
            if limits != _DEFAULT_LIMITS:
                max_leases = _positive("limits.max_connections", limits.max_connections)
        self._native_pool = shared
        self._owns_pool = pool is None
        try:
            self._handle = _core.Handle(
                shared,
                tls=tls_settings,
                local_address=local_address or "",
                unix_socket=uds or "",
                socket_options=options,
                max_leases=max_leases,
                connect_retries=retries,
                error_factory=error_factory,
            )
        except BaseException:
            if self._owns_pool:
                shared.close()
            raise
        self._send = self._handle.send
        self._pool = _OpenLeases(self._handle)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        scheme = url.raw_scheme
        if scheme not in (b"https", b"http"):
            raise _unsupported_scheme(url.scheme)
        target = url.raw_path
        timeouts = _NO_TIMEOUTS
        server_name = None
        extensions = request.extensions
        if extensions:
            timeout = extensions.get("timeout")
            if timeout:
                get = timeout.get
                timeouts = (get("connect"), get("read"), get("write"), get("pool"))
            if len(extensions) > 1:
                server_name = extensions.get("sni_hostname")
                target = extensions.get("target", target)

        stream: Any = request.stream
        content = stream._stream if type(stream) is _WHOLE_BODY and _KNOWS_WHOLE_BODY else None
        exchange = self._send(
            scheme,
            url.raw_host,
            url.port,
            request.method.encode("ascii"),
            target,
            request.headers.raw,
            content,
            timeouts,
            server_name,
        )
        if content is None:
            _send_pieces(exchange, stream)
        return httpx.Response(
            exchange.status,
            headers=exchange.headers,
            stream=ResponseStream(exchange),
            extensions={
                "http_version": exchange.http_version,
                "reason_phrase": exchange.reason,
                "network_stream": NetworkStream(exchange),
            },
        )

    def close(self) -> None:
        """Lets go of the handle; without `pool=`, closes the connections too. Calling it again is harmless."""
        self._handle.close()
        if self._owns_pool:
            self._native_pool.close()

    def __repr__(self) -> str:
        pool = "its own pool" if self._owns_pool else f"pool {self._native_pool.name!r}"
        handle = self._handle
        return f"<HTTPTransport on {pool}: {handle.request_count} requests, {handle.open_leases} open>"


class ResponseStream(httpx.SyncByteStream):
    """The body of a response, as it comes. Closing it, or dropping it, ends the exchange."""

    __slots__ = ("_exchange",)

    def __init__(self, exchange: _core.Exchange) -> None:
        self._exchange = exchange

    def __iter__(self) -> Iterator[bytes]:
        exchange = self._exchange
        return exchange if exchange.arrived else _pieces(exchange)

    def close(self) -> None:
        self._exchange.close()


def _pieces(exchange: _core.Exchange) -> Iterator[bytes]:
    read = exchange.read
    try:
        while piece := read():
            yield piece
    finally:  # the end, an error, or a caller who stops here
        exchange.close()


class NetworkStream:
    """httpx's `network_stream` extension: what can be known of the connection while the response is open."""

    __slots__ = ("_exchange",)

    def __init__(self, exchange: _core.Exchange) -> None:
        self._exchange = exchange

    def get_extra_info(self, info: str) -> Any:
        """`client_addr` and `server_addr` as `socket` gives them; `socket`: a duplicate, the caller's to close, None
        once the whole body has arrived. None for anything else (`ssl_object` too: the TLS session is not Python's)."""
        if info == "client_addr":
            return self._exchange.local_address
        if info == "server_addr":
            return self._exchange.peer_address
        if info != "socket":
            return None
        descriptor = self._exchange.descriptor
        return None if descriptor < 0 else socket.socket(fileno=os.dup(descriptor))


class _OpenLeases:
    """What litellm reads of a transport (`_pool.connections`, each with `is_idle()`) before it closes an evicted
    client: the connections that requests of this transport are using now."""

    __slots__ = ("_handle",)

    def __init__(self, handle: _core.Handle) -> None:
        self._handle = handle

    @property
    def connections(self) -> list[_OpenLease]:
        return [_OpenLease()] * self._handle.open_leases


class _OpenLease:
    __slots__ = ()

    def is_idle(self) -> bool:
        return False


def _send_pieces(exchange: _core.Exchange, stream: object) -> None:
    """Sends a body that comes in pieces; what its iterator raises goes to the caller as it is."""
    if not isinstance(stream, httpx.SyncByteStream):
        exchange.close()
        raise RuntimeError("Attempted to send an async request with a sync transport.")
    try:
        for piece in stream:
            if piece and not exchange.write(piece):
                break  # the server has answered already
        exchange.finish()
    except BaseException:
        exchange.close()
        raise


def _own_pool(limits: httpx.Limits) -> _core.Pool:
    idle = limits.max_keepalive_connections
    if idle is not None and idle < 0:
        raise ValueError(f"limits.max_keepalive_connections must not be negative, not {idle}")
    expiry = limits.keepalive_expiry
    if expiry is not None and expiry < 0:
        raise ValueError(f"limits.keepalive_expiry must not be negative, not {expiry}")
    return _core.Pool(
        "transport",
        max_connections_per_endpoint=None,
        max_connections=_positive("limits.max_connections", limits.max_connections),
        max_idle_connections=idle,
        idle_timeout=expiry,
        error_factory=error_factory,
    )


def _positive(name: str, value: int | None) -> int | None:
    if value is not None and value < 1:
        raise ValueError(f"{name} must be at least 1, or None for no limit, not {value}")
    return value


def _socket_options(options: Iterable[SocketOption] | None) -> list[tuple[int, int, int | bytes]]:
    made: list[tuple[int, int, int | bytes]] = []
    for option in options or ():
        if len(option) != 3:
            raise NotOffered(f"socket_options: {option!r} has no value; (level, name, int or bytes) is offered")
        level, name, value = option
        if not isinstance(value, int):
            value = bytes(value)
        made.append((level, name, value))
    return made


def _unsupported_scheme(scheme: str) -> httpx.UnsupportedProtocol:
    if not scheme:
        return httpx.UnsupportedProtocol("Request URL is missing an 'http://' or 'https://' protocol.")
    return httpx.UnsupportedProtocol(f"Request URL has an unsupported protocol '{scheme}://'.")
