"""Clients of the transport, which are closed when their test ends and must then hold no connection."""

from __future__ import annotations

import gc
import ssl
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from fast_litellm import AsyncHTTPTransport, HTTPTransport
from peers.proxies import Microsocks, RelayingProxy, Squid, Tinyproxy
from support.blocking import BlockingTransport
from support.certificates import Certificates

MakeClient = Callable[..., httpx.Client]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every test of a client is one of both transports, unless its module says `CLIENT_KINDS = ("sync",)`."""
    if "client_kind" in metafunc.fixturenames:
        metafunc.parametrize("client_kind", getattr(metafunc.module, "CLIENT_KINDS", ("sync", "async")))


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


# Proxies, and httpx's own transport through them.


@pytest.fixture(scope="session")
def tinyproxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tinyproxy]:
    with Tinyproxy(tmp_path_factory.mktemp("tinyproxy"), authenticates=True) as proxy:
        yield proxy


@pytest.fixture(scope="session")
def squid(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Squid]:
    with Squid(tmp_path_factory.mktemp("squid"), authenticates=True) as proxy:
        yield proxy


@pytest.fixture(scope="session")
def microsocks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Microsocks]:
    with Microsocks(tmp_path_factory.mktemp("microsocks"), authenticates=True) as proxy:
        yield proxy


@pytest.fixture
def relaying() -> Iterator[RelayingProxy]:
    with RelayingProxy() as proxy:
        yield proxy


@pytest.fixture
def relaying_tls(certificates: Certificates) -> Iterator[RelayingProxy]:
    with RelayingProxy(certificates.server) as proxy:
        yield proxy


@pytest.fixture
def stock(certificates: Certificates) -> Iterator[MakeClient]:
    """stock(**arguments of httpx.HTTPTransport) makes a client with httpx's own transport."""
    made: list[httpx.Client] = []

    def make(**arguments: Any) -> httpx.Client:
        context = ssl.create_default_context(cafile=str(certificates.ca_file))
        made.append(httpx.Client(transport=httpx.HTTPTransport(verify=context, **arguments), timeout=20))
        return made[-1]

    yield make
    for client in made:
        client.close()


@pytest.fixture
def unused_url(unused_port: int) -> str:
    return f"https://127.0.0.1:{unused_port}/"
