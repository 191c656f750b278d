"""Anthropic's Messages API: whole, and streamed as named events."""

from __future__ import annotations

import json
from collections.abc import Iterator

from .answers import Answer, BadRequest, Json, Question, Streamed, Whole, last_message, word_count

HEADERS = [(b"anthropic-organization-id", b"embedded"), (b"anthropic-ratelimit-requests-remaining", b"999")]
_KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    404: "not_found_error",
    429: "rate_limit_error",
    529: "overloaded_error",
}


def messages(question: Question) -> Answer:
    if not isinstance(question.request.get("max_tokens"), int):
        raise BadRequest(400, "max_tokens: Field required")
    prompt = last_message(question.request)
    text = question.text(prompt)
    usage = {"input_tokens": word_count(prompt), "output_tokens": word_count(text)}
    message: Json = {
        "id": question.id("msg_"),
        "type": "message",
        "role": "assistant",
        "model": question.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": usage,
    }
    if not question.streaming:
        whole = {**message, "content": [{"type": "text", "text": text}], "stop_reason": "end_turn"}
        return Whole(whole, headers=HEADERS)

    def events() -> Iterator[bytes]:
        yield _event("message_start", message={**message, "usage": {**usage, "output_tokens": 1}})
        yield _event("content_block_start", index=0, content_block={"type": "text", "text": ""})
        yield _event("ping")
        for piece in question.pieces(prompt):
            yield _event("content_block_delta", index=0, delta={"type": "text_delta", "text": piece})
        yield _event("content_block_stop", index=0)
        end = {"stop_reason": "end_turn", "stop_sequence": None}
        yield _event("message_delta", delta=end, usage={"output_tokens": usage["output_tokens"]})
        yield _event("message_stop")

    return Streamed(b"text/event-stream; charset=utf-8", events(), HEADERS)


def error_object(error: BadRequest) -> Json:
    return {"type": "error", "error": {"type": _KINDS.get(error.status, "api_error"), "message": str(error)}}


def _event(kind: str, **content: object) -> bytes:
    data = json.dumps({"type": kind, **content}, separators=(",", ":"))
    return f"event: {kind}\ndata: {data}\n\n".encode()
