"""What an async request becomes on the wire, and what a response becomes in httpx."""

from __future__ import annotations

from collections.abc import Callable

import anyio
import httpx
import pytest

from async_transport.conftest import STOCK, MakeAsyncClient
from peers.nginx import SHORT_LIFE, Nginx
from peers.scripted import Connection, ScriptedServer, serve_ok
from support.certificates import Certificates

Serve = Callable[..., ScriptedServer]


async def test_a_get_is_answered(async_client: httpx.AsyncClient, nginx: Nginx) -> None:
    response = await async_client.get(f"{nginx.urls.plain}/path?query=1")
    assert response.status_code == 200
    assert response.text == "GET /path?query=1"
    assert response.is_closed
    assert response.elapsed.total_seconds() > 0


@pytest.mark.parametrize("url", ["tls13", "tls12"])
async def test_a_get_over_tls_is_answered(async_client: httpx.AsyncClient, nginx: Nginx, url: str) -> None:
    response = await async_client.get(f"{getattr(nginx.urls, url)}/path")
    assert response.text == "GET /path"
    assert response.headers["x-protocol"] == {"tls13": "TLSv1.3", "tls12": "TLSv1.2"}[url]


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PURGE"])
async def test_every_method_reaches_the_server(async_client: httpx.AsyncClient, serve: Serve, method: str) -> None:
    server = serve(serve_ok)
    assert (await async_client.request(method, f"{server.url}/x")).text == f"{method} /x"


async def test_the_request_goes_out_as_httpx_made_it(async_client: httpx.AsyncClient, serve: Serve) -> None:
    server = serve(serve_ok)
    headers = [(b"X-One", b"1"), (b"x-two", b"2"), (b"X-One", b"again"), (b"X-Latin", "caf\u00e9".encode("latin-1"))]
    request = async_client.build_request("POST", f"{server.url}/a?b=c", headers=headers, content=b"the body")
    await async_client.send(request)
    [seen] = server.requests
    assert seen.raw_head.startswith(b"POST /a?b=c HTTP/1.1\r\n")
    assert seen.headers == [(name.decode(), value.decode("latin-1")) for name, value in request.headers.raw]
    assert seen.body == b"the body"
    assert seen.header("host") == f"127.0.0.1:{server.port}"


async def test_headers_of_the_response_keep_order_case_and_duplicates(
    async_client: httpx.AsyncClient, serve: Serve
) -> None:
    async def script(connection: Connection) -> None:
        await connection.request()
        await connection.send(
            b"HTTP/1.1 200 Quite Fine\r\nX-B: 1\r\nSet-Cookie: a=1\r\nx-a:   spaced  \r\nX-Latin: caf\xe9\r\n"
            b"Set-Cookie: b=2\r\nContent-Length: 0\r\n\r\n"
        )

    response = await async_client.get(serve(script).url)
    assert response.headers.raw == [
        (b"X-B", b"1"),
        (b"Set-Cookie", b"a=1"),
        (b"x-a", b"spaced"),
        (b"X-Latin", b"caf\xe9"),
        (b"Set-Cookie", b"b=2"),
        (b"Content-Length", b"0"),
    ]
    assert response.headers["x-latin"] == "caf\u00e9"
    assert dict(async_client.cookies) == {"a": "1", "b": "2"}


async def test_the_extensions_are_those_of_httpx(async_client: httpx.AsyncClient, serve: Serve) -> None:
    async def script(connection: Connection) -> None:
        await connection.request()
        await connection.respond(b"x", "418 I'm a teapot")

    server = serve(script)
    async with async_client.stream("GET", server.url) as response:
        assert response.extensions["http_version"] == b"HTTP/1.1"
        assert response.extensions["reason_phrase"] == b"I'm a teapot"
        assert (response.http_version, response.reason_phrase) == ("HTTP/1.1", "I'm a teapot")
        stream = response.extensions["network_stream"]
        assert stream.get_extra_info("server_addr") == ("127.0.0.1", server.port)
        assert stream.get_extra_info("client_addr")[0] == "127.0.0.1"
        assert stream.get_extra_info("anything else") is None
        if not STOCK:  # there it is the connection's own, and on uvloop none at all
            with stream.get_extra_info("socket") as duplicate:
                assert duplicate.getpeername() == ("127.0.0.1", server.port)
    assert "stream_id" not in response.extensions


async def test_http_1_0_is_reported_as_the_version(async_client: httpx.AsyncClient, serve: Serve) -> None:
    async def script(connection: Connection) -> None:
        await connection.request()
        await connection.send(b"HTTP/1.0 200 OK\r\n\r\nuntil the end")

    response = await async_client.get(serve(script).url)
    assert response.http_version == "HTTP/1.0"
    assert response.text == "until the end"


@pytest.mark.parametrize(
    ("method", "status"), [("HEAD", "200 OK"), ("GET", "204 No Content"), ("GET", "304 Not Modified")]
)
async def test_a_response_without_a_body_causes_no_wait_and_its_connection_is_reused(
    async_client: httpx.AsyncClient, serve: Serve, method: str, status: str
) -> None:
    async def script(connection: Connection) -> None:
        while True:
            await connection.request()
            length = "" if status.startswith("204") else "content-length: 1000\r\n"
            await connection.send(f"HTTP/1.1 {status}\r\n{length}\r\n".encode())

    server = serve(script)
    for _ in range(3):
        assert (await async_client.request(method, server.url)).content == b""
    assert server.connections == 1


