"""A client's URL and headers merged with a request's, in fewer steps."""

from __future__ import annotations

from typing import Any

from .known import Library

URLS_RELY_ON = (
    "_client:BaseClient._merge_url",
    "_urls:URL.__init__",
    "_urls:URL.is_relative_url",
    "_urls:URL.copy_with",
    "_urlparse:ParseResult.copy_with",
)
HEADERS_RELY_ON = (
    "_client:BaseClient._merge_headers",
    "_models:Headers.__init__",
    "_models:Headers.update",
    "_models:Headers.keys",
    "_models:Headers.encoding",
    "_models:Headers.__contains__",
    "_models:Headers.__getitem__",
    "_models:Headers.__delitem__",
)

_URLS_KEPT = 512
_LONGEST_URL = 2048


def urls(library: Library, base: Any, _: dict[str, Any]) -> dict[str, Any]:
    """`_merge_url`: a string is parsed once. What parsing gives is an immutable tuple inside an `httpx.URL`; every
    request still gets an `httpx.URL` of its own around it."""
    merge_url = base._merge_url
    url_class: Any = library.root.URL
    base_url = library.client.BaseClient.base_url
    kept = _kept.setdefault(library.name, {})

    def _merge_url(self: Any, url: Any) -> Any:
        if (
            base._merge_url is not merge_url
            or base.base_url is not base_url  # one of a subclass's own, which may be another for each request
            or type(url) is not str
            or type(self._base_url) is not url_class
        ):
            return base._merge_url(self, url)
        # A relative URL is put behind the base URL, so that belongs to the key.
        key = (url, self._base_url._uri_reference)
        merged = kept.get(key)
        if merged is None:
            merged = merge_url(self, url)
            if len(url) <= _LONGEST_URL:
                if len(kept) >= _URLS_KEPT:
                    kept.clear()
                kept[key] = merged
        return url_class(merged)

    return {"_merge_url": _merge_url}


#: library -> (URL as given, base URL) -> merged
_kept: dict[str, dict[Any, Any]] = {}


def headers(library: Library, base: Any, _: dict[str, Any]) -> dict[str, Any]:
    """`_merge_headers`: the client's, without those that the request has too, then the request's."""
    merge_headers = base._merge_headers
    header_class: Any = library.root.Headers
    update, initialize = header_class.update, header_class.__init__

    def _merge_headers(self: Any, headers: Any = None) -> Any:
        own = self.headers
        if (
            base._merge_headers is not merge_headers
            or header_class.update is not update
            or type(own) is not header_class
        ):
            return base._merge_headers(self, headers)
        given = _items(headers) if header_class.__init__ is initialize else None
        if given is None:
            headers = header_class(headers)
            given = headers._list
        names = {name for _, name, _ in given}
        for name in names:
            if not name.isascii():  # then the two's encodings matter
                return base._merge_headers(self, headers)
        merged: Any = object.__new__(header_class)
        merged._list = [item for item in own._list if item[1] not in names]
        merged._list += given
        merged._encoding = None
        return merged

    return {"_merge_headers": _merge_headers}


def _items(headers: Any) -> list[tuple[bytes, bytes, bytes]] | None:
    """What httpx's `Headers` keeps of these headers; None if that is for httpx to say, or to refuse."""
    if headers is None:
        return []
    pairs = headers.items() if type(headers) is dict else headers
    if type(headers) is not dict and type(headers) is not list:
        return None
    items = []
    for pair in pairs:
        if type(pair) is not tuple or len(pair) != 2:
            return None
        name, value = pair
        if type(name) is not str or type(value) is not str or not name.isascii() or not value.isascii():
            return None
        raw = name.encode()
        items.append((raw, raw.lower(), value.encode()))
    return items
