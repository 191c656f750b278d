"""`proxy=`: through tinyproxy, microsocks, and a proxy over TLS, to nginx behind them, beside httpx's own transport."""

from __future__ import annotations

import contextlib
import ssl
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from fast_litellm import HTTPTransport, _core
from fast_litellm.exceptions import NotOffered
from peers.nginx import Nginx
from peers.proxies import RelayingProxy
from peers.scripted import Connection, Request, ScriptedServer
from support.certificates import Certificates

MakeClient = Callable[..., httpx.Client]


def _failure(client: httpx.Client, url: str) -> tuple[type, str]:
    with pytest.raises(httpx.HTTPError) as raised:
        client.get(url)
    return raised.type, str(raised.value)


@pytest.mark.parametrize("origin", ["plain", "tls13", "tls12"])
@pytest.mark.parametrize("kind", ["tinyproxy", "squid", "microsocks"])
def test_origins_answer_through_real_proxies_as_with_httpx(
    kind: str,
    origin: str,
    request: pytest.FixtureRequest,
    nginx: Nginx,
    make_client: MakeClient,
    stock: MakeClient,
) -> None:
    proxy = request.getfixturevalue(kind).url_with_credentials
    at = getattr(nginx.urls, origin)
    body = b"x" * 200_000
    # tinyproxy closes the connection after each forwarded answer and says so with no `Connection: close`. httpx's own
    # pool may take it for idle until the end has come, and does not send the request again: RemoteProtocolError. So the
    # stock side has a new client for each request; ours keeps one, and sends these idempotent requests again.
    ours = make_client(proxy=proxy)
    for client_for_a_request in (lambda: ours, lambda: stock(proxy=proxy)):
        for _ in range(2):
            response = client_for_a_request().get(f"{at}/path?query")
            assert (response.status_code, response.text) == (200, "GET /path?query")
        assert client_for_a_request().put(f"{at}/uploads/{kind}", content=body).status_code in (201, 204)
        assert nginx.uploaded(kind).read_bytes() == body
        nginx.uploaded(kind).unlink()


def test_a_tunnel_and_its_connection_serve_many_requests(tinyproxy: Any, nginx: Nginx, make_client: MakeClient) -> None:
    client = make_client(proxy=tinyproxy.url_with_credentials)
    connections = {client.get(nginx.urls.tls13).headers["x-connection"] for _ in range(5)}
    assert len(connections) == 1


def test_refusals_are_the_errors_of_httpx(
    tinyproxy: Any, microsocks: Any, nginx: Nginx, make_client: MakeClient, stock: MakeClient, unused_url: str
) -> None:
    for proxy, url in (
        (tinyproxy.url, nginx.urls.tls13),  # no credentials
        (tinyproxy.url_with_credentials, unused_url),
        (microsocks.url, nginx.urls.plain),
        (microsocks.url_with_credentials, unused_url),
        (microsocks.url.replace("://", "://user:wrong@"), nginx.urls.plain),
    ):
        ours, theirs = _failure(make_client(proxy=proxy), url), _failure(stock(proxy=proxy), url)
        assert ours == theirs
        assert ours[0] is httpx.ProxyError


def test_a_forwarded_request_that_is_refused_is_a_response(
    tinyproxy: Any, nginx: Nginx, make_client: MakeClient
) -> None:
    assert make_client(proxy=tinyproxy.url).get(nginx.urls.plain).status_code == 407


def _heads(server: ScriptedServer, client: httpx.Client, *sent: dict[str, Any]) -> list[bytes]:
    """What reaches the proxy itself of these requests."""
    before = len(server.requests)
    for each in sent:
        assert client.request(**each).status_code == 200
    return [request.raw_head for request in server.requests[before:]]


def test_what_reaches_a_proxy_is_what_httpx_sends(
    relaying: RelayingProxy, nginx: Nginx, make_client: MakeClient, stock: MakeClient
) -> None:
    sent = (
        {"method": "GET", "url": "http://one.example/a?b=c", "headers": {"X-Own": "one"}},
        {"method": "POST", "url": "http://two.example:8080", "content": b"text", "headers": {"x-proxy": "own"}},
        {"method": "GET", "url": "http://three.example/", "headers": {"Proxy-Authorization": "Bearer own"}},
        {"method": "OPTIONS", "url": "http://four.example/", "extensions": {"target": b"http://other.example/x"}},
        {"method": "GET", "url": nginx.urls.tls13},
    )
    for proxy in (
        f"http://us%40er:p%3Ass%20@127.0.0.1:{relaying.port}",
        httpx.Proxy(relaying.url, auth=("us@er", "p:ss"), headers={"X-Proxy": "yes", "Accept": "proxy/s"}),
        httpx.Proxy(relaying.url, headers=[("X-Twice", "a"), ("X-Twice", "b")]),
    ):
        ours = _heads(relaying, make_client(proxy=proxy), *sent)
        assert ours == _heads(relaying, stock(proxy=proxy), *sent)


