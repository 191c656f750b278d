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
proxy.start_tls, socks.start_tls                   as connection.start_tls
socks.connect_tcp                                  host, port, timeout; return_value: a network stream
socks.setup_socks5_connection                      stream, host, port, auth: always None; the same
=================================================  ================================================================

Over HTTP/2 the last five begin with `http2.`, and their info has the `stream_id`; `http2.send_connection_init` comes
before the first request of a connection; and receive_response_headers returns (status, headers).

and `.failed` with `exception` in place of `.complete`. `request` is httpcore's. On an asynchronous transport the
function is a coroutine function.

The request for a tunnel (CONNECT) has the events http11.send_request_headers, .send_request_body and
.receive_response_headers, between those of connecting to the proxy and proxy.start_tls. A forwarded request is told as
the proxy gets it, without the proxy's own headers; so is the one for a tunnel: they may be credentials.

What differs: which request a new connection is made for, the pool decides, off this thread; so the events of connecting
come together, once the connection is there, for the request that is its first. Over HTTP/2 the events of sending the
head come together, too, once its stream is known. `ssl_context` is None where the pool
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

#: (http version, status, reason, headers); over HTTP/2 (status, headers)
Head: TypeAlias = tuple[Any, ...]
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
    def tunnel_answer(self) -> Head | None:
        """After `obtain`, if `fresh`: a proxy's answer to the request for a tunnel."""

    @property
    def stream_id(self) -> int:
        """After `send_head`: that of HTTP/2; 0 over HTTP/1.1."""

    @property
    def over_http2(self) -> bool:
        """After `obtain`."""

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
    #: httpcore's request for the tunnel, if the way to `host` is one of an HTTP proxy's.
    tunnel_request: Any = None


class Tell(NamedTuple):
    name: str
    info: dict[str, Any]


Plan: TypeAlias = Generator[Any, Any, Any]


def httpcore_request(core: Any, request: Any, forwarding: ProxyPlace | None = None) -> Any:
    """httpx's request as httpx's own transport passes it on. `core`: httpcore. `forwarding`: the proxy, if one forwards
    the request."""
    url = request.url
    core_url = core.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
    return core.Request(
        method=request.method,
        url=core_url if forwarding is None else _at_proxy(core, forwarding, bytes(core_url)),
        headers=request.headers.raw,
        content=request.stream,
        extensions=request.extensions,
    )


def tunnel_request(core: Any, request: Any, proxy: ProxyPlace, host: bytes, port: int) -> Any:
    """httpcore's request to the proxy for a tunnel, without the proxy's own headers. `request`: httpx's, which it is
    made for."""
    target = b"%b:%d" % (b"[%b]" % host if b":" in host else host, port)
    return core.Request(
        method=b"CONNECT",
        url=_at_proxy(core, proxy, target),
        headers=[(b"Host", target), (b"Accept", b"*/*")],
        extensions=request.extensions,
    )


def _at_proxy(core: Any, proxy: ProxyPlace, target: bytes) -> Any:
    scheme = b"https" if proxy.tls else b"http"
    return core.URL(scheme=scheme, host=proxy.host.encode("ascii"), port=proxy.port, target=target)


def send(trace: TraceFunction, steps: Steps, place: Place, request: Any) -> Head:
    """Runs the steps up to the response's head and tells `trace`. `request` as `httpcore_request` makes it."""
    plan = _exchange(steps, place, request)
    head: Head = _run(plan, trace)
    return head


async def asend(trace: TraceFunction, steps: Steps, place: Place, request: Any) -> Head:
    """`send` with steps that are awaited, and a trace function that is."""
    head: Head = await _arun(_exchange(steps, place, request), trace)
    return head


def body(
    trace: TraceFunction, steps: Steps, pieces: Iterator[bytes], request: Any, close: Callable[[], None]
) -> Iterator[bytes]:
    """The pieces of the response's body, told. `close` ends the exchange and is called if the reading ends early."""
    name = f"{_protocol(steps)}.receive_response_body"
    try:
        _tell(trace, Tell(f"{name}.started", {"request": request, **_stream(steps)}))
        try:
            yield from pieces
        except BaseException as error:
            _tell(trace, Tell(f"{name}.failed", {"exception": error}))
            raise
        _tell(trace, Tell(f"{name}.complete", {"return_value": None}))
    except BaseException:
        close()
        raise


async def abody(
    trace: TraceFunction, steps: Steps, pieces: AsyncIterator[bytes], request: Any, aclose: Callable[[], Any]
) -> AsyncIterator[bytes]:
    name = f"{_protocol(steps)}.receive_response_body"
    try:
        await _atell(trace, Tell(f"{name}.started", {"request": request, **_stream(steps)}))
        try:
            async for piece in pieces:
                yield piece
        except BaseException as error:
            await _atell(trace, Tell(f"{name}.failed", {"exception": error}))
            raise
        await _atell(trace, Tell(f"{name}.complete", {"return_value": None}))
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
    protocol = _protocol(steps)
    info = {"request": request}
    try:
        if steps.over_http2:
            if steps.fresh:
                yield from _told([("http2.send_connection_init", info)], None)
            yield from _sent_head(steps, info)
            info = {**info, **_stream(steps)}
        else:
            yield from _step("http11.send_request_headers", info, steps.send_head)
        yield from _step(f"{protocol}.send_request_body", info, steps.send_body)
        return (yield from _step(f"{protocol}.receive_response_headers", info, steps.read_head))
    except BaseException:
        yield from _closing(steps)
        raise


