"""The names of a response's headers, whatever the server writes."""

from __future__ import annotations

from string import ascii_lowercase, ascii_uppercase, digits

import httpx
import pytest

from fast_litellm import accelerate
from peers.scripted import Connection, ScriptedServer

_NAMES = [*ascii_uppercase, *ascii_lowercase, *digits, "!", "~", "AB", "aB", "Content-TYPE"]


async def _script(connection: Connection) -> None:
    while True:
        await connection.request()
        await connection.respond(b"ok", "200 OK", *(f"{name}: 1" for name in _NAMES))


@pytest.mark.parametrize("fast", [False, True], ids=["stock", "accelerated"])
def test_a_name_of_one_letter_is_read_as_it_was_sent(fast: bool) -> None:
    with ScriptedServer(_script) as server, httpx.Client(trust_env=False, verify=False) as client:
        response = (accelerate(client) if fast else client).get(server.url)
    assert response.headers.raw[:-1] == [(name.encode(), b"1") for name in _NAMES]
    assert response.headers.get_list("q") == ["1", "1"]
    # CPython keeps one object for each bytes of length one. Each is still what it was.
    assert [ord(bytes([number])) for number in range(256)] == list(range(256))
