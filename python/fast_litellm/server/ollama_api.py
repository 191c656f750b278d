"""Ollama's API: chat, generate, embed, show. Its streams are JSON objects, one per line, not server-sent events."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

from .answers import (
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

_TIME = "2023-11-14T22:13:20Z"


def chat(question: Question) -> Answer:
    prompt = last_message(question.request)
    return _answered(question, prompt, lambda text: {"message": {"role": "assistant", "content": text}})


def generate(question: Question) -> Answer:
    return _answered(question, str(question.request.get("prompt", "")), lambda text: {"response": text})


def embed(question: Question) -> Answer:
    texts = texts_to_embed(question.request)
    numbers = [embedding_of(text) for text in texts]
    tokens = sum(word_count(text) for text in texts)
    return Whole({"model": question.model, "embeddings": numbers, "prompt_eval_count": tokens})


def show(question: Question) -> Answer:
    """What the model can do."""
    return Whole(
        {
            "template": "{{ .Prompt }}",
            "details": {"family": "embedded"},
            "model_info": {"embedded.context_length": 4096},
            "capabilities": ["completion"],
        }
    )


def error_object(error: BadRequest) -> Json:
    return {"error": str(error)}


def _answered(question: Question, prompt: str, content: Callable[[str], Json]) -> Answer:
    text = question.text(prompt)
    common = {"model": question.model, "created_at": _TIME}
    end = {
        "done": True,
        "done_reason": "stop",
        "total_duration": 3000,
        "load_duration": 1000,
        "prompt_eval_count": word_count(prompt),
        "eval_count": word_count(text),
    }
    # Ollama streams unless it is told not to.
    if question.request.get("stream") is False:
        return Whole({**common, **content(text), **end})

    def lines() -> Iterator[bytes]:
        for piece in question.pieces(prompt):
            yield json.dumps({**common, **content(piece), "done": False}).encode() + b"\n"
        yield json.dumps({**common, **content(""), **end}).encode() + b"\n"

    return Streamed(b"application/x-ndjson", lines())