def _protocol(steps: Steps) -> str:
    return "http2" if steps.over_http2 else "http11"


def _stream(steps: Steps) -> dict[str, Any]:
    return {"stream_id": steps.stream_id} if steps.over_http2 else {}


def _sent_head(steps: Steps, info: dict[str, Any]) -> Plan:
    """Sends the head, then tells both events: their info has the id of the stream, which this step opens."""
    try:
        yield steps.send_head
    except Exception as error:
        yield Tell("http2.send_request_headers.started", {**info, **_stream(steps)})
        yield Tell("http2.send_request_headers.failed", {"exception": error})
        raise
    yield from _told([("http2.send_request_headers", {**info, **_stream(steps)})], None)


class Way(NamedTuple):
    """One step of connecting. `kind`: "connect", "proxy's tls", "ask", "answer", "socks" or "tls"."""

    kind: str
    name: str
    info: dict[str, Any]


def _connecting(steps: Steps, place: Place) -> Plan:
    way = list(_way(place))
    try:
        yield steps.obtain
    except Exception as error:
        yield from _told_failing(way, place, error)
        raise
    if steps.fresh:
        for step in way:
            result = {"ask": None, "answer": steps.tunnel_answer or _OPENED}.get(step.kind, steps.network_stream)
            yield from _told([(step.name, step.info)], result)


def _told_failing(way: list[Way], place: Place, error: Exception) -> Plan:
    """The steps up to the one that failed; none, if the error is not one of connecting."""
    failing = _failing_step(place, getattr(error, "phase", ""), getattr(error, "code", ""))
    if not failing:
        return
    if failing == "tls":
        failing = way[-1].kind
    refused = failing == "refused tunnel"
    for step in way:
        if step.kind == failing:
            yield Tell(f"{step.name}.started", step.info)
            yield Tell(f"{step.name}.failed", {"exception": error})
            if failing == "answer":  # httpcore ends its exchange with the proxy
                yield from _told([("http11.response_closed", {})], None)
            return
        answer = (_refusal(error) if refused else _OPENED) if step.kind == "answer" else None
        yield from _told([(step.name, step.info)], answer)
        if answer is not None and refused:
            return


def _failing_step(place: Place, phase: str, code: str) -> str:
    """The kind of the step that an error is of; "refused tunnel" for an answer that opens none; "" if it is of none."""
    if phase == "tls_handshake":
        return "tls"
    proxy = place.proxy
    if phase not in ("resolve", "connect") or proxy is None or code in _OF_CONNECTING:
        return "connect" if phase in ("resolve", "connect") else ""
    if proxy.socks:
        return "socks"
    if code == "tls_failed":
        return "proxy's tls"
    return "refused tunnel" if code == "proxy_failed" else "answer"


_OF_CONNECTING = ("resolve_failed", "connect_failed", "connect_timeout")


#: For the answer that opened a tunnel, once the connection is gone: TLS with the origin failed. Tracers take it apart.
_OPENED: Head = (b"HTTP/1.1", 200, b"", [])


def _refusal(error: Exception) -> Head:
    """What is kept of a proxy's answer that refuses a tunnel: the error's text, such as "407 Proxy Authentication
    Required"."""
    status, _, reason = str(error).partition(" ")
    return b"HTTP/1.1", int(status), reason.encode("ascii", "ignore"), []


def _told(way: list[tuple[str, dict[str, Any]]], stream: Any) -> Plan:
    for name, info in way:
        yield Tell(f"{name}.started", info)
        yield Tell(f"{name}.complete", {"return_value": stream})


def _way(place: Place) -> Iterator[Way]:
    """The steps of a connection, as httpcore has them."""
    proxy = place.proxy
    if proxy is None:
        yield Way("connect", *_connect_event(place))
        if place.tls:
            yield Way("tls", "connection.start_tls", _tls_info(place, place.server_hostname or place.host))
        return
    there = {"host": proxy.host, "port": proxy.port, "timeout": place.connect_timeout}
    if proxy.socks:
        yield Way("connect", "socks.connect_tcp", there)
        # Without the password, which httpcore gives here.
        info = {"stream": None, "host": place.host, "port": place.port, "auth": None}
        yield Way("socks", "socks.setup_socks5_connection", info)
    else:
        tcp = {**there, "local_address": None, "socket_options": place.socket_options}
        yield Way("connect", "connection.connect_tcp", tcp)
        if proxy.tls:
            yield Way("proxy's tls", "connection.start_tls", _tls_info(place, proxy.host))
        if place.tunnel_request is not None:
            request = {"request": place.tunnel_request}
            yield Way("ask", "http11.send_request_headers", request)
            yield Way("ask", "http11.send_request_body", request)
            yield Way("answer", "http11.receive_response_headers", request)
    if place.tls:
        name = ("socks" if proxy.socks else "proxy") + ".start_tls"
        yield Way("tls", name, _tls_info(place, place.server_hostname or place.host))


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
    protocol = _protocol(steps)
    try:
        yield Tell(f"{protocol}.response_closed.started", _stream(steps))
    finally:
        steps.close()
    yield Tell(f"{protocol}.response_closed.complete", {"return_value": None})


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
