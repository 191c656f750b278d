"""What goes over the wire first says what was settled: the pool's ClientHello offers what the stock client's does."""

from __future__ import annotations

import socket
import threading
from typing import Any, NamedTuple

import certifi
import httpx
import pytest

import fast_litellm

EMPTY_RENEGOTIATION_INFO = 0x00FF  # no suite, but a signal: OpenSSL sends it in either shape
SUPPORTED_GROUPS, ALPN, SUPPORTED_VERSIONS = 10, 16, 43


class Hello(NamedTuple):
    cipher_suites: tuple[int, ...]
    groups: tuple[int, ...]
    versions: tuple[int, ...]
    alpn: bytes


def numbers(data: bytes) -> tuple[int, ...]:
    return tuple(int.from_bytes(data[start : start + 2], "big") for start in range(0, len(data), 2))


def parse(hello: bytes) -> Hello:
    """A ClientHello in one record (RFC 8446, section 4.1.2; RFC 5246, section 7.4.1.2)."""
    assert hello[0] == 22
    assert hello[5] == 1
    position = 5 + 4 + 2 + 32
    position += 1 + hello[position]  # session id
    length = int.from_bytes(hello[position : position + 2], "big")
    suites = numbers(hello[position + 2 : position + 2 + length])
    position += 2 + length
    position += 1 + hello[position]  # compression methods
    position += 2
    extensions: dict[int, bytes] = {}
    while position < len(hello):
        kind, length = numbers(hello[position : position + 4])
        extensions[kind] = hello[position + 4 : position + 4 + length]
        position += 4 + length
    return Hello(
        cipher_suites=tuple(suite for suite in suites if suite != EMPTY_RENEGOTIATION_INFO),
        groups=numbers(extensions.get(SUPPORTED_GROUPS, b"")[2:]),
        versions=numbers(extensions.get(SUPPORTED_VERSIONS, b"")[1:]),
        alpn=extensions.get(ALPN, b""),
    )


def receive(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = connection.recv(size - len(data))
        assert piece, "the client went before its hello was complete"
        data += piece
    return data


def hello_of(client: httpx.Client) -> Hello:
    """What this client says first to a server that listens and then hangs up."""
    heard: list[bytes] = []

    def listen(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(10)
            head = receive(connection, 5)
            heard.append(head + receive(connection, int.from_bytes(head[3:], "big")))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(10)
        thread = threading.Thread(target=listen, args=(listener,))
        thread.start()
        with pytest.raises(httpx.TransportError):
            client.get(f"https://127.0.0.1:{listener.getsockname()[1]}/", timeout=10)
        thread.join()
    return parse(heard[0])


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"SSL_ECDH_CURVE": "X25519"},
        {"SSL_ECDH_CURVE": "prime256v1"},
        {"SSL_SECURITY_LEVEL": "ECDHE-RSA-AES128-GCM-SHA256"},
        {"SSL_SECURITY_LEVEL": "DEFAULT@SECLEVEL=1", "SSL_ECDH_CURVE": "secp384r1"},
    ],
    ids=str,
)
def test_the_pool_offers_what_litellms_own_context_offers(
    environment: dict[str, str], litellm: Any, monkeypatch: pytest.MonkeyPatch, reported: Any
) -> None:
    from litellm.llms.custom_httpx.http_handler import HTTPHandler

    monkeypatch.setenv("SSL_CERT_FILE", certifi.where())
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    stock = hello_of(HTTPHandler().client)
    assert reported.accelerated == 0
    fast_litellm.apply_acceleration()
    ours = hello_of(HTTPHandler().client)
    assert reported.accelerated == 1
    assert reported.stock_requests == {}
    assert ours.cipher_suites == stock.cipher_suites
    assert ours.versions == stock.versions
    assert ours.alpn == stock.alpn
    if "SSL_ECDH_CURVE" in environment:  # else OpenSSL's own, which may be another version's
        assert len(ours.groups) == 1
        assert ours.groups == stock.groups
