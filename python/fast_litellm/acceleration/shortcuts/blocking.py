"""What the shortcuts put in place of a blocking client's and response's methods.

Made of `asynchronous.py` by `make twins`: change that.

What the two kinds share, and what waits for nothing, is in the modules of the shortcuts.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from time import perf_counter
from typing import Any

#: Of one response: the items that a piece gives, and those that are left at the end.
Reading = tuple[Callable[[bytes], Iterable[Any]], Callable[[], Iterable[Any]]]


def send_once(base: Any, once: Any, failed: Any) -> Any:
    """`_send_handling_redirects` without the loop; see `single.py`."""

    def send(self: Any, request: Any, follow_redirects: Any, history: Any) -> Any:
        if not once.serves(self, request, history):
            return base._send_handling_redirects(self, request, follow_redirects=follow_redirects, history=history)
        transport = self._transport_for_url(request.url)
        start = perf_counter()
        try:
            response = transport.handle_request(request)
        except failed as error:
            error.request = request
            raise
        once.bind(self, request, response, start)
        try:
            for hook in self._event_hooks["response"]:
                hook(response)
            response.history = []
            if not response.has_redirect_location:
                return response
            following = once.redirected(self, request, response, follow_redirects)
            if not follow_redirects:
                if following is not None:
                    response.next_request = following
                return response
            response.read()
        except BaseException:
            response.close()
            raise
        return self._send_handling_redirects(following, follow_redirects=follow_redirects, history=[response])

    return send


def send_unauthenticated(base: Any, nothing_to_do: Callable[[Any], bool]) -> Any:
    """`_send_handling_auth` without the authentication's flow where that does nothing."""

    def send(self: Any, request: Any, auth: Any, follow_redirects: Any, history: Any) -> Any:
        if nothing_to_do(auth):
            return self._send_handling_redirects(request, follow_redirects=follow_redirects, history=history)
        return base._send_handling_auth(self, request, auth=auth, follow_redirects=follow_redirects, history=history)

    return send


def send_and_read(base: Any, default: Any, failed: Any, streamed: Any, body: Any) -> Any:
    """`send` that reads the body itself. `streamed`: what sends with `stream=True`; `body`: a `sending.WholeBody`."""
    send_stock = base.send

    def send(
        self: Any, request: Any, *, stream: bool = False, auth: Any = default, follow_redirects: Any = default
    ) -> Any:
        if stream:
            return (streamed or base.send)(self, request, stream=stream, auth=auth, follow_redirects=follow_redirects)
        if base.send is not send_stock or not body.is_httpx_own():
            return base.send(self, request, stream=stream, auth=auth, follow_redirects=follow_redirects)
        response = send_stock(self, request, stream=True, auth=auth, follow_redirects=follow_redirects)
        try:
            if not body.begin(response):
                response.read()
                return response
            source = response.stream._stream
            try:
                # Of its class: a wrapper around the transport's body may pass all other names on to it.
                content = source.take_arrived() if hasattr(type(source), "take_arrived") else None
                if content is None:
                    pieces = []
                    for piece in source:
                        response._num_bytes_downloaded += len(piece)
                        pieces.append(piece)
                    content = b"".join(pieces)
                else:
                    response._num_bytes_downloaded = len(content)
                response.is_closed = True
                response.stream.close()
            except failed as error:
                error.request = response._request
                raise
            response._content = content
            return response
        except BaseException:
            response.close()
            raise

    return send


def send_and_adopt(base: Any, default: Any, adopt: Callable[[Any], None]) -> Any:
    """`send` that gives a response that is a stream to `adopt`."""
    send_stock = base.send

    def send(
        self: Any, request: Any, *, stream: bool = False, auth: Any = default, follow_redirects: Any = default
    ) -> Any:
        response = base.send(self, request, stream=stream, auth=auth, follow_redirects=follow_redirects)
        if stream and base.send is send_stock:
            adopt(response)
        return response

    return send


def items_of(
    stock: Callable[[Any], Any],
    reading: Callable[[Any], Reading],
    plain: Callable[[Any], bool],
    failed: Any,
    closes_what_is_left: bool,
) -> Any:
    """The generator behind one of a response's `iter_*`; `stock` is httpx's.

    `closes_what_is_left`: whether a response is closed when its iteration ends before the body does.
    """

    def items(self: Any) -> Any:
        if not plain(self):  # any more
            with closing(stock(self)) as stock_items:
                for item in stock_items:
                    yield item
            return
        take, rest = reading(self)
        request = self._request
        try:
            self.is_stream_consumed = True
            self._num_bytes_downloaded = 0
            pieces = self.stream._stream
            if closes_what_is_left:
                pieces = pieces.__iter__()
            try:
                for piece in pieces:
                    self._num_bytes_downloaded += len(piece)
                    if piece:
                        for item in take(piece):
                            yield item
            except BaseException:
                if closes_what_is_left:
                    if isinstance(pieces, Generator):
                        pieces.close()
                    self.close()
                del pieces  # an error's traceback keeps what stands here alive
                raise
            self.close()
            for item in rest():
                yield item
        except failed as error:
            if request is not None:
                error.request = request
            raise

    return items
