"""From httpx's `proxy` to the core's."""

from __future__ import annotations

import base64
from typing import Any, NamedTuple

from .. import _core
from ..tls.engine import engine_from, engine_to_proxies
from .http_library import HTTPLibrary

#: httpx's schemes, and what they are here: it leaves names to either kind of SOCKS proxy.
_SCHEMES = {"http": "http", "https": "https", "socks5": "socks5h", "socks5h": "socks5h"}


class ProxyPlace(NamedTuple):
    """Where a proxy is, and how it is reached."""

    host: str
    port: int
    socks: bool
    tls: bool
    #: A context speaks TLS to it.
    by_context: bool = False


_PORTS = {"http": 80, "https": 443, "socks5h": 1080}


def of_proxy(proxy: Any, library: HTTPLibrary, *, by_socket: bool) -> tuple[_core.Proxy, ProxyPlace]:
    """`proxy` is a URL (a str, or the library's) or the library's `Proxy`. Raises ValueError and RuntimeError where the
    library does, and otherwise as `tls.engine.engine_from`.

    Credentials become a header here, as the library sends it: proxies that are equal to the server share connections.
    """
    module = library.module
    if isinstance(proxy, (str, module.URL)):
        proxy = module.Proxy(url=proxy)
    url = proxy.url
    scheme = _SCHEMES.get(url.scheme)
    if scheme is None:
        raise ValueError(
            f"Proxy protocol must be either 'http', 'https', 'socks5', or 'socks5h', but got {url.scheme!r}."
        )
    if url.scheme == "http" and proxy.ssl_context is not None:
        raise RuntimeError("The `proxy_ssl_context` argument is not allowed for the http scheme")
    host = url.raw_host.decode("ascii")
    place = f"{scheme}://{f'[{host}]' if ':' in host else host}{'' if url.port is None else f':{url.port}'}"
    there = ProxyPlace(host, url.port or _PORTS[scheme], scheme == "socks5h", scheme == "https")
    username, password = proxy.raw_auth or (b"", b"")
    if scheme == "socks5h":
        return _core.Proxy(place, username=username, password=password), there
    headers = list(proxy.headers.raw)
    if proxy.raw_auth is not None:
        headers.insert(0, (b"Proxy-Authorization", b"Basic " + base64.b64encode(username + b":" + password)))
    if scheme == "http":
        return _core.Proxy(place, headers=headers), there
    if proxy.ssl_context is None:  # whatever `verify` says of origins
        engine = engine_to_proxies(module)
    else:
        engine = engine_from(proxy.ssl_context, None, False, by_socket=by_socket, library=module)
    native = _core.Proxy(place, headers=headers, tls=engine.settings, ssl_context=engine.context)
    return native, there._replace(by_context=engine.context is not None)
