"""What every client and the server exchange: one request, two whole responses, and one response that is a stream."""

import json
from dataclasses import dataclass

HOST = "127.0.0.1"
TARGET = "/v1/chat/completions"


def _padded(document: dict[str, object], path: tuple[str | int, ...], size: int) -> bytes:
    """The document as JSON of exactly `size` bytes: the text at `path` is lengthened as needed."""
    missing = size - len(json.dumps(document).encode())
    holder: object = document
    for step in path[:-1]:
        holder = holder[step]  # type: ignore[index]
    holder[path[-1]] += "." * missing  # type: ignore[index]
    encoded = json.dumps(document).encode()
    assert len(encoded) == size
    return encoded


REQUEST_BODY = _padded(
    {
        "model": "gpt-4o-mini",
        "messages": [
            {"role": "system", "content": "You are a helpful assistant."},
            {"role": "user", "content": "Name three rivers of Europe and say where each of them ends"},
        ],
        "temperature": 0.2,
    },
    ("messages", 1, "content"),
    300,
)
RESPONSE_BODY = _padded(
    {
        "id": "chatcmpl-0123456789",
        "object": "chat.completion",
        "model": "gpt-4o-mini",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Rhine"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 40, "completion_tokens": 12, "total_tokens": 52},
    },
    ("choices", 0, "message", "content"),
    300,
)

#: What the caller sets; host, content-length, accept and user-agent are each client's own affair.
REQUEST_HEADERS: list[tuple[str, str]] = [
    ("content-type", "application/json"),
    ("authorization", "Bearer sk-0123456789abcdef0123456789abcdef"),
]


def _headers(body: bytes) -> list[tuple[bytes, bytes]]:
    return [
        (b"date", b"Thu, 01 Jan 2026 00:00:00 GMT"),
        (b"server", b"bench"),
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"keep-alive"),
    ]


RESPONSE_HEADERS = _headers(RESPONSE_BODY)
#: The large response (LARGE): so many bytes of body.
LARGE = "/large"
LARGE_SIZE = 1_000_000
_LARGE_BODY = b'"' + b"." * (LARGE_SIZE - 2) + b'"'

#: The stream: so many events, and in the paced one (PACED) so many microseconds before each; all at once (BURST).
EVENTS = 100
INTERVAL_US = 2_000
BURST, PACED = "/burst", "/paced"
_EVENT_BEGIN = b'data: {"id":"chatcmpl-'
#: Where a line of an event has the time of its sending: CLOCK_MONOTONIC, nanoseconds.
STAMP = slice(len(_EVENT_BEGIN), len(_EVENT_BEGIN) + 20)
EVENT = (
    _EVENT_BEGIN + b"0" * 20 + b'","object":"chat.completion.chunk","created":1767225600,"model":"gpt-4o-mini",'
    b'"choices":[{"index":0,"delta":{"content":" river"},"logprobs":null,"finish_reason":null}]}\n\n'
)
LAST_EVENT = b"data: [DONE]\n\n"
#: Of the body of the stream that is sent at once, decoded.
BURST_SIZE = EVENTS * len(EVENT) + len(LAST_EVENT)
STREAM_HEADERS: list[tuple[bytes, bytes]] = [
    *RESPONSE_HEADERS[:2],
    (b"content-type", b"text/event-stream"),
    (b"transfer-encoding", b"chunked"),
    (b"connection", b"keep-alive"),
]


def _head(headers: list[tuple[bytes, bytes]]) -> bytes:
    lines = b"".join(name + b": " + value + b"\r\n" for name, value in headers)
    return b"HTTP/1.1 200 OK\r\n" + lines + b"\r\n"


def _chunk(content: bytes) -> bytes:
    return b"%x\r\n" % len(content) + content + b"\r\n"


_STREAM_END = _chunk(LAST_EVENT) + _chunk(b"")


def response_bytes() -> bytes:
    """The whole response as the server sends it."""
    return _head(RESPONSE_HEADERS) + RESPONSE_BODY


def large_response_bytes() -> bytes:
    return _head(_headers(_LARGE_BODY)) + _LARGE_BODY


def burst_bytes() -> bytes:
    """The stream that is sent at once."""
    return _head(STREAM_HEADERS) + _chunk(EVENT) * EVENTS + _STREAM_END


def server_input() -> bytes:
    """What the server reads when it starts: its answers in parts, each event a chunk of its own."""
    parts = (response_bytes(), large_response_bytes(), _head(STREAM_HEADERS), _chunk(EVENT), _STREAM_END)
    return b"".join(b"%d\n" % len(part) + part for part in parts)


def request_bytes(port: int, target: str = TARGET) -> bytes:
    """The whole request as the raw client sends it."""
    headers = [("host", f"{HOST}:{port}"), *REQUEST_HEADERS, ("content-length", str(len(REQUEST_BODY)))]
    head = "".join(f"{name}: {value}\r\n" for name, value in headers)
    return f"POST {target} HTTP/1.1\r\n{head}\r\n".encode() + REQUEST_BODY


@dataclass(frozen=True)
class Peer:
    """Where the server listens, and the CA that its certificate comes from (None: plain TCP)."""

    port: int
    ca_file: str | None
    host: str = HOST

    @property
    def origin(self) -> str:
        return f"{'https' if self.ca_file else 'http'}://{self.host}:{self.port}"

    @property
    def url(self) -> str:
        return self.origin + TARGET
