"""Which clients get shortcuts, and which replaced functions are still called."""

from __future__ import annotations

import asyncio
import copy
import gc
import inspect
import logging
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import httpx
import pytest

import fast_litellm
from fast_litellm import config
from fast_litellm.acceleration import shortcuts
from fast_litellm.acceleration.shortcuts import known
from peers.scripted import ScriptedServer

MakeClient = Callable[..., Any]
ALL = tuple(shortcuts.SHORTCUTS)


@pytest.fixture
def call(scripted: ScriptedServer) -> Callable[..., httpx.Response]:
    """call(client, path) -> the response to a POST, of either kind of client."""

    def post(client: Any, path: str = "/", **arguments: Any) -> httpx.Response:
        if not isinstance(client, httpx.AsyncClient):
            with_sync: httpx.Response = client.post(scripted.url + path, **arguments)
            return with_sync

        async def run() -> httpx.Response:
            async with client:
                answer: httpx.Response = await client.post(scripted.url + path, **arguments)
                return answer

        return asyncio.run(run())

    return post


@pytest.fixture
def counts() -> Callable[[str], dict[str, int]]:
    """counts(shortcut) -> its states since the test began."""
    before = shortcuts.states()

    def since(name: str) -> dict[str, int]:
        now = shortcuts.states().get(name, {})
        earlier = before.get(name, {})
        return {state: count - earlier.get(state, 0) for state, count in now.items() if count != earlier.get(state, 0)}

    return since


def test_the_names_are_those_of_the_configuration() -> None:
    assert ALL == config.HTTPX_SHORTCUTS


def test_this_httpx_is_known(make_client: MakeClient, counts: Any) -> None:
    assert shortcuts.names_on(shortcuts.put_on(make_client())) == ALL
    assert all(counts(name) == {"on": 1} for name in ALL)


def test_a_client_reports_its_original_class(make_client: MakeClient) -> None:
    stock, client = make_client(), make_client()
    assert shortcuts.put_on(client) is client
    kind = type(stock)
    assert isinstance(client, kind)
    assert client.__class__ is kind
    assert repr(type(client)) == repr(kind)
    assert type(client).__doc__ == kind.__doc__
    assert vars(client).keys() == vars(stock).keys()
    assert isinstance(client.cookies, httpx.Cookies)
    for name in (
        "send",
        "build_request",
        "_merge_url",
        "_merge_headers",
        "_build_request_auth",
        "_send_handling_auth",
        "_send_handling_redirects",
    ):
        ours, theirs = getattr(client, name), getattr(stock, name)
        assert (ours.__name__, ours.__qualname__, ours.__doc__) == (
            theirs.__name__,
            theirs.__qualname__,
            theirs.__doc__,
        )
        assert inspect.iscoroutinefunction(ours) == inspect.iscoroutinefunction(theirs)
        assert [(one.name, one.kind, one.default) for one in inspect.signature(ours).parameters.values()] == [
            (one.name, one.kind, one.default) for one in inspect.signature(theirs).parameters.values()
        ]


def test_httpx_itself_is_not_changed(make_client: MakeClient) -> None:
    owners = (httpx.Client, httpx.AsyncClient, httpx._client.BaseClient, httpx.Cookies, httpx.Request, httpx.Response)
    before = [dict(vars(owner)) for owner in owners]
    shortcuts.put_on(make_client())
    assert [dict(vars(owner)) for owner in owners] == before


def test_shortcuts_put_on_twice_count_once_and_can_be_removed(make_client: MakeClient, counts: Any) -> None:
    client = make_client()
    kind = type(client)
    quick = type(shortcuts.put_on(client))
    assert type(shortcuts.put_on(client)) is quick
    assert type(shortcuts.put_on(make_client())) is quick
    assert counts("urls") == {"on": 2}
    cookies = client.cookies
    assert type(shortcuts.take_off(client)) is kind
    assert shortcuts.names_on(client) == ()
    assert client.cookies is cookies
    assert type(client.cookies) is httpx.Cookies
    assert type(shortcuts.take_off(client)) is kind


def test_cookies_stay_the_same_object_and_a_copy_is_plain(make_client: MakeClient) -> None:
    client = make_client(cookies={"a": "1"})
    held = client.cookies
    shortcuts.put_on(client)
    assert client.cookies is held
    held.set("b", "2")
    assert dict(client.cookies) == {"a": "1", "b": "2"}
    other = copy.copy(held)
    assert type(other) is httpx.Cookies
    assert dict(other) == {"a": "1", "b": "2"}
    assert repr(held) == repr(httpx.Cookies(held))


def test_a_copied_client_uses_its_own_headers(scripted: ScriptedServer) -> None:
    with shortcuts.put_on(httpx.Client(trust_env=False, headers={"Authorization": "one"})) as client:
        other = copy.copy(client)
        other.headers = {"Authorization": "two"}
        assert other.post(scripted.url).request.headers["Authorization"] == "two"
        assert client.post(scripted.url).request.headers["Authorization"] == "one"


