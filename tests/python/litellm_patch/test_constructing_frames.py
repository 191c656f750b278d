"""The frames between a client and the code that constructs it are read, and not changed."""

from __future__ import annotations

import functools
import weakref
from typing import Any

import httpx
import pytest

from fast_litellm.litellm_patch import scope


class _Client(httpx.Client):
    """Finds the module that constructs it."""

    def __init__(self) -> None:
        self.found = scope.current(self)
        super().__init__()
        self.close()


class _Thing:
    pass


def _constructed_by(module: str, construct: str, **names: object) -> str:
    """The module that a client finds which this expression constructs in a module of that name."""
    client: Any = eval(construct, {"__name__": module, **names})
    found: str = client.found.name
    return found


def test_a_function_that_constructs_a_client_frees_what_it_deletes() -> None:
    thing = _Thing()
    gone = weakref.ref(thing)
    _Client()
    del thing
    assert gone() is None


@pytest.mark.parametrize("module", ["litellm.llms", "openai._base_client"])
def test_a_subclass_is_not_the_constructing_code(module: str) -> None:
    assert _constructed_by(module, "Client()", Client=_Client) == module


def test_a_tracer_around_the_constructor_is_not_the_constructing_code() -> None:
    class Traced(_Client):
        pass

    construct = Traced.__init__

    @functools.wraps(construct)
    def traced(client: Any, *args: Any, **keywords: Any) -> None:
        construct(client, *args, **keywords)

    Traced.__init__ = traced  # type: ignore[method-assign]
    assert _constructed_by("litellm.llms", "Client()", Client=Traced) == "litellm.llms"


def test_a_method_that_constructs_another_client_is_the_users() -> None:
    class Maker(_Client):
        def make(self) -> _Client:
            return _Client()

    assert _constructed_by("litellm.llms", "maker.make()", maker=Maker()) == ""
