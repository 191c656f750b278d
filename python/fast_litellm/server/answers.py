"""What the APIs share: how a model's name says how to behave, and what an answer is before it is sent.

Equal requests get equal answers, to the byte: ids come from the request's body, and time stands still. So what two
clients got can be compared field for field.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]

#: Seconds since the epoch, for whatever field wants a time.
NOW = 1_700_000_000
EMBEDDING_SIZE = 16


class BadRequest(Exception):
    """The request cannot be answered; becomes an error object in the API's own shape."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Question:
    """One request to an endpoint that has a model."""

    model: str
    request: Json
    body: bytes

    @property
    def streaming(self) -> bool:
        return bool(self.request.get("stream"))

    @property
    def behaviour(self) -> tuple[str, int]:
        return behaviour(self.model)

    def id(self, prefix: str) -> str:
        """The same for the same body."""
        return prefix + hashlib.sha256(self.body).hexdigest()[:24]

    def text(self, prompt: str) -> str:
        """What the model answers: the prompt itself, unless its name asks for so many bytes."""
        word, number = self.behaviour
        return "x" * number if word == "large" else prompt

    def pieces(self, prompt: str) -> list[str]:
        word, number = self.behaviour
        return pieces_of(self.text(prompt), number if word == "chunks" else None)


@dataclass(frozen=True)
class Whole:
    """An answer with one body: an object, to be sent as JSON."""

    content: Json
    status: int = 200
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)


@dataclass(frozen=True)
class File:
    """An answer with one body of bytes."""

    content: bytes
    media_type: bytes


@dataclass(frozen=True)
class Streamed:
    """An answer in pieces, each sent as soon as it is there."""

    media_type: bytes
    events: Iterator[bytes]
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    #: Sent right behind the last event.
    end: bytes = b""


Answer = Whole | File | Streamed


def behaviour(model: str) -> tuple[str, int]:
    """("slow", 50) for "slow-50" or "openai/slow-50"; ("", 0) for an ordinary name."""
    name = model.rsplit("/", 1)[-1]
    word, _, number = name.partition("-")
    if word in ("error", "slow", "drip", "chunks", "large") and number.isdigit():
        return word, int(number)
    return (name, 0) if name in ("truncate", "close") else ("", 0)


def refuse_if_asked(question: Question) -> None:
    word, number = question.behaviour
    if word == "error":
        if number not in range(400, 600):
            raise BadRequest(400, f"not an error status: {number}")
        raise BadRequest(number, f"status {number}, as asked for")


def last_message(request: Json) -> str:
    """The text of the last message, which is the prompt. BadRequest if there is none."""
    messages = request.get("messages")
    if not isinstance(messages, list) or not messages or not all(isinstance(one, dict) for one in messages):
        raise BadRequest(400, "'messages' must be a list with a message in it")
    return text_of(messages[-1].get("content"))


def text_of(content: object) -> str:
    """The text of a message, whose content is a string or a list of parts."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return ""


def texts_to_embed(request: Json) -> list[str]:
    given = request.get("input")
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list) or not texts:
        raise BadRequest(400, "'input' must be a string or a list that is not empty")
    return [str(text) for text in texts]


def word_count(text: str) -> int:
    return max(1, len(text.split()))


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