def test_a_client_is_freed_with_its_last_reference(make_client: MakeClient) -> None:
    gc.collect()
    gc.disable()
    try:
        client = shortcuts.put_on(make_client())
        gone = weakref.ref(client)
        del client
        assert gone() is None
    finally:
        gc.enable()


def test_a_subclass_keeps_its_own_methods(make_client: MakeClient, call: Any, counts: Any) -> None:
    kind = type(make_client())
    sent = []

    class Own(kind):  # type: ignore[misc, valid-type]
        def build_request(self, *args: Any, **keywords: Any) -> httpx.Request:
            sent.append(args)
            request: httpx.Request = super().build_request(*args, **keywords)
            return request

    client = shortcuts.put_on(Own(trust_env=False))
    assert shortcuts.names_on(client) == tuple(name for name in ALL if name != "requests")
    assert counts("requests") == {"the client's class has its own build_request": 1}
    assert call(client).status_code == 200
    assert len(sent) == 1


def test_a_subclass_that_counts_its_subclasses_gets_no_shortcuts(make_client: MakeClient, counts: Any) -> None:
    kind = type(make_client())
    subclasses = []

    class Own(kind):  # type: ignore[misc, valid-type]
        def __init_subclass__(cls) -> None:
            subclasses.append(cls)

    assert type(shortcuts.put_on(Own())) is Own
    assert subclasses == []
    assert counts("cookies") == {"the client's class wants to know its subclasses": 1}


@pytest.mark.parametrize("package", ["openai", "anthropic"])
@pytest.mark.parametrize("name", ["SyncHttpxClientWrapper", "AsyncHttpxClientWrapper"])
def test_the_clients_of_the_sdks_get_all(package: str, name: str) -> None:
    base_client = pytest.importorskip(f"{package}._base_client")
    client = getattr(base_client, name)()
    if not isinstance(client, (httpx.Client, httpx.AsyncClient)):
        pytest.skip("case: of another library")
    assert shortcuts.names_on(shortcuts.put_on(client)) == ALL
    assert isinstance(client, getattr(base_client, name))
    if isinstance(client, httpx.Client):
        client.close()
    else:
        asyncio.run(client.aclose())


