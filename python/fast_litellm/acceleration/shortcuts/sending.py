"""A request sent, and its response read, through fewer generators."""

from __future__ import annotations

from typing import Any

from .known import Library

NO_AUTH_RELIES_ON = (
    "_client:BaseClient._build_request_auth",
    "_urls:URL.username",
    "_urls:URL.password",
    "_client:{Client}._send_handling_auth",
    "_auth:Auth.auth_flow",
    "_auth:Auth.sync_auth_flow",
    "_auth:Auth.async_auth_flow",
)
BODIES_RELY_ON = (
    "_client:{Client}.send",
    "_client:BoundSyncStream.__iter__",
    "_client:BoundAsyncStream.__aiter__",
    "_exceptions:request_context",
    "_models:Response.__init__",
    "_models:Response.read",
    "_models:Response.aread",
    "_models:Response.close",
    "_models:Response.aclose",
    "_models:Response.iter_bytes",
    "_models:Response.aiter_bytes",
    "_models:Response.iter_raw",
    "_models:Response.aiter_raw",
    "_models:Response._get_content_decoder",
    "_decoders:IdentityDecoder.decode",
    "_decoders:IdentityDecoder.flush",
    "_decoders:ByteChunker.decode",
    "_decoders:ByteChunker.flush",
)


def no_auth(library: Library, base: Any, _: dict[str, Any]) -> dict[str, Any]:
    """`_build_request_auth`: a URL without user information has no user and no password to look for.
    `_send_handling_auth`: httpx's base class of authentications sends the request once and returns its response."""
    build_request_auth, send_handling_auth = base._build_request_auth, base._send_handling_auth
    client_module: Any = library.client
    default: Any = library.root.USE_CLIENT_DEFAULT
    default_class = type(default)
    url_class: Any = library.root.URL
    username, password = url_class.username, url_class.password
    none: Any = library.root.Auth
    flow, sync_flow, async_flow = none.auth_flow, none.sync_auth_flow, none.async_auth_flow

    def _build_request_auth(self: Any, request: Any, auth: Any = default) -> Any:
        url = request.url
        if (
            (auth is None or (type(auth) is default_class and self._auth is None))
            and type(url) is url_class
            and not url._uri_reference.userinfo
            and base._build_request_auth is build_request_auth
            and url_class.username is username
            and url_class.password is password
        ):
            return client_module.Auth()
        return base._build_request_auth(self, request, auth)

    def nothing_to_do(auth: Any) -> bool:
        return (
            type(auth) is none
            and not auth.__dict__
            and base._send_handling_auth is send_handling_auth
            and none.auth_flow is flow
            and none.sync_auth_flow is sync_flow
            and none.async_auth_flow is async_flow
            and not none.requires_request_body
            and not none.requires_response_body
        )

    def send(self: Any, request: Any, auth: Any, follow_redirects: Any, history: Any) -> Any:
        if nothing_to_do(auth):
            return self._send_handling_redirects(request, follow_redirects=follow_redirects, history=history)
        return base._send_handling_auth(self, request, auth=auth, follow_redirects=follow_redirects, history=history)

    async def asend(self: Any, request: Any, auth: Any, follow_redirects: Any, history: Any) -> Any:
        if nothing_to_do(auth):
            return await self._send_handling_redirects(request, follow_redirects=follow_redirects, history=history)
        return await base._send_handling_auth(
            self, request, auth=auth, follow_redirects=follow_redirects, history=history
        )

    return {
        "_build_request_auth": _build_request_auth,
        "_send_handling_auth": asend if issubclass(base, library.client.AsyncClient) else send,
    }


def bodies(library: Library, base: Any, made: dict[str, Any]) -> dict[str, Any]:
    """`send`: sends with stream=True and reads the body here, piece by piece as the transport gives it.

    A body with a content encoding, or of a response that a hook or the transport has touched, is read httpx's way.
    """
    streamed = made.get("send")
    if issubclass(base, library.client.AsyncClient):
        return {"send": _sending_async(library, base, streamed)}
    return {"send": _sending(library, base, streamed)}


#: Of a response that the transport has made and httpx has bound: as many attributes as `Response.__init__` sets.
_ATTRIBUTES = 11


