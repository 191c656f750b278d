"""What the server saw: each request as it was on the wire, kept for comparisons of clients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class RequestRecord:
    """One request. `head` is what came before the body, byte for byte, its last line's end included."""

    #: 1 for the server's first connection that got as far as HTTP, and so on.
    connection: int
    head: bytes
    #: Without the framing of a chunked body.
    body: bytes

    @property
    def method(self) -> str:
        return self._lines[0].split(b" ")[0].decode("latin-1")

    @property
    def target(self) -> str:
        return self._lines[0].split(b" ")[1].decode("latin-1")

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """Names and values in the order and case of the wire, values without the white space around them."""
        pairs = (line.partition(b":") for line in self._lines[1:])
        return [(name, value.strip(b" \t")) for name, _, value in pairs]

    @property
    def _lines(self) -> list[bytes]:
        return self.head.removesuffix(b"\r\n\r\n").split(b"\r\n")

    def as_dict(self) -> dict[str, Any]:
        """For JSON: bytes as the characters of the same numbers."""
        return {
            "connection": self.connection,
            "head": self.head.decode("latin-1"),
            "body": self.body.decode("latin-1"),
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> RequestRecord:
        return cls(
            int(values["connection"]),
            str(values["head"]).encode("latin-1"),
            str(values["body"]).encode("latin-1"),
        )


class RequestRecorder:
    """The requests of one connection, put together from what arrives and from what the server's parser says of it.
    Belongs to that connection; adds to the list it was given.

    One request at a time: of requests sent without waiting for the answer (pipelined), which no client of ours does,
    the heads cannot be told apart.
    """

    def __init__(self, records: list[RequestRecord], connection: int) -> None:
        self._records = records
        self._connection = connection
        self._arrived = bytearray()
        self._body = bytearray()

    def arrived(self, data: bytes) -> None:
        """Before the parser sees it."""
        self._arrived += data

    def body_piece(self, piece: bytes) -> None:
        self._body += piece

    def complete(self) -> None:
        """The parser has seen the whole request."""
        head, end, _ = bytes(self._arrived).partition(b"\r\n\r\n")
        self._records.append(RequestRecord(self._connection, head + end, bytes(self._body)))
        self._arrived.clear()
        self._body.clear()
