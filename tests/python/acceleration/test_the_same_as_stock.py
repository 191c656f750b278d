"""With shortcuts and without: the same requests on the wire, responses, cookies, log records and errors."""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Callable
from http.cookiejar import CookieJar, DefaultCookiePolicy, MozillaCookieJar
from typing import Any

import httpx
import pytest

from fast_litellm.acceleration import shortcuts
from peers.scripted import Connection, ScriptedServer
from support.conversations import Conversations, Step

MakeClient = Callable[..., Any]

_BODY = json.dumps({"model": "m", "messages": [{"role": "user", "content": "x" * 230}]}).encode()
_SDK = {
    "Accept": "application/json",
    "Content-Type": "application/json",
    "User-Agent": "OpenAI/Python 2.0",
    "X-Stainless-Lang": "python",
    "Authorization": "Bearer sk-nothing",
    "X-Stainless-Async": "false",
}


_FORMS: dict[str, Step] = {
    "as the SDKs send": {"content": _BODY, "headers": _SDK},
    "json": {"json": {"a": [1, "é"]}, "headers": {"X-A": "1"}},
    "json with a content type of one's own": {"json": {}, "headers": {"content-type": "application/vnd.api+json"}},
    "a form": {"data": {"a": "1", "b": ["2", "3"]}},
    "an empty form": {"data": {}},
    "files": {"files": {"file": ("a.txt", b"text")}, "headers": {"Content-Type": "multipart/form-data; boundary=b"}},
    "text": {"content": "é"},
    "an empty body": {"content": b""},
    "no body": {},
    "no body, GET": {"method": "get"},
    "no body, DELETE": {"method": "DELETE"},
    "no body, PUT": {"method": "PUT"},
    "a body in pieces": {"pieces": [b"one", b"", b"two"]},
    "a body in pieces, its length said": {"pieces": [b"one", b"two"], "headers": {"Content-Length": "6"}},
    "a body, chunked by its sender's wish": {"content": b"abc", "headers": {"Transfer-Encoding": "chunked"}},
    "a host of one's own": {"content": b"x", "headers": {"Host": "example.org"}},
    "a length of one's own": {"content": b"x", "headers": {"content-length": "1"}},
    "headers in another case": {"headers": {"ACCEPT": "text/plain", "user-agent": "me", "cOnnection": "keep-alive"}},
    "headers as pairs, some twice": {"headers": [("X-A", "1"), ("x-a", "2"), ("Accept", "a"), ("accept", "b")]},
    "headers as bytes": {"headers": {b"X-A": b"\xe9", b"Accept": b"a"}},
    "headers of httpx's kind": {"headers": httpx.Headers({"X-A": "1"})},
    "headers that are given once": {"headers": lambda: iter([("X-A", "1")])},
    "query parameters": {"params": {"a": "1", "b": ["2", "3"]}, "url": "/p?gone=1"},
    "no query parameters": {"params": {}, "url": "/p?gone=1"},
    "a query in the URL": {"url": "/p%20q/é?a=1&b=ü#part"},
    "a URL of httpx's kind": {"url": httpx.URL("http://127.0.0.1:1/")},
    "a timeout": {"timeout": 7.5},
    "timeouts": {"timeout": httpx.Timeout(5, read=None)},
    "no timeout": {"timeout": None},
    "extensions": {"extensions": {"target": b"/elsewhere", "own": 1}},
    "a timeout among the extensions": {"extensions": {"timeout": {"read": 3.0}}},
    "a password in the URL": {"url": "http://user:pa%20ss@127.0.0.1:1/"},
    "authentication": {"auth": ("user", "password")},
    "cookies": {"cookies": {"c": "1"}},
}

