"""URLs of engines: which there are, and how they are shown without their secrets."""

from __future__ import annotations

from urllib.parse import parse_qsl, unquote, unquote_plus, urlencode, urlsplit

REDIS_SCHEMES = frozenset(
    f"{scheme}{kind}" for scheme in ("redis", "rediss") for kind in ("", "+cluster", "+sentinel")
) | {"unix"}

EXPECTED = (
    "sqlite:////absolute/path, redis://host, rediss://host, unix:///socket, redis+cluster://host or "
    "redis+sentinel://host,host/service"
)


def checked(url: str) -> str:
    """The scheme. ValueError, without the URL's secrets, if it is none of an engine."""
    scheme = url.partition("://")[0].lower()
    if scheme == "sqlite":
        sqlite_path(url)
    elif scheme not in REDIS_SCHEMES:
        raise ValueError(f"not the URL of an engine; expected {EXPECTED}")
    elif not _is_plain(url):
        raise ValueError(
            "the engine's URL has an @ or a port where none can be: in a user name or password write "
            "%2F for /, %3F for ?, %23 for #, %40 for @"
        )
    return scheme


def sqlite_path(url: str) -> str:
    """As SQLAlchemy writes it: three slashes and the path, which begins with a fourth."""
    path = unquote(url.partition("://")[2])
    if not path.startswith("//") or "\0" in path:
        raise ValueError("the path must be absolute: sqlite:////run/fleet.db, with four slashes")
    return path[1:]


def _is_secret(name: str) -> bool:
    return "password" in name.lower() or "username" in name.lower()


def _is_plain(url: str) -> bool:
    """False if a part of a password may stand where host, port, path or query should."""
    rest = url.partition("://")[2]
    try:
        parts = urlsplit(f"//{rest}")
        for host in parts.netloc.rpartition("@")[2].split(","):
            _ = urlsplit(f"//{host}").port
    except ValueError:
        return False
    return rest.count("@") == parts.netloc.count("@")


def shown(url: str) -> str:
    """The URL without user, password, and what else is secret; only its scheme if these cannot be told apart."""
    scheme, _, rest = url.partition("://")
    if scheme.lower() == "sqlite":
        return url if rest.startswith("//") else f"{scheme}://..."
    if scheme.lower() not in REDIS_SCHEMES:
        return "..."
    if not _is_plain(url):
        return f"{scheme}://..."
    parts = urlsplit(f"//{rest}")
    query = [(name, "***" if _is_secret(name) else value) for name, value in parse_qsl(parts.query)]
    text = f"{scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    return f"{text}?{urlencode(query, safe='*/')}" if query else text


def without_secrets(message: str, url: str) -> str:
    """An error's message, if it repeats secrets of the URL: without them."""
    user_info = url.partition("://")[2].rpartition("@")[0]
    user, _, password = user_info.partition(":")
    secrets = [url, user_info, password, unquote(password), user if not password else ""]
    for pair in url.partition("?")[2].split("&"):
        name, _, value = pair.partition("=")
        if _is_secret(unquote(name)):
            secrets += [value, unquote(value), unquote_plus(value)]
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        message = message.replace(secret, "***")
    return message
