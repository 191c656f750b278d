"""The API: a small ASGI application in the shape of OpenAI's.

The model's name says how to behave, so that tests need no second channel:

===================  =================================================================================
model                answer
===================  =================================================================================
``error-<status>``   that HTTP status, with an error object as OpenAI sends it
``slow-<ms>``        waits so many milliseconds before the head of the response
``drip-<ms>``        waits so many milliseconds before each piece of a streamed response
``chunks-<n>``       a streamed response of n pieces of text
``large-<bytes>``    a text of so many bytes
``truncate``         the connection is closed in the middle of the body
``close``            a complete answer with ``connection: close``
anything else        a plain answer
===================  =================================================================================

The text of a plain answer is the last message (or the prompt) itself, and ``x-request-id`` comes back as it was sent:
either matches an answer to its request.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
import time
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from typing import Any

from .counters import ServerStats

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Json = dict[str, Any]

EMBEDDING_SIZE = 16
MODELS = ("embedded-model", "embedded-embedding")


class BadRequest(Exception):
    """The request cannot be answered; becomes an error object."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class TruncatedAnswer(Exception):
    """Leaves the application after half a body: the server then closes the connection."""


def behaviour(model: str) -> tuple[str, int]:
    """("slow", 50) for "slow-50" or "openai/slow-50"; ("", 0) for an ordinary name."""
    name = model.rsplit("/", 1)[-1]
    word, _, number = name.partition("-")
    if word in ("error", "slow", "drip", "chunks", "large") and number.isdigit():
        return word, int(number)
    return (name, 0) if name in ("truncate", "close") else ("", 0)


