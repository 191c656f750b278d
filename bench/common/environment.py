"""What a run needs around it: the built C++ programs, a certificate, and the server on its core."""

from __future__ import annotations

import http.client
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Protocol

from bench.common.workload import EVENTS, HOST, INTERVAL_US, Peer, server_input

ROOT = Path(__file__).resolve().parents[2]
BUILD_DIR = ROOT / "build" / "bench"
RAW_CLIENT = BUILD_DIR / "bin" / "fastpool_bench_raw"
RAW_LOOP = BUILD_DIR / "bin" / "fastpool_bench_loop"
POOL_PROGRAM = BUILD_DIR / "bin" / "fastpool_bench_pool"
MEMORY_PROGRAM = BUILD_DIR / "bin" / "fastpool_bench_memory"
SERVER = BUILD_DIR / "bin" / "fastpool_bench_server"


def worker(module: str, python: str = sys.executable) -> list[str]:
    """The command of a worker, such as "http.worker". It is to be started in ROOT, where `-m` finds the package."""
    return [python, "-m", f"bench.{module}"]


class SetupError(Exception):
    """The benchmark cannot run here; the text says what is missing."""


def versions(*packages: str) -> str:
    """Python's, and of every package that is compared."""
    known = []
    for name in packages:
        try:
            known.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            known.append(f"{name} not installed")
    return f"Python {platform.python_version()}, " + ", ".join(known)


def build(targets: Iterable[str]) -> None:
    """Builds the server and these, optimised; quick when nothing has changed."""
    for command in (
        ["cmake", "-S", str(ROOT / "bench"), "-B", str(BUILD_DIR), "-DCMAKE_BUILD_TYPE=Release"],
        [
            "cmake",
            "--build",
            str(BUILD_DIR),
            "--parallel",
            str(os.cpu_count() or 1),
            "--target",
            SERVER.name,
            *targets,
        ],
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


class Counter:
    """Asks the server what it has counted, over a connection of its own that stays open."""

    def __init__(self, host: str, port: int) -> None:
        self._stats = http.client.HTTPConnection(host, port)

    def counts(self) -> ServerCounts:
        self._stats.request("GET", "/stats")
        return ServerCounts(**json.loads(self._stats.getresponse().read()))

    def close(self) -> None:
        self._stats.close()


class Server(Counter):
    """The running server: where to reach it, and what it has counted."""

    def __init__(self, plain: Peer, tls: Peer) -> None:
        super().__init__(plain.host, plain.port)
        self.plain = plain
        self.tls = tls


def make_certificate(folder: Path, host: str) -> tuple[Path, Path, Path]:
    """A certificate for an address from a CA of its own: certificate, key, CA."""
    try:
        import trustme
    except ModuleNotFoundError as error:
        raise SetupError("trustme is missing; install the extra: pip install 'fast-litellm[bench]'") from error
    authority = trustme.CA()
    issued = authority.issue_cert(host, "localhost")
    certificate, key, ca = folder / "certificate.pem", folder / "key.pem", folder / "ca.pem"
    certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(str(key))
    authority.cert_pem.write_to_path(str(ca))
    return certificate, key, ca


@contextmanager
def running_server(core: int, host: str = HOST, within: Iterable[str] = (), program: Path = SERVER) -> Iterator[Server]:
    """Starts the server pinned to `core` on free ports of `host`; stops it at the end. `within` is put before its
    command: `ip netns exec ...`."""
    with tempfile.TemporaryDirectory(prefix="fastpool-bench-") as folder:
        certificate, key, ca = make_certificate(Path(folder), host)
        command = [*within, str(program), str(core), str(certificate), str(key), host, str(EVENTS), str(INTERVAL_US)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(server_input())
            process.stdin.close()
            ports = process.stdout.readline().split()
            if len(ports) != 2:
                raise SetupError("the benchmark's server did not start")
            server = Server(Peer(int(ports[0]), None, host), Peer(int(ports[1]), str(ca), host))
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


@dataclass(frozen=True)
class MachineTime:
    """CPU seconds of the whole machine since it started: used by anyone, and withheld by the hypervisor."""

    busy: float
    stolen: float

    @classmethod
    def now(cls) -> MachineTime:
        fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
        user, nice, system, _, _, irq, softirq, stolen = (int(ticks) / os.sysconf("SC_CLK_TCK") for ticks in fields)
        return cls(user + nice + system + irq + softirq, stolen)


class Counting(Protocol):
    """A server that tells what it has counted."""

    def counts(self) -> ServerCounts: ...


def own_cpu_seconds(server: Counting) -> float:
    """CPU seconds of this process, of the clients it has waited for, and of the server."""
    own, clients = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    used = own.ru_utime + own.ru_stime + clients.ru_utime + clients.ru_stime
    return used + server.counts().cpu_us / 1e6


def disturbance(server: Counting) -> Callable[[], str]:
    """Call it before the measurement, and what it returns after: says how much of the machine others took."""
    machine, own, begin = MachineTime.now(), own_cpu_seconds(server), time.monotonic()

    def told() -> str:
        after, seconds = MachineTime.now(), time.monotonic() - begin
        others = max(0.0, after.busy - machine.busy - (own_cpu_seconds(server) - own)) / seconds
        stolen = (after.stolen - machine.stolen) / seconds
        text = f"other processes took {others:.0%} of one core, the hypervisor {stolen:.0%}"
        return text + (" (a busy machine: take the figures with care)" if others + stolen > 0.1 else "")

    return told
