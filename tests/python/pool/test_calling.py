"""How the most frequent calls parse their arguments, and which arguments they refuse."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest

import fast_litellm
from fast_litellm import SimpleConnectionPool, _core
from peers.scripted import ScriptedServer, serve_ok

Serve = Callable[..., ScriptedServer]
NewPool = Callable[..., SimpleConnectionPool]

GIVEN_AN_ID = ("return_connection", "remove_connection", "health_check")


def test_arguments_may_be_named(new_pool: NewPool, serve: Serve) -> None:
    pool = new_pool()
    url = serve(serve_ok).url
    for get in (
        lambda: pool.get_connection(endpoint=url),
        lambda: pool.get_connection(endpoint=url, timeout=1),
        lambda: pool.get_connection(timeout=None, endpoint=url),
        lambda: pool.get_connection(url, timeout=0.5),
    ):
        held = get()
        assert held is not None
        assert pool.health_check(connection_id=held) is True
        assert pool.return_connection(connection_id=held) is True
        assert pool.remove_connection(connection_id=held) is False


@pytest.mark.parametrize(
    ("arguments", "named", "words"),
    [
        ((), {}, "missing 1 required positional argument: 'endpoint'"),
        ((), {"timeout": 1}, "missing 1 required positional argument: 'endpoint'"),
        (("http://a", 1), {}, "takes 1 positional argument but 2 were given"),
        (("http://a",), {"endpoint": "http://a"}, "multiple values for argument 'endpoint'"),
        (("http://a",), {"patience": 1}, "unexpected keyword argument 'patience'"),
        (("http://a",), {"timeout": "1"}, "number"),
        ((b"http://a",), {}, "an endpoint is a URL .* not bytes"),
        ((None,), {}, "an endpoint is a URL .* not NoneType"),
    ],
)
def test_a_wrong_call_of_get_connection_says_what_is_wrong(
    new_pool: NewPool, arguments: tuple[Any, ...], named: dict[str, Any], words: str
) -> None:
    pool = new_pool()
    with pytest.raises(TypeError, match=words):
        pool.get_connection(*arguments, **named)
    assert pool.open_leases() == 0


@pytest.mark.parametrize("name", GIVEN_AN_ID)
def test_a_wrong_call_with_an_id_says_what_is_wrong(new_pool: NewPool, name: str) -> None:
    call: Callable[..., bool] = getattr(new_pool(), name)
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'connection_id'"):
        call()
    with pytest.raises(TypeError, match="takes 1 positional argument but 2 were given"):
        call("0" * 16, "0" * 16)
    with pytest.raises(TypeError, match="unexpected keyword argument 'id'"):
        call(id="0" * 16)
    with pytest.raises(TypeError, match="multiple values for argument 'connection_id'"):
        call("0" * 16, connection_id="0" * 16)
    with pytest.raises(TypeError, match=r"a connection id is the str .* not int"):
        call(1)


@pytest.mark.parametrize("timeout", [-1, float("nan")])
def test_an_invalid_timeout_is_refused_even_if_no_wait_is_needed(
    new_pool: NewPool, serve: Serve, timeout: float
) -> None:
    pool = new_pool()
    with pytest.raises(ValueError, match="timeout must be None or a number of seconds >= 0"):
        pool.get_connection(serve(serve_ok).url, timeout=timeout)
    assert pool.open_leases() == 0


def test_equal_urls_are_one_endpoint_whatever_string_object_is_passed(new_pool: NewPool, serve: Serve) -> None:
    class Url(str):
        """Equal to no other object, with a hash of its own."""

        __hash__ = None  # type: ignore[assignment]

        def __eq__(self, other: object) -> bool:
            raise AssertionError("asked")

    pool = new_pool()
    url = serve(serve_ok).url
    held = []
    for text in [url, "".join(list(url)), url + "/", Url(url)] * 300:  # more objects than any table remembers
        held.append(pool.get_connection("".join(list(text)) if type(text) is str else text))
        assert pool.return_connection(held[-1] or "") is True
    assert len(set(held)) == len(held)
    assert list(pool.get_stats()["endpoints"]) == [url]


def test_an_id_may_be_a_subclass_of_str_but_not_spelled_otherwise(new_pool: NewPool, serve: Serve) -> None:
    class Id(str):
        """A string subclass, as a framework may make."""

    pool = new_pool()
    url = serve(serve_ok).url
    for _ in range(200):  # until an id has a letter in it
        held = pool.get_connection(url)
        assert held is not None
        assert held == f"{int(held, 16):016x}"
        for other in (held.upper() if held.upper() != held else "", f" {held[1:]}", f"+{held[1:]}", held[:15]):
            assert pool.return_connection(other) is False
        assert pool.return_connection(Id(held)) is True


def test_signatures_are_those_of_the_stub(new_pool: NewPool) -> None:
    pool = new_pool()
    assert str(inspect.signature(pool.get_connection)) == "(endpoint, *, timeout=0)"
    for name in GIVEN_AN_ID:
        assert str(inspect.signature(getattr(pool, name))) == "(connection_id)"
        assert getattr(pool, name).__doc__


def test_a_pool_whose_init_never_ran_is_refused() -> None:
    bare = _core.Pool.__new__(_core.Pool)
    for call in (bare.get_connection, bare.return_connection, bare.remove_connection, bare.health_check):
        with pytest.raises(TypeError, match="never initialised"):
            call("0" * 16)


def test_the_functions_of_the_pool_default_cost_no_python_frame(serve: Serve) -> None:
    for function in (fast_litellm.get_connection, fast_litellm.return_connection):
        assert inspect.isbuiltin(function)
    with pytest.raises(TypeError):
        fast_litellm.get_connection()  # type: ignore[call-arg]
