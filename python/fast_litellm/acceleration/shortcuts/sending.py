"""A request sent, and its response read, through fewer generators."""

from __future__ import annotations

from typing import Any

from .known import Library
from .twins import steps_for

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

    steps = steps_for(issubclass(base, library.client.AsyncClient))
    return {
        "_build_request_auth": _build_request_auth,
        "_send_handling_auth": steps.send_unauthenticated(base, nothing_to_do),
    }


def bodies(library: Library, base: Any, made: dict[str, Any]) -> dict[str, Any]:
    """`send`: sends with stream=True and reads the body here, piece by piece as the transport gives it.

    A body with a content encoding, or of a response that a hook or the transport has touched, is read httpx's way.
    """
    asynchronous = issubclass(base, library.client.AsyncClient)
    body = WholeBody(library, asynchronous)
    root = library.root
    return {
        "send": steps_for(asynchronous).send_and_read(
            base, root.USE_CLIENT_DEFAULT, root.RequestError, made.get("send"), body
        )
    }


#: Of a response that the transport has made and httpx has bound: as many attributes as `Response.__init__` sets.
_ATTRIBUTES = 11


class WholeBody:
    """Which responses can be read directly, and how that begins."""

    def __init__(self, library: Library, asynchronous: bool) -> None:
        response, client = library.models.Response, library.client
        self._response: Any = response
        self._identity: Any = library.models.IdentityDecoder
        self._bound: Any = client.BoundAsyncStream if asynchronous else client.BoundSyncStream
        a = "a" if asynchronous else ""
        names = (f"{a}read", f"{a}iter_bytes", f"{a}iter_raw", f"{a}close")
        places = [(response, name) for name in names] + [(self._bound, f"__{a}iter__")]
        self._places = tuple((owner, name, getattr(owner, name)) for owner, name in places)

    def is_httpx_own(self) -> bool:
        """Whether what reads a body is what it was when this was made."""
        return all(getattr(owner, name) is value for owner, name, value in self._places)

    def begin(self, response: Any) -> bool:
        """Marks the response as being read; False: that is for httpx to do."""
        if (
            type(response) is not self._response
            or type(response.stream) is not self._bound
            # A hook that left an attribute on the response, a method of its own say, is seen by their number.
            or len(response.__dict__) != _ATTRIBUTES
            or response.is_stream_consumed
            or response.is_closed
            or b"content-encoding" in [name for _, name, _ in response.headers._list]
        ):
            return False
        response._decoder = self._identity()
        response.is_stream_consumed = True
        return True