def text_of(content: object) -> str:
    """The text of a message, whose content is a string or a list of parts."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return ""


def word_count(text: str) -> int:
    return max(1, len(text.split()))


def usage_of(prompt: str, answer: str) -> Json:
    prompt_tokens, completion_tokens = word_count(prompt), word_count(answer)
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }


def error_object(status: int, message: str) -> Json:
    kinds = {401: "authentication_error", 429: "rate_limit_error"}
    kind = kinds.get(status, "server_error" if status >= 500 else "invalid_request_error")
    return {"error": {"message": message, "type": kind, "param": None, "code": None}}


def pieces_of(text: str, count: int | None) -> list[str]:
    """The text in `count` pieces, or in words; joined they are the text again."""
    if count is not None:
        size = max(1, -(-len(text) // max(1, count)))
        pieces = [text[start : start + size] for start in range(0, len(text), size)]
        return pieces + [""] * (count - len(pieces))
    words = text.split(" ")
    return [word if index == 0 else " " + word for index, word in enumerate(words)]


def embedding_of(text: str) -> list[float]:
    """Equal for equal texts, so that answers can be told apart."""
    digest = hashlib.sha256(text.encode()).digest()
    return [byte / 255 for byte in digest[:EMBEDDING_SIZE]]


class Application:
    """The ASGI application. Lives on the server's one thread; counts into the statistics it was given."""

    def __init__(self, stats: ServerStats) -> None:
        self._stats = stats
        self._numbers = itertools.count(1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"no support for {scope['type']!r}")
        method: str = scope["method"]
        path = str(scope["path"]).removeprefix("/v1")
        if path == "/stats":
            await self._send_json(send, [], 200, self._stats.as_dict())
            return
        self._stats.requests += 1
        request_id = next((value for name, value in scope["headers"] if name == b"x-request-id"), None)
        headers = [(b"x-request-id", request_id)] if request_id is not None else []
        try:
            body = await read_body(receive)
            await self._route(method, path, body, headers, send)
        except BadRequest as error:
            self._stats.error_responses += 1
            await self._send_json(send, headers, error.status, error_object(error.status, str(error)))

    async def _route(self, method: str, path: str, body: bytes, headers: list[tuple[bytes, bytes]], send: Send) -> None:
        if (method, path) == ("GET", "/models"):
            models = [{"id": name, "object": "model", "created": 0, "owned_by": "embedded"} for name in MODELS]
            await self._send_json(send, headers, 200, {"object": "list", "data": models})
            return
        routes = {"/chat/completions": self._chat, "/completions": self._completion, "/embeddings": self._embeddings}
        answer = routes.get(path)
        if answer is None:
            raise BadRequest(404, f"no such endpoint: {path}")
        if method != "POST":
            raise BadRequest(405, f"{path} takes POST, not {method}")
        try:
            request = json.loads(body)
        except ValueError as error:
            raise BadRequest(400, f"the body is not JSON: {error}") from None
        if not isinstance(request, dict) or not isinstance(request.get("model"), str):
            raise BadRequest(400, "the body must be an object with a 'model'")
        word, number = behaviour(request["model"])
        if word == "error":
            if number not in range(400, 600):
                raise BadRequest(400, f"not an error status: {number}")
            raise BadRequest(number, f"status {number}, as asked for")
        if word == "slow":
            await asyncio.sleep(number / 1000)
        if word == "close":
            headers.append((b"connection", b"close"))
        await answer(request, headers, send)

    async def _chat(self, request: Json, headers: list[tuple[bytes, bytes]], send: Send) -> None:
        messages = request.get("messages")
        if not isinstance(messages, list) or not messages or not all(isinstance(one, dict) for one in messages):
            raise BadRequest(400, "'messages' must be a list with a message in it")
        prompt = text_of(messages[-1].get("content"))

        def choice(text: str) -> Json:
            message = {"role": "assistant", "content": text, "refusal": None}
            return {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}

        def piece(text: str | None) -> Json:
            delta = {} if text is None else {"role": "assistant", "content": text}
            return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": "stop" if text is None else None}

        await self._complete("chatcmpl", "chat.completion", prompt, choice, piece, request, headers, send)

    async def _completion(self, request: Json, headers: list[tuple[bytes, bytes]], send: Send) -> None:
        prompt = request.get("prompt", "")
        prompt = "".join(map(str, prompt)) if isinstance(prompt, list) else str(prompt)

        def choice(text: str | None) -> Json:
            finish_reason = "stop" if text is None else None
            return {"index": 0, "text": text or "", "logprobs": None, "finish_reason": finish_reason}

        def whole(text: str) -> Json:
            return {**choice(text), "finish_reason": "stop"}

        await self._complete("cmpl", "text_completion", prompt, whole, choice, request, headers, send)

    async def _complete(
        self,
        prefix: str,
        kind: str,
        prompt: str,
        choice: Callable[[str], Json],
        piece: Callable[[str | None], Json],
        request: Json,
        headers: list[tuple[bytes, bytes]],
        send: Send,
    ) -> None:
        word, number = behaviour(request["model"])
        text = "x" * number if word == "large" else prompt
        common = {"id": f"{prefix}-{next(self._numbers)}", "created": int(time.time()), "model": request["model"]}
        if not request.get("stream"):
            answer = {**common, "object": kind, "choices": [choice(text)], "usage": usage_of(prompt, text)}
            await self._send_json(send, headers, 200, answer, truncate=word == "truncate")
            return

        chunk_kind = "chat.completion.chunk" if kind == "chat.completion" else kind
        pieces = pieces_of(text, number if word == "chunks" else None)

        def events() -> Iterator[Json]:
            for one in (*pieces, None):
                yield {**common, "object": chunk_kind, "choices": [piece(one)]}
            if (request.get("stream_options") or {}).get("include_usage"):
                yield {**common, "object": chunk_kind, "choices": [], "usage": usage_of(prompt, text)}

        await send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [(b"content-type", b"text/event-stream; charset=utf-8"), *headers],
            }
        )
        for index, event in enumerate(events()):
            if word == "drip":
                await asyncio.sleep(number / 1000)
            if word == "truncate" and index == 1:
                raise TruncatedAnswer
            line = b"data: " + json.dumps(event, separators=(",", ":")).encode() + b"\n\n"
            await send({"type": "http.response.body", "body": line, "more_body": True})
        await send({"type": "http.response.body", "body": b"data: [DONE]\n\n"})

    async def _embeddings(self, request: Json, headers: list[tuple[bytes, bytes]], send: Send) -> None:
        given = request.get("input")
        texts = [given] if isinstance(given, str) else given
        if not isinstance(texts, list) or not texts:
            raise BadRequest(400, "'input' must be a string or a list that is not empty")
        if request.get("encoding_format") == "base64":
            raise BadRequest(400, "embeddings are given as 'float' only")
        data = [
            {"object": "embedding", "index": index, "embedding": embedding_of(str(text))}
            for index, text in enumerate(texts)
        ]
        tokens = sum(word_count(str(text)) for text in texts)
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        answer = {"object": "list", "data": data, "model": request["model"], "usage": usage}
        await self._send_json(send, headers, 200, answer)

    async def _send_json(
        self, send: Send, headers: list[tuple[bytes, bytes]], status: int, answer: Json, *, truncate: bool = False
    ) -> None:
        body = json.dumps(answer, separators=(",", ":")).encode()
        head = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), *headers]
        await send({"type": "http.response.start", "status": status, "headers": head})
        if truncate:
            await send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})
            raise TruncatedAnswer
        await send({"type": "http.response.body", "body": body})


async def read_body(receive: Receive) -> bytes:
    pieces: list[bytes] = []
    while True:
        message = await receive()
        pieces.append(message.get("body", b""))
        # A disconnected client's message has neither.
        if not message.get("more_body"):
            return b"".join(pieces)