def test_an_object_that_is_not_a_client_is_not_changed(counts: Any) -> None:
    thing = object()
    assert shortcuts.put_on(thing) is thing
    assert counts("urls") == {"not a client of httpx": 1}


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", ALL),
        ("true", ALL),
        ("off", ()),
        ("false", ()),
        ("urls", ("urls",)),
        (" bodies, cookies", ("cookies", "bodies")),
    ],
)
def test_the_environment_chooses(
    text: str, names: tuple[str, ...], make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAST_LITELLM_HTTPX_SHORTCUTS", text)
    assert shortcuts.names_on(shortcuts.put_on(make_client())) == names


def test_an_unknown_name_gives_a_warning_and_all_shortcuts(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config, "_warned", set())
    monkeypatch.setenv("FAST_LITELLM_HTTPX_SHORTCUTS", "urls,magic")
    with pytest.warns(RuntimeWarning, match=r"FAST_LITELLM_HTTPX_SHORTCUTS='urls,magic' is not true, false or some of"):
        assert shortcuts.names_on(shortcuts.put_on(make_client())) == ALL


@pytest.mark.parametrize("name", ALL)
def test_each_shortcut_works_alone(
    name: str, make_client: MakeClient, call: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAST_LITELLM_HTTPX_SHORTCUTS", name)
    client = shortcuts.put_on(make_client())
    assert call(client, "/cookie", content=b"x").status_code == 200
    assert dict(client.cookies) == {"a": "1", "b": "2"}


@pytest.mark.parametrize("name", ALL)
def test_with_another_httpx_it_stays_off_and_says_so(
    name: str, make_client: MakeClient, counts: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async_client = isinstance(make_client(), httpx.AsyncClient)
    function = shortcuts.SHORTCUTS[name].relies_on[-1].replace("{Client}", "AsyncClient" if async_client else "Client")
    monkeypatch.setattr(known, "FILES", {})
    monkeypatch.setattr(known, "_libraries", {})
    monkeypatch.setattr(shortcuts, "_ready", {})
    monkeypatch.setitem(known.DIGESTS, function, ("000000000000",))
    client = shortcuts.put_on(make_client())
    assert name not in shortcuts.names_on(client)
    assert counts(name) == {f"this httpx's {function.partition(':')[2]} is not known": 1}


def test_each_function_of_httpx_is_recognised_separately(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with a file of httpx that is not known as a whole."""
    monkeypatch.setattr(known, "FILES", {})
    monkeypatch.setattr(known, "_libraries", {})
    monkeypatch.setattr(shortcuts, "_ready", {})
    assert shortcuts.names_on(shortcuts.put_on(make_client())) == ALL


@pytest.mark.parametrize(("method", "name"), [("send", "bodies"), ("_merge_url", "urls")], ids=["own", "inherited"])
def test_a_function_replaced_between_two_clients_is_noticed(method: str, name: str, make_client: MakeClient) -> None:
    kind = type(make_client())
    shortcuts.put_on(make_client())
    with mock.patch.object(kind, method):
        assert name not in shortcuts.names_on(shortcuts.put_on(make_client()))
    assert shortcuts.names_on(shortcuts.put_on(make_client())) == ALL


def _places() -> Iterator[tuple[str, Any, str]]:
    """The functions that mocks, tracers and tests replace."""
    for kind in (httpx.Client, httpx.AsyncClient):
        for name in (
            "send",
            "_build_request_auth",
            "_send_handling_auth",
            "_send_handling_redirects",
            "build_request",
            "_merge_url",
            "_merge_headers",
        ):
            yield f"{kind.__name__}.{name}", kind, name
        yield f"{kind.__name__}._send_single_request", kind, "_send_single_request"
        yield f"{kind.__name__}._transport_for_url", kind, "_transport_for_url"
    for name in ("__init__", "_prepare", "read"):
        yield f"Request.{name}", httpx.Request, name
    for name in ("read", "iter_bytes", "iter_raw", "close", "aread", "aiter_bytes", "aiter_raw", "aclose"):
        yield f"Response.{name}", httpx.Response, name
    yield "Cookies.extract_cookies", httpx.Cookies, "extract_cookies"
    yield "Headers.update", httpx.Headers, "update"
    yield "Auth.auth_flow", httpx.Auth, "auth_flow"


@pytest.mark.parametrize("before", [True, False], ids=["put before", "put after"])
@pytest.mark.parametrize(("owner", "name"), [place[1:] for place in _places()], ids=[place[0] for place in _places()])
def test_a_replacement_for_a_function_of_httpx_is_called_as_often_as_by_stock_httpx(
    owner: Any, name: str, before: bool, make_client: MakeClient, call: Any
) -> None:
    def calls(quick: bool) -> int:
        client = make_client()
        if quick and not before:
            shortcuts.put_on(client)
        with mock.patch.object(owner, name, autospec=True, side_effect=getattr(owner, name)) as watched:
            if quick and before:
                shortcuts.put_on(client)
            assert call(client, "/seen", content=b"x", headers={"Accept": "a"}).status_code == 200
            seen = watched.call_count
        assert call(client if not isinstance(client, httpx.AsyncClient) else make_client()).status_code == 200
        return seen

    assert calls(quick=True) == calls(quick=False)


def test_a_wrapper_that_pretends_to_be_the_function_is_recognised(
    make_client: MakeClient, call: Any, counts: Any
) -> None:
    wrapt = pytest.importorskip("wrapt")
    client = make_client()
    seen = []

    def wrapper(wrapped: Any, instance: Any, args: Any, keywords: Any) -> Any:
        seen.append(instance)
        return wrapped(*args, **keywords)

    kind = type(client)
    with mock.patch.object(kind, "send", wrapt.FunctionWrapper(kind.send, wrapper)):
        shortcuts.put_on(client)
        assert counts("bodies") == {f"{kind.__name__}.send was replaced": 1}
        assert call(client, content=b"x").status_code == 200
    assert seen == [client]


@pytest.mark.parametrize(("level", "through"), [(logging.INFO, True), (logging.WARNING, False)])
def test_httpx_sends_the_request_itself_if_a_handler_takes_its_log_record(
    level: int, through: bool, make_client: MakeClient, call: Any, caplog: pytest.LogCaptureFixture
) -> None:
    client = shortcuts.put_on(make_client())
    senders: list[str] = []
    find = type(client)._transport_for_url

    def note_sender(self: Any, url: httpx.URL) -> Any:
        senders.append(sys._getframe(1).f_code.co_name)
        return find(self, url)

    with mock.patch.object(client.__class__, "_transport_for_url", note_sender), caplog.at_level(level, "httpx"):
        assert call(client, content=b"x").status_code == 200
    assert [sender == "_send_single_request" for sender in senders] == [through]


def test_a_method_replaced_on_the_client_itself_is_called(make_client: MakeClient, call: Any) -> None:
    client = shortcuts.put_on(make_client())
    with mock.patch.object(client, "send", wraps=client.send) as watched:
        assert call(client, content=b"x").status_code == 200
    assert watched.call_count == 1


def test_threads_share_a_client(scripted: ScriptedServer) -> None:
    failures: list[BaseException] = []
    with shortcuts.put_on(httpx.Client(trust_env=False)) as client:

        def work(number: int) -> None:
            try:
                for turn in range(20):
                    path = f"/{number}?turn={turn}" if turn % 5 else "/cookie"
                    answer = client.post(scripted.url + path, content=b"x" * number, headers={"X-Number": str(number)})
                    assert answer.request.headers["X-Number"] == str(number)
                    assert answer.content.endswith(b"x" * number) or path == "/cookie"
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(1, 9)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        assert dict(client.cookies) == {"a": "1", "b": "2"}


def test_the_status_lists_the_shortcuts(make_client: MakeClient) -> None:
    shortcuts.put_on(make_client())
    assert fast_litellm.get_patch_status()["httpx_shortcuts"]["cookies"]["on"] >= 1
