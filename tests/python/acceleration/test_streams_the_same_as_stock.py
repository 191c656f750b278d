"""Streamed bodies, with the shortcut and without: the same items, and the same state after each."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import gzip
import inspect
import pickle
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from types import AsyncGeneratorType, GeneratorType
from typing import Any
from unittest import mock

import httpx
import pytest

import fast_litellm
from fast_litellm.acceleration import shortcuts
from peers.scripted import ScriptedServer
from support.conversations import Conversations, describe_error

_KINDS = ("raw", "bytes", "text", "lines")


class _Pieces:
    """A transport's body: these pieces, one by one; an exception among them is raised."""

    def __init__(self, body: Any) -> None:
        self._body = body
        self._left = iter(body.pieces)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        piece = next(self._left)
        if isinstance(piece, BaseException):
            raise piece
        return piece

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        try:
            return next(self)
        except StopIteration:
            raise StopAsyncIteration from None

    def __del__(self) -> None:
        self._body.dropped += 1


class _Body:
    def __init__(self, pieces: list[Any], generator: bool = False) -> None:
        self.pieces = pieces
        self._generator = generator
        self.closed = self.dropped = 0

    def __iter__(self) -> Iterator[bytes]:
        return self._generate() if self._generator else _Pieces(self)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._agenerate() if self._generator else _Pieces(self)

    def _generate(self) -> Iterator[bytes]:
        yield from _Pieces(self)

    async def _agenerate(self) -> AsyncIterator[bytes]:
        async for piece in _Pieces(self):
            yield piece

    def close(self) -> None:
        self.closed += 1

    async def aclose(self) -> None:
        self.closed += 1


class _Hands:
    """One response of a client of either kind, handled by coroutines."""

    def __init__(self, library: Any, asynchronous: bool, quick: bool, body: _Body, headers: Any, **client: Any) -> None:
        self.library = library
        self.asynchronous = asynchronous
        self._closes_later = False
        base = library.AsyncByteStream if asynchronous else library.SyncByteStream
        stream = type("Stream", (_Body, base), {})(body.pieces, body._generator)
        self.body = stream

        class Transport(library.AsyncBaseTransport if asynchronous else library.BaseTransport):  # type: ignore[misc]
            def handle_request(self, request: Any) -> Any:
                return library.Response(200, headers=headers, stream=stream)

            async def handle_async_request(self, request: Any) -> Any:
                return self.handle_request(request)

        kind = library.AsyncClient if asynchronous else library.Client
        self.client = kind(transport=Transport(), **client)
        if quick:
            assert "streams" in shortcuts.names_on(shortcuts.put_on(self.client))

    async def open(self) -> Any:
        request = self.client.build_request("POST", "http://localhost/")
        sent = self.client.send(request, stream=True)
        self.response = await sent if self.asynchronous else sent
        return self.response

    def iterate(self, kind: str, *arguments: Any) -> Any:
        # httpx2 leaves it to the event loop to end the iterations inside these, and so to close: some turns later.
        if self.library.__name__ == "httpx2" and self.asynchronous and kind in ("text", "lines"):
            self._closes_later = True
        return getattr(self.response, f"{'a' if self.asynchronous else ''}iter_{kind}")(*arguments)

    async def next(self, iterator: Any) -> Any:
        """The next item with the state of the response, or how the iteration ended."""
        try:
            item = await anext(iterator) if self.asynchronous else next(iterator)
        except (StopIteration, StopAsyncIteration):
            item = "the end"
        except Exception as error:
            item = describe_error(error)
            item["its request"] = getattr(error, "_request", None) is self.response.request
        return item, self.state()

    async def all(self, iterator: Any) -> list[Any]:
        observed = [await self.next(iterator)]
        while observed[-1][0] != "the end" and not isinstance(observed[-1][0], dict):
            observed.append(await self.next(iterator))
        return observed

    async def finish(self, what: Any, name: str, *arguments: Any) -> Any:
        """`what.close()` or `what.aclose()`, and the like: its result or its error."""
        try:
            result = getattr(what, f"a{name}" if self.asynchronous else name)(*arguments)
            return await result if self.asynchronous else result
        except (StopIteration, StopAsyncIteration):
            return "the end"
        except Exception as error:
            return describe_error(error)

    def state(self) -> Any:
        response = self.response
        return (
            self._closes_later or (response.is_closed, self.body.closed),
            response.is_stream_consumed,
            response.num_bytes_downloaded,
            list(vars(response)),
            type(getattr(response, "_decoder", None)),
            getattr(response, "_encoding", None),
        )

    async def settled(self) -> Any:
        """The state once the loop has closed the remaining generators."""
        for _ in range(20):
            await asyncio.sleep(0)
        self._closes_later = False
        return self.state(), self.body.dropped


