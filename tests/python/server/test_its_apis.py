"""The embedded server implements the providers' APIs, and gives equal responses to equal requests."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest

from fast_litellm.server import EmbeddedServer

MESSAGES: Any = [{"role": "user", "content": "one two three"}]


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedServer]:
    with EmbeddedServer(tls=False) as server:
        yield server


@pytest.fixture
def client(server: EmbeddedServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.origin, trust_env=False) as client:
        yield client


def events_of(text: str) -> list[dict[str, str]]:
    """Server-sent events, each as its fields."""
    return [dict(line.split(": ", 1) for line in event.splitlines()) for event in text.split("\n\n") if event]


def test_azures_sdk_finds_its_deployments(server: EmbeddedServer) -> None:
    with (
        httpx.Client(trust_env=False) as http,
        openai.AzureOpenAI(
            azure_endpoint=server.origin, api_version="2024-10-21", api_key="none", http_client=http, max_retries=0
        ) as sdk,
    ):
        answer = sdk.chat.completions.create(model="my-deployment", messages=MESSAGES)
        assert (answer.model, answer.choices[0].message.content) == ("my-deployment", "one two three")
        chunks = sdk.chat.completions.create(model="my-deployment", messages=MESSAGES, stream=True)
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "one two three"
        assert sdk.completions.create(model="my-deployment", prompt="say this").choices[0].text == "say this"
        assert len(sdk.embeddings.create(model="my-deployment", input="a").data[0].embedding) == 16
        with pytest.raises(openai.InternalServerError):
            sdk.chat.completions.create(model="error-500", messages=MESSAGES)


def test_azures_paths_require_a_version(client: httpx.Client) -> None:
    path = "/openai/deployments/d/chat/completions"
    assert client.post(path, json={"messages": MESSAGES}).status_code == 404
    assert client.post(f"{path}?api-version=1", json={"messages": MESSAGES}).status_code == 200
    assert client.post("/openai/deployments/d/nowhere?api-version=1", json={}).status_code == 404


def test_the_sdks_packed_embeddings_are_the_plain_ones(client: httpx.Client) -> None:
    with (
        httpx.Client(trust_env=False) as http,
        openai.OpenAI(base_url=f"{client.base_url}/v1", api_key="none", http_client=http, max_retries=0) as sdk,
    ):
        packed = sdk.embeddings.create(model="m", input="a")  # asks for base64 by itself
        plain = sdk.embeddings.create(model="m", input="a", encoding_format="float")
        assert packed.data[0].embedding == pytest.approx(plain.data[0].embedding)


def test_anthropics_messages_are_served_whole_and_as_named_events(client: httpx.Client) -> None:
    request = {"model": "claude", "max_tokens": 5, "messages": MESSAGES}
    whole = client.post("/v1/messages", json=request).json()
    assert whole["content"] == [{"type": "text", "text": "one two three"}]
    assert whole["stop_reason"] == "end_turn"
    events = events_of(client.post("/v1/messages", json={**request, "stream": True}).text)
    assert [event["event"] for event in events] == [
        "message_start",
        "content_block_start",
        "ping",
        *["content_block_delta"] * 3,
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    texts = [json.loads(event["data"])["delta"]["text"] for event in events if event["event"] == "content_block_delta"]
    assert "".join(texts) == "one two three"


@pytest.mark.parametrize(("model", "status", "kind"), [("m", 400, "invalid_request_error"), ("error-500", 500, "api")])
def test_anthropics_errors_have_anthropics_shape(client: httpx.Client, model: str, status: int, kind: str) -> None:
    answer = client.post("/v1/messages", json={"model": model, "messages": MESSAGES})
    assert answer.status_code == status
    assert answer.json()["type"] == "error"
    assert answer.json()["error"]["type"].startswith(kind)


@pytest.mark.parametrize(
    ("path", "request_", "text"),
    [
        ("/api/chat", {"messages": MESSAGES}, lambda line: line["message"]["content"]),
        ("/api/generate", {"prompt": "one two three"}, lambda line: line["response"]),
    ],
)
def test_ollama_streams_lines_unless_the_request_disables_it(
    client: httpx.Client, path: str, request_: dict[str, Any], text: Any
) -> None:
    whole = client.post(path, json={"model": "m", "stream": False, **request_}).json()
    assert (text(whole), whole["done"], whole["eval_count"]) == ("one two three", True, 3)
    lines = [json.loads(line) for line in client.post(path, json={"model": "m", **request_}).text.splitlines()]
    assert "".join(map(text, lines)) == "one two three"
    assert [line["done"] for line in lines] == [False] * 3 + [True]


def test_ollama_embeds_and_lists_the_capabilities_of_a_model(client: httpx.Client) -> None:
    embedded = client.post("/api/embed", json={"model": "m", "input": ["a", "b"]}).json()["embeddings"]
    assert embedded[0] != embedded[1]
    assert client.post("/api/show", json={"model": "m"}).json()["capabilities"] == ["completion"]
    assert client.post("/api/chat", json={"model": "error-429", "messages": MESSAGES}).json() == {
        "error": "status 429, as asked for"
    }


@pytest.mark.parametrize("path", ["/image.png", "/images/some-name.png"])
def test_a_picture_is_a_png(client: httpx.Client, path: str) -> None:
    answer = client.get(path)
    assert answer.headers["content-type"] == "image/png"
    assert answer.content.startswith(b"\x89PNG\r\n\x1a\n")
    start = answer.content.index(b"IDAT")
    length = int.from_bytes(answer.content[start - 4 : start], "big")
    chunk = answer.content[start : start + 4 + length]
    assert int.from_bytes(answer.content[start + 4 + length :][:4], "big") == zlib.crc32(chunk)
    assert len(zlib.decompress(chunk[4:])) == 16 * (16 + 1)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", "/api/chat"])
def test_equal_requests_get_equal_answers_to_the_byte(client: httpx.Client, path: str, stream: bool) -> None:
    request = {"model": "m", "max_tokens": 5, "messages": MESSAGES, "stream": stream}
    answers = [client.post(path, json=request) for _ in range(2)]
    assert answers[0].headers.raw == answers[1].headers.raw
    assert answers[0].content == answers[1].content
    other = client.post(path, json={**request, "messages": [{"role": "user", "content": "four"}]})
    assert other.content != answers[0].content
