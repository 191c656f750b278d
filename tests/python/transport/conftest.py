"""Clients of the transport that are closed, and seen to hold nothing, when their test ends."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from fast_litellm import HTTPTransport
from support.certificates import Certificates

MakeClient = Callable[..., httpx.Client]


@pytest.fixture
def make_client(certificates: Certificates) -> Iterator[MakeClient]:
    """make_client(**arguments of HTTPTransport); trusts the tests' authority unless told otherwise."""
    made: list[tuple[httpx.Client, HTTPTransport]] = []

    def make(*, timeout: Any = 20.0, **arguments: Any) -> httpx.Client:
        if "tls_settings" not in arguments:
            arguments.setdefault("verify", str(certificates.ca_file))
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