@pytest.fixture(params=["sync", "async"])
def asynchronous(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "async")


@pytest.fixture(params=["httpx", "httpx2"])
def library(request: pytest.FixtureRequest) -> Any:
    return pytest.importorskip(request.param)


Scenario = Callable[[_Hands], Awaitable[Any]]
Same = Callable[..., Any]


@pytest.fixture
def same(library: Any, asynchronous: bool) -> Same:
    """same(scenario, pieces, headers, **client): what the caller observed, equal with the shortcut and without."""

    def run(
        scenario: Scenario,
        pieces: list[Any] | Callable[[], list[Any]],
        headers: Any = None,
        generator: bool = False,
        **client: Any,
    ) -> Any:
        def observed(quick: bool) -> Any:
            body = _Body(pieces() if callable(pieces) else pieces, generator)
            hands = _Hands(library, asynchronous, quick, body, headers or [], **client)

            async def main() -> Any:
                response = await hands.open()
                assert (type(response) is library.Response) != quick
                return await scenario(hands), await hands.settled()

            return asyncio.run(main())

        stock = observed(False)
        assert observed(True) == stock, (pieces, headers)
        return stock

    return run


async def _everything(hands: _Hands) -> list[Any]:
    return await hands.all(hands.iterate("lines"))


def _items(observed: Any) -> list[Any]:
    return [item for item, _ in observed[0]][:-1]


_TEXTS = {
    "events": "data: {}\n\ndata: [DONE]\n\n",
    "no newline at the end": "a\nb",
    "a newline alone": "\n",
    "carriage returns": "a\rb\r\rc\r",
    "both": "a\r\nb\r\n\r\nc\r\n",
    "both the other way round": "a\n\rb\n\r",
    "the rest of what splitlines knows": "a\x0bb\x0cc\x1cd\x1de\x1ef\x85g\u2028h\u2029i",
    "nothing": "",
    "characters of many bytes": "é€😀\né€😀",
}


@pytest.mark.parametrize("name", _TEXTS)
def test_lines_cut_anywhere(name: str, same: Same) -> None:
    body = _TEXTS[name].encode()
    for cut in range(len(body) + 1):
        observed = same(_everything, [body[:cut], body[cut:]])
    observed = same(_everything, [body[at : at + 1] for at in range(len(body))])
    assert _items(observed) == _TEXTS[name].splitlines()


_ALPHABET = "ab \n\n\r\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029é€😀"


def _random_pieces(dice: random.Random, charset: str) -> list[bytes]:
    text = "".join(dice.choice(_ALPHABET) for _ in range(dice.randrange(60)))
    body = bytearray(text.encode(charset, "ignore"))
    for _ in range(dice.choice((0, 0, 3))):  # what the charset does not allow
        body.insert(dice.randrange(len(body) + 1), dice.randrange(256))
    cuts = sorted(dice.randrange(len(body) + 1) for _ in range(dice.randrange(12)))
    return [bytes(body[begin:end]) for begin, end in zip([0, *cuts], [*cuts, len(body)], strict=True)]


@pytest.mark.parametrize("kind", _KINDS)
@pytest.mark.parametrize("charset", ["utf-8", "latin-1", "utf-16", "shift_jis", "utf-7", "ascii"])
def test_streams_are_equal_for_any_body_in_any_pieces(charset: str, kind: str, same: Same) -> None:
    dice = random.Random(f"{charset} {kind}")
    headers = [("Content-Type", f"text/plain; charset={charset}")]
    for _ in range(15):
        pieces = _random_pieces(dice, charset)
        observed = same(lambda hands: hands.all(hands.iterate(kind)), pieces, headers)
        if kind in ("raw", "bytes"):
            assert _items(observed) == [piece for piece in pieces if piece]


