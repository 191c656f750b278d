"""Large bodies within a memory bound. In a process of its own, whose peak is read from the kernel."""

from __future__ import annotations

import hashlib
from pathlib import Path

import certifi
import httpx
import pytest

from peers import child
from peers.asgi import AsgiServer
from peers.nginx import BIG_FILE_BYTES, Nginx
from support.addresses import refusing_port
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
def test_a_streamed_response_of_50_mb_is_never_held_in_memory(
    nginx: Nginx, certificates: Certificates, url: str
) -> None:
    assert _growth("streamed down", getattr(nginx.urls, url) + "/files/big", certificates) < SLACK


def test_only_httpx_keeps_a_copy_of_a_whole_response_of_50_mb(nginx: Nginx, certificates: Certificates) -> None:
    # httpx keeps the pieces and joins them: twice the body. A third copy would be ours.
    assert _growth("whole down", nginx.urls.plain + "/files/big", certificates) < 2 * SIZE + SLACK


def test_every_byte_of_a_large_body_arrives(client: httpx.Client, asgi_tls: AsgiServer, nginx: Nginx) -> None:
    body = bytes(range(256)) * 200_000
    answer = client.post(f"{asgi_tls.url}/digest", content=body).json()
    assert answer == {"length": len(body), "sha256": hashlib.sha256(body).hexdigest()}
    pieces = (body[start : start + 100_001] for start in range(0, len(body), 100_001))
    assert client.put(f"{nginx.urls.tls13}/uploads/large", content=pieces).status_code in (201, 204)
    assert nginx.uploaded("large").read_bytes() == body


_CLIENTS = """
    import gc, shutil, sys, httpx
    from fast_litellm import HTTPTransport, SimpleConnectionPool
    count, shared, authority, certificate, key, folder, url = int(sys.argv[1]), sys.argv[2] == "shared", *sys.argv[3:]
    pool = SimpleConnectionPool("here") if shared else None

    def resident():
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * 4096

    def connect_once(number):
        own = f"{folder}/{number}.pem"
        shutil.copy(certificate, own)
        with open(own, "a") as file:
            file.write(f"# {number}\\n")
        with httpx.Client(transport=HTTPTransport(pool=pool, verify=authority, cert=(own, key))) as client:
            try:
                client.get(url)  # no connection: its context goes with the client
            except httpx.ConnectError:
                pass

    connect_once(0)
    gc.disable()
    before = resident()
    for number in range(1, count + 1):
        connect_once(number)
    print(resident() - before)
"""


@pytest.mark.parametrize("pool", ["own", "shared"])
def test_closed_clients_with_certificates_of_their_own_leak_no_memory(
    certificates: Certificates, tmp_path: Path, pool: str
) -> None:
    # With the usual authorities a context takes 0.5 MB or more.
    files = certifi.where(), str(certificates.client.certificate), str(certificates.client.key)
    done = child.run(_CLIENTS, "60", pool, *files, str(tmp_path), f"https://127.0.0.1:{refusing_port()}")
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 20 * MIB
