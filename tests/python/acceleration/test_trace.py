"""The `trace` extension: the events of stock httpx, in the same order, with the same contents."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx
import pytest

import fast_litellm
from peers.scripted import ScriptedServer
from support.certificates import Certificates

#: (event, keys of its info, what is compared of them)
Event = tuple[str, list[str], list[Any]]
Run = Callable[..., list[Event]]

_OURS = {
    kind: getattr(fast_litellm, name, None)
    for kind, name in (("sync", "HTTPTransport"), ("async", "AsyncHTTPTransport"))
}


def _told(name: str, info: dict[str, Any]) -> Event:
    compared = []
    for key, value in info.items():
        if key == "request":
            compared.append((value.method, bytes(value.url), value.headers, sorted(value.extensions)))
        elif key == "return_value" and name.startswith("connection."):
            compared.append(value.get_extra_info("server_addr"))
        elif key == "exception":
            compared.append(type(value).__name__)
        elif key != "ssl_context":
            compared.append(value)
    return name, list(info), compared


def _answered(response: httpx.Response) -> list[Any]:
    return [response.status_code, response.headers.raw, response.content]


@pytest.fixture(params=["sync", "async"])
def run(request: pytest.FixtureRequest, certificates: Certificates) -> Run:
    """run(ours?, url, path, …) -> the events of requests sent one after another through one client."""
    ours, asynchronous = _OURS[request.param], request.param == "async"
    if ours is None:
        pytest.skip("no such transport")

    def sync_run(transport: Any, urls: list[str], **arguments: Any) -> list[Event]:
        events: list[Event] = []
        with httpx.Client(transport=transport, timeout=20.0, trust_env=False) as client:
            for url in urls:
                try:
                    content = arguments.get("pieces", lambda: b"content")()
                    with client.stream(
                        "POST",
                        url,
                        content=content,
                        extensions={"trace": lambda name, info: events.append(_told(name, info))},
                    ) as answer:
                        for _ in answer.iter_raw():
                            if arguments.get("stop"):
                                break
                except arguments.get("expected", ()) as error:
                    events.append((type(error).__name__, [], []))
        return events

    async def async_run(transport: Any, urls: list[str], **arguments: Any) -> list[Event]:
        events: list[Event] = []

        async def trace(name: str, info: dict[str, Any]) -> None:
            events.append(_told(name, info))

        async with httpx.AsyncClient(transport=transport, timeout=20.0, trust_env=False) as client:
            for url in urls:
                try:
                    content = arguments.get("pieces", lambda: b"content")()
                    if not isinstance(content, bytes):
                        content = _slowly(content)
                    async with client.stream("POST", url, content=content, extensions={"trace": trace}) as answer:
                        pieces = answer.aiter_raw()
                        async for _ in pieces:
                            if arguments.get("stop"):
                                break
                        await pieces.aclose()  # type: ignore[attr-defined]
                except arguments.get("expected", ()) as error:
                    events.append((type(error).__name__, [], []))
        return events

    def either(of_ours: bool, *urls: str, **arguments: Any) -> list[Event]:
        kind: Any = ours if of_ours else (httpx.AsyncHTTPTransport if asynchronous else httpx.HTTPTransport)
        verify: Any = str(certificates.ca_file)
        transport = kind(verify=verify if of_ours else ssl.create_default_context(cafile=verify))
        if asynchronous:
            return asyncio.run(async_run(transport, list(urls), **arguments))
        return sync_run(transport, list(urls), **arguments)

    return either


async def _slowly(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


def _names(events: list[Event]) -> list[str]:
    return [event[0] for event in events]


def _same(run: Run, *urls: str, **arguments: Any) -> list[Event]:
    ours = run(True, *urls, **arguments)
    assert ours == run(False, *urls, **arguments)
    return ours


def test_a_connection_made_and_a_connection_used_again(run: Run, scripted: ScriptedServer) -> None:
    events = _same(run, f"{scripted.url}/one?a=1", f"{scripted.url}/chunked", f"{scripted.url}/nothing")
    names = _names(events)
    assert names[:2] == ["connection.connect_tcp.started", "connection.connect_tcp.complete"]
    assert names.count("connection.connect_tcp.started") == 1
    assert names[2:12] == [
        f"http11.{step}.{end}"
        for step in (
            "send_request_headers",
            "send_request_body",
            "receive_response_headers",
            "receive_response_body",
            "response_closed",
        )
        for end in ("started", "complete")
    ]


def test_tls(run: Run, asgi_tls: Any) -> None:
    events = _same(run, f"{asgi_tls.url}/digest")
    assert _names(events)[2:4] == ["connection.start_tls.started", "connection.start_tls.complete"]


def test_a_body_in_pieces(run: Run, scripted: ScriptedServer) -> None:
    _same(run, scripted.url, pieces=lambda: iter([b"one", b"two"]))


def test_a_body_that_fails_on_its_way(run: Run, scripted: ScriptedServer) -> None:
    def failing() -> Iterator[bytes]:
        yield b"one"
        raise KeyError("mine")

    events = _same(run, scripted.url, pieces=failing, expected=KeyError)
    assert _names(events)[-4:] == [
        "http11.send_request_body.failed",
        "http11.response_closed.started",
        "http11.response_closed.complete",
        "KeyError",
    ]


def test_a_refused_connection(run: Run) -> None:
    events = _same(run, "http://127.0.0.1:1/", expected=httpx.ConnectError)
    assert _names(events) == ["connection.connect_tcp.started", "connection.connect_tcp.failed", "ConnectError"]


def test_a_connection_cut_in_the_head(run: Run, scripted: ScriptedServer) -> None:
    events = _names(run(True, f"{scripted.url}/hang-up", expected=httpx.TransportError))
    stock = _names(run(False, f"{scripted.url}/hang-up", expected=httpx.TransportError))
    assert events[:-1] == stock[:-1]
    assert "http11.receive_response_headers.failed" in events
    assert (events[-1], stock[-1]) == ("ReadError", "RemoteProtocolError")  # the one deliberate difference


def test_a_connection_cut_in_the_body(run: Run, scripted: ScriptedServer) -> None:
    events = _names(run(True, f"{scripted.url}/truncated", expected=httpx.TransportError))
    stock = _names(run(False, f"{scripted.url}/truncated", expected=httpx.TransportError))
    assert events[:-1] == stock[:-1]
    assert "http11.receive_response_body.failed" in events


def test_a_body_left_in_the_middle(run: Run, scripted: ScriptedServer) -> None:
    _same(run, f"{scripted.url}/chunked", stop=True)


def test_a_trace_function_that_raises_ends_the_exchange(scripted: ScriptedServer) -> None:
    def trace(name: str, info: dict[str, Any]) -> None:
        if name == "http11.receive_response_headers.started":
            raise KeyError("mine")

    transport = fast_litellm.HTTPTransport()
    with httpx.Client(transport=transport) as client:
        with pytest.raises(KeyError):
            client.get(scripted.url, extensions={"trace": trace})
        assert transport._pool.connections == []
        assert client.get(scripted.url).status_code == 200


def test_the_sync_transport_refuses_a_coroutine_function(scripted: ScriptedServer) -> None:
    async def trace(name: str, info: dict[str, Any]) -> None: ...

    transport = fast_litellm.HTTPTransport()
    with httpx.Client(transport=transport) as client:
        with pytest.raises(TypeError, match="plain function"):
            client.get(scripted.url, extensions={"trace": trace})
        assert transport._pool.connections == []


def test_the_async_transport_refuses_a_plain_function(scripted: ScriptedServer) -> None:
    kind: Any = _OURS["async"]
    if kind is None:
        pytest.skip("no such transport")

    async def run() -> None:
        transport = kind()
        async with httpx.AsyncClient(transport=transport) as client:
            with pytest.raises(TypeError, match="coroutine function"):
                await client.get(scripted.url, extensions={"trace": lambda name, info: None})
            assert transport._pool.connections == []

    asyncio.run(run())
