"""The application: a small ASGI one, which speaks with OpenAI's, Azure's, Anthropic's and Ollama's words.

===============================================  ==================================================
path                                             as of
===============================================  ==================================================
``/v1/chat/completions`` ``/v1/completions``     OpenAI, vLLM (also without ``/v1``)
``/v1/embeddings`` ``/v1/models``
``/openai/deployments/<name>/…?api-version=…``   Azure; the name is the model's
``/v1/messages``                                 Anthropic
``/api/chat`` ``/api/generate`` ``/api/embed``   Ollama
``/api/show``
``/image.png`` ``/images/<name>.png``            a picture, by GET
``/stats``                                       what the server counted, by GET; is no request itself
===============================================  ==================================================

The model's name says how to behave, so that tests need no second channel:

===================  =================================================================================
model                answer
===================  =================================================================================
``error-<status>``   that HTTP status, with an error object as the API sends it
``slow-<ms>``        waits so many milliseconds before the head of the response
``drip-<ms>``        waits so many milliseconds before each piece of a streamed response
``chunks-<n>``       a streamed response of n pieces of text
``large-<bytes>``    a text of so many bytes
``truncate``         the connection is closed in the middle of the body
``close``            a complete answer with ``connection: close``
anything else        a plain answer
===================  =================================================================================

The text of a plain answer is the last message (or the prompt) itself, and ``x-request-id`` comes back as it was sent:
either matches an answer to its request. Equal requests get equal answers, see ``answers.py``.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qs

from . import anthropic_api, ollama_api, openai_api
from .answers import Answer, BadRequest, File, Json, Question, Streamed, Whole, refuse_if_asked
from .counters import ServerStats
from .picture import png

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

_OPENAI: dict[str, Callable[[Question], Answer]] = {
    "/chat/completions": openai_api.chat,
    "/completions": openai_api.completion,
    "/embeddings": openai_api.embeddings,
}
_ROUTES: dict[str, Callable[[Question], Answer]] = {
    **_OPENAI,
    "/messages": anthropic_api.messages,
    "/api/chat": ollama_api.chat,
    "/api/generate": ollama_api.generate,
    "/api/embed": ollama_api.embed,
    "/api/show": ollama_api.show,
}


class TruncatedAnswer(Exception):
    """Leaves the application after half a body: the server then closes the connection."""


class Application:
    """The ASGI application. Lives on the server's one thread; counts into the statistics it was given."""

    def __init__(self, stats: ServerStats) -> None:
        self._stats = stats
        self._picture = File(png(), b"image/png")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"no support for {scope['type']!r}")
        path = str(scope["path"]).removeprefix("/v1")
        if path == "/stats":
            await _send_whole(send, [], Whole(dict(self._stats.as_dict())))
            return
        self._stats.requests += 1
        request_id = next((value for name, value in scope["headers"] if name == b"x-request-id"), None)
        headers = [(b"x-request-id", request_id)] if request_id is not None else []
        try:
            body = await read_body(receive)
            await self._answer(scope, path, body, headers, send)
        except BadRequest as error:
            self._stats.error_responses += 1
            await _send_whole(send, headers, Whole(_error_object(path, error), error.status))

    async def _answer(self, scope: Scope, path: str, body: bytes, headers: Headers, send: Send) -> None:
        method: str = scope["method"]
        if method == "GET":
            content = openai_api.models() if path == "/models" else self._picture if _is_picture(path) else None
            if content is not None:
                await _send(send, headers, content, "", 0)
                return
        answering, deployment = _route(path, scope)
        if answering is None:
            raise BadRequest(404, f"no such endpoint: {path}")
        if method != "POST":
            raise BadRequest(405, f"{path} takes POST, not {method}")
        question = _question(body, deployment)
        refuse_if_asked(question)
        word, number = question.behaviour
        if word == "slow":
            await asyncio.sleep(number / 1000)
        if word == "close":
            headers.append((b"connection", b"close"))
        await _send(send, headers, answering(question), word, number)


def _is_picture(path: str) -> bool:
    return path == "/image.png" or (path.startswith("/images/") and path.endswith(".png"))


def _route(path: str, scope: Scope) -> tuple[Callable[[Question], Answer] | None, str | None]:
    """What answers at this path, and the model that the path names, if it does."""
    azure = openai_api.azure_deployment(path)
    if azure is None:
        return _ROUTES.get(path), None
    if not parse_qs(scope["query_string"]).get(b"api-version"):
        raise BadRequest(404, "api-version is missing")
    return _OPENAI.get(azure[1]), azure[0]


def _question(body: bytes, deployment: str | None) -> Question:
    try:
        request = json.loads(body)
    except ValueError as error:
        raise BadRequest(400, f"the body is not JSON: {error}") from None
    model = request.get("model", deployment) if isinstance(request, dict) else None
    if not isinstance(model, str):
        raise BadRequest(400, "the body must be an object with a 'model'")
    return Question(deployment or model, request, body)


def _error_object(path: str, error: BadRequest) -> Json:
    if path == "/messages":
        return anthropic_api.error_object(error)
    if path.startswith("/api/"):
        return ollama_api.error_object(error)
    return openai_api.error_object(error)


async def _send(send: Send, headers: Headers, answer: Answer, word: str, number: int) -> None:
    if isinstance(answer, Streamed):
        await _send_streamed(send, headers, answer, word, number)
    elif isinstance(answer, File):
        await _send_bytes(send, [(b"content-type", answer.media_type), *headers], 200, answer.content)
    else:
        await _send_whole(send, headers, answer, truncate=word == "truncate")


async def _send_streamed(send: Send, headers: Headers, answer: Streamed, word: str, number: int) -> None:
    head = [(b"content-type", answer.media_type), *answer.headers, *headers]
    await send({"type": "http.response.start", "status": 200, "headers": head})
    for index, event in enumerate(answer.events):
        if word == "drip":
            await asyncio.sleep(number / 1000)
        if word == "truncate" and index == 1:
            raise TruncatedAnswer
        await send({"type": "http.response.body", "body": event, "more_body": True})
    await send({"type": "http.response.body", "body": answer.end})


async def _send_whole(send: Send, headers: Headers, answer: Whole, *, truncate: bool = False) -> None:
    body = json.dumps(answer.content, separators=(",", ":")).encode()
    head = [(b"content-type", b"application/json"), *answer.headers, *headers]
    await _send_bytes(send, head, answer.status, body, truncate=truncate)


async def _send_bytes(send: Send, head: Headers, status: int, body: bytes, *, truncate: bool = False) -> None:
    head = [*head, (b"content-length", str(len(body)).encode())]
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
