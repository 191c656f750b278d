"""Tests of the asynchronous transport over HTTP/1.1 whose subject is not HTTP/1.1, run over HTTP/2: a script serves a
stream in place of a connection (peers/http2_gateway.py). httpx's own transport runs them too."""

from __future__ import annotations

import ssl
from typing import Any

import httpx
import pytest

import fast_litellm
from async_transport.conftest import (  # noqa: F401  hooks and fixtures of those tests
    MakeAsyncTransport,
    async_client,
    async_clients,
    backend,
    make_async_client,
    pytest_pycollect_makeitem,
    pytest_pyfunc_call,
)
from peers.http2_gateway import Serve, serving_http2
from support.certificates import Certificates


@pytest.fixture
def serve(serve: Serve) -> Serve:
    """serve(script, tls=identity) starts a server of HTTP/2 whose script serves its streams."""
    return serving_http2(serve)


@pytest.fixture
def make_async_transport(engine: str, certificates: Certificates) -> MakeAsyncTransport:
    """make_async_transport(**arguments) makes a transport that knows that its servers speak HTTP/2."""

    def make(**arguments: Any) -> httpx.AsyncBaseTransport:
        arguments = {"http1": False, "http2": True, **arguments}
        if engine == "stock":
            arguments.setdefault("verify", ssl.create_default_context(cafile=str(certificates.ca_file)))
            return httpx.AsyncHTTPTransport(**arguments)
        arguments.setdefault("verify", str(certificates.ca_file))
        return fast_litellm.AsyncHTTPTransport(**arguments)

    return make