_KINDS_OF_RESPONSES: dict[str, dict[str, Any]] = {
    "no type": {},
    "a type without a charset": {"headers": {"Content-Type": "text/event-stream"}},
    "a charset that is none": {"headers": {"Content-Type": "text/plain; charset=nonsense"}},
    "a charset that is no text": {"headers": {"Content-Type": "text/plain; charset=hex"}},
    "a charset that stands strangely": {"headers": {"Content-Type": "text/plain; x=1; charset*=utf-8''latin-1"}},
    "two types": {"headers": [("Content-Type", "text/plain"), ("content-type", "text/html; charset=latin-1")]},
    "a type beyond ASCII": {"headers": {b"Content-Type": b"text/\xe9; charset=latin-1"}},
    "a long type": {"headers": {"Content-Type": "text/plain; charset=latin-1; x=" + "x" * 500}},
    "a default": {"default_encoding": "latin-1"},
    "a default that is none": {"default_encoding": "nonsense"},
    "a way to find the encoding": {"default_encoding": lambda content: "latin-1"},
    "packed": {"headers": {"Content-Encoding": "gzip"}, "pieces": [gzip.compress(b"a\nb" * 20)]},
    "packed wrongly": {"headers": {"Content-Encoding": "gzip"}, "pieces": [b"a", b"b"]},
    "packed in no way": {"headers": {"Content-Encoding": "identity"}},
    "packed in an unknown way": {"headers": {"Content-Encoding": "rot13"}},
    "pieces from a generator": {"generator": True},
}


@pytest.mark.parametrize("name", _KINDS_OF_RESPONSES)
@pytest.mark.parametrize("kind", _KINDS)
def test_streams_are_equal_for_any_kind_of_response(kind: str, name: str, same: Same) -> None:
    arguments = {"pieces": [b"\xe9a\n", b"", b"b\xc3", b"\xa9\r", b"\nc"], **_KINDS_OF_RESPONSES[name]}

    async def twice(hands: _Hands) -> Any:
        return await hands.all(hands.iterate(kind)), hands.response.encoding, hands.response.charset_encoding

    for _ in range(2):  # the second time, the charset is known
        same(twice, **arguments)


async def _left(hands: _Hands, kind: str) -> Any:
    iterator = hands.iterate(kind)
    observed = [await hands.next(iterator), await hands.finish(iterator, "close"), hands.state()]
    return [*observed, await hands.next(iterator), await hands.all(hands.iterate(kind))]


async def _dropped(hands: _Hands, kind: str) -> Any:
    iterator = hands.iterate(kind)
    observed = [await hands.next(iterator)]
    del iterator
    await hands.settled()
    return [*observed, await hands.finish(hands.response, "close"), hands.state()]


async def _closed_meanwhile(hands: _Hands, kind: str) -> Any:
    iterator = hands.iterate(kind)
    observed = [await hands.next(iterator), await hands.finish(hands.response, "close"), hands.state()]
    return [*observed, await hands.all(iterator), hands.response.elapsed.total_seconds() > 0]


async def _closed_before(hands: _Hands, kind: str) -> Any:
    early = hands.iterate(kind)
    await hands.finish(hands.response, "close")
    return [await hands.all(early), await hands.all(hands.iterate(kind))]


async def _two_at_once(hands: _Hands, kind: str) -> Any:
    one, other = hands.iterate(kind), hands.iterate("bytes")
    return [await hands.next(one), await hands.next(other), await hands.all(one), await hands.all(other)]


async def _read_first(hands: _Hands, kind: str) -> Any:
    early = hands.iterate(kind)
    content = await hands.finish(hands.response, "read")
    return [content, await hands.all(early), await hands.all(hands.iterate(kind)), hands.response.text]


async def _read_afterwards(hands: _Hands, kind: str) -> Any:
    return [await hands.all(hands.iterate(kind)), await hands.finish(hands.response, "read")]


async def _not_begun(hands: _Hands, kind: str) -> Any:
    iterator = hands.iterate(kind)
    return [await hands.finish(iterator, "close"), await hands.next(iterator), hands.state()]


async def _encoding_set(hands: _Hands, kind: str) -> Any:
    hands.response.encoding = "latin-1"
    return await hands.all(hands.iterate(kind))


async def _encoding_asked(hands: _Hands, kind: str) -> Any:
    return [hands.response.encoding, await hands.all(hands.iterate(kind))]


async def _decoder_asked(hands: _Hands, kind: str) -> Any:
    return [type(hands.response._get_content_decoder()), await hands.all(hands.iterate(kind))]


