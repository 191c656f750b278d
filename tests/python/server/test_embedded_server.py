"""The embedded server counts its clients' connections and handshakes correctly: other tests rely on it."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from fast_litellm.server import EmbeddedServer, EmbeddedServerError


def trusting(server: EmbeddedServer) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=server.ca_file)


@pytest.fixture
def client(openai_server: EmbeddedServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=openai_server.base_url, verify=trusting(openai_server), trust_env=False) as client:
        yield client


def chat(client: httpx.Client, model: str = "some-model", text: str = "hello", **more: Any) -> httpx.Response:
    body = {"model": model, "messages": [{"role": "user", "content": text}], **more}
    return client.post("/chat/completions", json=body)


def handshake(server: EmbeddedServer, context: ssl.SSLContext, session: ssl.SSLSession | None) -> ssl.SSLSession | None:
    """One connection with one request; the session that it leaves, tickets and all."""
    port = httpx.URL(server.origin).port
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as raw,
        context.wrap_socket(raw, server_hostname="localhost", session=session) as connection,
    ):
        connection.sendall(b"GET /v1/models HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        while connection.recv(65536):
            pass
        return connection.session


def test_requests_on_one_connection_cost_one_handshake(openai_server: EmbeddedServer, client: httpx.Client) -> None:
    for _ in range(5):
        assert chat(client).status_code == 200
    stats = openai_server.stats()
    assert stats.requests == 5
    assert (stats.connections_accepted, stats.connections_established, stats.connections_open) == (1, 1, 1)
    assert (stats.handshakes_full, stats.handshakes_resumed) == (1, 0)


def test_a_resumed_session_is_not_counted_as_a_full_handshake(openai_server: EmbeddedServer) -> None:
    context = trusting(openai_server)
    session = handshake(openai_server, context, None)
    handshake(openai_server, context, session)
    handshake(openai_server, context, None)
    stats = openai_server.stats()
    assert (stats.handshakes_full, stats.handshakes_resumed, stats.handshakes) == (2, 1, 3)
    assert stats.connections_accepted == 3


def test_a_failed_handshake_is_a_connection_but_no_handshake(openai_server: EmbeddedServer) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(openai_server, ssl.create_default_context(), None)
    stats = openai_server.stats()
    assert (stats.connections_accepted, stats.connections_established, stats.handshakes) == (1, 0, 0)


def test_reading_the_statistics_is_not_counted_as_a_request(
    openai_server: EmbeddedServer, client: httpx.Client
) -> None:
    chat(client)
    assert client.get(f"{openai_server.origin}/stats").json() == openai_server.stats().as_dict()
    assert openai_server.stats().requests == 1


def test_an_answer_is_matched_by_its_text_and_its_request_id(client: httpx.Client) -> None:
    for number in range(3):
        body = {"model": "m", "messages": [{"role": "user", "content": f"question {number}"}]}
        answer = client.post("/chat/completions", json=body, headers={"x-request-id": f"id-{number}"})
        assert answer.headers["x-request-id"] == f"id-{number}"
        assert answer.json()["choices"][0]["message"]["content"] == f"question {number}"


def test_the_openai_sdk_understands_every_endpoint(openai_server: EmbeddedServer) -> None:
    with (
        httpx.Client(verify=trusting(openai_server), trust_env=False) as http,
        openai.OpenAI(base_url=openai_server.base_url, api_key="none", http_client=http, max_retries=0) as sdk,
    ):
        messages: Any = [{"role": "user", "content": "one two three"}]
        whole = sdk.chat.completions.create(model="m", messages=messages)
        assert whole.choices[0].message.content == "one two three"
        assert whole.usage is not None
        assert whole.usage.total_tokens == 6
        chunks = list(
            sdk.chat.completions.create(
                model="m", messages=messages, stream=True, stream_options={"include_usage": True}
            )
        )
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "one two three"
        assert chunks[-1].usage is not None
        assert sdk.completions.create(model="m", prompt="say this").choices[0].text == "say this"
        pieces = sdk.completions.create(model="m", prompt="say this", stream=True)
        assert "".join(piece.choices[0].text for piece in pieces) == "say this"
        embeddings = sdk.embeddings.create(model="m", input=["a", "b", "a"], encoding_format="float").data
        assert embeddings[0].embedding == embeddings[2].embedding != embeddings[1].embedding
        assert "embedded-model" in [model.id for model in sdk.models.list()]
        with pytest.raises(openai.RateLimitError):
            sdk.chat.completions.create(model="error-429", messages=messages)


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500, 503])
def test_a_model_named_after_a_status_answers_with_it(
    openai_server: EmbeddedServer, client: httpx.Client, status: int
) -> None:
    answer = chat(client, f"error-{status}")
    assert answer.status_code == status
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    assert openai_server.stats().error_responses == 1


def test_a_slow_model_outlasts_a_short_read_timeout(client: httpx.Client) -> None:
    with pytest.raises(httpx.ReadTimeout):
        client.post(
            "/chat/completions",
            json={"model": "slow-60000", "messages": [{"role": "user", "content": "x"}]},
            timeout=httpx.Timeout(10, read=0.05),
        )


@pytest.mark.parametrize("stream", [False, True])
def test_a_truncated_answer_ends_in_mid_body(client: httpx.Client, stream: bool) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        chat(client, "truncate", "several words here", stream=stream)


def test_the_close_model_ends_the_connection(openai_server: EmbeddedServer, client: httpx.Client) -> None:
    assert chat(client, "close").headers["connection"] == "close"
    assert chat(client).status_code == 200
    assert openai_server.stats().connections_accepted == 2


def test_the_caller_chooses_size_and_number_of_pieces(client: httpx.Client) -> None:
    assert chat(client, "large-100000").json()["choices"][0]["message"]["content"] == "x" * 100_000
    for text in ("abcdefghij", "ab", ""):
        events = chat(client, "chunks-4", text, stream=True).text.split("\n\n")
        # Four pieces, the one with the reason for the end, [DONE], and what is after the last blank line.
        assert len(events) == 4 + 1 + 1 + 1
        assert events[-2:] == ["data: [DONE]", ""]


@pytest.mark.parametrize(
    ("method", "path", "content", "status"),
    [
        ("POST", "/chat/completions", b"{", 400),
        ("POST", "/chat/completions", b"[]", 400),
        ("POST", "/chat/completions", b'{"model": "m"}', 400),
        ("POST", "/chat/completions", b'{"model": "m", "messages": []}', 400),
        ("POST", "/embeddings", b'{"model": "m", "input": []}', 400),
        ("GET", "/chat/completions", b"", 405),
        ("POST", "/nowhere", b"{}", 404),
    ],
)
def test_bad_requests_are_refused_with_an_error_object(
    client: httpx.Client, method: str, path: str, content: bytes, status: int
) -> None:
    answer = client.request(method, path, content=content)
    assert answer.status_code == status
    assert answer.json()["error"]["message"]


def test_it_serves_plain_http_too() -> None:
    with EmbeddedServer(tls=False) as server:
        assert server.origin.startswith("http://")
        assert httpx.get(f"{server.base_url}/models", trust_env=False).status_code == 200
        assert server.stats().handshakes == 0
        with pytest.raises(KeyError):
            _ = server.ca_file


def test_the_process_and_its_certificate_are_gone_after_the_block() -> None:
    with EmbeddedServer(tls=True) as server:
        pid, ca_file = server.pid, Path(server.ca_file)
        assert ca_file.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert not ca_file.exists()
    with pytest.raises(EmbeddedServerError):
        server.stats()


def test_sigterm_ends_it_and_removes_its_certificate(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "fast_litellm.server", "--tls", "--print-json"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    assert process.stdout is not None
    assert process.stdin is not None
    with process.stdout, process.stdin:
        assert process.stdout.readline().startswith(b"{")
        assert list(tmp_path.iterdir())
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    assert not list(tmp_path.iterdir())


def test_a_port_in_use_is_reported_as_an_error(openai_server: EmbeddedServer) -> None:
    port = httpx.URL(openai_server.origin).port
    assert port is not None
    with pytest.raises(EmbeddedServerError):
        EmbeddedServer(port=port).start()
