"""HTTP/2 with real servers as users of httpx see it, over httpx's own transport and over ours."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from peers.http2 import SERVERS
from peers.http2_application import HELLO
from support.http2 import OURS_ALONE, over

every_server = over(*SERVERS, schemes=("https", "http"))
every_application = over("nginx", "hypercorn", "go", "node")
#: Applications that see the request's fields as the client sent them; nginx sends fields of its own.
every_server_that_shows_fields = over("hypercorn", "go", "node")


def _hello(client: httpx.Client, origin: Any) -> httpx.Response:
    response = client.get(f"{origin.url}/hello")
    assert (response.status_code, response.content, response.http_version) == (200, HELLO, "HTTP/2")
    return response


@every_server
def test_a_response_says_that_it_came_by_http2(client: httpx.Client, origin: Any) -> None:
    response = _hello(client, origin)
    assert response.extensions["http_version"] == b"HTTP/2"
    assert response.reason_phrase == "OK", "the status code's, as HTTP/2 has none"
    assert all(name == name.lower() for name, _ in response.headers.raw)
    assert not [name for name, _ in response.headers.raw if name.startswith(b":")]


@every_server
def test_requests_are_streams_of_one_connection(client: httpx.Client, origin: Any) -> None:
    responses = [_hello(client, origin) for _ in range(3)]
    ids = [response.extensions["stream_id"] for response in responses]
    assert [type(each) for each in ids] == [int] * 3
    assert ids == [1, 3, 5]
    addresses = {response.extensions["network_stream"].get_extra_info("client_addr") for response in responses}
    assert len(addresses) == 1


@every_server
@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_a_body_goes_there_and_back(client: httpx.Client, origin: Any, method: str) -> None:
    path = "/hello" if origin.server == "nghttpd" else "/echo"
    for size in (0, 1, 100_000):
        body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
        response = client.request(method, f"{origin.url}{path}", content=body)
        assert (response.status_code, response.content) == (200, body)


@every_server
def test_an_answer_to_head_has_no_body(client: httpx.Client, origin: Any) -> None:
    response = client.head(f"{origin.url}/hello")
    assert (response.status_code, response.content) == (200, b"")
    assert response.headers.get("content-length", str(len(HELLO))) == str(len(HELLO))
    _hello(client, origin)


@every_application
@pytest.mark.parametrize(("status", "reason"), [(204, "No Content"), (304, "Not Modified")])
def test_a_status_without_a_body(client: httpx.Client, origin: Any, status: int, reason: str) -> None:
    response = client.get(f"{origin.url}/status/{status}")
    assert (response.status_code, response.reason_phrase, response.content) == (status, reason, b"")
    assert response.headers["x-status"] == "bare"
    _hello(client, origin)


@over("nghttpd", "hypercorn", "go", "node")
def test_trailers_end_a_response_and_are_no_headers(client: httpx.Client, origin: Any) -> None:
    path = "/hello" if origin.server == "nghttpd" else "/trailers"
    response = client.get(f"{origin.url}{path}")
    assert response.content == (HELLO if origin.server == "nghttpd" else b"before the trailers")
    assert "x-trailer" not in response.headers
    _hello(client, origin)


# --- fields of requests -----------------------------------------------------------------------------------------------


def _seen(response: httpx.Response) -> tuple[str, list[tuple[str, str]]]:
    """The authority and the fields that reached the server."""
    found = response.json()
    return found["host"], [(name, value) for name, value in found["headers"]]


@every_server_that_shows_fields
@pytest.mark.parametrize("name", ["Connection", "Keep-Alive", "Proxy-Connection", "Upgrade", "Transfer-Encoding"])
def test_fields_of_a_connection_are_left_out(client: httpx.Client, origin: Any, name: str) -> None:
    """Servers must refuse them (RFC 9113 section 8.2.2); HTTP/1.1 needs them, so httpx's client sets some."""
    response = client.post(
        f"{origin.url}/headers", content=iter([b"a body"]), headers={name: "chunked", "X-Own": "kept"}
    )
    _, fields = _seen(response)
    assert ("x-own", "kept") in fields
    names = {field for field, _ in fields}
    assert not names & {"connection", "keep-alive", "proxy-connection", "upgrade", "transfer-encoding", "host"}


@every_server_that_shows_fields
def test_te_goes_as_trailers(client: httpx.Client, origin: Any) -> None:
    _, fields = _seen(client.get(f"{origin.url}/headers", headers={"TE": "trailers"}))
    assert ("te", "trailers") in fields


@OURS_ALONE
@every_server_that_shows_fields
def test_another_te_is_left_out(client: httpx.Client, origin: Any) -> None:
    """httpx's transport has the h2 package refuse the request: a LocalProtocolError that names no field."""
    _, fields = _seen(client.get(f"{origin.url}/headers", headers={"TE": "gzip, trailers"}))
    assert "te" not in dict(fields)


