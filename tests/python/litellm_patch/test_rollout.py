"""FAST_LITELLM_CONNECTION_POOL: how many of litellm's clients use the pool."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

Through = Callable[[httpx.Client], bool]
Make = Callable[..., Any]


def test_with_the_pool_off_litellm_works_as_before_and_its_clients_are_counted(
    accelerated: Any, complete: Make, reported: Any, carried: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAST_LITELLM_CONNECTION_POOL", "false")
    assert complete(accelerated, "still here").choices[0].message.content == "still here"
    assert reported.accelerated == 0
    assert "connection pool off" in reported.fallbacks
    assert carried.requests == 0


def test_of_a_hundred_clients_the_canary_has_exactly_its_share(
    accelerated: Any, in_module: Make, reported: Any, goes_through_the_pool: Through, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAST_LITELLM_CONNECTION_POOL", "canary:20")
    clients = [in_module("litellm.somewhere", "made = httpx.Client(verify=False)") for _ in range(100)]
    assert sum(goes_through_the_pool(client) for client in clients) == 20
    assert reported.accelerated == 20
    assert reported.fallbacks == {"canary": 80}
    for client in clients:
        client.close()


def test_clients_that_are_not_litellms_are_no_part_of_the_hundred(
    accelerated: Any, in_module: Make, reported: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAST_LITELLM_CONNECTION_POOL", "canary:50")
    for _ in range(50):
        httpx.Client(verify=False).close()
        in_module("litellm.somewhere", "made = httpx.Client(verify=False)").close()
    assert reported.accelerated == 25
