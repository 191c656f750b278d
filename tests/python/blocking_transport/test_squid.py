"""`proxy=` through squid: forwarding, tunnels, credentials, HTTP/2 within a tunnel, beside httpx's own transport."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from peers.http2 import Http2Server, NginxHttp2
from peers.http2_application import HELLO
from peers.nginx import Nginx
from peers.proxies import PASSWORD, USER, Squid
from support.certificates import Certificates

MakeClient = Callable[..., httpx.Client]
BODY = b"x" * 200_000


@pytest.fixture(params=["ours", "stock"])
def make(request: pytest.FixtureRequest, make_client: MakeClient, stock: MakeClient) -> MakeClient:
    return make_client if request.param == "ours" else stock


@pytest.fixture(scope="module")
def http2_server(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[Http2Server]:
    with NginxHttp2(tmp_path_factory.mktemp("http2"), certificates) as server:
        yield server


@pytest.mark.parametrize("origin", ["plain", "tls13", "tls12"])
def test_requests_and_uploads_share_a_connection(origin: str, squid: Squid, nginx: Nginx, make: MakeClient) -> None:
    client = make(proxy=squid.url_with_credentials)
    at = getattr(nginx.urls, origin)
    connections = set()
    for number in range(5):
        response = client.get(f"{at}/path?{number}")
        assert (response.status_code, response.text) == (200, f"GET /path?{number}")
        assert ("via" in response.headers) == (origin == "plain")
        connections.add(response.headers["x-connection"])
    assert client.put(f"{at}/uploads/squid", content=BODY).status_code in (201, 204)
    assert nginx.uploaded("squid").read_bytes() == BODY
    nginx.uploaded("squid").unlink()
    assert client.put(f"{at}/uploads/squid", content=iter([BODY, BODY])).status_code in (201, 204)
    assert nginx.uploaded("squid").read_bytes() == BODY * 2
    nginx.uploaded("squid").unlink()
    if origin != "plain":
        assert len(connections) == 1
    assert client.get(f"{at}/files/big").num_bytes_downloaded == 50 * 1024 * 1024


def test_answers_without_a_body_and_errors_leave_the_connection_usable(
    squid: Squid, nginx: Nginx, make: MakeClient
) -> None:
    client = make(proxy=squid.url_with_credentials)
    statuses = [client.request(method, f"{nginx.urls.plain}{path}").status_code for method, path in _REQUESTS]
    assert statuses == [204, 404, 200, 302, 200]


_REQUESTS = (("GET", "/empty"), ("GET", "/missing"), ("HEAD", "/x"), ("GET", "/moved"), ("GET", "/x"))


@pytest.mark.parametrize("credentials", [None, ("user", "wrong"), ("nobody", PASSWORD)])
def test_wrong_credentials_are_a_407_to_what_is_forwarded_and_an_error_of_a_tunnel(
    credentials: tuple[str, str] | None, squid: Squid, nginx: Nginx, make_client: MakeClient, stock: MakeClient
) -> None:
    proxy = httpx.Proxy(squid.url, auth=credentials)
    answers, errors = [], []
    for make in (make_client, stock):
        client = make(proxy=proxy)
        refused = client.get(nginx.urls.plain)
        answers.append((refused.status_code, refused.headers["proxy-authenticate"], refused.headers["x-squid-error"]))
        with pytest.raises(httpx.ProxyError) as raised:
            client.get(nginx.urls.tls13)
        errors.append(str(raised.value))
    assert answers[0] == answers[1]
    assert answers[0][0] == 407
    assert errors == ["407 Proxy Authentication Required"] * 2


def test_credentials_that_a_request_brings_itself_are_obeyed(squid: Squid, nginx: Nginx, make: MakeClient) -> None:
    """To a forwarding proxy alone: in a tunnel they would be the origin's to see."""
    basic = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    client = make(proxy=squid.url)
    headers = {"Proxy-Authorization": f"Basic {basic}"}
    assert client.get(nginx.urls.plain, headers=headers).status_code == 200
    assert client.get(nginx.urls.plain).status_code == 407


def test_an_origin_that_cannot_be_reached_is_squids_503(
    squid: Squid, unused_url: str, make_client: MakeClient, stock: MakeClient
) -> None:
    told = []
    for make in (make_client, stock):
        client = make(proxy=squid.url_with_credentials)
        response = client.get(unused_url.replace("https", "http"))
        with pytest.raises(httpx.ProxyError) as raised:
            client.get(unused_url)
        told.append((response.status_code, str(raised.value)))
    assert told == [(503, "503 Service Unavailable")] * 2


def test_http2_within_the_tunnel(squid: Squid, http2_server: Http2Server, make: MakeClient) -> None:
    client = make(proxy=squid.url_with_credentials, http2=True)
    for _ in range(3):
        response = client.get(f"{http2_server.https}/hello")
        assert (response.http_version, response.content) == ("HTTP/2", HELLO)
    assert client.post(f"{http2_server.https}/echo", content=BODY).content == BODY
    assert client.get(f"{http2_server.https}/big?bytes=3000000").content == b"x" * 3_000_000


def test_http2_is_not_asked_of_squid_itself(squid: Squid, nginx: Nginx, make: MakeClient) -> None:
    client = make(proxy=squid.url_with_credentials, http2=True)
    response: Any = client.get(nginx.urls.plain)
    assert (response.http_version, response.status_code) == ("HTTP/1.1", 200)


def test_wrong_credentials_end_an_http2_tunnel_as_with_httpx(
    squid: Squid, http2_server: Http2Server, make: MakeClient
) -> None:
    with pytest.raises(httpx.ProxyError, match=r"^407 Proxy Authentication Required$"):
        make(proxy=squid.url, http2=True).get(f"{http2_server.https}/hello")


def test_http2_within_the_tunnel_is_traced_as_by_httpx(
    squid: Squid, http2_server: Http2Server, client_kind: str, make_client: MakeClient, stock: MakeClient
) -> None:
    told: list[list[str]] = []
    for make, asynchronous in ((make_client, client_kind == "async"), (stock, False)):
        events: list[str] = []

        async def atrace(name: str, info: Any, events: list[str] = events) -> None:
            events.append(name)

        def trace(name: str, info: Any, events: list[str] = events) -> None:
            events.append(name)

        client = make(proxy=squid.url_with_credentials, http2=True)
        client.get(f"{http2_server.https}/hello", extensions={"trace": atrace if asynchronous else trace})
        told.append([name for name in events if not name.startswith("http2.receive_remote_settings")])
    assert told[0] == told[1]
    assert "http11.receive_response_headers.complete" in told[0]
    assert "http2.send_request_headers.complete" in told[0]
