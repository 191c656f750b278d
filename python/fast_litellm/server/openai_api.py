"""OpenAI's shapes: chat completions, completions, embeddings; vLLM and Azure speak them too, the latter at paths of its
own, with the model's name in them."""

from __future__ import annotations

import base64
import json
import re
import struct
from collections.abc import Callable, Iterator

from .answers import (
    NOW,
    Answer,
    BadRequest,
    Json,
    Question,
    Streamed,
    Whole,
    embedding_of,
    last_message,
    texts_to_embed,
    word_count,
)

MODELS = ("embedded-model", "embedded-embedding")
#: What OpenAI sends with its answers, and litellm hands on to the caller.
HEADERS = [
    (b"openai-version", b"2020-10-01"),
    (b"x-ratelimit-limit-requests", b"10000"),
    (b"x-ratelimit-remaining-requests", b"9999"),
]
_AZURE = re.compile(r"/openai/deployments/([^/]+)(/.+)")


def azure_deployment(path: str) -> tuple[str, str] | None:
    """("gpt", "/chat/completions") for "/openai/deployments/gpt/chat/completions"; None if the path is
    not Azure's."""
    found = _AZURE.fullmatch(path)
    return (found[1], found[2]) if found else None


def models() -> Answer:
    listed = [{"id": name, "object": "model", "created": 0, "owned_by": "embedded"} for name in MODELS]
    return Whole({"object": "list", "data": listed})


def chat(question: Question) -> Answer:
    def choice(text: str) -> Json:
        message = {"role": "assistant", "content": text, "refusal": None}
        return {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}

    def piece(text: str | None) -> Json:
        delta = {} if text is None else {"role": "assistant", "content": text}
        return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": "stop" if text is None else None}

    prompt = last_message(question.request)
    return _completed(question, "chatcmpl-", ("chat.completion", "chat.completion.chunk"), prompt, choice, piece)


def completion(question: Question) -> Answer:
    prompt = question.request.get("prompt", "")
    prompt = "".join(map(str, prompt)) if isinstance(prompt, list) else str(prompt)

    def piece(text: str | None) -> Json:
        return {"index": 0, "text": text or "", "logprobs": None, "finish_reason": "stop" if text is None else None}

    def whole(text: str) -> Json:
        return {**piece(text), "finish_reason": "stop"}

    return _completed(question, "cmpl-", ("text_completion", "text_completion"), prompt, whole, piece)


def embeddings(question: Question) -> Answer:
    request = question.request
    texts = texts_to_embed(request)
    packed = request.get("encoding_format") == "base64"
    data = [
        {"object": "embedding", "index": index, "embedding": _packed(text) if packed else embedding_of(text)}
        for index, text in enumerate(texts)
    ]
    tokens = sum(word_count(text) for text in texts)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return Whole({"object": "list", "data": data, "model": question.model, "usage": usage}, headers=HEADERS)


def error_object(error: BadRequest) -> Json:
    kinds = {401: "authentication_error", 429: "rate_limit_error"}
    kind = kinds.get(error.status, "server_error" if error.status >= 500 else "invalid_request_error")
    return {"error": {"message": str(error), "type": kind, "param": None, "code": None}}


def _packed(text: str) -> str:
    """An embedding as the SDKs like it best: little-endian 32-bit floats, in base64."""
    numbers = embedding_of(text)
    return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()


def _completed(
    question: Question,
    prefix: str,
    kinds: tuple[str, str],
    prompt: str,
    choice: Callable[[str], Json],
    piece: Callable[[str | None], Json],
) -> Answer:
    text = question.text(prompt)
    common = {"id": question.id(prefix), "created": NOW, "model": question.model}
    prompt_tokens, completion_tokens = word_count(prompt), word_count(text)
    usage = {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }
    if not question.streaming:
        return Whole({**common, "object": kinds[0], "choices": [choice(text)], "usage": usage}, headers=HEADERS)

    def events() -> Iterator[bytes]:
        for one in (*question.pieces(prompt), None):
            yield _event({**common, "object": kinds[1], "choices": [piece(one)]})
        if (question.request.get("stream_options") or {}).get("include_usage"):
            yield _event({**common, "object": kinds[1], "choices": [], "usage": usage})

    return Streamed(b"text/event-stream; charset=utf-8", events(), HEADERS, end=b"data: [DONE]\n\n")


def _event(content: Json) -> bytes:
    return b"data: " + json.dumps(content, separators=(",", ":")).encode() + b"\n\n"
