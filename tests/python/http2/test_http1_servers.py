"""`http2=True` with servers that speak HTTP/1.1 only, and what decides which of both is spoken."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from peers.nginx import Nginx
from peers.scripted import ScriptedServer, serve_ok
from support.certificates import Certificates
from support.http2 import OURS_ALONE, over

MakeClient = Callable[..., httpx.Client]


@pytest.mark.parametrize("kind", ["tls13", "tls12", "plain"])
def test_a_server_without_http2_answers_by_http1(make_client: MakeClient, nginx: Nginx, kind: str) -> None:
    client = make_client(http2=True)
    responses = [client.get(f"{getattr(nginx.urls, kind)}/path") for _ in range(3)]
    assert [response.http_version for response in responses] == ["HTTP/1.1"] * 3
    assert [response.text for response in responses] == ["GET /path"] * 3
    assert len({response.headers["x-connection"] for response in responses}) == 1
    assert "stream_id" not in responses[0].extensions


def test_a_server_that_knows_no_alpn_answers_by_http1(
    make_client: MakeClient, serve: Callable[..., ScriptedServer], certificates: Certificates
) -> None:
    server = serve(serve_ok, tls=certificates.server)
    response = make_client(http2=True).get(f"{server.url}/path")
    assert (response.http_version, response.text) == ("HTTP/1.1", "GET /path")


@pytest.mark.parametrize("kind", ["tls13", "plain"])
def test_http2_alone_is_refused_by_a_server_without_it(
    make_client: MakeClient, nginx: Nginx, kind: str, engine: str
) -> None:
    """httpx offers HTTP/1.1 all the same, and then sends HTTP/2 to whatever the server has chosen; ours offers HTTP/2
    alone, so the server says in the handshake that it has none (RFC 7301 section 3.2). httpx sends the request in
    pieces: the server may have closed before the last one, which then is another error."""
    client = make_client(http1=False, http2=True)
    errors: Any = httpx.ConnectError if (engine, kind) == ("ours", "tls13") else httpx.RemoteProtocolError
    if engine == "stock":
        errors = (errors, httpx.ReadError, httpx.WriteError)
    with pytest.raises(errors):
        client.post(f"{getattr(nginx.urls, kind)}/path", content=b"text")


@over("nginx", "hypercorn", "node", "go")
def test_http1_is_spoken_where_http2_was_not_asked_for(make_client: MakeClient, origin: Any) -> None:
    client = make_client(http1=True, http2=False)
    if origin.server == "node":  # its secure server has no HTTP/1.1, and says so
        with pytest.raises(httpx.HTTPError):
            client.get(f"{origin.url}/hello")
        return
    assert client.get(f"{origin.url}/hello").http_version == "HTTP/1.1"


@over("nginx", "hypercorn")
def test_one_client_speaks_both(client: httpx.Client, origin: Any, nginx: Nginx) -> None:
    for _ in range(3):
        assert client.get(f"{origin.url}/hello").http_version == "HTTP/2"
        assert client.get(f"{nginx.urls.tls13}/path").http_version == "HTTP/1.1"


@OURS_ALONE
def test_many_first_requests_to_a_server_without_http2(make_client: MakeClient, nginx: Nginx) -> None:
    """None may wait for a stream of a connection that turns out to have none. (httpx's pool takes a TLS ticket for the
    end of an idle connection, and closes it under a thread that was given it: one run in six fails.)"""
    from concurrent.futures import ThreadPoolExecutor

    client = make_client(http2=True)
    with ThreadPoolExecutor(8) as threads:
        texts = list(threads.map(lambda number: client.get(f"{nginx.urls.tls13}/{number}").text, range(40)))
    assert texts == [f"GET /{number}" for number in range(40)]
