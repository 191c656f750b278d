"""remove_acceleration() leaves nothing behind, and apply_acceleration() can be called again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

import fast_litellm
from fast_litellm.litellm_patch.points import Points

Make = Callable[..., Any]


def everything_patched() -> dict[str, object]:
    from litellm.llms.custom_httpx import http_handler
    from litellm.llms.openai.common_utils import BaseOpenAILLM
    from openai import _base_client

    owners = (
        httpx.Client,
        httpx.AsyncClient,
        http_handler,
        http_handler.HTTPHandler,
        http_handler.AsyncHTTPHandler,
        BaseOpenAILLM,
        _base_client._DefaultHttpxClient,
        _base_client._DefaultAsyncHttpxClient,
    )
    return {f"{owner.__name__}.{name}": value for owner in owners for name, value in vars(owner).items()}


def test_every_attribute_is_restored(litellm: Any) -> None:
    before = everything_patched()
    fast_litellm.apply_acceleration()
    assert everything_patched() != before
    assert fast_litellm.remove_acceleration()
    assert everything_patched() == before
    assert not fast_litellm.remove_acceleration()
    assert set(fast_litellm.get_patch_status()["points"].values()) <= {"removed", "not needed"}
    assert not fast_litellm.get_patch_status()["applied"]


def test_applying_twice_is_applying_once(litellm: Any) -> None:
    before = everything_patched()
    assert fast_litellm.apply_acceleration()
    patched = everything_patched()
    assert fast_litellm.apply_acceleration()
    assert everything_patched() == patched
    fast_litellm.remove_acceleration()
    assert everything_patched() == before


def test_calls_after_the_removal_use_httpxs_transport(
    accelerated: Any, complete: Callable[..., Any], reported: Any, carried: Any
) -> None:
    complete(accelerated, "through the pool")
    clients = reported.accelerated
    fast_litellm.remove_acceleration()
    assert complete(accelerated, "through httpx").choices[0].message.content == "through httpx"
    assert reported.accelerated == clients
    assert carried.requests == 1


def test_a_client_kept_by_the_user_continues_over_the_stock_transport(
    accelerated: Any, openai_server: Any, reported: Any, mode: Any
) -> None:
    handler = mode.handler(accelerated)

    def get() -> int:
        return int(mode.do(handler.get(f"{openai_server.base_url}/models")).status_code)

    assert get() == 200
    assert reported.stock_requests == {}
    fast_litellm.remove_acceleration()
    assert get() == 200
    assert reported.stock_requests == {"removed": 1}
    fast_litellm.apply_acceleration()
    assert get() == 200
    assert reported.stock_requests == {"removed": 1}
    mode.do(handler.close())


def test_the_module_level_client_is_made_anew(
    accelerated: Any, goes_through_the_pool: Callable[[Any], bool], mode: Any
) -> None:
    name = "module_level_aclient" if mode.is_async else "module_level_client"
    client = getattr(accelerated, name)
    assert goes_through_the_pool(client.client)
    fast_litellm.remove_acceleration()
    assert getattr(accelerated, name) is not client
    assert not goes_through_the_pool(getattr(accelerated, name).client)
    mode.do(client.close())


def test_another_wrapper_on_top_is_kept_and_the_patch_below_it_is_inactive(
    accelerated: Any,
    in_module: Make,
    reported: Any,
    monkeypatch: pytest.MonkeyPatch,
    goes_through_the_pool: Callable[[Any], bool],
) -> None:
    ours = httpx.Client._init_transport

    def theirs(self: httpx.Client, *args: Any, **keywords: Any) -> httpx.BaseTransport:
        return ours(self, *args, **keywords)

    monkeypatch.setattr(httpx.Client, "_init_transport", theirs)
    assert goes_through_the_pool(in_module("litellm.somewhere", "made = httpx.Client()"))
    fast_litellm.remove_acceleration()
    assert httpx.Client._init_transport is theirs
    assert not goes_through_the_pool(in_module("litellm.somewhere", "made = httpx.Client()"))
    # Ours, below, must stay passive when the patch comes back above.
    fast_litellm.apply_acceleration()
    before = reported.fallbacks
    in_module("litellm.somewhere", "made = httpx.Client(transport=httpx.HTTPTransport())")
    assert reported.fallbacks == {**before, "transport given": before.get("transport given", 0) + 1}
    fast_litellm.remove_acceleration()
    monkeypatch.undo()
    httpx.Client._init_transport = ours.__wrapped__  # type: ignore[attr-defined,method-assign]


class Base:
    @staticmethod
    def static() -> str:
        return "static"

    @classmethod
    def of_class(cls) -> str:
        return cls.__name__

    def method(self) -> str:
        return "method"


class Derived(Base):
    pass


def test_points_keep_the_kind_of_a_method_and_its_place_in_the_class_tree() -> None:
    points = Points()
    before = dict(vars(Derived)), dict(vars(Base))
    for name in ("static", "of_class", "method"):
        assert points.wrap(name, Base if name != "method" else Derived, name, lambda f: lambda *a: f"<{f(*a)}>")
    assert (Base.static(), Base().static(), Derived.of_class()) == ("<static>", "<static>", "<Derived>")
    assert (Derived().method(), Base().method()) == ("<method>", "method")
    points.restore()
    assert (dict(vars(Derived)), dict(vars(Base))) == before


def test_a_point_that_is_missing_is_reported_and_no_error() -> None:
    points = Points()
    assert not points.wrap("gone", Base, "no_such_method", lambda f: f)
    assert not points.wrap("module gone", None, "method", lambda f: f)
    assert points.states == {"gone": "missing", "module gone": "missing"}
    points.restore()
