"""`extensions={"trace": ...}` over HTTP/2: the events that httpx's transport reports, in its order."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from peers.http2_application import HELLO
from support.http2 import over


def _traced(client: httpx.Client, mode: str, method: str, url: str, **more: Any) -> list[tuple[str, Any]]:
    """The events of one request."""
    events: list[tuple[str, Any]] = []

    def trace(name: str, info: dict[str, Any]) -> None:
        events.append((name, info))

    async def async_trace(name: str, info: dict[str, Any]) -> None:
        events.append((name, info))

    client.request(method, url, extensions={"trace": trace if mode == "sync" else async_trace}, **more)
    return events


def _begun(events: list[tuple[str, Any]]) -> list[str]:
    """The steps of HTTP/2 in order, without those of which the server decides when they come."""
    names = [name for name, _ in events if name.startswith("http2.") and name.endswith(".started")]
    return [name.split(".")[1] for name in names if "remote_settings" not in name]


STEPS = ["send_request_headers", "send_request_body", "receive_response_headers", "receive_response_body"]


@over("nginx", "go", schemes=("https", "http"))
def test_the_steps_of_requests(client: httpx.Client, origin: Any, mode: str) -> None:
    first = _traced(client, mode, "GET", f"{origin.url}/hello")
    assert _begun(first) == ["send_connection_init", *STEPS, "response_closed"]
    assert first[0][0] == "connection.connect_tcp.started"
    second = _traced(client, mode, "POST", f"{origin.url}/echo", content=b"text")
    assert _begun(second) == [*STEPS, "response_closed"]
    assert not [name for name, _ in second if name.startswith("connection.")]


@over("nginx", "go")
def test_every_step_that_starts_completes(client: httpx.Client, origin: Any, mode: str) -> None:
    names = [name for name, _ in _traced(client, mode, "GET", f"{origin.url}/hello")]
    started = [name.removesuffix(".started") for name in names if name.endswith(".started")]
    completed = [name.removesuffix(".complete") for name in names if name.endswith(".complete")]
    assert sorted(started) == sorted(completed)


@over("nginx", "go")
def test_what_the_events_say(client: httpx.Client, origin: Any, mode: str) -> None:
    events = dict(_traced(client, mode, "GET", f"{origin.url}/hello"))
    assert events["http2.send_request_headers.started"]["stream_id"] == 1
    assert events["http2.send_request_headers.started"]["request"].method == b"GET"
    status, headers = events["http2.receive_response_headers.complete"]["return_value"]
    assert status == 200
    assert dict(headers)[b"content-length"] == str(len(HELLO)).encode()
    assert events["http2.response_closed.started"]["stream_id"] == 1


@pytest.mark.parametrize("origin", ["nginx https"], indirect=True)
def test_a_step_that_fails_says_so(client: httpx.Client, origin: Any, mode: str) -> None:
    events: list[str] = []

    def trace(name: str, info: dict[str, Any]) -> None:
        events.append(name)

    async def async_trace(name: str, info: dict[str, Any]) -> None:
        events.append(name)

    extensions = {"trace": trace if mode == "sync" else async_trace, "timeout": {"read": 0.1}}
    with pytest.raises(httpx.ReadTimeout):
        client.get(f"{origin.url}/never", extensions=extensions)
    assert "http2.receive_response_headers.failed" in events
    assert events[-1] == "http2.response_closed.complete"