def test_a_target_of_ones_own_is_completed_as_proxies_are_to_be_asked(
    relaying: RelayingProxy, make_client: MakeClient
) -> None:
    """RFC 9112 section 3.2.2; httpx sends the path alone."""
    client = make_client(proxy=relaying.url)
    client.options("http://origin.example/", extensions={"target": b"/other"})
    client.options("http://origin.example/", extensions={"target": b"*"})
    assert _targets(relaying.requests) == ["http://origin.example/other", "http://origin.example"]


def test_forwarded_requests_share_connections_whatever_their_origin(
    relaying: RelayingProxy, make_client: MakeClient
) -> None:
    client = make_client(proxy=relaying.url)
    for host in ("one", "two", "three"):
        assert client.get(f"http://{host}.example/").text == "forwarded"
    assert relaying.connections == 1


def test_no_two_credentials_share_a_connection(relaying: RelayingProxy, make_client: MakeClient, new_pool: Any) -> None:
    pool = new_pool()
    proxies = [
        f"http://one:secret@127.0.0.1:{relaying.port}",
        f"http://one:other@127.0.0.1:{relaying.port}",
        httpx.Proxy(relaying.url, headers={"X-Tenant": "one"}),
        relaying.url,
    ]
    for proxy in proxies:
        assert make_client(proxy=proxy, pool=pool).get("http://origin.example/").text == "forwarded"
    assert relaying.connections == len(proxies)
    # Equal ones do, however the credentials were given.
    same = httpx.Proxy(relaying.url, auth=("one", "secret"))
    assert make_client(proxy=same, pool=pool).get("http://origin.example/").text == "forwarded"
    assert relaying.connections == len(proxies)


def test_credentials_are_seen_nowhere(relaying: RelayingProxy, make_client: MakeClient, new_pool: Any) -> None:
    pool = new_pool()
    proxy = f"http://user:secret@127.0.0.1:{relaying.port}"
    client = make_client(proxy=proxy, pool=pool)
    client.get("http://origin.example/")
    with pytest.raises(httpx.HTTPError) as raised:
        client.get("https://127.0.0.1:1/")  # the proxy cannot reach it, and hangs up
    texts = [repr(client._transport), repr(pool.get_stats()), str(raised.value), repr(raised.value)]
    for text in texts:
        assert not [each for each in ("secret", "c2VjcmV0", "dXNlcjpzZWNyZXQ") if each in text]
    assert f"http://* via http://127.0.0.1:{relaying.port}" in texts[1]


def test_headers_for_the_proxy_do_not_reach_an_origin_behind_a_tunnel(
    relaying: RelayingProxy, serve: Any, certificates: Certificates, make_client: MakeClient
) -> None:
    async def script(connection: Connection) -> None:
        while True:
            await connection.request()
            await connection.respond(b"reached")

    origin = serve(script, tls=certificates.server)
    proxy = httpx.Proxy(relaying.url, auth=("user", "secret"), headers={"X-Tenant": "one"})
    assert make_client(proxy=proxy).get(origin.url).text == "reached"
    (seen,) = origin.requests
    assert (seen.header("proxy-authorization"), seen.header("x-tenant")) == (None, None)
    (asked,) = relaying.requests
    assert asked.header("x-tenant") == "one"


def _trusting(certificates: Certificates) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(certificates.ca_file))


@pytest.mark.parametrize("verify", ["by path", "by a context"])
def test_a_proxy_over_tls_by_a_context(
    verify: str, relaying_tls: RelayingProxy, nginx: Nginx, certificates: Certificates, make_client: MakeClient
) -> None:
    """Within a context's TLS to the proxy a context speaks to the origin, whatever `verify` is."""
    proxy = httpx.Proxy(relaying_tls.url, ssl_context=_trusting(certificates))
    more = {} if verify == "by path" else {"verify": _trusting(certificates)}
    _through_tls(relaying_tls, nginx, make_client(proxy=proxy, **more))


