"""httpx's `trace` request extension: a function that is called at each step of a request.

    client.get(url, extensions={"trace": lambda name, info: print(name)})

The events, their order and what stands in `info` are those of httpcore:

=================================================  ================================================================
event                                              info of `.started`; of `.complete`
=================================================  ================================================================
connection.connect_tcp                             host, port, local_address, timeout, socket_options; return_value:
                                                   a network stream
connection.connect_unix_socket                     path, timeout, socket_options; the same
connection.start_tls                               ssl_context, server_hostname, timeout; the same
http11.send_request_headers, .send_request_body    request; return_value: None
http11.receive_response_headers                    request; return_value: (http version, status, reason, headers)
http11.receive_response_body                       request; return_value: None
http11.response_closed                             nothing; return_value: None
=================================================  ================================================================

and `.failed` with `exception` in place of `.complete`. `request` is httpcore's. On an asynchronous transport the
function is a coroutine function.

What differs: which request a new connection is made for, the pool decides, off this thread; so the events of connecting
come together, once the connection is there, for the request that is its first. `ssl_context` is None where the pool
does TLS itself. Connection attempts that are repeated, and a request sent again over another connection, are one.

What happens between the events is the transport's: it comes in as `Steps`. The events' order stands here once, for
both kinds of transport, as a generator that yields what is to be reported (`Tell`) or done (a function).
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias

if TYPE_CHECKING:
    from .proxies import ProxyPlace

#: (http version, status, reason, headers)
Head: TypeAlias = tuple[bytes, int, bytes, list[tuple[bytes, bytes]]]
TraceFunction: TypeAlias = Callable[[str, dict[str, Any]], Any]


class Steps(Protocol):
    """One exchange, step by step, each called once and in this order. Of an asynchronous exchange `obtain`,
    `send_head`, `send_body` and `read_head` are coroutine functions."""

    def obtain(self) -> Any:
        """Leases a connection, dialing if need be. Its errors say their `phase`."""

    @property
    def fresh(self) -> bool:
        """After `obtain`: whether the connection was made for this request."""

    @property
    def network_stream(self) -> Any:
        """After `obtain`: what becomes the response's `network_stream` extension."""

    def send_head(self) -> Any: ...
    def send_body(self) -> Any:
        """All of it; what the body's iterator raises comes through."""

    def read_head(self) -> Any:
        """-> Head"""

    def close(self) -> None:
        """Ends the exchange, wherever it stands. Never waits, never raises; more than once is once."""


class Place(NamedTuple):
    """Where a request goes, as its transport was told."""

    host: str
    port: int
    tls: bool
    connect_timeout: float | None = None
    server_hostname: str | None = None
    local_address: str | None = None
    unix_socket: str | None = None
    socket_options: Any = None
    ssl_context: Any = None
    proxy: ProxyPlace | None = None


class Tell(NamedTuple):
    name: str
    info: dict[str, Any]


Plan: TypeAlias = Generator[Any, Any, Any]


def httpcore_request(core: Any, request: Any) -> Any:
    """httpx's request as httpx's own transport passes it on. `core`: httpcore."""
    url = request.url
    return core.Request(
        method=request.method,
        url=core.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
        headers=request.headers.raw,
        content=request.stream,
        extensions=request.extensions,
    )


def send(trace: TraceFunction, steps: Steps, place: Place, request: Any) -> Head:
    """Runs the steps up to the response's head and tells `trace`. `request` as `httpcore_request` makes it."""
    plan = _exchange(steps, place, request)
    head: Head = _run(plan, trace)
    return head


async def asend(trace: TraceFunction, steps: Steps, place: Place, request: Any) -> Head:
    """`send` with steps that are awaited, and a trace function that is."""
    head: Head = await _arun(_exchange(steps, place, request), trace)
    return head


def body(trace: TraceFunction, pieces: Iterator[bytes], request: Any, close: Callable[[], None]) -> Iterator[bytes]:
    """The pieces of the response's body, told. `close` ends the exchange and is called if the reading ends early."""
    try:
        _tell(trace, Tell("http11.receive_response_body.started", {"request": request}))
        try:
            yield from pieces
        except BaseException as error:
            _tell(trace, Tell("http11.receive_response_body.failed", {"exception": error}))
            raise
        _tell(trace, Tell("http11.receive_response_body.complete", {"return_value": None}))
    except BaseException:
        close()
        raise


async def abody(
    trace: TraceFunction, pieces: AsyncIterator[bytes], request: Any, aclose: Callable[[], Any]
) -> AsyncIterator[bytes]:
    try:
        await _atell(trace, Tell("http11.receive_response_body.started", {"request": request}))
        try:
            async for piece in pieces:
                yield piece
        except BaseException as error:
            await _atell(trace, Tell("http11.receive_response_body.failed", {"exception": error}))
            raise
        await _atell(trace, Tell("http11.receive_response_body.complete", {"return_value": None}))
    except BaseException:
        await aclose()
        raise


def closed(trace: TraceFunction, steps: Steps) -> None:
    """Ends the exchange and tells. To be called once."""
    _run(_closing(steps), trace)


async def aclosed(trace: TraceFunction, steps: Steps) -> None:
    await _arun(_closing(steps), trace)


# The events' order.


