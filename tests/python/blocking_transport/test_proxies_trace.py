"""The `trace` extension through proxies: every event of httpx's own transport, in its order, beside ours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from peers.nginx import Nginx
from support.certificates import Certificates

MakeClient = Callable[..., httpx.Client]
Told = list[tuple[Any, ...]]


def _brief(name: str, info: dict[str, Any]) -> tuple[Any, ...]:
    """An event, as far as it is to be equal: a proxy's own headers are not told, since they may be credentials."""
    request = info.get("request")
    told: Any = info.get("host") or info.get("server_hostname"), info.get("port")
    if request is not None:
        private = (b"proxy-authorization",)
        headers = [(name, value) for name, value in request.headers if name.lower() not in private]
        told = request.method, request.url, headers, sorted(request.extensions)
    result = info.get("return_value")
    if name == "http11.receive_response_headers.complete":
        version, status, reason, headers = result
        # Those of an answer to CONNECT have no date in them.
        told = version, status, reason, headers if reason.lower() == b"connection established" else len(headers)
    return name, told


def _traced(client: httpx.Client, url: str, asynchronous: bool, error: type[Exception] | None = None) -> Told:
    events: Told = []

    def trace(name: str, info: dict[str, Any]) -> None:
        events.append(_brief(name, info))

    async def atrace(name: str, info: dict[str, Any]) -> None:
        trace(name, info)

    extensions = {"trace": atrace if asynchronous else trace}
    if error is None:
        client.get(url, extensions=extensions)
    else:
        with pytest.raises(error):
            client.get(url, extensions=extensions)
    return events


@pytest.mark.parametrize("origin", ["plain", "tls13"])
@pytest.mark.parametrize("kind", ["tinyproxy", "squid", "microsocks", "relaying", "relaying_tls"])
def test_the_trace_extension_tells_of_a_proxy_as_httpx_does(
    kind: str,
    origin: str,
    client_kind: str,
    request: pytest.FixtureRequest,
    nginx: Nginx,
    certificates: Certificates,
    make_client: MakeClient,
    stock: MakeClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.ca_file))
    peer = request.getfixturevalue(kind)
    proxy = getattr(peer, "url_with_credentials", peer.url)
    url = f"{getattr(nginx.urls, origin)}/path?query"
    ours = _traced(make_client(proxy=proxy), url, client_kind == "async")
    assert ours == _traced(stock(proxy=proxy), url, False)
    names = [name for name, _ in ours if name.endswith(".started")]
    expected = _STEPS[kind == "microsocks", kind == "relaying_tls", origin == "tls13"]
    assert names[: len(expected)] == expected


_CONNECT = ["http11.send_request_headers", "http11.send_request_body", "http11.receive_response_headers"]


def _started(*names: str) -> list[str]:
    return [f"{name}.started" for name in names]


#: (by SOCKS, TLS to the proxy, TLS to the origin) -> the steps before the request
_STEPS = {
    (False, False, False): _started("connection.connect_tcp"),
    (False, True, False): _started("connection.connect_tcp", "connection.start_tls"),
    (False, False, True): _started("connection.connect_tcp", *_CONNECT, "proxy.start_tls"),
    (False, True, True): _started("connection.connect_tcp", "connection.start_tls", *_CONNECT, "proxy.start_tls"),
    (True, False, False): _started("socks.connect_tcp", "socks.setup_socks5_connection"),
    (True, False, True): _started("socks.connect_tcp", "socks.setup_socks5_connection", "socks.start_tls"),
}


@pytest.mark.parametrize("kind", ["squid", "microsocks", "relaying"])
def test_a_request_on_a_kept_connection_tells_of_no_proxy(
    kind: str,
    client_kind: str,
    request: pytest.FixtureRequest,
    nginx: Nginx,
    make_client: MakeClient,
    stock: MakeClient,
) -> None:
    peer = request.getfixturevalue(kind)
    proxy = getattr(peer, "url_with_credentials", peer.url)
    told = []
    for make, asynchronous in ((make_client, client_kind == "async"), (stock, False)):
        client = make(proxy=proxy)
        client.get(nginx.urls.tls13)
        told.append(_traced(client, nginx.urls.tls13, asynchronous))
    assert told[0] == told[1]
    assert told[0][0][0] == "http11.send_request_headers.started"


def test_a_proxys_credentials_are_not_told(squid: Any, nginx: Nginx, client_kind: str, make_client: MakeClient) -> None:
    """httpx's own transport tells them."""
    events: list[str] = []

    def trace(name: str, info: dict[str, Any]) -> None:
        made_for = info.get("request")
        events.append(f"{info!r} {made_for and made_for.headers!r}")

    async def atrace(name: str, info: dict[str, Any]) -> None:
        trace(name, info)

    client = make_client(proxy=squid.url_with_credentials)
    for url in (nginx.urls.plain, nginx.urls.tls13):
        client.get(url, extensions={"trace": atrace if client_kind == "async" else trace})
    assert events
    assert not [event for event in events if "Basic" in event or "pass1" in event]


@pytest.mark.parametrize(
    "failing",
    [
        "refused tunnel",
        "refused by squid",
        "refused socks",
        "unreachable proxy",
        "a silent end",
        "no HTTP",
        "the proxy's certificate",
        "the origin's certificate",
    ],
)
def test_the_trace_extension_tells_which_step_failed_as_httpx_does(
    failing: str,
    client_kind: str,
    request: pytest.FixtureRequest,
    serve: Any,
    nginx: Nginx,
    certificates: Certificates,
    make_client: MakeClient,
    stock: MakeClient,
    unused_port: int,
) -> None:
    url = nginx.urls.tls13
    if failing == "refused tunnel":
        proxy = request.getfixturevalue("tinyproxy").url
    elif failing == "refused by squid":
        proxy = request.getfixturevalue("squid").url
    elif failing == "refused socks":
        proxy = request.getfixturevalue("microsocks").url
    elif failing == "unreachable proxy":
        proxy = f"http://127.0.0.1:{unused_port}"
    elif failing in ("a silent end", "no HTTP"):

        async def script(connection: Any) -> None:
            await connection.request()
            await connection.send(b"" if failing == "a silent end" else b"SSH-2.0-OpenSSH\r\n\r\n")

        proxy = serve(script).url
    elif failing == "the proxy's certificate":
        proxy = request.getfixturevalue("relaying_tls").url
    else:
        proxy = request.getfixturevalue("relaying").url
        url = serve(lambda connection: connection.client_closed(), tls=certificates.wrong_host).url

    error = httpx.TransportError
    ours = _traced(make_client(proxy=proxy), url, client_kind == "async", error)
    assert [_without_answer(event) for event in ours] == [
        _without_answer(event) for event in _traced(stock(proxy=proxy), url, False, error)
    ]
    assert ours


def _without_answer(event: tuple[Any, ...]) -> tuple[Any, ...]:
    """Ours keeps the status alone of the answer before a failure (and the reason, if that is the failure)."""
    name, told = event
    return (name, told[1]) if name == "http11.receive_response_headers.complete" else event
