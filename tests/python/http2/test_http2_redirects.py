"""Redirects, cookies and `auth` of httpx's client over HTTP/2, directly and in a proxy's tunnel, over httpx's own
transport and over ours: every step is a stream of one connection."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from peers.http2_application import PASSWORD, USER

MakeClient = Callable[..., httpx.Client]

pytestmark = pytest.mark.parametrize(
    ("mode", "origin", "route"),
    [("sync", "nginx https", "tunnel"), ("async", "hypercorn https", "direct")],
    indirect=True,
)


@pytest.fixture
def client(make_client: MakeClient, origin: Any, route: dict[str, Any]) -> httpx.Client:
    return make_client(**origin.arguments, **route)


def _redirect(origin: Any, status: int, to: str, **query: str) -> str:
    more = "".join(f"&{name}={quote(value)}" for name, value in query.items())
    return f"{origin.url}/redirect/{status}?to={quote(to)}{more}"


def _once() -> Iterator[bytes]:
    """A body that cannot be made a second time."""
    yield b"once"


def _streams(response: httpx.Response) -> list[int]:
    """The ids of the streams of the whole exchange, which must be on one connection."""
    steps = [*response.history, response]
    connections = {step.extensions["network_stream"].get_extra_info("client_addr") for step in steps}
    assert len(connections) == 1
    return [step.extensions["stream_id"] for step in steps]


def _cookies_seen(response: httpx.Response) -> list[str]:
    """The cookies that reached the server, whether in one field or in several (RFC 9113 section 8.2.3)."""
    fields = [value for name, value in response.json()["headers"] if name == "cookie"]
    return "; ".join(fields).split("; ") if fields else []


# --- redirects --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "method", "followed_by"),
    [
        (301, "GET", "GET"),
        (301, "POST", "GET"),
        (302, "PUT", "GET"),
        (303, "POST", "GET"),
        (303, "HEAD", "HEAD"),
        (307, "POST", "POST"),
        (308, "PUT", "PUT"),
    ],
)
def test_a_redirect_is_followed_with_the_method_of_its_status(
    client: httpx.Client, origin: Any, status: int, method: str, followed_by: str
) -> None:
    body = b"" if method in ("GET", "HEAD") else b"the body"
    url = _redirect(origin, status, "/seen")
    response = client.request(method, url, content=body, headers={"x-own": "kept"}, follow_redirects=True)
    (first,) = response.history
    assert (first.status_code, first.http_version, str(first.url)) == (status, "HTTP/2", url)
    assert (response.status_code, response.http_version) == (200, "HTTP/2")
    assert (response.url.path, response.request.method) == ("/seen", followed_by)
    if followed_by != "HEAD":
        seen = response.json()
        assert (seen["method"], seen["body"].encode()) == (followed_by, body if followed_by == method else b"")
        assert ["x-own", "kept"] in seen["headers"]
    assert _streams(response) == [1, 3]


def test_a_redirect_is_not_followed_unasked(client: httpx.Client, origin: Any) -> None:
    response = client.get(_redirect(origin, 302, "/seen"))
    assert (response.status_code, response.headers["location"], response.content) == (302, "/seen", b"moved")
    assert response.next_request is not None
    followed = client.send(response.next_request)
    assert followed.json()["method"] == "GET"
    assert followed.extensions["stream_id"] == 3


def test_every_redirect_of_a_chain_is_in_the_history(client: httpx.Client, origin: Any) -> None:
    url = "/seen"
    for status in (308, 307, 302, 301):
        url = _redirect(origin, status, url)
    response = client.get(url, follow_redirects=True)
    assert [step.status_code for step in response.history] == [301, 302, 307, 308]
    assert [step.content for step in response.history] == [b"moved"] * 4
    assert _streams(response) == [1, 3, 5, 7, 9]


def test_too_many_redirects_end_and_leave_the_connection_usable(client: httpx.Client, origin: Any) -> None:
    client.max_redirects = 2
    url = "/seen"
    for _ in range(3):
        url = _redirect(origin, 302, url)
    with pytest.raises(httpx.TooManyRedirects):
        client.get(url, follow_redirects=True)
    assert client.get(f"{origin.url}/seen").extensions["stream_id"] == 7


def test_a_generator_that_was_sent_is_not_sent_to_the_next_url(client: httpx.Client, origin: Any) -> None:
    with pytest.raises(httpx.StreamConsumed):
        client.post(_redirect(origin, 307, "/seen"), content=_once(), follow_redirects=True)
    assert client.get(f"{origin.url}/seen").json()["method"] == "GET"


def test_credentials_stay_with_their_origin(
    client: httpx.Client, origin: Any, http2_servers: Callable[[str], Any], route: dict[str, Any]
) -> None:
    other = http2_servers("nginx" if origin.server == "hypercorn" else "hypercorn").https
    response = client.get(_redirect(origin, 302, f"{other}/seen"), auth=(USER, PASSWORD), follow_redirects=True)
    assert "authorization" in response.history[0].request.headers
    assert "authorization" not in dict(response.json()["headers"])
    assert response.extensions["stream_id"] == 1, "another connection's first"


# --- cookies ----------------------------------------------------------------------------------------------------------


def test_a_cookie_that_a_redirect_sets_is_sent_to_its_target(client: httpx.Client, origin: Any) -> None:
    response = client.get(_redirect(origin, 302, "/seen", cookie="session=1; Path=/"), follow_redirects=True)
    assert _cookies_seen(response) == ["session=1"]
    assert response.history[0].cookies["session"] == "1"


def test_cookies_are_kept_replaced_and_deleted(client: httpx.Client, origin: Any) -> None:
    client.get(f"{origin.url}/set?a=1&b=2&c=3")
    assert _cookies_seen(client.get(f"{origin.url}/seen")) == ["a=1", "b=2", "c=3"]
    client.get(f"{origin.url}/set?a=4&b=;Max-Age%3D0&d=5;Path%3D/protected")
    assert dict(client.cookies) == {"a": "4", "c": "3", "d": "5"}
    assert sorted(_cookies_seen(client.get(f"{origin.url}/seen"))) == ["a=4", "c=3"]


def test_thirty_cookies_go_there_and_back(client: httpx.Client, origin: Any) -> None:
    pairs = [f"name-{number}={number:072}" for number in range(30)]
    response = client.get(f"{origin.url}/set?{'&'.join(pairs)}")
    assert response.headers.get_list("set-cookie") == pairs
    for _ in range(2):
        assert sorted(_cookies_seen(client.get(f"{origin.url}/seen"))) == sorted(pairs)


def test_cookie_fields_of_the_caller_all_arrive(client: httpx.Client, origin: Any) -> None:
    response = client.get(f"{origin.url}/seen", headers=[("cookie", "a=1"), ("cookie", "b=2; c=3")])
    assert _cookies_seen(response) == ["a=1", "b=2", "c=3"]


# --- auth -------------------------------------------------------------------------------------------------------------


def test_basic_credentials_go_with_the_first_request(client: httpx.Client, origin: Any) -> None:
    response = client.post(f"{origin.url}/protected/basic", content=b"body", auth=(USER, PASSWORD))
    assert (response.status_code, response.json()["body"]) == (200, "body")
    assert _streams(response) == [1]
    assert client.get(f"{origin.url}/protected/basic", auth=(USER, "wrong")).status_code == 401


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_digest_challenge_is_answered_on_the_same_connection(client: httpx.Client, origin: Any, method: str) -> None:
    auth = httpx.DigestAuth(USER, PASSWORD)
    body = b"the body" * (method == "POST")
    for streams in ([1, 3], [5]):  # the second request has the nonce already
        response = client.request(method, f"{origin.url}/protected/digest", content=body, auth=auth)
        assert response.status_code == 200
        assert (response.json()["method"], response.json()["body"].encode()) == (method, body)
        assert _streams(response) == streams
    assert client.get(f"{origin.url}/protected/digest", auth=httpx.DigestAuth(USER, "wrong")).status_code == 401


def test_a_generator_is_not_sent_again_to_a_challenge(client: httpx.Client, origin: Any) -> None:
    with pytest.raises(httpx.StreamConsumed):
        client.post(f"{origin.url}/protected/digest", content=_once(), auth=httpx.DigestAuth(USER, PASSWORD))
    assert client.get(f"{origin.url}/seen").json()["method"] == "GET"


def test_an_auth_flow_may_read_responses_and_send_requests_of_its_own(client: httpx.Client, origin: Any) -> None:
    class Token(httpx.Auth):
        requires_response_body = True

        def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
            told = yield httpx.Request("POST", f"{origin.url}/seen", content=b"a token")
            request.headers["x-token"] = told.json()["body"]
            yield request

    response = client.get(f"{origin.url}/seen", auth=Token())
    assert ["x-token", "a token"] in response.json()["headers"]
    assert _streams(response) == [1, 3]
