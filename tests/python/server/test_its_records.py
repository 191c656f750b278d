"""The requests that the embedded server records are the bytes that were on the wire."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator

import httpx
import pytest

from fast_litellm.server import EmbeddedServer, EmbeddedServerError


@pytest.fixture(scope="module", params=[False, True], ids=["http", "https"])
def server(request: pytest.FixtureRequest) -> Iterator[EmbeddedServer]:
    with EmbeddedServer(tls=request.param, record=True) as server:
        yield server


@pytest.fixture
def client(server: EmbeddedServer) -> Iterator[httpx.Client]:
    context = ssl.create_default_context(cafile=server.ca_file) if server.origin.startswith("https") else False
    with httpx.Client(base_url=server.origin, verify=context, trust_env=False) as client:
        server.records()
        yield client


def test_names_keep_their_case_and_order_and_repetitions(server: EmbeddedServer, client: httpx.Client) -> None:
    headers = [(b"hOST", b"here"), (b"X-B", b"1"), (b"x-a", "\xe9".encode("latin-1")), (b"X-B", b"2")]
    client.send(httpx.Request("GET", f"{server.origin}/v1/models?a=%20b", headers=headers))
    (record,) = server.records()
    assert (record.method, record.target) == ("GET", "/v1/models?a=%20b")
    assert record.headers == [(b"hOST", b"here"), (b"X-B", b"1"), (b"x-a", b"\xe9"), (b"X-B", b"2")]


def test_requests_on_one_connection_are_recorded_separately(server: EmbeddedServer, client: httpx.Client) -> None:
    for number in range(3):
        client.post("/v1/chat/completions", content=f"body {number}".encode())
    records = server.records()
    assert [record.body for record in records] == [b"body 0", b"body 1", b"body 2"]
    assert len({record.connection for record in records}) == 1
    assert all(record.head.startswith(b"POST /v1/chat/completions HTTP/1.1\r\n") for record in records)
    assert all(record.head.endswith(b"\r\n\r\n") for record in records)
    assert server.records() == []


def test_a_chunked_body_is_recorded_without_its_framing(server: EmbeddedServer, client: httpx.Client) -> None:
    client.post("/v1/chat/completions", content=iter([b"one ", b"two"]))
    (record,) = server.records()
    assert record.body == b"one two"
    assert (b"Transfer-Encoding", b"chunked") in record.headers


def test_a_large_body_that_arrives_in_many_pieces_is_recorded_whole(
    server: EmbeddedServer, client: httpx.Client
) -> None:
    body = bytes(range(256)) * 4096
    client.post("/v1/chat/completions", content=body)
    assert server.records()[0].body == body


def test_a_head_that_arrives_byte_by_byte_is_recorded_as_sent() -> None:
    with EmbeddedServer(tls=False, record=True) as server:
        head = b"GET /v1/models HTTP/1.1\r\nHost:  padded \r\nConnection: close\r\n\r\n"
        with socket.create_connection(("127.0.0.1", httpx.URL(server.origin).port or 0), timeout=20) as raw:
            for byte in head:
                raw.sendall(bytes([byte]))
            while raw.recv(65536):
                pass
        (record,) = server.records()
    assert record.head == head
    assert record.headers[0] == (b"Host", b"padded")


def test_a_server_that_does_not_record_says_so() -> None:
    with EmbeddedServer(tls=False) as server, pytest.raises(EmbeddedServerError, match="record=True"):
        server.records()
