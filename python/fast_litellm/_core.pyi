"""The native pool. All of it releases the GIL around I/O and waits; every method may be called from any thread."""

import ssl
import weakref
from asyncio import AbstractEventLoop
from collections.abc import Awaitable, Callable, Generator, Sequence
from typing import Any

from typing_extensions import Unpack

from .pool_settings import PoolSettings

HeaderPair = tuple[bytes, bytes]
#: Seconds, or None for "no limit": connect, read, write, pool.
TimeoutTuple = tuple[float | None, float | None, float | None, float | None]
#: (code, phase, bytes_sent, os_error, detail) -> the exception to raise. Codes and phases are the names in
#: include/fastpool/error.h ("connect_timeout", "read_head", ...).
ErrorFactory = Callable[[str, str, int, int, str], BaseException]

#: Version, cipher (name, protocol, secret bits), ALPN protocol, server name, whether it was resumed, whether the peer
#: was verified, the peer's certificate (DER), the "tls-unique" channel binding.
TlsSessionFacts = tuple[str, tuple[str, str, int], str | None, str, bool, bool, bytes | None, bytes | None]

class CoreError(Exception):
    """Raised where no error factory was given. args: (code, phase, bytes_sent, os_error, detail)."""

    code: str
    phase: str
    bytes_sent: int
    os_error: int
    detail: str

class TlsFiles:
    """What the files of a TlsSettings held when they were read. Equal, and of equal hash, if the contents are."""

    @property
    def digest(self) -> bytes:
        """SHA-256 over all of it."""

class TlsSettings:
    """Mirror of fastpool::TlsSettings; every field is a keyword and an attribute. `files`: what the files hold, which
    then are not opened any more; None: a Handle reads them when it is constructed. Equal only if `files` are."""

    def __init__(
        self,
        *,
        verify_peer: bool = True,
        verify_hostname: bool = True,
        ca_file: str = "",
        ca_directory: str = "",
        certificate_file: str = "",
        private_key_file: str = "",
        private_key_password: str = "",
        verify_flags: int = 0,
        minimum_version: int = 0x0303,
        maximum_version: int = 0,
        cipher_list: str = "",
        groups: str = "",
        security_level: int = -1,
        options: int = 0,
        files: TlsFiles | None = None,
        ca: str = "",
    ) -> None: ...
    @property
    def ca(self) -> str: ...
    def read(self) -> TlsSettings:
        """The same with `files` as they are now; itself if it has them. ValueError for a file that cannot be read."""
    @property
    def files(self) -> TlsFiles | None: ...
    @property
    def verify_peer(self) -> bool: ...
    @property
    def verify_hostname(self) -> bool: ...
    @property
    def ca_file(self) -> str: ...
    @property
    def ca_directory(self) -> str: ...
    @property
    def certificate_file(self) -> str: ...
    @property
    def private_key_file(self) -> str: ...
    @property
    def private_key_password(self) -> str: ...
    @property
    def verify_flags(self) -> int: ...
    @property
    def minimum_version(self) -> int: ...
    @property
    def maximum_version(self) -> int: ...
    @property
    def cipher_list(self) -> str: ...
    @property
    def groups(self) -> str: ...
    @property
    def security_level(self) -> int: ...
    @property
    def options(self) -> int: ...