_REFUSED: dict[str, Step] = {
    "a header that is no text": {"headers": {"X-A": 1}},
    "a header beyond ASCII": {"headers": {"X-A": "é"}},
    "a header's name beyond ASCII": {"headers": {b"X-\xe9": b"1", b"Accept": b"a"}},
    "a method that is no text": {"method": 1},
    "a URL that is no text": {"url": 1},
    "a URL without a scheme": {"url": "/somewhere", "relative": True},
    "an unknown scheme": {"url": "gopher://127.0.0.1/"},
    "a URL that is none": {"url": "http://[/"},
    "a port that is none": {"url": "http://127.0.0.1:port/"},
    "content of no known type": {"content": 1},
    "JSON that is none": {"json": object()},
    "a refused connection": {"url": "http://127.0.0.1:1/"},
    "a connection cut in the head": {"url": "/hang-up"},
    "a connection cut in the body": {"url": "/truncated"},
    "a body that cannot be unpacked": {"url": "/broken-gzip"},
}

_ANSWERS = (
    "/cookie",
    "/old-cookie",
    "/expire",
    "/redirect",
    "/moved",
    "/nowhere",
    "/gzip",
    "/chunked",
    "/nothing",
    "/limit",
    "/latin",
)


@pytest.mark.filterwarnings("ignore:Setting per-request cookies:DeprecationWarning")
@pytest.mark.parametrize("steps", [_FORMS, _REFUSED], ids=["forms", "refused"])
def test_any_request_is_the_same_as_with_stock(
    steps: dict[str, Step], make_client: MakeClient, conversations: Conversations
) -> None:
    for name, step in steps.items():
        stock = conversations.hold(make_client(), [step, step], quick=False)
        quick = conversations.hold(make_client(), [step, step], quick=True)
        assert quick == stock, name
        assert ("error" in quick.outcomes[0] and quick.outcomes[0]["error"] is not None) == (
            name in _REFUSED or step.get("url") in _ELSEWHERE
        ), name


_ELSEWHERE = [step["url"] for step in _FORMS.values() if "127.0.0.1:1/" in str(step.get("url"))]


@pytest.mark.parametrize("follow", [True, False], ids=["following", "not following"])
def test_any_response_is_the_same_as_with_stock(
    follow: bool, make_client: MakeClient, conversations: Conversations
) -> None:
    steps: list[Step] = []
    for path in _ANSWERS:
        steps += [{"url": path, "content": _BODY}, {"url": path, "method": "GET"}, {"url": "/seen", "content": _BODY}]
    stock = conversations.hold(make_client(follow_redirects=follow), steps, quick=False)
    quick = conversations.hold(make_client(follow_redirects=follow), steps, quick=True)
    assert quick == stock
    assert quick.cookies
    assert len(quick.requests) > len(steps) - 1
    assert len(quick.log) == (len(quick.requests) if conversations.level == logging.INFO else 0)
    assert any(request.header("cookie") for request in quick.requests)


_CLIENTS: dict[str, Callable[[], dict[str, Any]]] = {
    "headers": lambda: {"headers": {"X-Own": "1", "Accept": "text/plain"}},
    "headers beyond ASCII": lambda: {"headers": {b"X-Own": b"\xe9"}},
    "query parameters": lambda: {"params": {"own": "1"}},
    "cookies": lambda: {"cookies": {"own": "1"}},
    "a jar": lambda: {"cookies": CookieJar()},
    "a jar of another kind": lambda: {"cookies": MozillaCookieJar()},
    "a jar that takes nothing": lambda: {"cookies": CookieJar(DefaultCookiePolicy(allowed_domains=[]))},
    "a jar that takes the old cookies": lambda: {"cookies": CookieJar(DefaultCookiePolicy(rfc2965=True))},
    "authentication": lambda: {"auth": ("user", "password")},
    "an authentication of no kind": lambda: {"auth": httpx.Auth()},
    "digest authentication": lambda: {"auth": httpx.DigestAuth("user", "password")},
    "a function that authenticates": lambda: {"auth": _sign},
    "an encoding": lambda: {"default_encoding": "latin-1"},
    "a way to find the encoding": lambda: {"default_encoding": lambda content: "latin-1"},
    "few redirects": lambda: {"follow_redirects": True, "max_redirects": 0},
}


def _sign(request: httpx.Request) -> httpx.Request:
    request.headers["X-Signature"] = str(len(request.content))
    return request