async def _thrown(hands: _Hands, kind: str) -> Any:
    iterator = hands.iterate(kind)
    error = hands.library.ReadError("mine")
    return [await hands.next(iterator), await hands.finish(iterator, "throw", error), hands.state()]


async def _other_kind(hands: _Hands, kind: str) -> Any:
    hands.asynchronous = not hands.asynchronous
    try:
        return await hands.all(hands.iterate(kind))
    finally:
        hands.asynchronous = not hands.asynchronous


async def _own_method(hands: _Hands, kind: str) -> Any:
    def nothing() -> Iterator[bytes]:
        return iter([b"mine"])

    async def async_nothing() -> AsyncIterator[bytes]:
        yield b"mine"

    name = "aiter_raw" if hands.asynchronous else "iter_raw"
    setattr(hands.response, name, async_nothing if hands.asynchronous else nothing)
    return await hands.all(hands.iterate(kind))


_SCENARIOS = [
    _left,
    _dropped,
    _closed_meanwhile,
    _closed_before,
    _two_at_once,
    _read_first,
    _read_afterwards,
    _not_begun,
    _encoding_set,
    _encoding_asked,
    _decoder_asked,
    _thrown,
    _other_kind,
    _own_method,
]


@pytest.mark.parametrize("scenario", _SCENARIOS, ids=lambda scenario: scenario.__name__.replace("_", " ").strip())
def test_streams_are_equal_for_any_use_of_the_response(scenario: Any, same: Same) -> None:
    for kind in _KINDS:
        for generator in (False, True):
            same(lambda hands, kind=kind: scenario(hands, kind), [b"a\nb\xe9", b"c\r", b"\nd"], generator=generator)


@pytest.mark.parametrize("size", [1, 2, 3, 100, 0, -1])
def test_chunks_of_a_size(size: int, same: Same) -> None:
    for kind in ("raw", "bytes", "text"):
        observed = same(lambda hands, kind=kind: hands.all(hands.iterate(kind, size)), ["äbc".encode(), b"defg", b"h"])
        assert size < 1 or all(len(item) <= size for item in _items(observed))


@pytest.mark.parametrize("name", ["ReadError", "ReadTimeout", "RemoteProtocolError", "ValueError", "RuntimeError"])
def test_an_error_on_the_way(name: str, library: Any, same: Same) -> None:
    kind = getattr(library, name, None) or getattr(__import__("builtins"), name)
    for what in _KINDS:
        observed = same(
            lambda hands, what=what: hands.all(hands.iterate(what)), lambda: [b"a\nb\n", b"c", kind("no more")]
        )
        assert observed[0][-1][0]["error"] is kind
        assert (observed[0][-1][0]["request"] is not None) == hasattr(library, name)


def test_a_cancelled_reader_ends_the_iteration(library: Any) -> None:
    """As stock httpx: the transport's iteration is dropped, the response closed by the code that opened it."""

    def observed(quick: bool) -> Any:
        hands = _Hands(library, True, quick, _Body([b"a\n"]), [])

        async def main() -> Any:
            reached = asyncio.Event()

            async def never(self: _Pieces) -> bytes:
                reached.set()
                await asyncio.get_running_loop().create_future()
                raise AssertionError

            await hands.open()
            with mock.patch.object(_Pieces, "__anext__", never):
                task = asyncio.create_task(hands.all(hands.iterate("lines")))
                await reached.wait()
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                return hands.state(), await hands.settled()

        return asyncio.run(main())

    assert observed(True) == observed(False)


_NAMES = tuple(f"{prefix}iter_{kind}" for prefix in ("", "a") for kind in _KINDS)


@pytest.fixture
def streamed(asynchronous: bool) -> Callable[[bool], httpx.Response]:
    """streamed(quick) -> a response with its body unread."""

    def make(quick: bool) -> httpx.Response:
        hands = _Hands(httpx, asynchronous, quick, _Body([b"a\n", b"b"]), {"Content-Type": "text/plain"})
        response: httpx.Response = asyncio.run(hands.open())
        return response

    return make