def _through_tls(proxy: RelayingProxy, nginx: Nginx, client: httpx.Client) -> None:
    for _ in range(3):
        assert client.get("http://origin.example/").text == "forwarded"
        response = client.get(f"{nginx.urls.tls13}/x")
        assert (response.text, response.headers["x-protocol"]) == ("GET /x", "TLSv1.3")
        body = b"x" * 300_000
        assert client.put(f"{nginx.urls.tls12}/uploads/tls-in-tls", content=body).status_code in (201, 204)
        assert nginx.uploaded("tls-in-tls").read_bytes() == body
    assert proxy.connections == 3, "one to each of two origins, one for what is forwarded"


@pytest.mark.parametrize("origin", ["own", "context"])
def test_a_proxy_over_tls_by_the_pool_itself(
    origin: str,
    relaying_tls: RelayingProxy,
    nginx: Nginx,
    certificates: Certificates,
    make_client: MakeClient,
    stock: MakeClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without a context of its own a proxy is verified by httpcore's default, whatever `verify` says of origins."""
    refused = [_failure(make(proxy=relaying_tls.url), nginx.urls.tls13)[0] for make in (make_client, stock)]
    assert refused == [httpx.ConnectError] * 2
    assert relaying_tls.requests == []
    before = relaying_tls.connections
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.ca_file))
    assert stock(proxy=relaying_tls.url).get(f"{nginx.urls.tls13}/x").text == "GET /x"
    more = {} if origin == "own" else {"verify": _trusting(certificates)}
    client = make_client(proxy=relaying_tls.url, **more)
    assert client.get(f"{nginx.urls.tls13}/x").text == "GET /x"
    assert client.get("http://origin.example/").text == "forwarded"
    assert client.get(f"{nginx.urls.tls13}/x").text == "GET /x"
    assert relaying_tls.connections == before + 3


_IDLE_CONNECTIONS_END = """
import ssl, sys, time
import httpx
from fast_litellm import HTTPTransport

proxy, origin, ca, how = sys.argv[1:]
context = ssl.create_default_context(cafile=ca)
transport = HTTPTransport(
    verify=ca, proxy=httpx.Proxy(proxy, ssl_context=context), limits=httpx.Limits(keepalive_expiry=0.2)
)
client = httpx.Client(transport=transport, timeout=20)
assert client.get(origin).status_code == 200
if how == "idle":
    while transport._native_pool.get_stats()["total_connections"]:
        time.sleep(0.05)
elif how == "closed":
    client.close()
print("done")
"""


