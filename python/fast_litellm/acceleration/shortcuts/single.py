"""A request sent, and its response bound to it, in one function.

Stands in for the loop over redirections and the function within it that sends once, while no handler wants the log
record `HTTP Request: ...`, whose origin is that function. (That is checked before the request.) The request that
follows a redirection goes on through the loop.
"""

from __future__ import annotations

import logging
from typing import Any
from weakref import ref

from .known import Library
from .twins import steps_for

RELIES_ON = (
    "_client:{Client}._send_handling_redirects",
    "_exceptions:request_context",
    "_client:{Client}._send_single_request",
    "_client:BoundSyncStream.__init__",
    "_client:BoundAsyncStream.__init__",
)

_info = logging.Logger.info


def single(library: Library, base: Any, _: dict[str, Any]) -> dict[str, Any]:
    """`_send_handling_redirects`."""
    asynchronous = issubclass(base, library.client.AsyncClient)
    once = _Once(library, base, asynchronous)
    return {"_send_handling_redirects": steps_for(asynchronous).send_once(base, once, library.root.RequestError)}


class _WeakResponse:
    """Stands for the response in the bound stream, which sets `elapsed` on it when it is closed.

    httpx's own reference makes a cycle of the two, which lives, request, headers and body included, until the garbage
    collector finds it; without one they are freed with the caller's last reference.
    """

    __slots__ = ("_reference",)

    def __init__(self, response: Any) -> None:
        object.__setattr__(self, "_reference", ref(response))

    def __setattr__(self, name: str, value: Any) -> None:
        response = self._reference()
        if response is not None:  # the stream may outlive it: a proxy hands the stream alone on
            setattr(response, name, value)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reference(), name)


class _Once:
    """What both kinds of clients do around the sending."""

    def __init__(self, library: Library, base: Any, asynchronous: bool) -> None:
        self._client = library.client
        self._base = base
        self._redirects, self._single = base._send_handling_redirects, base._send_single_request
        self._logger = library.client.logger
        self._bound_name = "BoundAsyncStream" if asynchronous else "BoundSyncStream"
        self._bound: Any = getattr(library.client, self._bound_name)
        self._stream: type = library.root.AsyncByteStream if asynchronous else library.root.SyncByteStream
        self._protocol_error: Any = library.root.RemoteProtocolError
        # httpx's streams know their response, httpx2's are asked by it.
        self._tells_response = "response" in self._bound.__init__.__code__.co_varnames
        # httpx2's later ones let a location that is none pass, if it is not to be followed.
        self._lenient = "suppress" in self._redirects.__code__.co_names

    def serves(self, client: Any, request: Any, history: Any) -> bool:
        base, logger = self._base, self._logger
        return (
            not history
            and not client._event_hooks["request"]
            and client.max_redirects >= 0
            and isinstance(request.stream, self._stream)
            and base._send_handling_redirects is self._redirects
            and base._send_single_request is self._single
            and "_send_single_request" not in client.__dict__
            and getattr(self._client, self._bound_name) is self._bound
            and self._client.logger is logger
            and type(logger).info is _info
            and "info" not in logger.__dict__
            and not logger.isEnabledFor(logging.INFO)
        )

    def bind(self, client: Any, request: Any, response: Any, start: float) -> None:
        stream = response.stream
        assert isinstance(stream, self._stream)
        response.request = request
        if self._tells_response:
            response.stream = self._bound(stream, response=_WeakResponse(response), start=start)
        else:
            response.stream = self._bound(stream, start=start)
        client.cookies.extract_cookies(response)
        response.default_encoding = client._default_encoding

    def redirected(self, client: Any, request: Any, response: Any, follow: Any) -> Any:
        try:
            return client._build_redirect_request(request, response)
        except self._protocol_error:
            if follow or not self._lenient:
                raise
            return None
