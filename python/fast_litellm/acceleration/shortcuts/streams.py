"""The body of a streamed response, read through one generator in place of up to five.

A response that is asked for with `stream=True` becomes an instance of a class of its own, derived from httpx's, whose
`iter_*` and `aiter_*` read the transport's pieces directly. What is decoded and cut into lines is httpx's own decoders'
work. Chunks of a given size, a body with a content encoding, and a response that other code has touched are httpx's.
"""

from __future__ import annotations

import codecs
import copyreg
from collections.abc import Callable, Iterable
from typing import Any

from .derived import become, hidden
from .known import Library
from .twins import Reading, steps_for

RELIES_ON = (
    "_client:{Client}.send",
    "_client:BoundSyncStream.__iter__",
    "_client:BoundAsyncStream.__aiter__",
    "_exceptions:request_context",
    "_models:Response.__init__",
    "_models:Response.charset_encoding",
    "_models:Response.iter_raw",
    "_models:Response.iter_bytes",
    "_models:Response.iter_text",
    "_models:Response.iter_lines",
    "_models:Response.aiter_raw",
    "_models:Response.aiter_bytes",
    "_models:Response.aiter_text",
    "_models:Response.aiter_lines",
    "_models:Response._get_content_decoder",
    "_decoders:IdentityDecoder.decode",
    "_decoders:IdentityDecoder.flush",
    "_decoders:ByteChunker.decode",
    "_decoders:ByteChunker.flush",
    "_decoders:TextChunker.decode",
    "_decoders:TextChunker.flush",
    "_decoders:TextDecoder.__init__",
    "_decoders:TextDecoder.decode",
    "_decoders:TextDecoder.flush",
    "_decoders:LineDecoder.__init__",
    "_decoders:LineDecoder.decode",
    "_decoders:LineDecoder.flush",
)

_Utf8: Any = codecs.getincrementaldecoder("utf-8")
#: What a response has once other code has read or touched it: then httpx reads the rest.
_TOUCHED = frozenset(
    [f"{prefix}iter_{what}" for prefix in ("", "a") for what in ("raw", "bytes", "text", "lines")]
    + ["close", "aclose", "_get_content_decoder", "_content", "_decoder"]
)
_CHARSETS_KEPT = 64
_LONGEST_TYPE = 256

#: library -> its class of responses
_quick_classes: dict[str, Any] = {}


def streams(library: Library, base: Any, _: dict[str, Any]) -> dict[str, Any]:
    """`send`: gives a response that is a stream its quick class."""
    plain: Any = library.models.Response
    if library.name not in _quick_classes:
        _quick_classes[library.name] = _make_quick_class(library, plain)
    quick = _quick_classes[library.name]

    def adopt(response: Any) -> None:
        if type(response) is plain and "_content" not in response.__dict__:
            become(response, quick)

    steps = steps_for(issubclass(base, library.client.AsyncClient))
    return {"send": steps.send_and_adopt(base, library.root.USE_CLIENT_DEFAULT, adopt)}


def _make_quick_class(library: Library, plain: Any) -> Any:
    def reduce(self: Any, _: Any) -> Any:
        # A copy, or one out of a pickle, is httpx's plain kind.
        return copyreg.__newobj__, (plain,), self.__getstate__()  # type: ignore[attr-defined]

    attributes: dict[str, Any] = {
        **hidden(plain),
        "__reduce_ex__": reduce,
        "charset_encoding": _charset_encoding(plain),
    }
    readings = _readings(library)
    for prefix, bound in (("", library.client.BoundSyncStream), ("a", library.client.BoundAsyncStream)):
        below: list[tuple[Any, str]] = [(bound, f"__{prefix}iter__"), (plain, "_get_content_decoder")]
        for what, reading in readings.items():
            name = f"{prefix}iter_{what}"
            below.append((plain, name))
            stock = getattr(plain, name)
            readable = _Plain(bound, below)
            items = steps_for(bool(prefix)).items_of(
                lambda response, name=name: getattr(plain, name)(response),
                reading,
                readable,
                library.root.RequestError,
                _closes_what_is_left(library),
            )
            attributes[name] = method = _method(plain, name, items, readable)
            for function in (items, method):
                function.__name__, function.__qualname__ = stock.__name__, stock.__qualname__
                function.__doc__ = stock.__doc__
    return type(plain.__name__, (plain,), attributes)