class Pool:
    """A pool: the native half of SimpleConnectionPool. A setting that is left out has the core's default; None lifts
    it. TypeError for an unknown setting or a wrong type, ValueError for a value below the setting's least.

    `leak_after`: a lease held longer than so many seconds is told once, by `fast_litellm.leaks.report`; None: leaks are
    not looked for.
    """

    def __init__(
        self,
        name: str,
        *,
        default_tls: TlsSettings | None = None,
        default_ssl_context: ssl.SSLContext | None = None,
        error_factory: ErrorFactory | None = None,
        http1: bool = True,
        http2: bool = False,
        **settings: Unpack[PoolSettings],
    ) -> None: ...
    @property
    def name(self) -> str: ...
    @property
    def settings(self) -> dict[str, float | None]:
        """All settings of the core with their values: those of `pool_settings.py`, and two that have no keyword in
        `SimpleConnectionPool`. None: no limit."""
    def get_connection(self, endpoint: str, *, timeout: float | None = 0) -> str | None:
        """The id of a lease: an idle connection, or a slot that connects on first use. None: at the limit, and
        `timeout` seconds did not change that (None: waits for ever).

        ValueError for a bad endpoint.
        """
    def return_connection(self, connection_id: str) -> bool:
        """Gives the lease back. False (and nothing changes) for a stale id."""
    def remove_connection(self, connection_id: str) -> bool:
        """Closes the leased connection and gives its slot back. False for a stale id."""
    def health_check(self, connection_id: str) -> bool:
        """Looks at the leased connection's socket; connects first if that has not happened. False for a stale id."""
    def cleanup(self) -> int:
        """Closes expired and dead idle connections now; returns how many."""
    def get_stats(self) -> dict[str, Any]:
        """Gauges, counters and histograms, see docs/pool.md. A histogram is {"count", "sum" (seconds), "buckets":
        {upper bound in seconds, as text; "inf" for the last: how many}}; buckets are not cumulative, bounds are
        inclusive."""
    def request(
        self,
        connection: str,
        method: str,
        target: str,
        *,
        headers: Sequence[tuple[str, str]] | Sequence[HeaderPair] | dict[str, str] | None = None,
        content: bytes | str | None = None,
        timeout: float | TimeoutTuple | None = 5.0,
    ) -> Response:
        """One exchange with the whole body read. `connection`: a lease's id, or an endpoint URL (then a connection is
        leased for this request alone, and a stale one retried by the rules of the retry table)."""
    def start_lease(self, loop: EventLoop, endpoint: str, timeout: float | None) -> LeaseCall:
        """get_connection(), begun, to be awaited; see `LeaseCall`."""
    def start_request(
        self,
        loop: EventLoop,
        connection: str,
        method: str,
        target: str,
        headers: Sequence[tuple[str, str]] | Sequence[HeaderPair] | dict[str, str] | None,
        content: bytes | str | None,
        timeout: float | TimeoutTuple | None,
    ) -> Call:
        """request(), begun, to be awaited; see `Call`."""
    def warm(self, endpoint: str, count: int, *, timeout: float | None = 60.0) -> int:
        """Dials until `count` connections to the endpoint are idle; returns how many are. From then on so many are kept
        idle in the background, as far as the limits allow, until another call says otherwise; 0: none."""
    def set_max_leases(
        self, origin: str, n: int | None, *, valid_for: float | None = None, valid_until: float | None = None
    ) -> None:
        """Limits how many requests and leases to the origin are under way at once, over all clients, event loops and
        threads of this pool (over HTTP/2 each stream counts). None: no limit any more. Those under way go on when the
        limit falls below their number; new ones wait, first come, first served, for at most their pool timeout. With 0
        all of them wait. What begins before the first call is not counted. After `valid_for` seconds, or from the time
        `valid_until` on (seconds of `time.CLOCK_BOOTTIME`), nothing begins until the next call; both None: it holds
        until then. In the child of a fork an origin that had a limit begins with 0."""
    def usage(self, origin: str) -> tuple[int, int]:
        """How many requests and leases to the origin are under way, and how many wait, under its limit; (0, 0) without
        one."""
    def open_leases(self) -> int: ...
    def drain(self, timeout: float | None = 30.0) -> bool:
        """Ends the pool gracefully: refuses new leases (pool closed), serves those who are queued already, closes idle
        connections now and leased ones when they come back, waits for these at most `timeout` seconds (None: for ever),
        then close(). True if all came back in time."""
    def close(self) -> None:
        """Closes idle connections, wakes waiters (pool closed) and readers; leases end when they are returned."""
    @property
    def closed(self) -> bool: ...

class Response:
    """A whole response."""

    @property
    def status_code(self) -> int: ...
    @property
    def reason_phrase(self) -> str: ...
    @property
    def http_version(self) -> str: ...
    @property
    def headers(self) -> list[tuple[str, str]]:
        """Decoded as latin-1; order, case and duplicates kept."""
    @property
    def raw_headers(self) -> list[HeaderPair]: ...
    @property
    def content(self) -> bytes: ...
    @property
    def text(self) -> str: ...
    def json(self) -> Any: ...