@every_application
def test_host_is_the_authority(client: httpx.Client, origin: Any) -> None:
    assert _seen(client.get(f"{origin.url}/headers"))[0] == httpx.URL(origin.url).netloc.decode()
    host, fields = _seen(client.get(f"{origin.url}/headers", headers={"Host": "other.example"}))
    assert host == "other.example"
    assert "host" not in dict(fields)


@every_application
def test_several_cookies_there_and_back(client: httpx.Client, origin: Any) -> None:
    response = client.get(f"{origin.url}/cookies")
    assert response.headers.get_list("set-cookie") == ["a=1; Path=/", "b=2; Path=/"]
    _, fields = _seen(client.get(f"{origin.url}/headers"))  # by the client's jar
    assert "; ".join(value for name, value in fields if name == "cookie") == "a=1; b=2"
    client.cookies.clear()
    _, fields = _seen(client.get(f"{origin.url}/headers", headers={"Cookie": "c=3; d=4"}))
    assert "; ".join(value for name, value in fields if name == "cookie") == "c=3; d=4"


@every_application
def test_a_field_that_takes_two_frames(client: httpx.Client, origin: Any) -> None:
    """A frame has 16 KiB, and "~" no shorter code. nginx takes no field of that size."""
    sent = {"x-large": "~" * (4_000 if origin.server == "nginx" else 20_000), "x-empty": ""}
    _, fields = _seen(client.get(f"{origin.url}/headers", headers=sent))
    assert sent.items() <= dict(fields).items()


# --- bodies -----------------------------------------------------------------------------------------------------------


@every_application
def test_a_response_comes_in_pieces(client: httpx.Client, origin: Any) -> None:
    with client.stream("GET", f"{origin.url}/stream?n=500") as response:
        text = "".join(response.iter_text())
    assert text == "".join(f"piece {number}\n" for number in range(500))


@every_application
def test_a_large_response_is_complete(client: httpx.Client, origin: Any) -> None:
    """More than any window of the transport, so that it has to give credit again and again."""
    size = 20_000_000
    length, digest = 0, hashlib.sha256()
    with client.stream("GET", f"{origin.url}/big?bytes={size}") as response:
        for piece in response.iter_raw():
            length += len(piece)
            digest.update(piece)
    assert length == size
    assert digest.hexdigest() == hashlib.sha256(b"x" * size).hexdigest()


@every_application
def test_a_response_that_is_closed_early_leaves_the_connection_usable(
    client: httpx.Client, origin: Any, engine: str
) -> None:
    """httpx's transport leaves the stream open, and the unread bytes use up the connection's window of 16 MiB."""
    for _ in range(2 if engine == "stock" else 20):
        with client.stream("GET", f"{origin.url}/big?bytes=4000000") as response:
            assert next(response.iter_raw())
        _hello(client, origin)


@every_application
def test_other_responses_arrive_while_one_is_not_read(client: httpx.Client, origin: Any, engine: str) -> None:
    if (engine, origin.server) == ("stock", "node"):
        pytest.skip("case: httpx's transport opens one stream until the server names a limit, and node names none")
    with client.stream("GET", f"{origin.url}/big?bytes=4000000") as unread:
        for _ in range(5):
            _hello(client, origin)
        assert len(unread.read()) == 4_000_000


def _pieces(count: int, size: int) -> Iterator[bytes]:
    for number in range(count):
        yield bytes([number % 256]) * size


@every_application
@pytest.mark.parametrize(("count", "size"), [(0, 0), (1, 1), (10_000, 10), (8, 2**20)])
def test_an_iterator_is_uploaded(client: httpx.Client, origin: Any, count: int, size: int, engine: str) -> None:
    if engine == "stock":  # a frame takes it up to 0.4 ms
        count = min(count, 2_000)
    response = client.post(f"{origin.url}/digest", content=_pieces(count, size))
    whole = b"".join(_pieces(count, size))
    assert response.json() == {"length": len(whole), "sha256": hashlib.sha256(whole).hexdigest()}


@every_application
def test_an_iterator_that_raises_ends_its_request_alone(client: httpx.Client, origin: Any) -> None:
    class Broken(Exception):
        pass

    def broken() -> Iterator[bytes]:
        yield b"x" * 1000
        raise Broken

    with pytest.raises(Broken):
        client.post(f"{origin.url}/digest", content=broken())
    _hello(client, origin)


@OURS_ALONE
@over("nginx", "go", "node")
@pytest.mark.parametrize("how", ["bytes", "iterator"])
def test_an_answer_before_the_body_was_sent_is_the_answer(client: httpx.Client, origin: Any, how: str) -> None:
    """httpx's transport goes on sending, until it waits for credit that never comes, or h2 says that the stream is
    closed. (hypercorn ends the connection when DATA follows its answer.)"""
    for _ in range(3):
        content: Any = b"x" * 4_000_000 if how == "bytes" else _pieces(64, 65536)
        response = client.post(f"{origin.url}/early413", content=content)
        assert (response.status_code, response.text) == (413, "too much")
        _hello(client, origin)