async def test_interim_responses_are_skipped(async_client: httpx.AsyncClient, serve: Serve) -> None:
    async def script(connection: Connection) -> None:
        await connection.request()
        await connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        await connection.send(b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n")
        await connection.respond(b"final")

    response = await async_client.post(serve(script).url, content=b"x", headers={"Expect": "100-continue"})
    assert (response.status_code, response.text) == (200, "final")


async def test_chunked_responses_with_extensions_and_trailers_are_joined(
    async_client: httpx.AsyncClient, serve: Serve
) -> None:
    async def script(connection: Connection) -> None:
        while True:
            await connection.request()
            await connection.send(
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                b"5;name=value\r\nhello\r\n1\r\n \r\nA\r\n0123456789\r\n0\r\nX-Trailer: t\r\n\r\n"
            )

    server = serve(script)
    assert [(await async_client.get(server.url)).text for _ in range(3)] == ["hello 0123456789"] * 3
    assert server.connections == 1


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_a_response_may_arrive_byte_by_byte(
    async_client: httpx.AsyncClient, serve: Serve, certificates: Certificates, tls: bool
) -> None:
    async def script(connection: Connection) -> None:
        while True:
            await connection.request()
            for byte in b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n":
                await connection.send(bytes([byte]))

    server = serve(script, tls=certificates.server if tls else None)
    assert [(await async_client.get(server.url)).text for _ in range(2)] == ["abc"] * 2
    assert server.connections == 1


@pytest.mark.parametrize("url", ["plain", "tls13", "tls12"])
async def test_a_hundred_requests_take_one_connection(async_client: httpx.AsyncClient, nginx: Nginx, url: str) -> None:
    before = nginx.accepted()
    target = getattr(nginx.urls, url)
    counts = [(await async_client.get(target)).headers["x-connection-requests"] for _ in range(100)]
    assert counts == [str(number) for number in range(1, 101)]
    assert nginx.accepted() - before == 1


async def test_a_server_that_closes_connections_after_some_requests_causes_no_error(
    async_client: httpx.AsyncClient, nginx: Nginx
) -> None:
    before = nginx.accepted()
    responses = [await async_client.post(nginx.urls.short_lived, content=b"x") for _ in range(4 * SHORT_LIFE)]
    assert [response.status_code for response in responses] == [200] * (4 * SHORT_LIFE)
    assert nginx.accepted() - before == 4


@pytest.mark.parametrize("url", ["plain", "tls13", "short_lived"])
async def test_a_hundred_tasks_at_once_get_their_own_answers(
    make_async_client: MakeAsyncClient, nginx: Nginx, url: str
) -> None:
    client = make_async_client(limits=httpx.Limits(max_connections=20))
    target = getattr(nginx.urls, url)
    wrong: list[str] = []

    async def get(number: int) -> None:
        for turn in range(2):
            path = f"/{number}/{turn}"
            text = (await client.get(target + path)).text
            if text != f"GET {path}":
                wrong.append(f"{path}: {text}")

    async with anyio.create_task_group() as group:
        for number in range(100):
            group.start_soon(get, number)
    assert wrong == []


@pytest.mark.parametrize("value", [b"a\r\nInjected: yes", b"a\nb", b"nul\x00"])
async def test_a_header_that_would_break_the_request_is_refused_before_a_byte_is_sent(
    async_client: httpx.AsyncClient, serve: Serve, value: bytes
) -> None:
    server = serve(serve_ok)
    with pytest.raises(httpx.LocalProtocolError):
        await async_client.get(server.url, headers=[(b"X-Bad", value)])
    assert (await async_client.get(f"{server.url}/next")).text == "GET /next"
    assert [request.target for request in server.requests] == ["/next"]


async def test_the_target_and_sni_extensions_are_used(async_client: httpx.AsyncClient, nginx: Nginx) -> None:
    url = nginx.urls.tls13
    response = await async_client.request("GET", url, extensions={"target": b"/other", "sni_hostname": "localhost"})
    assert response.text == "GET /other"
    assert response.headers["x-server-name"] == "localhost"


async def test_a_refused_connection_names_the_origin(async_client: httpx.AsyncClient) -> None:
    with ScriptedServer(serve_ok) as server:
        pass
    with pytest.raises(httpx.ConnectError) as caught:
        await async_client.get(server.url)
    assert caught.value.request.url == server.url


@pytest.mark.parametrize("host", ["nothing.invalid", f"{'a' * 64}.example"])
async def test_an_unknown_host_is_a_connect_error(async_client: httpx.AsyncClient, host: str) -> None:
    with pytest.raises(httpx.ConnectError) as caught:
        await async_client.get(f"http://{host}/")
    assert caught.value.request.url.host == host


@pytest.mark.parametrize("name", ["expired", "wrong_host", "unknown_issuer"])
async def test_an_invalid_certificate_is_a_connect_error(
    async_client: httpx.AsyncClient, serve: Serve, certificates: Certificates, name: str
) -> None:
    server = serve(serve_ok, tls=getattr(certificates, name))
    with pytest.raises(httpx.ConnectError) as caught:
        await async_client.get(server.url)
    assert STOCK or f"127.0.0.1:{server.port}" in str(caught.value)
    assert server.requests == []


async def test_a_unix_socket_is_used(make_async_client: MakeAsyncClient, nginx: Nginx) -> None:
    client = make_async_client(uds=nginx.unix_socket)
    assert (await client.get("http://any.example/x")).text == "GET /x"
