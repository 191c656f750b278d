"""What a request becomes on the wire, and what a response becomes in httpx."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

from blocking_transport.conftest import MakeClient
from peers.nginx import Nginx
from peers.scripted import Connection, ScriptedServer, serve_ok

Serve = Callable[..., ScriptedServer]


def test_a_get_is_answered(client: httpx.Client, nginx: Nginx) -> None:
    response = client.get(f"{nginx.urls.plain}/path?query=1")
    assert response.status_code == 200
    assert response.text == "GET /path?query=1"
    assert response.http_version == "HTTP/1.1"
    assert response.reason_phrase == "OK"
    assert response.elapsed.total_seconds() > 0


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PURGE"])
def test_every_method_reaches_the_server(client: httpx.Client, serve: Serve, method: str) -> None:
    server = serve(serve_ok)
    assert client.request(method, f"{server.url}/x").text == f"{method} /x"


def test_the_request_goes_out_as_httpx_made_it(client: httpx.Client, serve: Serve) -> None:
    server = serve(serve_ok)
    headers = [("X-One", "1"), ("x-two", "2"), ("X-One", "again"), ("X-Latin", "caf\u00e9".encode("latin-1"))]
    request = client.build_request("POST", f"{server.url}/a?b=c", headers=headers, content=b"the body")  # type: ignore[arg-type]
    client.send(request)
    [seen] = server.requests
    assert seen.raw_head.startswith(b"POST /a?b=c HTTP/1.1\r\n")
    assert seen.headers == [(name.decode(), value.decode("latin-1")) for name, value in request.headers.raw]
    assert seen.body == b"the body"
    assert seen.header("host") == f"127.0.0.1:{server.port}"


def test_headers_of_the_response_keep_order_case_and_duplicates(client: httpx.Client, serve: Serve) -> None:
    async def script(connection: Connection) -> None:
        await connection.request()
        await connection.respond(
            b"", "200 Quite Fine", "X-B: 1", "Set-Cookie: a=1", "x-a:   spaced  ", "Set-Cookie: b=2"
        )

    response = client.get(serve(script).url)
    assert response.headers.raw == [
        (b"X-B", b"1"),
        (b"Set-Cookie", b"a=1"),
        (b"x-a", b"spaced"),
        (b"Set-Cookie", b"b=2"),
        (b"content-length", b"0"),
    ]
    assert response.reason_phrase == "Quite Fine"
    assert dict(client.cookies) == {"a": "1", "b": "2"}


@pytest.mark.parametrize(
    ("status_line", "status", "reason"),
    [("200 ", 200, ""), ("200", 200, ""), ("418 I'm a teapot", 418, "I'm a teapot"), ("599 \u00fcber", 599, None)],
)
def test_any_status_and_reason_is_accepted(
    client: httpx.Client, serve: Serve, status_line: str, status: int, reason: str | None
) -> None:
    async def script(connection: Connection) -> None:
        await connection.request()
        await connection.send(f"HTTP/1.1 {status_line}\r\ncontent-length: 0\r\n\r\n".encode("latin-1"))

    response = client.get(serve(script).url)
    assert response.status_code == status
    if reason is not None:
        assert response.extensions["reason_phrase"] == reason.encode()


def test_http_1_0_is_reported_as_the_version(client: httpx.Client, serve: Serve) -> None:
    async def script(connection: Connection) -> None:
        await connection.request()
        await connection.send(b"HTTP/1.0 200 OK\r\n\r\nuntil the end")

    response = client.get(serve(script).url)
    assert response.http_version == "HTTP/1.0"
    assert response.text == "until the end"


def test_interim_responses_are_skipped(client: httpx.Client, serve: Serve) -> None:
    async def script(connection: Connection) -> None:
        await connection.request()
        await connection.send(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n")
        await connection.respond(b"final")

    response = client.get(serve(script).url)
    assert (response.status_code, response.text) == (200, "final")


@pytest.mark.parametrize(
    ("method", "status"), [("HEAD", "200 OK"), ("GET", "204 No Content"), ("GET", "304 Not Modified")]
)
def test_a_response_without_a_body_causes_no_wait_and_its_connection_is_reused(
    client: httpx.Client, serve: Serve, method: str, status: str
) -> None:
    async def script(connection: Connection) -> None:
        while True:
            await connection.request()
            length = "" if status.startswith("204") else "content-length: 1000\r\n"
            await connection.send(f"HTTP/1.1 {status}\r\n{length}\r\n".encode())

    server = serve(script)
    for _ in range(3):
        assert client.request(method, server.url).content == b""
    assert server.connections == 1


def test_chunked_responses_with_extensions_and_trailers_are_joined(client: httpx.Client, serve: Serve) -> None:
    async def script(connection: Connection) -> None:
        while True:
            await connection.request()
            await connection.send(
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                b"5;name=value\r\nhello\r\n1\r\n \r\nA\r\n0123456789\r\n0\r\nX-Trailer: t\r\n\r\n"
            )

    server = serve(script)
    assert [client.get(server.url).text for _ in range(3)] == ["hello 0123456789"] * 3
    assert server.connections == 1


def test_a_response_may_arrive_byte_by_byte(client: httpx.Client, serve: Serve) -> None:
    async def script(connection: Connection) -> None:
        while True:
            await connection.request()
            for byte in b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n":
                await connection.send(bytes([byte]))

    server = serve(script)
    assert [client.get(server.url).text for _ in range(2)] == ["abc"] * 2
    assert server.connections == 1


def test_httpx_handles_redirects_and_error_statuses(client: httpx.Client, nginx: Nginx) -> None:
    response = client.get(f"{nginx.urls.plain}/moved", follow_redirects=True)
    assert (response.text, len(response.history)) == ("GET /there", 1)
    with pytest.raises(httpx.HTTPStatusError):
        client.get(f"{nginx.urls.plain}/missing").raise_for_status()


def test_compressed_bodies_are_decoded(client: httpx.Client, serve: Serve) -> None:
    import gzip

    async def script(connection: Connection) -> None:
        await connection.request()
        await connection.respond(gzip.compress(b"squeezed" * 1000), "200 OK", "content-encoding: gzip")

    assert client.get(serve(script).url).content == b"squeezed" * 1000


def test_the_target_extension_replaces_the_target(client: httpx.Client, serve: Serve) -> None:
    server = serve(serve_ok)
    client.request("OPTIONS", server.url, extensions={"target": b"*"})
    assert server.requests[0].target == "*"


def test_the_network_stream_reports_the_addresses(client: httpx.Client, serve: Serve) -> None:
    server = serve(serve_ok)
    with client.stream("GET", server.url) as response:
        stream = response.extensions["network_stream"]
        assert stream.get_extra_info("server_addr") == ("127.0.0.1", server.port)
        assert stream.get_extra_info("client_addr")[0] == "127.0.0.1"
        assert stream.get_extra_info("anything else") is None
        with stream.get_extra_info("socket") as duplicate:
            assert duplicate.getpeername() == ("127.0.0.1", server.port)
    assert stream.get_extra_info("server_addr") == ("127.0.0.1", server.port)
    assert stream.get_extra_info("socket") is None


@pytest.mark.parametrize("url", ["ftp://localhost/", "//localhost/"])
def test_an_unknown_scheme_raises_httpxs_error(make_client: MakeClient, url: str) -> None:
    client = make_client()
    request = httpx.Request("GET", url)
    with pytest.raises(httpx.UnsupportedProtocol, match="protocol"):
        client._transport.handle_request(request)


def test_an_unknown_host_is_a_connect_error_that_names_it(client: httpx.Client) -> None:
    with pytest.raises(httpx.ConnectError, match=r"nothing\.invalid") as caught:
        client.get("http://nothing.invalid/")
    assert caught.value.request.url.host == "nothing.invalid"


def test_a_host_that_cannot_be_resolved_is_a_connect_error(client: httpx.Client) -> None:
    with pytest.raises(httpx.ConnectError):
        client.get(f"http://{'a' * 64}.example/")


def test_a_refused_connection_names_the_origin(client: httpx.Client, serve: Serve) -> None:
    with ScriptedServer(serve_ok) as server:
        pass
    with pytest.raises(httpx.ConnectError, match=f"127.0.0.1:{server.port}") as caught:
        client.get(server.url)
    assert isinstance(caught.value.__cause__, ConnectionRefusedError)


@pytest.mark.parametrize("value", [b"a\r\nInjected: yes", b"a\nb", b"nul\x00"])
def test_a_header_that_would_break_the_request_is_refused_before_a_byte_is_sent(
    client: httpx.Client, serve: Serve, value: bytes
) -> None:
    server = serve(serve_ok)
    with pytest.raises(httpx.LocalProtocolError):
        client.get(server.url, headers=[(b"X-Bad", value)])
    assert client.get(f"{server.url}/next").text == "GET /next"
    assert [request.target for request in server.requests] == ["/next"]


def test_a_body_that_differs_from_its_content_length_is_refused(client: httpx.Client, serve: Serve) -> None:
    server = serve(serve_ok)
    for content in (b"four", [b"fo", b"ur"], [b"f"]):
        with pytest.raises(httpx.LocalProtocolError):
            client.post(server.url, content=content, headers={"content-length": "3"})
    assert client.get(f"{server.url}/next").text == "GET /next"
