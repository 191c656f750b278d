"""Fixtures of the blocking transports' tests, over servers of HTTP/2 (peers/http2_gateway.py)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from peers.http2_gateway import Serve, serving_http2

MakeClient = Callable[..., httpx.Client]


@pytest.fixture
def serve(serve: Serve) -> Serve:
    """serve(script, tls=identity) starts a server of HTTP/2 whose script serves its streams."""
    return serving_http2(serve)


@pytest.fixture
def make_client(make_client: MakeClient) -> MakeClient:
    """make_client(**arguments of the transport) knows that the server speaks HTTP/2."""

    def make(**arguments: Any) -> httpx.Client:
        return make_client(**{"http1": False, **arguments})

    return make


@pytest.fixture
def client(make_client: MakeClient) -> httpx.Client:
    return make_client()
