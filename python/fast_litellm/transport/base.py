"""What the synchronous and the asynchronous transport have in common: their arguments, their pool, and what of a
request goes to the core."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Any, ClassVar, TypeAlias

from .. import _core
from ..exceptions import NotOffered
from ..pool.simple_pool import SimpleConnectionPool
from ..tls.engine import Cert, Engine, Verify, engine_from
from .http_library import HTTPLibrary
from .limits import of_own, of_shared
from .network_stream import NetworkStream
from .proxies import of_proxy

SocketOption: TypeAlias = "tuple[int, int, int] | tuple[int, int, bytes | bytearray] | tuple[int, int, None, int]"
#: scheme, host, port, method, target, headers, content (None: streamed), timeouts, server name.
RequestArguments: TypeAlias = (
    "tuple[bytes, bytes, int | None, bytes, bytes, list[_core.HeaderPair], bytes | None, "
    "_core.TimeoutTuple, str | None]"
)

CONTENT = 6  # in RequestArguments

_NO_TIMEOUTS: _core.TimeoutTuple = (None, None, None, None)


class Transport:
    """Arguments of `httpx.HTTPTransport`, and keyword-only:

    `pool`: a pool or the name of one, shared with others; `limits` then bind this transport alone, on top of the pool's
    limits, but for those that httpx and the SDKs give unasked (100/20 and 1000/100, 5 s), which bind nothing:
    `max_connections` caps what it uses at once, the others what it leaves idle and for how long. Closing the transport
    lets go of its own handle only, and ends the waits at these limits with `PoolClosed`. Without `pool` the transport
    has a pool of its own, for which `limits` mean what httpx says, and closes it, sockets included, with itself.

    `verify` as an `ssl.SSLContext`: that very context speaks TLS, also where it is changed later; connections are
    shared by those who give the same one. `True` and paths mean the core's own engine, unless `ssl.SSLContext` was
    replaced (truststore) or SSLKEYLOGFILE is set: then a context that httpx makes.

    `tls_settings`: settings for the core as they are, in place of `verify`, `cert` and `trust_env`.

    `proxy`: a URL or the library's `Proxy`. As with httpx, `retries`, `uds` and `local_address` do not count then.
    SOCKS needs no other package; the proxy looks the names up. `proxy_bind`: a local address for the connections to it.

    `http2=True`: HTTP/2 where the server chooses it (ALPN), and many requests share a connection; with `http1=False`
    nothing else, also for `http://` (prior knowledge). A blocking transport with a context speaks HTTP/1.1: the
    requests of several threads cannot share what runs Python code.

    Refused at construction: `http1=False` for a blocking transport with a context (`NotOffered`, a ValueError), a
    context without `wrap_bio`, or (blocking) with a `wrap_socket` alone of its own (TypeError), files that cannot be
    read (OSError) or used (ValueError).

    Any thread may send through it; a forked child makes its own connections. Requests raise httpx's exceptions, see
    `exceptions.py`; after it was closed, `PoolClosed`.
    """

    _library: ClassVar[HTTPLibrary]
    _response_stream: ClassVar[Any]
    #: The same of a request that is traced, and the method that sends one (`traced.py`).
    _traced_stream: ClassVar[Any]
    _send_traced: ClassVar[Any]
    _network_stream: ClassVar[type[NetworkStream]]
    #: Whether the library's own transport of this kind calls a TLS context's wrap_socket (and not wrap_bio).
    _by_socket: ClassVar[bool] = False
    #: Whether its requests may share a connection under an `ssl.SSLContext`: on one thread, that of its event loop.
    _shares_engines: ClassVar[bool] = False

    def __init__(
        self,
        verify: Verify = True,
        cert: Cert | None = None,
        trust_env: bool = True,
        http1: bool = True,
        http2: bool = False,
        limits: Any = None,
        proxy: Any = None,
        uds: str | None = None,
        local_address: str | None = None,
        retries: int = 0,
        socket_options: Iterable[SocketOption] | None = None,
        *,
        pool: _core.Pool | str | None = None,
        tls_settings: _core.TlsSettings | None = None,
        proxy_bind: str | None = None,
    ) -> None:
        library = self._library
        if not http1 and not http2:
            raise ValueError("http1=False needs http2=True: one of the protocols must be allowed")
        if retries < 0:
            raise ValueError(f"retries must not be negative, not {retries}")
        proxy_place = None
        if proxy is not None:
            # What httpx does not pass on to a proxy's connections either.
            uds, local_address, retries = None, proxy_bind, 0
            proxy, proxy_place = of_proxy(proxy, library, by_socket=self._by_socket)
        # The core's own TLS does not call a context: within one, another context speaks to the origin.
        by_context = proxy_place is not None and proxy_place.by_context
        if tls_settings is None:
            own = library.default_context(cert, trust_env) if verify is True else None
            if own is not None:
                verify, cert = own, None
            engine = engine_from(
                verify, cert, trust_env, by_socket=self._by_socket, library=library.module, by_context=by_context
            )
        elif verify is not True or cert is not None:
            raise ValueError("tls_settings stands in place of verify and cert: give one or the other")
        elif by_context:
            raise NotOffered("tls_settings for the origins, and an ssl.SSLContext for the proxy: use verify and cert")
        else:
            engine = Engine(tls_settings, None)
        if not http1 and engine.context is not None and not self._shares_engines:
            raise NotOffered("http1=False with an ssl.SSLContext: threads speak HTTP/1.1 under a context")
        if local_address is not None:
            ipaddress.ip_address(local_address)  # a ValueError that names it, if it is none
        options = _socket_options(socket_options)
        if limits is None:
            limits = library.default_limits

        if pool is None:
            own, bounds = of_own(limits)
            shared = _core.Pool("transport", error_factory=library.error_factory, **own)
        else:
            bounds = of_shared(limits)
            shared = SimpleConnectionPool(pool) if isinstance(pool, str) else pool
        self._native_pool = shared
        self._owns_pool = pool is None
        try:
            self._handle = _core.Handle(
                shared,
                tls=engine.settings,
                ssl_context=engine.context,
                local_address=local_address or "",
                unix_socket=uds or "",
                socket_options=options,
                connect_retries=retries,
                owns_pool=self._owns_pool,
                error_factory=library.error_factory,
                proxy=proxy,
                http1=http1,
                http2=http2 and (self._shares_engines or engine.context is None),
                **bounds,
            )
        except BaseException:
            if self._owns_pool:
                shared.close()
            raise
        #: What the trace extension tells of where it connects.
        self._place: dict[str, Any] = {
            "local_address": local_address,
            "unix_socket": uds,
            "socket_options": socket_options,
            "proxy": proxy_place,
        }
        self._send = self._handle.send
        self._start = self._handle.start
        self._pool = OpenLeases(self._handle)

    def _arguments(self, request: Any) -> RequestArguments:
        """What the core is to know of a request."""
        url = request.url
        scheme = url.raw_scheme
        if scheme not in (b"https", b"http"):
            raise self._library.unsupported_scheme(url.scheme)
        target = url.raw_path
        timeouts = _NO_TIMEOUTS
        server_name = None
        extensions = request.extensions
        if extensions:
            timeout = extensions.get("timeout")
            if timeout:
                get = timeout.get
                timeouts = (get("connect"), get("read"), get("write"), get("pool"))
            if len(extensions) > 1 or not timeout:
                server_name = extensions.get("sni_hostname")
                target = _target(extensions.get("target", target))
        stream: Any = request.stream
        return (
            scheme,
            url.raw_host,
            url.port,
            request.method.encode("ascii"),
            target,
            request.headers.raw,
            stream._stream if type(stream) is self._library.whole_body else None,
            timeouts,
            server_name,
        )

    @classmethod
    def _response(cls, exchange: _core.Exchange | _core.AsyncExchange) -> Any:
        """The library's response over an exchange whose head was read."""
        return cls._library.Response(
            exchange.status,
            headers=exchange.headers,
            stream=cls._response_stream(exchange),
            extensions=extensions_of(exchange, cls._network_stream(exchange)),
        )

    def _close(self) -> None:
        self._handle.close()
        if self._owns_pool:
            self._native_pool.close()

    def __repr__(self) -> str:
        pool = "its own pool" if self._owns_pool else f"pool {self._native_pool.name!r}"
        handle = self._handle
        return f"<{type(self).__name__} on {pool}: {handle.request_count} requests, {handle.open_leases} open>"


