"""The frames between a client and the code that constructs it are read, and not changed."""

from __future__ import annotations

import functools
import weakref
from typing import Any

import httpx
import pytest
import wrapt

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


def _patched_with_keywords(construct: Any) -> Any:
    def patched(self: Any, **keywords: Any) -> None:
        construct(self, **keywords)

    return patched


def _patched_with_one_argument(construct: Any) -> Any:
    def patched(self: Any, timeout: Any = None) -> None:
        construct(self)

    return patched


def _patched_with_partial(construct: Any) -> Any:
    def patched(self: Any, timeout: Any) -> None:
        construct(self)

    return functools.partialmethod(patched, 1.0)


def _wrapped(construct: Any) -> Any:
    def traced(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> None:
        wrapped(*args, **kwargs)

    return wrapt.FunctionWrapper(construct, traced)


_WAYS = [_patched_with_keywords, _patched_with_one_argument, _patched_with_partial, _wrapped]


@pytest.mark.parametrize("inner", _WAYS)
@pytest.mark.parametrize("outer", _WAYS)
def test_whoever_replaced_the_constructor_is_not_who_constructs(inner: Any, outer: Any) -> None:
    class Patched(_Client):
        pass

    Patched.__init__ = inner(Patched.__init__)  # type: ignore[method-assign]
    Patched.__init__ = outer(Patched.__init__)  # type: ignore[method-assign]
    assert _constructed_by("litellm.llms", "Client()", Client=Patched) == "litellm.llms"


def test_a_constructor_may_leave_the_work_to_a_private_method() -> None:
    class Private(_Client):
        def __init__(self) -> None:
            self.__construct()

        def __construct(self) -> None:
            super().__init__()

    assert _constructed_by("litellm.llms", "Client()", Client=Private) == "litellm.llms"


def test_a_method_that_constructs_another_client_is_the_users() -> None:
    class Maker(_Client):
        def make(self) -> _Client:
            return _Client()

    assert _constructed_by("litellm.llms", "maker.make()", maker=Maker()) == ""
