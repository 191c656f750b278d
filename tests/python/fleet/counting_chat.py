"""A `CountingServer` that answers chat completions as OpenAI does: it repeats the prompt, at once or as a stream."""

from __future__ import annotations

import json
from typing import Any

import certifi

from fleet.counting_server import CountingServer


class CountingChat(CountingServer):
    """A stream's first half is written at once, and its end after `seconds`: it counts for as long as it lasts."""

    #: It speaks no TLS; whoever wants authorities gets the usual ones.
    ca_file = certifi.where()

    @property
    def base_url(self) -> str:
        return f"{self.origin}/v1"

    def answer(self, body: bytes) -> tuple[bytes, bytes]:
        asked = json.loads(body)
        prompt: str = asked["messages"][-1]["content"]
        if not asked.get("stream"):
            answer = json.dumps(_completion("chat.completion", "message", {"role": "assistant", "content": prompt}))
            head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(answer)}\r\n\r\n"
            return b"", (head + answer).encode()
        head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        half = len(prompt) // 2
        first = _event({"role": "assistant", "content": prompt[:half]})
        last = _event({"content": prompt[half:]}) + _event({}, "stop") + "data: [DONE]\n\n"
        return (head + _chunk(first)).encode(), (_chunk(last) + "0\r\n\r\n").encode()


def _event(delta: dict[str, Any], finish_reason: str | None = None) -> str:
    return f"data: {json.dumps(_completion('chat.completion.chunk', 'delta', delta, finish_reason))}\n\n"


def _chunk(data: str) -> str:
    return f"{len(data):x}\r\n{data}\r\n"


def _completion(kind: str, part: str, content: dict[str, Any], finish_reason: str | None = "stop") -> dict[str, Any]:
    return {
        "id": "chat-1",
        "object": kind,
        "created": 0,
        "model": "embedded-model",
        "choices": [{"index": 0, part: content, "finish_reason": finish_reason}],
        **({"usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}} if part == "message" else {}),
    }
