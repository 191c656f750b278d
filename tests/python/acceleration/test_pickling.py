"""Copies and pickles of accelerated clients have the class that the client had before."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import httpx2
import pytest

import fast_litellm
from fast_litellm.acceleration import shortcuts
from peers.scripted import ScriptedServer


class WithState(httpx.Client):
    """Programs do this to send a client's settings to other processes."""

    def __init__(self, **settings: Any) -> None:
        self.settings = settings
        super().__init__(**settings)

    def __getstate__(self) -> dict[str, Any]:
        return self.settings

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]


class AsyncWithState(httpx.AsyncClient):
    def __init__(self, **settings: Any) -> None:
        self.settings = settings
        super().__init__(**settings)

    def __getstate__(self) -> dict[str, Any]:
        return self.settings

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]


class WithState2(httpx2.Client):
    def __init__(self, **settings: Any) -> None:
        self.settings = settings
        super().__init__(**settings)

    def __getstate__(self) -> dict[str, Any]:
        return self.settings

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]


class WithReduce(httpx.Client):
    """A client that defines how it is recreated, for any class."""

    def __init__(self, **settings: Any) -> None:
        self.settings = settings
        super().__init__(**settings)

    def __reduce__(self) -> Any:
        return _make, (type(self), self.settings)


class WithReduceEx(httpx.Client):
    def __init__(self, **settings: Any) -> None:
        self.settings = settings
        super().__init__(**settings)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return _make, (type(self), self.settings)


class WithNewArguments(httpx.Client):
    def __getnewargs_ex__(self) -> Any:
        return (), {}

    def __getstate__(self) -> dict[str, Any]:
        return {"_headers": self._headers, "_base_url": self._base_url}


def _make(kind: Any, settings: dict[str, Any]) -> Any:
    return kind(**settings)


SETTINGS: dict[str, Any] = {"trust_env": False, "verify": False, "headers": {"X-Own": "1"}}
KINDS = [WithState, AsyncWithState, WithState2, WithReduce, WithReduceEx, WithNewArguments]
copied = pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy], ids=["copy", "deepcopy"])


def accelerated(kind: Any) -> Any:
    client = fast_litellm.accelerate(kind(**SETTINGS), verify=False)
    assert type(client) is not kind
    return client


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("kind", KINDS)
def test_a_client_whose_class_can_be_pickled_can_be(kind: Any, protocol: int) -> None:
    client = accelerated(kind)
    if kind is WithNewArguments:
        protocol = max(protocol, 2)  # which Python itself needs for these
    text = pickle.dumps(client, protocol)
    other = pickle.loads(text)
    assert type(other) is kind
    assert other.headers["x-own"] == "1"
    assert shortcuts.names_on(client)
    assert b"fast_litellm" not in text


@copied
@pytest.mark.parametrize("kind", KINDS)
def test_a_client_whose_class_can_be_copied_can_be(kind: Any, copied: Callable[[Any], Any]) -> None:
    client = accelerated(kind)
    other = copied(client)
    assert type(other) is kind
    assert other.headers["x-own"] == "1"
    assert shortcuts.names_on(client)


def test_a_copy_sends_through_the_same_transport(scripted: ScriptedServer) -> None:
    with accelerated(httpx.Client) as client:
        other = copy.copy(client)
        assert type(other) is httpx.Client
        assert other._transport is client._transport
        before = fast_litellm.get_performance_stats()["pool"]["requests"]
        assert other.get(scripted.url).status_code == client.get(scripted.url).status_code
        assert fast_litellm.get_performance_stats()["pool"]["requests"] == before + 2


@copied
def test_a_client_that_httpx_cannot_copy_raises_the_same_error(copied: Callable[[Any], Any]) -> None:
    if copied is copy.copy:
        copied = pickle.dumps
    with pytest.raises(TypeError) as stock:
        copied(httpx.Client(**SETTINGS))
    client = accelerated(httpx.Client)
    with pytest.raises(TypeError) as ours:
        copied(client)
    assert str(ours.value) == str(stock.value)
    assert shortcuts.names_on(client)


def test_threads_may_copy_one_client_at_once_while_it_is_used(scripted: ScriptedServer) -> None:
    with accelerated(WithState) as client, ThreadPoolExecutor(8) as threads:
        pickled = [threads.submit(pickle.dumps, client) for _ in range(200)]
        asked = [threads.submit(client.get, scripted.url) for _ in range(50)]
        assert {type(pickle.loads(each.result())) for each in pickled} == {WithState}
        assert {each.result().status_code for each in asked} == {client.get(scripted.url).status_code}
        assert shortcuts.names_on(client)