@pytest.mark.parametrize("name", _CLIENTS)
def test_any_setting_of_the_client_acts_as_with_stock(
    name: str, make_client: MakeClient, conversations: Conversations
) -> None:
    steps: list[Step] = [
        {"url": "/cookie", "content": _BODY, "headers": _SDK},
        {"url": "/seen", "json": {"a": 1}},
        {"url": "/redirect", "method": "GET", "headers": [("X-own", "2"), ("ACCEPT", "a")]},
        {"url": "/chunked"},
    ]

    stock = conversations.hold(make_client(**_CLIENTS[name]()), steps, quick=False)
    assert conversations.hold(make_client(**_CLIENTS[name]()), steps, quick=True) == stock


def test_relative_urls_follow_the_current_base_url(make_client: MakeClient, conversations: Conversations) -> None:
    url = conversations.server.url
    observed = []
    for quick in (False, True):
        here = make_client(base_url=f"{url}/v1")
        there = make_client(base_url=f"{url}/v2/?key=1")
        steps: list[Step] = [
            {"url": address, "relative": True, "method": "GET"}
            for address in ("chat", "/chat", "chat?a=1", "", "../up", f"{url}/absolute", "//127.0.0.1:1/x")
        ]
        observed.append([conversations.hold(client, steps + steps, quick=quick) for client in (here, there)])
    assert observed[0] == observed[1]
    targets = {request.target for request in observed[1][0].requests}
    assert {"/v1/chat", "/v1/chat?a=1", "/absolute"} <= targets


def test_the_base_url_can_be_set_anew(make_client: MakeClient, conversations: Conversations) -> None:
    url = conversations.server.url
    client = make_client(base_url=f"{url}/v1")
    conversations.hold(client, [], quick=True)
    assert str(client.build_request("GET", "a").url) == f"{url}/v1/a"
    client.base_url = f"{url}/v2"
    assert str(client.build_request("GET", "a").url) == f"{url}/v2/a"


@pytest.mark.parametrize("kind", [httpx.Client, httpx.AsyncClient])
def test_a_subclass_may_have_another_base_url_for_each_request(kind: Any) -> None:
    class Tenants(kind):  # type: ignore[misc]
        tenant = "one"

        @property
        def base_url(self) -> httpx.URL:
            return httpx.URL(f"http://127.0.0.1/{self.tenant}/")

    client = shortcuts.put_on(Tenants(trust_env=False, verify=False))
    assert "urls" in shortcuts.names_on(client)
    urls = []
    for tenant in ("one", "two", "one"):
        client.tenant = tenant
        urls.append(str(client.build_request("GET", "/chat").url))
    assert urls == [f"http://127.0.0.1/{tenant}/chat" for tenant in ("one", "two", "one")]


def test_hooks_see_and_change_what_they_do_with_stock_httpx(
    make_client: MakeClient, conversations: Conversations
) -> None:
    steps: list[Step] = [{"url": path, "content": _BODY} for path in ("/cookie", "/seen", "/redirect", "/gzip")]

    def run(quick: bool) -> tuple[Any, list[Any]]:
        seen: list[Any] = []

        def prepare(client: Any) -> None:
            def on_request(request: httpx.Request) -> None:
                request.headers["X-Hooked"] = "yes"
                seen.append(list(vars(request)))

            def on_response(response: httpx.Response) -> None:
                seen.append((response.status_code, list(vars(response)), response.is_closed))

            async def on_request_async(request: httpx.Request) -> None:
                on_request(request)

            async def on_response_async(response: httpx.Response) -> None:
                on_response(response)
                if response.status_code == 200:
                    await response.aread()
                    response.spoken = True  # type: ignore[attr-defined]

            asynchronous = isinstance(client, httpx.AsyncClient)
            client.event_hooks = {
                "request": [on_request_async if asynchronous else on_request],
                "response": [on_response_async if asynchronous else on_response],
            }

        return conversations.hold(make_client(follow_redirects=True), steps, quick=quick, prepare=prepare), seen

    assert run(True) == run(False)


