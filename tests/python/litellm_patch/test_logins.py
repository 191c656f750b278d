"""Connections that a request of litellm's authenticates (NTLM, Negotiate) serve that one client of litellm's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from peers.ntlm import authenticate_connections
from peers.scripted import ScriptedServer


@pytest.mark.parametrize("scheme", ["NTLM", "Negotiate"])
def test_a_login_serves_its_own_client_alone(
    accelerated: Any,
    mode: Any,
    goes_through_the_pool: Callable[[Any], bool],
    serve: Callable[..., ScriptedServer],
    scheme: str,
) -> None:
    server = serve(authenticate_connections)
    first, second = mode.handler(accelerated), mode.handler(accelerated)
    assert goes_through_the_pool(first.client)
    assert goes_through_the_pool(second.client)

    def get(handler: Any, **headers: str) -> str:
        response = mode.do(handler.client.get(server.url, headers=headers))
        return response.text.partition(" ")[0] or str(response.status_code)

    assert get(first) == "401"
    assert get(first, authorization=f"{scheme} 1:") == "401"
    assert get(first, authorization=f"{scheme} 3:first") == "first"
    assert get(second) == "401"
    assert get(first) == "first"
    assert get(second, authorization=f"{scheme} 3:second") == "second"
    assert [get(first), get(second)] == ["first", "second"]
    mode.do(first.close())
    mode.do(second.close())
    server.wait_until(lambda counts: counts.open == 1, "the end of the authenticated connections")


def test_the_connections_of_a_closed_client_stay_for_the_next(
    accelerated: Any, mode: Any, serve: Callable[..., ScriptedServer]
) -> None:
    server = serve(authenticate_connections)
    for _ in range(3):
        handler = mode.handler(accelerated)
        assert mode.do(handler.client.get(server.url)).status_code == 401
        mode.do(handler.close())
    assert server.connections == 1
