"""The transports that the tests of HTTP/2 compare, and whether they are there."""

from __future__ import annotations

import functools
import ssl
from typing import Any

import httpx
import pytest

import fast_litellm
from fast_litellm.exceptions import NotOffered

#: httpx's own transport is the oracle: a test that fails over it is wrong, or says why it is not asked.
ENGINES = ("stock", "ours")
MODES = ("sync", "async")

#: The marker of a test of which httpx's own transport is no oracle. The test says why.
OURS_ALONE = pytest.mark.parametrize("engine", ["ours"], indirect=True)

#: The marker of a test that takes both routes to its server (the fixture `route` of http2/conftest.py).
DIRECT_OR_TUNNEL = pytest.mark.parametrize("route", ["direct", "tunnel"], indirect=True)


def over(*servers: str, schemes: tuple[str, ...] = ("https",)) -> pytest.MarkDecorator:
    """The marker of a test that is one for each of these servers (peers/http2.py)."""
    names = [f"{server} {scheme}" for server in servers for scheme in schemes]
    return pytest.mark.parametrize("origin", names, indirect=True)


@functools.cache
def why_skipped(engine: str) -> str:
    """The reason why tests over this engine are skipped; empty: they run."""
    if engine == "ours":
        try:
            for transport in (fast_litellm.HTTPTransport, fast_litellm.AsyncHTTPTransport):
                transport(http2=True)
                transport(http1=False, http2=True)
        except NotOffered as error:
            return f"case: {error}"
    return ""


def new_transport(engine: str, mode: str, *, verify: Any, **arguments: Any) -> Any:
    """One that speaks HTTP/2; `verify`: the authority's file, a context, or False."""
    library: Any = httpx if engine == "stock" else fast_litellm
    if engine == "stock" and isinstance(verify, str):
        verify = ssl.create_default_context(cafile=verify)
    kind = library.HTTPTransport if mode == "sync" else library.AsyncHTTPTransport
    return kind(verify=verify, **{"http2": True, **arguments})