def test_a_hook_that_raises_closes_the_response(make_client: MakeClient, conversations: Conversations) -> None:
    steps: list[Step] = [{"url": path, "content": _BODY} for path in ("/seen", "/redirect", "/nowhere")]

    def run(quick: bool) -> tuple[Any, list[Any]]:
        seen: list[httpx.Response] = []

        def prepare(client: Any) -> None:
            def on_response(response: httpx.Response) -> None:
                seen.append(response)
                raise ValueError("not this one")

            async def on_response_async(response: httpx.Response) -> None:
                on_response(response)

            client.event_hooks = {
                "response": [on_response_async if isinstance(client, httpx.AsyncClient) else on_response]
            }

        observed = conversations.hold(make_client(follow_redirects=True), steps, quick=quick, prepare=prepare)
        return observed, [(response.is_closed, list(vars(response))) for response in seen]

    stock = run(False)
    assert run(True) == stock
    assert [closed for closed, _ in stock[1]] == [True] * 3


def test_cookies_set_later_are_kept_and_sent(make_client: MakeClient, conversations: Conversations) -> None:
    def prepare(client: Any) -> None:
        client.cookies = {"set": "later"}
        client.cookies.set("and", "more")

    steps: list[Step] = [{"url": path} for path in ("/plain", "/cookie", "/seen", "/expire", "/seen")]
    stock = conversations.hold(make_client(), steps, quick=False, prepare=prepare)
    quick = conversations.hold(make_client(), steps, quick=True, prepare=prepare)
    assert quick == stock
    assert quick.requests[2].header("cookie") == stock.requests[2].header("cookie") == "set=later; and=more; a=1; b=2"


def test_httpx_warns_as_without_shortcuts(make_client: MakeClient, conversations: Conversations) -> None:
    def warned(quick: bool) -> list[tuple[Any, ...]]:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            conversations.hold(make_client(), [{"data": b"bytes"}], quick=quick)
        return [(item.category, str(item.message), item.filename, item.lineno) for item in caught]

    assert warned(True) == warned(False) != []


def test_a_file_is_sent_from_its_current_position(make_client: MakeClient, conversations: Conversations) -> None:
    step: Step = {"content": lambda: io.BytesIO(b"from a file")}
    stock = conversations.hold(make_client(), [step], quick=False)
    assert conversations.hold(make_client(), [step], quick=True) == stock


@pytest.mark.parametrize("name", ["Client", "AsyncClient"])
def test_httpx2_too(name: str, conversations: Conversations) -> None:
    httpx2 = pytest.importorskip("httpx2")
    conversations.expected = shortcuts.names_on(shortcuts.put_on(getattr(httpx2, name)(verify=False)))
    assert set(shortcuts.SHORTCUTS) - set(conversations.expected) <= {"cookies"}  # later ones need that one not
    steps: list[Step] = [{"url": path, "content": _BODY, "headers": _SDK} for path in _ANSWERS]
    steps += [step for step in _FORMS.values() if not {"auth", "cookies", "timeout"} & step.keys()]

    def hold(quick: bool) -> Any:
        client = getattr(httpx2, name)(trust_env=False, verify=False, timeout=20.0, follow_redirects=True)
        return conversations.hold(client, steps, quick=quick)

    stock = hold(False)
    assert hold(True) == stock
    assert stock.cookies
    assert any(request.header("cookie") for request in stock.requests)


@pytest.mark.parametrize("library", ["httpx", "httpx2"])
@pytest.mark.parametrize("fast", [False, True], ids=["stock", "quick"])
def test_a_hooks_next_request_stays_if_the_location_is_none(library: str, fast: bool) -> None:
    module: Any = pytest.importorskip(library)

    async def script(connection: Connection) -> None:
        await connection.request()
        await connection.respond(b"", "302 Found", "Location: http://127.0.0.1:port/")

    def hook(response: Any) -> None:
        response.next_request = response.request

    with (
        ScriptedServer(script) as server,
        module.Client(trust_env=False, verify=False, event_hooks={"response": [hook]}) as client,
    ):
        if fast:
            shortcuts.put_on(client)
        if library == "httpx":
            with pytest.raises(httpx.RemoteProtocolError):
                client.get(server.url)
        else:
            response = client.get(server.url)
            assert response.next_request is response.request
