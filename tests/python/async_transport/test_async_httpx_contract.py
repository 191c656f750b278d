"""Behaviour that httpx's own tests expect of a transport and that no other file here tests."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Generator

import anyio
import httpx
import pytest

from async_transport.conftest import STOCK, MakeAsyncClient, MakeAsyncTransport, leases
from fast_litellm import HTTPTransport
from peers.nginx import Nginx
from peers.scripted import Connection, Gate, ScriptedServer, serve_ok
from support.backends import ASYNCIO_BACKENDS, until
from support.certificates import Certificates

Serve = Callable[..., ScriptedServer]


async def test_a_stream_of_an_async_response_cannot_be_read_in_the_sync_way(
    async_client: httpx.AsyncClient, serve: Serve
) -> None:
    server = serve(serve_ok)
    async with async_client.stream("GET", server.url) as response:
        assert isinstance(response.stream, httpx.AsyncByteStream)
        assert not isinstance(response.stream, httpx.SyncByteStream)
        for call in (response.read, response.close, lambda: list(response.iter_raw())):
            with pytest.raises(RuntimeError, match="sync"):
                call()
        assert await response.aread() == b"GET /"


async def test_a_stream_of_a_sync_response_cannot_be_read_in_the_async_way(
    serve: Serve, certificates: Certificates
) -> None:
    server = serve(serve_ok)
    with httpx.Client(transport=HTTPTransport(verify=str(certificates.ca_file))) as client:  # noqa: SIM117
        with client.stream("GET", server.url) as response:
            assert not isinstance(response.stream, httpx.AsyncByteStream)
            with pytest.raises(RuntimeError, match="async"):
                await response.aread()
            with pytest.raises(RuntimeError, match="async"):
                await response.aclose()
            assert response.read() == b"GET /"


async def test_a_response_knows_whether_it_was_read_and_closed(async_client: httpx.AsyncClient, serve: Serve) -> None:
    async with async_client.stream("GET", serve(serve_ok).url) as response:
        assert not response.is_closed
        assert not response.is_stream_consumed
        with pytest.raises(httpx.ResponseNotRead):
            _ = response.content
        assert b"".join([piece async for piece in response.aiter_raw()]) == b"GET /"
        assert response.num_bytes_downloaded == 5
        assert response.is_closed
        assert response.is_stream_consumed
        with pytest.raises(httpx.StreamConsumed):
            await anext(response.aiter_raw())
    assert response.elapsed.total_seconds() > 0


async def test_a_stream_left_unread_cannot_be_read_later(async_client: httpx.AsyncClient, serve: Serve) -> None:
    async with async_client.stream("GET", serve(serve_ok).url) as response:
        pass
    with pytest.raises(httpx.StreamClosed):
        await response.aread()
    with pytest.raises(httpx.ResponseNotRead):
        _ = response.text


@pytest.mark.parametrize("size", [1, 3, 1000])
async def test_pieces_have_the_requested_size(async_client: httpx.AsyncClient, serve: Serve, size: int) -> None:
    async def script(connection: Connection) -> None:
        await connection.request()
        await connection.respond(b"0123456789")

    async with async_client.stream("GET", serve(script).url) as response:
        pieces = [piece async for piece in response.aiter_bytes(size)]
    assert pieces == [b"0123456789"[start : start + size] for start in range(0, 10, size)]


@pytest.mark.parametrize("url", ["invalid://example.org", "://example.org", "http://", "ftp://localhost/"])
async def test_an_unsupported_url_raises_httpxs_error(async_client: httpx.AsyncClient, url: str) -> None:
    with pytest.raises((httpx.UnsupportedProtocol, httpx.LocalProtocolError)):
        await async_client.get(url)
    assert leases(async_client) == 0


@pytest.mark.parametrize("status", [200, 400, 404, 500, 505])
async def test_only_raise_for_status_raises_for_error_statuses(
    async_client: httpx.AsyncClient, serve: Serve, status: int
) -> None:
    async def script(connection: Connection) -> None:
        await connection.request()
        await connection.respond(b"", f"{status} Some words")

    response = await async_client.get(serve(script).url)
    assert response.reason_phrase == "Some words"
    if status < 400:
        response.raise_for_status()
    else:
        with pytest.raises(httpx.HTTPStatusError, match=str(status)):
            response.raise_for_status()


async def test_redirects_are_followed_on_the_same_connection(async_client: httpx.AsyncClient, nginx: Nginx) -> None:
    before = nginx.accepted()
    response = await async_client.get(f"{nginx.urls.tls13}/moved", follow_redirects=True)
    assert (response.text, len(response.history)) == ("GET /there", 1)
    async with async_client.stream("GET", f"{nginx.urls.tls13}/moved", follow_redirects=True) as response:
        assert await response.aread() == b"GET /there"
    assert nginx.accepted() - before == 1


async def test_authentication_may_take_several_requests(async_client: httpx.AsyncClient, serve: Serve) -> None:
    class TwoSteps(httpx.Auth):
        requires_response_body = True

        def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
            response = yield request
            request.headers["Authorization"] = response.text
            yield request

    async def script(connection: Connection) -> None:
        while True:
            request = await connection.request()
            if request.header("authorization") == "the secret":
                await connection.respond(request.body)
            else:
                await connection.respond(b"the secret", "401 Unauthorized")

    server = serve(script)
    response = await async_client.post(server.url, content=b"body", auth=TwoSteps())
    assert (response.status_code, response.text) == (200, "body")
    assert server.connections == 1


async def test_hooks_see_request_and_response(async_client: httpx.AsyncClient, serve: Serve) -> None:
    seen: list[object] = []

    async def on_request(request: httpx.Request) -> None:
        seen.append(request.url.path)

    async def on_response(response: httpx.Response) -> None:
        seen.append(await response.aread())

    async_client.event_hooks = {"request": [on_request], "response": [on_response]}
    await async_client.get(f"{serve(serve_ok).url}/x")
    assert seen == ["/x", b"GET /x"]


async def test_a_request_may_be_sent_again(async_client: httpx.AsyncClient, serve: Serve) -> None:
    server = serve(serve_ok)
    request = async_client.build_request("POST", server.url, json={"a": 1})
    for _ in range(3):
        assert (await async_client.send(request)).text == "POST /"
    assert len({seen.raw_head + seen.body for seen in server.requests}) == 1


async def test_a_transport_may_be_used_without_a_client(make_async_transport: MakeAsyncTransport, serve: Serve) -> None:
    server = serve(serve_ok)
    async with make_async_transport() as transport:
        request = httpx.Request("GET", server.url)
        response = await transport.handle_async_request(request)
        assert (response.status_code, await response.aread()) == (200, b"GET /")
        # A transport's response knows nothing of its request; httpx's client sets it.
        with pytest.raises(RuntimeError):
            _ = response.request
        await response.aclose()


async def test_a_transport_may_be_mounted(make_async_transport: MakeAsyncTransport, serve: Serve) -> None:
    server = serve(serve_ok)
    refused = httpx.MockTransport(lambda request: httpx.Response(500))
    mounts: dict[str, httpx.AsyncBaseTransport | None] = {"all://127.0.0.1": make_async_transport()}
    async with httpx.AsyncClient(transport=refused, mounts=mounts) as client:
        assert (await client.get(server.url)).text == "GET /"
        assert (await client.get("http://example.org")).status_code == 500


async def test_an_error_knows_its_request_also_in_the_middle_of_the_body(
    async_client: httpx.AsyncClient, serve: Serve
) -> None:
    async def script(connection: Connection) -> None:
        await connection.request()
        await connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")

    server = serve(script)
    with pytest.raises(httpx.TransportError) as caught:  # noqa: PT012
        async with async_client.stream("GET", server.url) as response:
            async for _ in response.aiter_raw():
                pass
    assert caught.value.request.url == server.url
    assert type(caught.value) is (httpx.RemoteProtocolError if STOCK else httpx.ReadError)


async def test_no_timeouts_at_all_may_be_given(make_async_transport: MakeAsyncTransport, serve: Serve) -> None:
    server = serve(serve_ok)
    async with make_async_transport() as transport:
        for extensions in ({}, {"timeout": {}}, {"timeout": {"read": 20.0}}, {"timeout": {"connect": None}}):
            request = httpx.Request("GET", server.url, extensions=extensions)
            response = await transport.handle_async_request(request)
            assert await response.aread() == b"GET /"


async def test_compressed_bodies_are_decoded(async_client: httpx.AsyncClient, serve: Serve) -> None:
    import gzip

    async def script(connection: Connection) -> None:
        await connection.request()
        await connection.respond(gzip.compress(b"squeezed" * 1000), "200 OK", "content-encoding: gzip")

    assert (await async_client.get(serve(script).url)).content == b"squeezed" * 1000


@pytest.mark.parametrize("backend", ASYNCIO_BACKENDS)
async def test_requests_may_be_gathered_and_awaited_as_they_end(
    async_client: httpx.AsyncClient, serve: Serve, backend: str
) -> None:
    server = serve(serve_ok)
    responses = await asyncio.gather(*(async_client.get(f"{server.url}/{number}") for number in range(20)))
    assert [response.text for response in responses] == [f"GET /{number}" for number in range(20)]
    texts = []
    for future in asyncio.as_completed([async_client.get(f"{server.url}/{number}") for number in range(20)]):
        texts.append((await future).text)
    assert sorted(texts) == sorted(f"GET /{number}" for number in range(20))
    assert (await asyncio.shield(async_client.get(server.url))).text == "GET /"
    task = asyncio.create_task(async_client.get(server.url))
    done, _ = await asyncio.wait([task])
    assert done.pop().result().text == "GET /"


@pytest.mark.parametrize("backend", ASYNCIO_BACKENDS)
@pytest.mark.skipif(sys.version_info < (3, 12), reason="machine: new in Python 3.12")
async def test_eager_tasks_work(async_client: httpx.AsyncClient, serve: Serve, backend: str) -> None:
    server = serve(serve_ok)
    asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(async_client.get(f"{server.url}/{number}")) for number in range(20)]
    assert [task.result().text for task in tasks] == [f"GET /{number}" for number in range(20)]


async def test_a_reading_task_and_a_requesting_task_do_not_interfere(
    make_async_client: MakeAsyncClient, serve: Serve
) -> None:
    """One client sends a request for each event of its stream."""
    gates = [Gate() for _ in range(5)]

    async def script(connection: Connection) -> None:
        while True:
            request = await connection.request()
            if request.target != "/events":
                gates[int(request.target[1:])].open()
                await connection.respond(b"")
                continue
            await connection.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
            for number, gate in enumerate(gates):
                await connection.send(b"2\r\n%d\n\r\n" % number)
                await gate.passed()
            await connection.send(b"0\r\n\r\n")

    client = make_async_client()
    server = serve(script)
    seen = []
    async with client.stream("GET", f"{server.url}/events") as response:
        async for line in response.aiter_lines():
            seen.append(line)
            await client.post(f"{server.url}/{line}")
    assert seen == ["0", "1", "2", "3", "4"]


async def test_a_response_may_be_the_body_of_a_request(async_client: httpx.AsyncClient, nginx: Nginx) -> None:
    size = 1_000_000

    async def pieces(response: httpx.Response) -> AsyncIterator[bytes]:
        read = 0
        async for piece in response.aiter_raw():
            yield piece[: size - read]
            read += len(piece)
            if read >= size:
                return

    async with async_client.stream("GET", f"{nginx.urls.tls13}/files/big") as response:
        answer = await async_client.put(f"{nginx.urls.plain}/uploads/copied", content=pieces(response))
        assert answer.status_code in (201, 204)
    assert nginx.uploaded("copied").stat().st_size == size


async def test_one_task_may_close_what_another_opened(async_client: httpx.AsyncClient, serve: Serve) -> None:
    async def script(connection: Connection) -> None:
        await connection.request()
        await connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\nsome")
        await connection.client_closed()

    server = serve(script)
    opened: list[httpx.Response] = []

    async def begin() -> None:
        opened.append(await async_client.send(async_client.build_request("GET", server.url), stream=True))

    async with anyio.create_task_group() as group:
        group.start_soon(begin)
    async with anyio.create_task_group() as group:
        group.start_soon(opened[0].aclose)
    assert leases(async_client) == 0
    await until(lambda: server.counts.open == 0, "the client close")
