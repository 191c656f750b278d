"""The Python clients that are compared: how each is set up at its best, and how it makes one call.

A client is opened once per process (`open_client`) and gives every thread its own call (`Opened.for_thread`). A call
makes one POST, takes the status and the whole body, and raises if either is not what the server sends. The packages
are imported when their client is opened, so that each process holds only the client it measures.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from bench.common.workload import REQUEST_BODY, REQUEST_HEADERS, RESPONSE_BODY, RESPONSE_HEADERS, TARGET, Peer

Call = Callable[[], None]
_SIZE = len(RESPONSE_BODY)


class NotAvailable(Exception):
    """The client cannot be measured here; the text says why."""


@dataclass(frozen=True)
class Opened:
    """A client ready for use: makes a thread's call, and gives everything back at the end."""

    for_thread: Callable[[], Call]
    close: Callable[[], object]


def _import(name: str) -> Any:
    """A package by name: the peers are no dependencies of the project and some bring no types."""
    return importlib.import_module(name)


def check(status: int, size: int) -> None:
    if status != 200 or size != _SIZE:
        raise AssertionError(f"status {status}, {size} bytes of body; expected 200, {_SIZE}")


def own_package(name: str) -> Any:
    package = _import("fast_litellm")
    try:
        return getattr(package, name)
    except AttributeError as error:
        raise NotAvailable(f"fast_litellm.{name} is not there (is fast_litellm._core built?): {error}") from error


def check_own(client: Any) -> None:
    """NotAvailable if the httpx client has kept a transport that is not ours."""
    module = type(client._transport).__module__
    if not module.startswith("fast_litellm"):
        reasons = own_package("get_patch_status")()["fallback_reasons"]
        raise NotAvailable(f"the client has a transport of {module}: {reasons}")


def _pool(peer: Peer) -> Any:
    make = own_package("SimpleConnectionPool")
    return make("bench") if peer.ca_file is None else make("bench", verify=peer.ca_file)


def _pool_request_on_lease(peer: Peer) -> Opened:
    """`pool.request` on a lease that its thread holds all the time."""
    pool = _pool(peer)
    leases: list[str] = []

    def for_thread() -> Call:
        lease = pool.get_connection(peer.origin)
        if lease is None:
            raise NotAvailable("the pool gave no lease")
        leases.append(lease)
        request = pool.request

        def call() -> None:
            response = request(lease, "POST", TARGET, headers=REQUEST_HEADERS, content=REQUEST_BODY)
            if response.status_code != 200 or len(response.content) != _SIZE:
                check(response.status_code, len(response.content))

        return call

    def close() -> None:
        for lease in leases:
            pool.return_connection(lease)
        pool.close()

    return Opened(for_thread, close)


def through_request(pool: Any, peer: Peer) -> Opened:
    """`pool.request` with the endpoint's URL: acquires and releases for every request."""
    origin = peer.origin

    def for_thread() -> Call:
        request = pool.request

        def call() -> None:
            response = request(origin, "POST", TARGET, headers=REQUEST_HEADERS, content=REQUEST_BODY)
            if response.status_code != 200 or len(response.content) != _SIZE:
                check(response.status_code, len(response.content))

        return call

    return Opened(for_thread, pool.close)


def _pool_request_by_url(peer: Peer) -> Opened:
    return through_request(_pool(peer), peer)


def through_httpx(client: Any, url: str) -> Opened:
    """One httpx client shared by all threads, as programs use it."""

    def for_thread() -> Call:
        post = client.post

        def call() -> None:
            response = post(url, content=REQUEST_BODY, headers=REQUEST_HEADERS)
            if response.status_code != 200 or len(response.content) != _SIZE:
                check(response.status_code, len(response.content))

        return call

    return Opened(for_thread, client.close)


def _httpx_over_own_transport(peer: Peer) -> Opened:
    httpx = _import("httpx")
    transport = own_package("HTTPTransport")(verify=peer.ca_file if peer.ca_file is not None else True)
    return through_httpx(httpx.Client(transport=transport), peer.url)


def _httpx_accelerated(peer: Peer) -> Opened:
    """The process-wide pool and the shortcuts; the client was made with these settings for TLS, and that is said."""
    httpx = _import("httpx")
    verify = peer.ca_file if peer.ca_file is not None else True
    client = own_package("accelerate")(httpx.Client(), verify=verify)
    check_own(client)
    return through_httpx(client, peer.url)