def _method(stock_class: Any, name: str, items: Any, plain: _Plain) -> Any:
    def lines(self: Any) -> Any:
        return items(self) if plain(self) else getattr(stock_class, name)(self)

    def chunks(self: Any, chunk_size: int | None = None) -> Any:
        if chunk_size is None and plain(self):
            return items(self)
        return getattr(stock_class, name)(self, chunk_size)

    return lines if name.endswith("lines") else chunks


def _charset_encoding(plain: Any) -> property:
    """Follows from the `Content-Type` alone, for which httpx asks the parser of e-mails: once for each."""
    stock: Any = vars(plain)["charset_encoding"]
    known: dict[str, Any] = {}

    def charset_encoding(self: Any) -> Any:
        current = vars(plain)["charset_encoding"]
        if current is not stock:
            return current.__get__(self, plain)
        content_type = self.headers.get("Content-Type")
        if type(content_type) is not str or len(content_type) > _LONGEST_TYPE:
            return stock.fget(self)
        try:
            return known[content_type]
        except KeyError:
            charset = stock.fget(self)
        if len(known) >= _CHARSETS_KEPT:
            known.clear()
        known[content_type] = charset
        return charset

    return property(charset_encoding, doc=stock.__doc__)


class _Plain:
    """Which responses can be read directly, while what httpx reads them with is as it was."""

    def __init__(self, bound: Any, functions: list[tuple[Any, str]]) -> None:
        self._bound = bound
        self._functions = tuple((owner, name, getattr(owner, name)) for owner, name in functions)

    def __call__(self, response: Any) -> bool:
        own = response.__dict__
        return (
            type(response.stream) is self._bound
            and not response.is_stream_consumed
            and not response.is_closed
            and _TOUCHED.isdisjoint(own)
            and all(getattr(owner, name) is value for owner, name, value in self._functions)
            and b"content-encoding" not in [name for _, name, _ in response.headers._list]
        )


def _readings(library: Library) -> dict[str, Callable[[Any], Reading]]:
    """How raw bytes, decoded ones, text and lines are made of a response's pieces. Each relies on those before it.

    What httpx raises before it begins to read is raised here.
    """
    models = library.models
    identity: Any = models.IdentityDecoder

    def nothing() -> tuple[()]:
        return ()

    def one(piece: bytes) -> tuple[bytes]:
        return (piece,)

    def raw(_: Any) -> Reading:
        return one, nothing

    def decoded(response: Any) -> Reading:
        response._decoder = identity()
        return one, nothing

    def text_decoder(response: Any) -> tuple[Any, Callable[[bytes], str]]:
        decoder = models.TextDecoder(encoding=response.encoding or "utf-8")
        response._decoder = identity()
        incremental = decoder.decoder
        if type(incremental) is not _Utf8:
            return decoder, decoder.decode

        def decode(piece: bytes) -> str:
            if type(piece) is bytes and not incremental.buffer:
                try:
                    return piece.decode()
                except UnicodeDecodeError:  # or the rest of a character is in the next piece
                    pass
            text: str = incremental.decode(piece)
            return text

        return decoder, decode

    def text(response: Any) -> Reading:
        decoder, decode = text_decoder(response)

        def take(piece: bytes) -> Iterable[Any]:
            text = decode(piece)
            return (text,) if text else ()

        def rest() -> Iterable[Any]:
            text = decoder.flush()
            return (text,) if text else ()

        return take, rest

    def lines(response: Any) -> Reading:
        cutter = models.LineDecoder()
        decoder, decode = text_decoder(response)
        cut = cutter.decode

        def take(piece: bytes) -> Iterable[Any]:
            text = decode(piece)
            if text.endswith("\n") and not cutter.buffer and not cutter.trailing_cr:
                return text.splitlines()  # whole lines, as of an event
            return cut(text) if text else ()

        def rest() -> Iterable[Any]:
            text = decoder.flush()
            if text:
                yield from cut(text)
            yield from cutter.flush()

        return take, rest

    return {"raw": raw, "bytes": decoded, "text": text, "lines": lines}


def _closes_what_is_left(library: Library) -> bool:
    """Whether a response is closed when its iteration ends before the body does: httpx2 from 2.13 on."""
    return "AsyncGenerator" in library.models.Response.aiter_raw.__code__.co_names