def _target(target: Any) -> bytes:
    """As httpcore takes the `target` extension, with its errors."""
    if isinstance(target, str):
        try:
            return target.encode("ascii")
        except UnicodeEncodeError:
            raise TypeError("target strings may not include unicode characters.") from None
    if isinstance(target, bytes):
        return target
    raise TypeError(f"target must be bytes or str, but got {type(target).__name__}.")


class OpenLeases:
    """What litellm reads of a transport (`_pool.connections`, each with `is_idle()`) before it closes an evicted
    client: the connections that requests of this transport are using now."""

    __slots__ = ("_handle",)

    def __init__(self, handle: _core.Handle) -> None:
        self._handle = handle

    @property
    def connections(self) -> list[_OpenLease]:
        return [_OpenLease()] * self._handle.open_leases

    #: httpcore's name for the requests that are under way.
    _requests = connections


class _OpenLease:
    __slots__ = ()

    def is_idle(self) -> bool:
        return False


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


def extensions_of(exchange: _core.Exchange | _core.AsyncExchange, network_stream: Any) -> dict[str, Any]:
    """The extensions of the response whose head was read. HTTP/2 has no reason phrase."""
    version = exchange.http_version
    if version == b"HTTP/2":
        return {"http_version": version, "network_stream": network_stream, "stream_id": exchange.stream_id}
    return {"http_version": version, "reason_phrase": exchange.reason, "network_stream": network_stream}