class Proxy:
    """How a handle's connections go through a proxy: `http`, `https`, `socks5` (the origin's name is looked up here) or
    `socks5h` (by the proxy). `tls` or `ssl_context`: to an `https` proxy. The handle that gets it raises ValueError if
    it is unusable."""

    def __init__(
        self,
        url: str,
        *,
        username: bytes = b"",
        password: bytes = b"",
        headers: Sequence[HeaderPair] = (),
        tls: TlsSettings | None = None,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None: ...

class Handle:
    """What a transport holds: a pool, how connections are to be made, and how errors are to be told. Counts its own
    leases; closing it ends the waits at `max_leases` (pool closed) and breaks no stream.

    Of the idle connections that it gave back last it leaves at most `max_idle` in the pool (the longest idle are
    closed), each for `idle_timeout` seconds, or the pool's time if that is less; with 0 of either, none.

    Connections that a request authenticates (NTLM, Negotiate, Kerberos in `Authorization` or `Proxy-Authorization`)
    serve this handle alone and are closed with it. Other idle connections are closed half a second after the last
    handle that uses their endpoint, unless one of these handles keeps them. `owns_pool`: no other handle uses it."""

    def __init__(
        self,
        pool: Pool,
        *,
        tls: TlsSettings,
        local_address: str = "",
        unix_socket: str = "",
        socket_options: Sequence[tuple[int, int, int | bytes]] = (),
        ssl_context: ssl.SSLContext | None = None,
        max_leases: int | None = None,
        max_idle: int | None = None,
        idle_timeout: float | None = None,
        connect_retries: int = 0,
        owns_pool: bool = False,
        error_factory: ErrorFactory | None = None,
        proxy: Proxy | None = None,
        http1: bool = True,
        http2: bool = False,
    ) -> None: ...
    def keep_connections(self) -> None:
        """Idle connections stay for the pool's idle timeout when this handle is closed. Before the first request."""
    @property
    def open_leases(self) -> int: ...
    @property
    def request_count(self) -> int: ...
    def send(
        self,
        scheme: bytes,
        host: bytes,
        port: int | None,
        method: bytes,
        target: bytes,
        headers: Sequence[HeaderPair],
        content: bytes | None,
        timeouts: TimeoutTuple,
        server_name: str | None = None,
    ) -> Exchange:
        """Sends the request; with `content` given (b"" for none) the exchange comes back with its head read; with
        content=None the body is streamed: call write() for each piece, then finish()."""
    def start(
        self,
        loop: EventLoop,
        scheme: bytes,
        host: bytes,
        port: int | None,
        method: bytes,
        target: bytes,
        headers: Sequence[HeaderPair],
        content: bytes | None,
        timeouts: TimeoutTuple,
        server_name: str | None = None,
    ) -> AsyncExchange:
        """send(), begun, to be awaited in any case."""
    def close(self) -> None: ...

class EventLoop:
    """The pool's side of one running event loop, which watches `descriptor` and calls `turn()` when it is readable."""

    def __init__(
        self, loop: weakref.ref[AbstractEventLoop] | None, new_future: Callable[[], Any] | None = None
    ) -> None:
        """`new_future` for loops that are not asyncio's: makes what is awaited, an awaitable with `done()` and
        `set_result(None)`. To be kept by who calls turn() only: without it what still waits is given up."""
    @property
    def descriptor(self) -> int: ...
    def turn(self) -> None:
        """Does what there is to do, without waiting. Tasks of asyncio whose operation is done go on in it."""
    @property
    def inherited(self) -> bool:
        """Whether its descriptors are a fork's parent's, or were closed by other code: it is of no use any more."""
    def lingers(self) -> bool:
        """Whether anything still waits; from now on `descriptor` gets readable too when nothing does any more."""
    def close(self) -> None:
        """The loop is gone: what still waits is given up. Idempotent."""

class AsyncExchange:
    """An Exchange, awaited by one task at a time. Each method begins an operation and returns this, to be awaited in
    any case, in the running loop, which is to be given. An await that ends by an exception gives the exchange up."""

    def __await__(self) -> Generator[Any, Any, Any]: ...
    @property
    def pending(self) -> bool: ...
    def write(self, loop: EventLoop, data: bytes) -> Awaitable[bool]: ...
    def finish(self, loop: EventLoop) -> Awaitable[bool]: ...
    def read(self, loop: EventLoop) -> Awaitable[bytes]: ...
    def abandon(self) -> None:
        """Without reading what has come."""
    @property
    def status(self) -> int: ...
    @property
    def reason(self) -> bytes: ...
    @property
    def http_version(self) -> bytes: ...
    @property
    def headers(self) -> list[HeaderPair]: ...
    @property
    def header_items(self) -> list[tuple[bytes, bytes, bytes]]: ...
    def take_arrived(self) -> bytes | None: ...
    def end(self) -> None: ...
    @property
    def closed(self) -> bool: ...
    @property
    def arrived(self) -> bool: ...
    @property
    def switched(self) -> bool: ...
    def receive(self, most: int) -> bytes | int: ...
    def transmit(self, data: bytes | bytearray | memoryview) -> int: ...
    @property
    def fresh(self) -> bool: ...
    @property
    def over_http2(self) -> bool:
        """Whether the connection speaks HTTP/2; once there is one."""

    @property
    def stream_id(self) -> int:
        """Over HTTP/2, once the head of the request was sent; else 0."""

    @property
    def descriptor(self) -> int: ...
    @property
    def ssl_object(self) -> ssl.SSLObject | None: ...
    @property
    def tls_session(self) -> TlsSessionFacts | None: ...
    @property
    def tunnel_answer(self) -> tuple[bytes, int, bytes, list[tuple[bytes, bytes]]] | None: ...
    @property
    def local_address(self) -> Any: ...
    @property
    def peer_address(self) -> Any: ...

class Call:
    """A whole request on a pool, to be awaited like an AsyncExchange."""

    def __await__(self) -> Generator[Any, Any, Response]: ...
    @property
    def pending(self) -> bool: ...

class LeaseCall:
    """A lease to be awaited like an AsyncExchange: its id, or None if the timeout came first; given back if it is not
    taken."""

    def __await__(self) -> Generator[Any, Any, str | None]: ...
    @property
    def pending(self) -> bool: ...

class Exchange:
    """One request and its response on one lease. Dropped unread, its connection is closed by the pool."""

    def write(self, data: bytes) -> bool:
        """Sends one piece of the body. False: the server answered early, stop sending and call finish()."""
    def finish(self) -> None:
        """Ends the body and reads the head of the response."""
    @property
    def status(self) -> int: ...
    @property
    def reason(self) -> bytes: ...
    @property
    def http_version(self) -> bytes: ...
    @property
    def headers(self) -> list[HeaderPair]: ...
    @property
    def header_items(self) -> list[tuple[bytes, bytes, bytes]]:
        """(name, name in lower case, value) of each header: what a `Headers` of httpx keeps."""
    def take_arrived(self) -> bytes | None:
        """All of the body, which ends the exchange, if it has arrived. None otherwise: nothing has changed."""
    def read(self) -> bytes:
        """The next piece of the body as it came, at most 64 KiB; b"" at the end."""
    def __iter__(self) -> Exchange: ...
    def __next__(self) -> bytes:
        """read(), until the end of the body."""
    def close(self) -> None:
        """Ends the exchange: reusable connections go back to the pool, others are closed. Idempotent."""
    @property
    def closed(self) -> bool: ...
    @property
    def arrived(self) -> bool:
        """Whether the whole body is here: reading it waits for nothing."""
    @property
    def switched(self) -> bool:
        """Whether the connection was handed over: 101 Switching Protocols, or 2xx to CONNECT."""
    def receive(self, most: int) -> bytes | int:
        """Of a connection that was handed over, without a wait: at most so many bytes, b"" at the end; if nothing
        has come, the events to poll for."""
    def transmit(self, data: bytes | bytearray | memoryview) -> int:
        """How many bytes of it the system took, without a wait; negative, if none: the events to poll for."""
    @property
    def fresh(self) -> bool:
        """Whether the connection was dialed for this exchange."""
    @property
    def over_http2(self) -> bool:
        """Whether the connection speaks HTTP/2; once there is one."""

    @property
    def stream_id(self) -> int:
        """Over HTTP/2, once the head of the request was sent; else 0."""

    @property
    def descriptor(self) -> int:
        """The socket's number, for the network_stream extension; -1 once closed."""
    @property
    def ssl_object(self) -> ssl.SSLObject | None:
        """What speaks TLS on this connection if an `ssl.SSLContext` does; known even after the response."""
    @property
    def tls_session(self) -> TlsSessionFacts | None:
        """What TLS settled on, if the core speaks it; known even after the response."""
    @property
    def tunnel_answer(self) -> tuple[bytes, int, bytes, list[tuple[bytes, bytes]]] | None:
        """A proxy's answer to the request for a tunnel, while the exchange has a connection: (http version, status,
        reason, headers). Reason and headers are empty if the answer is longer than 4 KiB. None without such a
        tunnel."""
    @property
    def local_address(self) -> Any:
        """As `socket.getsockname()` gave it when the connection was made; known even after the response."""
    @property
    def peer_address(self) -> Any: ...

def fork_epoch() -> int: ...
def sockets_replaced() -> bool:
    """Whether something stands in the place of Python's own `socket` now, see `replaced_sockets`. Next to nothing,
    unless something of it was written since the last call."""