class _Plain:
    """Which responses can be read directly."""

    def __init__(self, library: Library) -> None:
        self.response: Any = library.models.Response
        self.identity: Any = library.models.IdentityDecoder

    def __call__(self, response: Any, bound: Any) -> bool:
        if (
            type(response) is not self.response
            or type(response.stream) is not bound
            # A hook that left an attribute on the response, a method of its own say, is seen by their number.
            or len(response.__dict__) != _ATTRIBUTES
            or response.is_stream_consumed
            or response.is_closed
        ):
            return False
        return b"content-encoding" not in [name for _, name, _ in response.headers._list]


def _sending(library: Library, base: Any, streamed: Any) -> Any:
    send_stock = base.send
    default: Any = library.root.USE_CLIENT_DEFAULT
    failed: Any = library.root.RequestError
    bound: Any = library.client.BoundSyncStream
    plain = _Plain(library)
    response_class, identity = plain.response, plain.identity
    read, iter_bytes, iter_raw, close, iterate = (
        response_class.read,
        response_class.iter_bytes,
        response_class.iter_raw,
        response_class.close,
        bound.__iter__,
    )

    def send(
        self: Any, request: Any, *, stream: bool = False, auth: Any = default, follow_redirects: Any = default
    ) -> Any:
        if stream:
            return (streamed or base.send)(self, request, stream=stream, auth=auth, follow_redirects=follow_redirects)
        if (
            base.send is not send_stock
            or response_class.read is not read
            or response_class.iter_bytes is not iter_bytes
            or response_class.iter_raw is not iter_raw
            or response_class.close is not close
            or bound.__iter__ is not iterate
        ):
            return base.send(self, request, stream=stream, auth=auth, follow_redirects=follow_redirects)
        response = send_stock(self, request, stream=True, auth=auth, follow_redirects=follow_redirects)
        try:
            if not plain(response, bound):
                response.read()
                return response
            response._decoder = identity()
            response.is_stream_consumed = True
            body = response.stream._stream
            try:
                content = body.take_arrived() if hasattr(body, "take_arrived") else None
                if content is None:
                    pieces = []
                    for piece in body:
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


def _sending_async(library: Library, base: Any, streamed: Any) -> Any:
    send_stock = base.send
    default: Any = library.root.USE_CLIENT_DEFAULT
    failed: Any = library.root.RequestError
    bound: Any = library.client.BoundAsyncStream
    plain = _Plain(library)
    response_class, identity = plain.response, plain.identity
    aread, aiter_bytes, aiter_raw, aclose, iterate = (
        response_class.aread,
        response_class.aiter_bytes,
        response_class.aiter_raw,
        response_class.aclose,
        bound.__aiter__,
    )

    async def send(
        self: Any, request: Any, *, stream: bool = False, auth: Any = default, follow_redirects: Any = default
    ) -> Any:
        if stream:
            return await (streamed or base.send)(
                self, request, stream=stream, auth=auth, follow_redirects=follow_redirects
            )
        if (
            base.send is not send_stock
            or response_class.aread is not aread
            or response_class.aiter_bytes is not aiter_bytes
            or response_class.aiter_raw is not aiter_raw
            or response_class.aclose is not aclose
            or bound.__aiter__ is not iterate
        ):
            return await base.send(self, request, stream=stream, auth=auth, follow_redirects=follow_redirects)
        response = await send_stock(self, request, stream=True, auth=auth, follow_redirects=follow_redirects)
        try:
            if not plain(response, bound):
                await response.aread()
                return response
            response._decoder = identity()
            response.is_stream_consumed = True
            body = response.stream._stream
            try:
                content = body.take_arrived() if hasattr(body, "take_arrived") else None
                if content is None:
                    pieces = []
                    async for piece in body:
                        response._num_bytes_downloaded += len(piece)
                        pieces.append(piece)
                    content = b"".join(pieces)
                else:
                    response._num_bytes_downloaded = len(content)
                response.is_closed = True
                await response.stream.aclose()
            except failed as error:
                error.request = response._request
                raise
            response._content = content
            return response
        except BaseException:
            await response.aclose()
            raise

    return send