def test_a_response_reports_its_original_class(streamed: Callable[[bool], httpx.Response]) -> None:
    stock, quick = streamed(False), streamed(True)
    assert isinstance(quick, httpx.Response)
    assert quick.__class__ is httpx.Response
    assert repr(type(quick)) == repr(httpx.Response)
    assert repr(quick) == repr(stock)
    assert type(quick).__doc__ == httpx.Response.__doc__
    assert list(vars(quick)) == list(vars(stock))
    for name in _NAMES:
        ours, theirs = getattr(quick, name), getattr(stock, name)
        assert (ours.__name__, ours.__qualname__, ours.__doc__) == (
            theirs.__name__,
            theirs.__qualname__,
            theirs.__doc__,
        )
        assert list(inspect.signature(ours).parameters) == list(inspect.signature(theirs).parameters)
        made = ours()
        assert type(made) is (AsyncGeneratorType if name.startswith("a") else GeneratorType)
        assert (made.__name__, made.__qualname__) == (theirs.__name__, theirs.__qualname__)


def test_a_copied_or_unpickled_response_is_a_plain_response(streamed: Callable[[bool], httpx.Response]) -> None:
    def described(response: httpx.Response) -> Any:
        return type(response), list(vars(response)), response.is_closed, type(response.stream), response.headers

    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        stock, quick = (pickle.loads(pickle.dumps(streamed(quick), protocol)) for quick in (False, True))
        assert described(quick) == described(stock)
    assert described(copy.copy(streamed(True))) == described(copy.copy(streamed(False)))


@pytest.mark.parametrize("name", _NAMES)
def test_a_replacement_for_a_method_of_responses_is_called(name: str, asynchronous: bool) -> None:
    if name.startswith("a") != asynchronous:
        pytest.skip("case: of the other kind")
    seen = []
    original = getattr(httpx.Response, name)

    def watched(self: httpx.Response, *arguments: Any) -> Any:
        seen.append(self)
        return original(self, *arguments)

    async def read(quick: bool) -> Any:
        hands = _Hands(httpx, asynchronous, quick, _Body([b"a\n", b"b"]), [])
        response = await hands.open()
        with mock.patch.object(httpx.Response, name, watched):
            items = _items([await hands.all(hands.iterate("lines"))])
        assert seen == [response]
        seen.clear()
        return items

    assert asyncio.run(read(True)) == asyncio.run(read(False)) == ["a", "b"]


@pytest.mark.parametrize("path", ["/chunked", "/plain", "/nothing", "/limit", "/gzip", "/latin", "/truncated"])
def test_streams_of_a_server(path: str, asynchronous: bool, scripted: ScriptedServer) -> None:
    """Through the pool, under an accelerated client, too."""

    async def read(change: Callable[[Any], Any]) -> Any:
        kind: Any = httpx.AsyncClient if asynchronous else httpx.Client
        client = change(kind(trust_env=False, verify=False, timeout=20.0))
        observed: list[Any] = []
        async with contextlib.AsyncExitStack() as stack:
            enter = stack.enter_async_context if asynchronous else stack.enter_context
            entered: Any = enter(client)
            client = await entered if asynchronous else entered
            for what in _KINDS:
                try:
                    if asynchronous:
                        async with client.stream("POST", scripted.url + path, content=b"a\nb") as response:
                            observed.append(response.status_code)
                            observed += [item async for item in getattr(response, f"aiter_{what}")()]
                    else:
                        with client.stream("POST", scripted.url + path, content=b"a\nb") as response:
                            observed.append(response.status_code)
                            observed += getattr(response, f"iter_{what}")()
                except httpx.HTTPError as error:
                    # What our transport says of a connection that was cut is its own.
                    observed.append((isinstance(error, httpx.TransportError), error.request is response.request))
                observed += [
                    response.is_closed,
                    response.is_stream_consumed,
                    response.num_bytes_downloaded,
                    response.elapsed.total_seconds() > 0,
                    list(vars(response)),
                ]
        return observed

    stock = asyncio.run(read(lambda client: client))
    assert asyncio.run(read(shortcuts.put_on)) == stock
    assert _joined(asyncio.run(read(fast_litellm.accelerate))) == _joined(stock)


def _joined(observed: list[Any]) -> list[Any]:
    """Without the boundaries of raw pieces, which the transport decides."""
    joined: list[Any] = []
    for item in observed:
        if joined and type(item) in (str, bytes) and type(joined[-1]) is type(item):
            joined[-1] += item
        else:
            joined.append(item)
    return joined


def test_a_response_that_is_read_whole_has_httpxs_own_class(
    conversations: Conversations, make_client: Callable[..., Any]
) -> None:
    observed = conversations.hold(make_client(), [{"url": "/plain"}], quick=True)
    assert observed.outcomes[0]["kind"] is httpx.Response