def _httpx_in_memory(peer: Peer) -> Opened:
    """httpx's own cost: a transport that only hands over a response, with its body in a stream as a real one has it."""
    import httpx

    class MemoryStream(httpx.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            yield RESPONSE_BODY

        def close(self) -> None:
            pass

    class MemoryTransport(httpx.BaseTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            return httpx.Response(
                200,
                headers=RESPONSE_HEADERS,
                stream=MemoryStream(),
                extensions={"http_version": b"HTTP/1.1", "reason_phrase": b"OK"},
            )

    return through_httpx(httpx.Client(transport=MemoryTransport()), peer.url)


def _httpx_stock(peer: Peer) -> Opened:
    httpx = _import("httpx")
    if peer.ca_file is None:
        return through_httpx(httpx.Client(), peer.url)
    ssl = importlib.import_module("ssl")
    return through_httpx(httpx.Client(verify=ssl.create_default_context(cafile=peer.ca_file)), peer.url)


def _pycurl(peer: Peer) -> Opened:
    """One easy handle per thread, set up once: a call is `perform`, the status and the body."""
    pycurl = _import("pycurl")
    io = importlib.import_module("io")
    headers = [f"{name}: {value}" for name, value in REQUEST_HEADERS]

    def for_thread() -> Call:
        curl = pycurl.Curl()
        body = io.BytesIO()
        curl.setopt(pycurl.URL, peer.url)
        curl.setopt(pycurl.POST, 1)
        curl.setopt(pycurl.POSTFIELDS, REQUEST_BODY)
        curl.setopt(pycurl.HTTPHEADER, headers)
        curl.setopt(pycurl.WRITEDATA, body)
        curl.setopt(pycurl.NOSIGNAL, 1)
        curl.setopt(pycurl.PROXY, "")
        curl.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1)
        if peer.ca_file is not None:
            curl.setopt(pycurl.CAINFO, peer.ca_file)
        perform, getinfo, code = curl.perform, curl.getinfo, pycurl.RESPONSE_CODE
        seek, truncate, getvalue = body.seek, body.truncate, body.getvalue

        def call() -> None:
            seek(0)
            truncate()
            perform()
            content = getvalue()
            if getinfo(code) != 200 or len(content) != _SIZE:
                check(getinfo(code), len(content))

        return call

    return Opened(for_thread, lambda: None)


def pyreqwest_client(builder: Any, peer: Peer, http2: bool = False) -> Any:
    """One client for all threads or tasks; nothing that the workload does not use."""
    builder = builder.http2(True).http2_prior_knowledge() if http2 else builder.http1_only()
    builder = builder.no_proxy().follow_redirects(False)
    builder = builder.gzip(False).brotli(False).zstd(False).deflate(False)
    if peer.ca_file is not None:
        with open(peer.ca_file, "rb") as file:
            builder = builder.add_root_certificate_pem(file.read())
    return builder.build()


def _pyreqwest_client(peer: Peer) -> Any:
    return pyreqwest_client(_import("pyreqwest.client").SyncClientBuilder(), peer)


def through_pyreqwest(client: Any, peer: Peer) -> Opened:

    def for_thread() -> Call:
        post, url = client.post, peer.url

        def call() -> None:
            response = post(url).headers(REQUEST_HEADERS).body_bytes(REQUEST_BODY).build().send()
            content = response.bytes()
            if response.status != 200 or len(content) != _SIZE:
                check(response.status, len(content))

        return call

    return Opened(for_thread, client.close)


def _pyreqwest(peer: Peer) -> Opened:
    return through_pyreqwest(_pyreqwest_client(peer), peer)


def _httpx_over_pyreqwest(peer: Peer) -> Opened:
    httpx = _import("httpx")
    transport = _import("pyreqwest.compatibility.httpx").SyncHttpxTransport(_pyreqwest_client(peer))
    return through_httpx(httpx.Client(transport=transport), peer.url)


_OPENERS: dict[str, Callable[[Peer], Opened]] = {
    "pool_lease": _pool_request_on_lease,
    "pool_url": _pool_request_by_url,
    "httpx_own": _httpx_over_own_transport,
    "httpx_accelerated": _httpx_accelerated,
    "httpx_memory": _httpx_in_memory,
    "httpx_stock": _httpx_stock,
    "pycurl": _pycurl,
    "pyreqwest": _pyreqwest,
    "httpx_pyreqwest": _httpx_over_pyreqwest,
}


@contextmanager
def needing_packages() -> Iterator[None]:
    """NotAvailable where a package cannot be imported."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise NotAvailable(f"not installed ({error.name})") from error
    except ImportError as error:
        raise NotAvailable(f"not importable: {error}") from error


def open_client(name: str, peer: Peer) -> Opened:
    """Sets a client up; NotAvailable if its package is missing."""
    with needing_packages():
        return _OPENERS[name](peer)
