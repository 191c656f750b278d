"""NTLM and Negotiate authenticate the connection: it then serves the client that logged in, and no other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from fast_litellm import SimpleConnectionPool
from peers.ntlm import Ntlm, authenticate_connections
from peers.scripted import ScriptedServer, until

Serve = Callable[..., ScriptedServer]
NewPool = Callable[..., SimpleConnectionPool]
MakeClient = Callable[..., httpx.Client]


@pytest.fixture(params=["plain", "tls"])
def server(request: pytest.FixtureRequest, serve: Serve, certificates: Any) -> ScriptedServer:
    return serve(authenticate_connections, **({"tls": certificates.server} if request.param == "tls" else {}))


@pytest.mark.parametrize("scheme", ["NTLM", "ntlm", "Negotiate"])
def test_two_users_and_one_without_credentials_each_get_their_own(
    new_pool: NewPool, make_client: MakeClient, server: ScriptedServer, scheme: str
) -> None:
    pool = new_pool()
    first, second, nameless = (make_client(pool=pool) for _ in range(3))
    assert first.get(server.url, auth=Ntlm("first", scheme)).text == "first on 2"
    assert nameless.get(server.url).status_code == 401
    assert second.get(server.url, auth=Ntlm("second", scheme)).text == "second on 3"
    assert first.get(server.url).text == "first on 2"
    assert second.get(server.url).text == "second on 3"
    assert nameless.get(server.url).status_code == 401
    assert server.connections == 3


def test_the_connection_of_a_preemptive_login_serves_no_other_client(
    new_pool: NewPool, make_client: MakeClient, server: ScriptedServer
) -> None:
    pool = new_pool()
    first, second = make_client(pool=pool), make_client(pool=pool)
    assert first.post(server.url, content=b"x", headers={"Authorization": "Negotiate 3:first"}).text == "first on 1"
    assert second.get(server.url).status_code == 401
    assert first.get(server.url).text == "first on 1"


def test_the_scheme_is_recognised_in_every_value_of_the_header(
    new_pool: NewPool, make_client: MakeClient, server: ScriptedServer
) -> None:
    pool = new_pool()
    first, second = make_client(pool=pool), make_client(pool=pool)
    headers = [("Authorization", "NTLM 3:first"), ("Authorization", "Basic eA==")]
    assert first.get(server.url, headers=headers).text == "first on 1"
    assert second.get(server.url).status_code == 401
    headers = [("Authorization", "Basic eA=="), ("Authorization", "NTLM 3:second")]
    second.get(server.url, headers=headers)
    third = make_client(pool=pool)
    assert third.get(server.url).status_code == 401
    assert third.get(server.url).status_code == 401


def test_the_connections_of_a_login_are_closed_with_its_client(
    new_pool: NewPool, make_client: MakeClient, server: ScriptedServer
) -> None:
    pool = new_pool()
    first, second = make_client(pool=pool), make_client(pool=pool)
    assert second.get(server.url).status_code == 401
    assert first.get(server.url, auth=Ntlm("first")).text == "first on 2"
    first.close()
    server.wait_until(lambda counts: counts.open == 1, "the end of the authenticated connection")
    assert second.get(server.url).status_code == 401
    assert server.connections == 2


def test_a_request_without_a_client_closes_its_connection(new_pool: NewPool, server: ScriptedServer) -> None:
    pool = new_pool()
    assert pool.request(server.url, "GET", "/", headers={"Authorization": "NTLM 3:first"}).text == "first on 1"
    assert pool.request(server.url, "GET", "/").status_code == 401
    assert server.connections == 2


def test_a_lease_keeps_the_login_until_it_ends(new_pool: NewPool, server: ScriptedServer) -> None:
    pool = new_pool()
    with pool.lease(server.url) as lease:
        assert lease.request("GET", "/").status_code == 401
        assert lease.request("GET", "/", headers={"authorization": "ntlm 1:"}).status_code == 401
        assert lease.request("GET", "/", headers={"authorization": "ntlm 3:first"}).text == "first on 1"
        assert lease.request("GET", "/").text == "first on 1"
    with pool.lease(server.url) as lease:
        assert lease.request("GET", "/").status_code == 401
    server.wait_until(lambda counts: counts.open == 1, "the end of the authenticated connection")
    until(lambda: pool.get_stats()["total_connections"] == 1)


def test_other_schemes_share_connections(new_pool: NewPool, make_client: MakeClient, server: ScriptedServer) -> None:
    pool = new_pool()
    for value in ("Bearer NTLM", "Basic TlRMTQ==", 'Digest realm="a, NTLM b"'):
        client = make_client(pool=pool)
        assert client.get(server.url, headers={"Authorization": value}).status_code == 401
    assert server.connections == 1
