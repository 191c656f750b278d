"""Large bodies within a memory bound. In a process of its own, whose peak is read from the kernel."""

from __future__ import annotations

import hashlib

import httpx
import pytest

from peers import child
from peers.asgi import AsgiServer
from peers.nginx import BIG_FILE_BYTES, Nginx
from support.certificates import Certificates

MIB = 1024 * 1024
SIZE = BIG_FILE_BYTES
#: What may come on top of the bodies that a program holds itself.
SLACK = 8 * MIB

_PROGRAM = """
    import resource, sys, httpx
    from fast_litellm import HTTPTransport
    what, url, ca_file, size = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
    client = httpx.Client(transport=HTTPTransport(verify=ca_file), timeout=30)

    def peak():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

    def pieces():
        piece = b"x" * 65536
        for _ in range(size // len(piece)):
            yield piece

    client.get(url + "/nothing").read()
    body = b"x" * size if what == "whole up" else b""
    before = peak()
    if what == "streamed up":
        assert client.post(url + "/digest", content=pieces()).json()["length"] == size
    elif what == "whole up":
        assert client.post(url + "/digest", content=body).json()["length"] == size
    elif what == "streamed down":
        with client.stream("GET", url) as response:
            assert sum(map(len, response.iter_raw())) == size
    elif what == "whole down":
        assert len(client.get(url).content) == size
    print(peak() - before)
"""


def _growth(what: str, url: str, certificates: Certificates) -> int:
    done = child.run(_PROGRAM, what, url, str(certificates.ca_file), str(SIZE))
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("what", ["streamed up", "whole up"])
def test_a_body_of_50_mb_goes_up_without_a_copy(
    asgi: AsgiServer, asgi_tls: AsgiServer, certificates: Certificates, what: str, tls: bool
) -> None:
    assert _growth(what, (asgi_tls if tls else asgi).url, certificates) < SLACK


@pytest.mark.parametrize("url", ["plain", "tls13"])
def test_a_streamed_response_of_50_mb_is_never_held(nginx: Nginx, certificates: Certificates, url: str) -> None:
    assert _growth("streamed down", getattr(nginx.urls, url) + "/files/big", certificates) < SLACK


def test_a_whole_response_of_50_mb_is_held_by_httpx_alone(nginx: Nginx, certificates: Certificates) -> None:
    # httpx keeps the pieces and joins them: twice the body. A third copy would be ours.
    assert _growth("whole down", nginx.urls.plain + "/files/big", certificates) < 2 * SIZE + SLACK


def test_every_byte_of_a_large_body_arrives(client: httpx.Client, asgi_tls: AsgiServer, nginx: Nginx) -> None:
    body = bytes(range(256)) * 200_000
    answer = client.post(f"{asgi_tls.url}/digest", content=body).json()
    assert answer == {"length": len(body), "sha256": hashlib.sha256(body).hexdigest()}
    pieces = (body[start : start + 100_001] for start in range(0, len(body), 100_001))
    assert client.put(f"{nginx.urls.tls13}/uploads/large", content=pieces).status_code in (201, 204)
    assert nginx.uploaded("large").read_bytes() == body
