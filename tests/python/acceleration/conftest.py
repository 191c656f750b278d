"""A server whose response depends on the path, and clients of both kinds."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from peers.scripted import ScriptedServer
from support.conversations import Conversations, answer


@pytest.fixture(scope="module")
def scripted() -> Iterator[ScriptedServer]:
    with ScriptedServer(answer) as server:
        yield server


@pytest.fixture(params=[logging.INFO, logging.WARNING], ids=["logged", "not logged"])
def conversations(
    request: pytest.FixtureRequest, scripted: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> Conversations:
    return Conversations(scripted, caplog, request.param)


@pytest.fixture(params=["sync", "async"])
def make_client(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """make_client(**arguments) -> httpx.Client or httpx.AsyncClient."""
    kind: Any = httpx.Client if request.param == "sync" else httpx.AsyncClient
    return lambda **arguments: kind(trust_env=False, verify=False, timeout=20.0, **arguments)


@pytest.fixture(autouse=True)
def all_shortcuts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FAST_LITELLM_HTTPX_SHORTCUTS", raising=False)
