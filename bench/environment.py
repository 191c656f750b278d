"""What a run needs around it: the built C++ programs, a certificate, and the server on its core."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from workload import HOST, Peer, response_bytes

ROOT = Path(__file__).resolve().parent.parent
BUILD_DIR = ROOT / "build" / "bench"
RAW_CLIENT = BUILD_DIR / "bin" / "fastpool_bench_raw"
_SERVER = BUILD_DIR / "bin" / "fastpool_bench_server"


class SetupError(Exception):
    """The benchmark cannot run here; the text says what is missing."""


def build() -> None:
    """Builds the server and the raw client, optimised; quick when nothing has changed."""
    for command in (
        ["cmake", "-S", str(ROOT / "bench"), "-B", str(BUILD_DIR), "-DCMAKE_BUILD_TYPE=Release"],
        ["cmake", "--build", str(BUILD_DIR)],
    ):
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except FileNotFoundError as error:
            raise SetupError("cmake is missing; run `make setup`") from error
        if done.returncode != 0:
            raise SetupError(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")


@dataclass(frozen=True)
class ServerCounts:
    """The server's own counters at one moment."""

    connections: int
    handshakes: int
    requests: int
    cpu_us: int

    def since(self, earlier: ServerCounts) -> ServerCounts:
        return ServerCounts(
            self.connections - earlier.connections,
            self.handshakes - earlier.handshakes,
            self.requests - earlier.requests,
            self.cpu_us - earlier.cpu_us,
        )


class Server:
    """The running server: where to reach it, and what it has counted."""

    def __init__(self, plain: Peer, tls: Peer) -> None:
        self.plain = plain
        self.tls = tls
        self._stats = http.client.HTTPConnection(HOST, plain.port)

    def counts(self) -> ServerCounts:
        self._stats.request("GET", "/stats")
        return ServerCounts(**json.loads(self._stats.getresponse().read()))

    def close(self) -> None:
        self._stats.close()


def _make_certificate(folder: Path) -> tuple[Path, Path, Path]:
    """A certificate for 127.0.0.1 from a CA of its own: certificate, key, CA."""
    try:
        import trustme
    except ModuleNotFoundError as error:
        raise SetupError("trustme is missing; install the extra: pip install 'fast-litellm[bench]'") from error
    authority = trustme.CA()
    issued = authority.issue_cert(HOST, "localhost")
    certificate, key, ca = folder / "certificate.pem", folder / "key.pem", folder / "ca.pem"
    certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(str(key))
    authority.cert_pem.write_to_path(str(ca))
    return certificate, key, ca


@contextmanager
def running_server(core: int) -> Iterator[Server]:
    """Starts the server pinned to `core` on free loopback ports; stops it at the end."""
    with tempfile.TemporaryDirectory(prefix="fastpool-bench-") as folder:
        certificate, key, ca = _make_certificate(Path(folder))
        process = subprocess.Popen(
            [str(_SERVER), str(core), str(certificate), str(key)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(response_bytes())
            process.stdin.close()
            ports = process.stdout.readline().split()
            if len(ports) != 2:
                raise SetupError("the benchmark's server did not start")
            server = Server(Peer(int(ports[0]), None), Peer(int(ports[1]), str(ca)))
            try:
                yield server
            finally:
                server.close()
        finally:
            process.terminate()
            process.wait()


def child_environment() -> dict[str, str]:
    """The clients' environment: loopback goes through nobody's proxy, and no CA but ours is named."""
    dropped = {"http_proxy", "https_proxy", "all_proxy", "no_proxy", "ssl_cert_file", "ssl_cert_dir"}
    return {name: value for name, value in os.environ.items() if name.lower() not in dropped}
