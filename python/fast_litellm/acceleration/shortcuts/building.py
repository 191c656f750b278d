"""A request built in one pass over its headers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .known import Library

RELIES_ON = (
    "_client:BaseClient.build_request",
    "_client:BaseClient._merge_cookies",
    "_client:BaseClient._merge_queryparams",
    "_content:ByteStream.__iter__",
    "_models:Request.__init__",
    "_models:Request._prepare",
    "_models:Request.read",
    "_models:Headers.__init__",
    "_models:Headers.raw",
    "_models:Headers.encoding",
    "_models:Headers.__contains__",
    "_models:Headers.__getitem__",
    "_models:Headers.__setitem__",
    "_urls:URL.__init__",
)


def _methods_with_body(prepare: Any) -> Any:
    """Those that httpx gives a `Content-Length: 0`; httpx2 has one more."""
    constants = prepare.__code__.co_consts
    return next(constant for constant in constants if isinstance(constant, (tuple, frozenset)) and "POST" in constant)


def requests(library: Library, base: Any, _: dict[str, Any]) -> dict[str, Any]:
    """`build_request`: for requests without cookies, query parameters and files, which httpx's own constructor builds
    as ever."""
    client_module, models = library.client, library.models
    build_request = base.build_request
    request_class: Any = models.Request
    header_class: Any = models.Headers
    url_class: Any = library.root.URL
    timeout_class: Any = library.root.Timeout
    default: Any = library.root.USE_CLIENT_DEFAULT
    default_class = type(default)
    initialize, prepare = request_class.__init__, request_class._prepare
    whole_body: Any = models.ByteStream
    read, iterate = request_class.read, whole_body.__iter__
    with_body = _methods_with_body(prepare)
    # httpx2's later ones, as httpx the other way round: of the two headers, that which is set goes.
    one_of_two = "content-length" in prepare.__code__.co_consts

    def quick_request(method: Any, url: Any, headers: Any, content: Any, data: Any, json: Any, extensions: Any) -> Any:
        request = request_class.__new__(request_class)
        request.method = method.upper()
        request.url = url_class(url)
        items = list(headers._list)
        request.headers = made = header_class.__new__(header_class)
        made._encoding = None
        request.extensions = dict(extensions)
        content_headers, stream = models.encode_request(content=content, data=data, json=json)
        names = {name for _, name, _ in items}
        for key, value in content_headers.items():
            name = key.lower().encode()
            if name in names or (name == b"transfer-encoding" and b"content-length" in names):
                continue
            if one_of_two and name == b"content-length" and b"transfer-encoding" in names:
                continue
            names.add(name)
            items.append((key.encode(), name, value.encode()))
        first = []
        if b"host" not in names and request.url.host:
            first.append((b"Host", b"host", request.url.netloc))
        if b"content-length" not in names and b"transfer-encoding" not in names and request.method in with_body:
            first.append((b"Content-Length", b"content-length", b"0"))
        made._list = first + items if first else items
        request.stream = stream
        if (
            type(stream) is whole_body
            and type(stream._stream) is bytes
            and request_class.read is read
            and whole_body.__iter__ is iterate
        ):
            request._content = stream._stream
        elif isinstance(stream, whole_body):
            request.read()
        return request

    def build(
        self: Any,
        method: Any,
        url: Any,
        *,
        content: Any = None,
        data: Any = None,
        files: Any = None,
        json: Any = None,
        params: Any = None,
        headers: Any = None,
        cookies: Any = None,
        timeout: Any = default,
        extensions: Any = None,
    ) -> Any:
        if (
            files
            or base.build_request is not build_request
            or client_module.Request is not request_class
            or request_class.__init__ is not initialize
            or request_class._prepare is not prepare
            or not (data is None or isinstance(data, Mapping))  # httpx warns, and names its caller
        ):
            return base.build_request(
                self,
                method,
                url,
                content=content,
                data=data,
                files=files,
                json=json,
                params=params,
                headers=headers,
                cookies=cookies,
                timeout=timeout,
                extensions=extensions,
            )
        url = self._merge_url(url)
        headers = self._merge_headers(headers)
        cookies = self._merge_cookies(cookies)
        params = self._merge_queryparams(params)
        extensions = {} if extensions is None else extensions
        if "timeout" not in extensions:
            timeouts = self.timeout if isinstance(timeout, default_class) else timeout_class(timeout)
            extensions = dict(**extensions, timeout=timeouts.as_dict())
        if params is None and not cookies and type(headers) is header_class:
            return quick_request(method, url, headers, content, data, json, extensions)
        return request_class(
            method,
            url,
            content=content,
            data=data,
            files=files,
            json=json,
            params=params,
            headers=headers,
            cookies=cookies,
            extensions=extensions,
        )

    return {"build_request": build}
