"""Origins as the pool writes them, and the limits that a user gives for them."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from urllib.parse import urlsplit

_DEFAULT_PORTS = {"http": 80, "https": 443}
_HOST_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-._")


def origin_of(url: str) -> str:
    """`scheme://host[:port]` in lower case, without a default port. ValueError for anything but an origin: a path or
    credentials are refused, so that a typing error does not limit another origin than meant."""
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ValueError("not an origin: its host is no IPv6 address") from None
    scheme = parts.scheme.lower()
    if scheme not in _DEFAULT_PORTS or not parts.hostname or "@" in parts.netloc or set("{}") & set(parts.netloc):
        raise ValueError("an origin is http:// or https://, a host, and perhaps a port")
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError(f"an origin has no path: {scheme}://{parts.netloc}")
    # Refused here as the pool would refuse it, before any origin is limited.
    if not all(" " < character < "\x7f" for character in url):
        raise ValueError("an origin is ASCII without spaces: give the host in its punycode form")
    bracketed, host = parts.netloc.startswith("["), parts.hostname
    after_host = parts.netloc.rpartition("]")[2] if bracketed else parts.netloc[len(host) :]
    port = after_host[1:] or str(_DEFAULT_PORTS[scheme])
    if after_host[:1] not in ("", ":") or not port.isdigit() or not 0 < int(port[:9]) < 65536:
        raise ValueError(f"the port of the origin {scheme}://{parts.netloc} is not a number within 1 to 65535")
    if bracketed:
        try:
            host = f"[{socket.inet_ntop(socket.AF_INET6, socket.inet_pton(socket.AF_INET6, host))}]"
        except OSError:
            raise ValueError(f"the host of the origin {scheme}://{parts.netloc} is not an IPv6 address") from None
    elif not set(host) <= _HOST_CHARACTERS:
        raise ValueError(f"the host of the origin {scheme}://{parts.netloc} is no host name")
    return f"{scheme}://{host}" if int(port) == _DEFAULT_PORTS[scheme] else f"{scheme}://{host}:{int(port)}"


def checked_limits(limits: Mapping[str, object]) -> dict[str, int]:
    """Origin -> the whole fleet's limit. If two spellings of one origin are given, the least limit holds."""
    checked: dict[str, int] = {}
    for given, limit in limits.items():
        origin = origin_of(given)
        if isinstance(limit, bool) or not isinstance(limit, int) or not 0 < limit < 2**31:
            raise ValueError(f"the limit of {origin} must be a whole number above 0, not {limit!r}")
        checked[origin] = min(limit, checked.get(origin, limit))
    return checked
