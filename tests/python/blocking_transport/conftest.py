"""Clients of the transport, which are closed when their test ends and must then hold no connection."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal

from fast_litellm import AsyncHTTPTransport, HTTPTransport
from support.blocking import BlockingTransport
from support.certificates import Certificates

MakeClient = Callable[..., httpx.Client]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every test of a client is one of both transports, unless its module says `CLIENT_KINDS = ("sync",)`."""
    if "client_kind" in metafunc.fixturenames:
        metafunc.parametrize("client_kind", getattr(metafunc.module, "CLIENT_KINDS", ("sync", "async")))


@pytest.fixture(scope="session")
def portal() -> Iterator[BlockingPortal]:
    """The loop of the "async" clients."""
    with start_blocking_portal() as portal:
        yield portal


@pytest.fixture
def make_client(request: pytest.FixtureRequest, certificates: Certificates, client_kind: str) -> Iterator[MakeClient]:
    """make_client(**arguments of HTTPTransport); trusts the tests' authority by default. Its clients use
    HTTPTransport ("sync"), or AsyncHTTPTransport on a loop in another thread ("async")."""
    made: list[tuple[httpx.Client, Any]] = []

    def make(*, timeout: Any = 20.0, **arguments: Any) -> httpx.Client:
        if "tls_settings" not in arguments:
            arguments.setdefault("verify", str(certificates.ca_file))
        transport: Any
        if client_kind == "async":
            transport = BlockingTransport(request.getfixturevalue("portal"), AsyncHTTPTransport(**arguments))
        else:
            transport = HTTPTransport(**arguments)
        made.append((httpx.Client(transport=transport, timeout=timeout), transport))
        return made[-1][0]

    yield make
    leases = []
    for client, transport in made:
        gc.collect()  # responses that the test dropped
        leases.append(len(transport._pool.connections))
        client.close()
    assert leases == [0] * len(leases), "connections are still leased after the test"


@pytest.fixture
def client(make_client: MakeClient) -> httpx.Client:
    return make_client()