@pytest.mark.parametrize("how", ["idle", "closed", "left to the exit"])
def test_connections_to_a_proxy_by_a_context_end_in_any_way(
    how: str, relaying_tls: RelayingProxy, nginx: Nginx, certificates: Certificates
) -> None:
    """On the pool's thread no Python runs."""
    arguments = [relaying_tls.url, nginx.urls.tls13, str(certificates.ca_file), how]
    done = subprocess.run(
        [sys.executable, "-c", _IDLE_CONNECTIONS_END, *arguments],
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr


class _Stop(BaseException):
    """What a signal handler raises within a context's code."""


def _raising_context(certificates: Certificates, method: str, turn: int) -> ssl.SSLContext:
    """A context whose object raises when that method is called for the n-th time."""
    calls = iter(range(1, 1_000))

    def raising(self: ssl.SSLObject, *arguments: Any) -> Any:
        if next(calls) == turn:
            raise _Stop
        return getattr(ssl.SSLObject, method)(self, *arguments)

    context = _trusting(certificates)
    context.sslobject_class = type("Raising", (ssl.SSLObject,), {method: raising})
    return context


@pytest.mark.parametrize("turn", [1, 2, 3])
@pytest.mark.parametrize("method", ["do_handshake", "read", "write"])
def test_what_a_context_to_a_proxy_raises_goes_on_as_it_is(
    method: str, turn: int, relaying_tls: RelayingProxy, nginx: Nginx, certificates: Certificates
) -> None:
    """A KeyboardInterrupt in it is not taken for a broken connection."""
    proxy = httpx.Proxy(relaying_tls.url, ssl_context=_raising_context(certificates, method, turn))
    transport = HTTPTransport(verify=str(certificates.ca_file), proxy=proxy)
    # Fewer handshake steps than `turn` raise nothing.
    with httpx.Client(transport=transport, timeout=20) as client, contextlib.suppress(_Stop):
        assert client.post(f"{nginx.urls.tls13}/x", content=b"text").status_code == 200
        assert (method, turn) == ("do_handshake", 3)


def test_settings_for_the_origins_do_not_go_with_a_context_for_the_proxy(certificates: Certificates) -> None:
    settings = _core.TlsSettings(ca_file=str(certificates.ca_file))
    proxy = httpx.Proxy("https://127.0.0.1:1", ssl_context=_trusting(certificates))
    with pytest.raises(NotOffered, match="use verify and cert"):
        HTTPTransport(proxy=proxy, tls_settings=settings)


def test_a_users_context_speaks_to_the_origin_through_a_tunnel(
    tinyproxy: Any, nginx: Nginx, certificates: Certificates, make_client: MakeClient
) -> None:
    context = _trusting(certificates)
    context.load_cert_chain(certificates.client.certificate, certificates.client.key)
    subject = make_client(verify=context).get(nginx.urls.client_certificate).headers["x-client"]
    client = make_client(proxy=tinyproxy.url_with_credentials, verify=context)
    for _ in range(2):
        assert client.get(nginx.urls.client_certificate).headers["x-client"] == subject != ""


def test_a_context_for_a_plain_proxy_is_refused_as_by_httpx() -> None:
    proxy = httpx.Proxy("http://127.0.0.1:1", ssl_context=ssl.create_default_context())
    for transport in (httpx.HTTPTransport, HTTPTransport):
        with pytest.raises(RuntimeError, match="not allowed for the http scheme"):
            transport(proxy=proxy)


@pytest.mark.parametrize("proxy", ["ftp://127.0.0.1", "127.0.0.1:3128", ""])
def test_a_url_that_is_no_proxys_is_refused_as_by_httpx(proxy: str) -> None:
    def refusal(transport: Any) -> tuple[type, str]:
        with pytest.raises(ValueError, match=r"Proxy|proxy") as raised:
            transport(proxy=proxy)
        return raised.type, str(raised.value)

    assert refusal(HTTPTransport) == refusal(httpx.HTTPTransport)


def test_what_httpx_does_not_pass_on_to_proxies_counts_not(
    relaying: RelayingProxy, make_client: MakeClient, tmp_path: Any
) -> None:
    client = make_client(proxy=relaying.url, uds=str(tmp_path / "absent"), local_address="192.0.2.1", retries=3)
    assert client.get("http://origin.example/").text == "forwarded"


@pytest.mark.parametrize("family", ["127.0.0.5", "0.0.0.0", "::"])
def test_the_local_address_is_not_used_towards_a_proxy(
    family: str, serve: Any, nginx: Nginx, make_client: MakeClient, stock: MakeClient
) -> None:
    """Nor is its family, as with httpx."""
    seen = []

    async def script(connection: Connection) -> None:
        while True:
            await connection.request()
            seen.append(connection.socket.getpeername()[0])
            await connection.respond(b"forwarded")

    proxy = serve(script)
    for make in (make_client, stock):
        client = make(proxy=proxy.url, local_address=family)
        assert client.get("http://origin.example/").text == "forwarded"
    assert seen == ["127.0.0.1"] * 2


def test_the_connect_timeout_covers_the_tunnel(serve: Any, make_client: MakeClient) -> None:
    async def script(connection: Connection) -> None:
        await connection.request()
        await connection.client_closed()

    proxy = serve(script)
    client = make_client(proxy=proxy.url, timeout=httpx.Timeout(20, connect=0.3))
    with pytest.raises(httpx.ConnectTimeout, match="via http://127"):
        client.get("https://origin.example/")


@pytest.mark.parametrize(
    "answer", [b"", b"SSH-2.0-OpenSSH\r\n\r\n"], ids=["hangs up without an answer", "speaks no HTTP"]
)
def test_a_proxy_that_gives_no_answer_is_httpxs_error(
    answer: bytes, serve: Any, make_client: MakeClient, stock: MakeClient
) -> None:
    async def script(connection: Connection) -> None:
        await connection.request()
        await connection.send(answer)

    proxy = serve(script)
    kinds = [_failure(make(proxy=proxy.url), "https://origin.example/")[0] for make in (make_client, stock)]
    assert kinds == [httpx.RemoteProtocolError] * 2


def _targets(requests: list[Request]) -> list[str]:
    return [request.target for request in requests]


def test_redirects_choose_the_proxy_anew(relaying: RelayingProxy, nginx: Nginx, certificates: Certificates) -> None:
    """Which proxy applies is the client's to decide, by its mounts."""
    proxied = HTTPTransport(proxy=relaying.url)
    direct = HTTPTransport(verify=str(certificates.ca_file))
    with httpx.Client(mounts={"http://": proxied}, transport=direct, timeout=20) as client:
        assert client.get("http://origin.example/x").text == "forwarded"
        assert client.get(f"{nginx.urls.tls13}/x").text == "GET /x"
    assert _targets(relaying.requests) == ["http://origin.example/x"]