def _exchange(steps: Steps, place: Place, request: Any) -> Plan:
    try:
        yield from _connecting(steps, place)
    except BaseException:  # there was no exchange yet: nothing to tell of its end
        steps.close()
        raise
    info = {"request": request}
    try:
        yield from _step("http11.send_request_headers", info, steps.send_head)
        yield from _step("http11.send_request_body", info, steps.send_body)
        return (yield from _step("http11.receive_response_headers", info, steps.read_head))
    except BaseException:
        yield from _closing(steps)
        raise


def _connecting(steps: Steps, place: Place) -> Plan:
    way = list(_way(place))
    try:
        yield steps.obtain
    except Exception as error:
        done, failed = _steps_done(place, len(way), getattr(error, "phase", ""), getattr(error, "code", ""))
        yield from _told(way[:done], None)
        if failed:
            name, info = way[done]
            yield Tell(f"{name}.started", info)
            yield Tell(f"{name}.failed", {"exception": error})
        raise
    if steps.fresh:
        yield from _told(way, steps.network_stream)


def _steps_done(place: Place, steps: int, phase: str, code: str) -> tuple[int, bool]:
    """How many steps were done before an error, and whether the next one failed. The request for a tunnel is none."""
    if phase == "tls_handshake":
        return steps - 1, True
    if phase not in ("resolve", "connect"):
        return 0, False
    proxy = place.proxy
    if proxy is None or code in ("resolve_failed", "connect_failed", "connect_timeout"):
        return 0, True
    if proxy.socks or code == "tls_failed":
        return 1, True
    return (2 if proxy.tls else 1), False


def _told(way: list[tuple[str, dict[str, Any]]], stream: Any) -> Plan:
    for name, info in way:
        yield Tell(f"{name}.started", info)
        yield Tell(f"{name}.complete", {"return_value": stream})


def _way(place: Place) -> Iterator[tuple[str, dict[str, Any]]]:
    """The steps of a connection, as httpcore has them. The request for a tunnel is not among them."""
    proxy = place.proxy
    if proxy is None:
        yield _connect_event(place)
        if place.tls:
            yield "connection.start_tls", _tls_info(place, place.server_hostname or place.host)
        return
    there = {"host": proxy.host, "port": proxy.port, "timeout": place.connect_timeout}
    if proxy.socks:
        yield "socks.connect_tcp", there
        # Without the password, which httpcore gives here.
        yield "socks.setup_socks5_connection", {"stream": None, "host": place.host, "port": place.port, "auth": None}
    else:
        yield "connection.connect_tcp", {**there, "local_address": None, "socket_options": place.socket_options}
        if proxy.tls:
            yield "connection.start_tls", _tls_info(place, proxy.host)
    if place.tls:
        yield (
            ("socks" if proxy.socks else "proxy") + ".start_tls",
            _tls_info(place, place.server_hostname or place.host),
        )


def _tls_info(place: Place, server_hostname: str) -> dict[str, Any]:
    return {
        "ssl_context": place.ssl_context,
        "server_hostname": server_hostname,
        "timeout": place.connect_timeout,
    }


def _connect_event(place: Place) -> tuple[str, dict[str, Any]]:
    if place.unix_socket is not None:
        return "connection.connect_unix_socket", {
            "path": place.unix_socket,
            "timeout": place.connect_timeout,
            "socket_options": place.socket_options,
        }
    return "connection.connect_tcp", {
        "host": place.host,
        "port": place.port,
        "local_address": place.local_address,
        "timeout": place.connect_timeout,
        "socket_options": place.socket_options,
    }


def _step(name: str, info: dict[str, Any], do: Callable[[], Any]) -> Plan:
    yield Tell(f"{name}.started", info)
    try:
        result = yield do
    except BaseException as error:
        yield Tell(f"{name}.failed", {"exception": error})
        raise
    yield Tell(f"{name}.complete", {"return_value": result})
    return result


def _closing(steps: Steps) -> Plan:
    try:
        yield Tell("http11.response_closed.started", {})
    finally:
        steps.close()
    yield Tell("http11.response_closed.complete", {"return_value": None})


# What is reported or done, without and with await.


def _run(plan: Plan, trace: TraceFunction) -> Any:
    advance: Callable[[], Any] = lambda: next(plan)  # noqa: E731
    while True:
        try:
            item = advance()
        except StopIteration as end:
            return end.value
        result = None
        try:
            if isinstance(item, Tell):
                _tell(trace, item)
            else:
                result = item()
        except BaseException as error:
            advance = _throwing(plan, error)
        else:
            advance = _sending(plan, result)


async def _arun(plan: Plan, trace: TraceFunction) -> Any:
    advance: Callable[[], Any] = lambda: next(plan)  # noqa: E731
    while True:
        try:
            item = advance()
        except StopIteration as end:
            return end.value
        try:
            result = await (_atell(trace, item) if isinstance(item, Tell) else item())
        except BaseException as error:
            advance = _throwing(plan, error)
        else:
            advance = _sending(plan, result)


def _sending(plan: Plan, result: Any) -> Callable[[], Any]:
    return lambda: plan.send(result)


def _throwing(plan: Plan, error: BaseException) -> Callable[[], Any]:
    return lambda: plan.throw(error)


def _tell(trace: TraceFunction, event: Tell) -> None:
    returned = trace(*event)
    if inspect.iscoroutine(returned):
        returned.close()
        raise TypeError("the `trace` extension of a request on a synchronous transport must be a plain function")


async def _atell(trace: TraceFunction, event: Tell) -> None:
    returned = trace(*event)
    if not inspect.iscoroutine(returned):
        raise TypeError("the `trace` extension of a request on an asynchronous transport must be a coroutine function")
    await returned
