"""The measuring itself: every client in every scenario, each time in a fresh process, rounds interleaved."""

from __future__ import annotations

import statistics
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field

from bench.common.environment import RAW_CLIENT, Server, worker
from bench.common.interleaving import interleaved
from bench.common.placement import PLACEMENTS, cores_of
from bench.common.processes import figures_of
from bench.common.workload import Peer, request_bytes, response_bytes

#: Clients in the order of the report: key -> title.
CLIENTS: dict[str, str] = {
    "raw": "raw system calls",
    "pool_lease": "`pool.request`, lease held",
    "pool_url": "`pool.request`, by URL",
    "pycurl": "pycurl",
    "pyreqwest": "pyreqwest",
    "httpx_memory": "httpx over memory (floor)",
    "httpx_own": "httpx over our `HTTPTransport`",
    "httpx_accelerated": "httpx, `accelerate(client)`",
    "httpx_pyreqwest": "httpx over pyreqwest",
    "httpx_stock": "httpx, stock",
}
FLOOR = "httpx_memory"


@dataclass(frozen=True)
class Scenario:
    """Where and how a client runs."""

    tls: bool
    placement: str
    threads: int

    @property
    def title(self) -> str:
        threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        return f"{'TLS' if self.tls else 'plain'}, {PLACEMENTS[self.placement]}, {threads}"

    @property
    def cores(self) -> set[int] | None:
        return cores_of(self.placement)


@dataclass(frozen=True)
class Sample:
    """One process's result, per request where it says so."""

    requests: int
    cpu_us: float
    p50_us: float
    p99_us: float
    requests_per_second: float
    server_cpu_us: float
    connections: int


@dataclass
class Results:
    """All samples, and the clients that could not be measured with the reason."""

    samples: dict[tuple[Scenario, str], list[Sample]] = field(default_factory=dict)
    unavailable: dict[str, str] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def of(self, scenario: Scenario, client: str) -> list[Sample]:
        # In memory there is neither TLS nor a server: one measurement stands for both.
        if client == FLOOR:
            scenario = Scenario(False, scenario.placement, scenario.threads)
        return self.samples.get((scenario, client), [])

    def median(self, scenario: Scenario, client: str, figure: str) -> float | None:
        values = [getattr(sample, figure) for sample in self.of(scenario, client)]
        return statistics.median(values) if values else None

    def as_json(self) -> dict[str, object]:
        return {
            "unavailable": self.unavailable,
            "failures": self.failures,
            "samples": [
                {**asdict(scenario), "client": client, "rounds": [asdict(sample) for sample in samples]}
                for (scenario, client), samples in self.samples.items()
            ],
        }


@dataclass(frozen=True)
class Timing:
    """Seconds of one process: before and during the measurement."""

    warm: float
    measured: float


def scenarios(placements: Iterable[str], thread_counts: Iterable[int]) -> list[Scenario]:
    """All of them, plain first."""
    placements, thread_counts = list(placements), list(thread_counts)
    return [
        Scenario(tls, placement, threads)
        for tls in (False, True)
        for threads in thread_counts
        for placement in placements
    ]


def _run_process(client: str, peer: Peer, scenario: Scenario, timing: Timing) -> dict[str, object]:
    common = [str(peer.port), str(scenario.threads), str(timing.warm), str(timing.measured)]
    authority = [peer.ca_file] if peer.ca_file is not None else []
    if client == "raw":
        command = [str(RAW_CLIENT), *common, str(len(response_bytes())), *authority]
        given = request_bytes(peer.port)
    else:
        command = [*worker("http.worker"), client, *common, *authority]
        given = b""
    return figures_of(command, given, scenario.cores, 60)


def probe(server: Server, clients: Iterable[str]) -> dict[str, str]:
    """One call of each Python client, plain and TLS: which cannot be measured, and why."""
    reasons: dict[str, str] = {}
    for client in clients:
        if client == "raw":
            continue
        for peer in (server.plain, server.tls):
            try:
                result = _run_process(client, peer, Scenario(peer is server.tls, "cross", 1), Timing(0, 0))
            except (RuntimeError, subprocess.TimeoutExpired) as error:
                reasons[client] = f"failed {'over TLS' if peer is server.tls else 'over plain TCP'}: {error}"
                break
            if "unavailable" in result:
                reasons[client] = str(result["unavailable"])
                break
    return reasons


def measure_once(server: Server, client: str, scenario: Scenario, timing: Timing) -> Sample:
    """One fresh process, with the server's counters taken around it."""
    before = server.counts()
    result = _run_process(client, server.tls if scenario.tls else server.plain, scenario, timing)
    served = server.counts().since(before)
    requests = int(str(result["requests"]))
    return Sample(
        requests=requests,
        cpu_us=float(str(result["cpu_us"])) / requests,
        p50_us=float(str(result["p50_us"])),
        p99_us=float(str(result["p99_us"])),
        requests_per_second=requests / float(str(result["seconds"])),
        server_cpu_us=served.cpu_us / served.requests if served.requests else 0.0,
        connections=served.connections,
    )


def run(
    server: Server,
    clients: list[str],
    wanted: list[Scenario],
    timing: Timing,
    rounds: int,
    progress: Callable[[str], None],
) -> Results:
    results = Results(unavailable=probe(server, clients))
    measured = [client for client in clients if client not in results.unavailable]
    plan = {scenario: [client for client in measured if not (client == FLOOR and scenario.tls)] for scenario in wanted}
    for scenario, client in interleaved(plan, rounds, lambda each, name: f"{each.title}: {name}", progress):
        try:
            sample = measure_once(server, client, scenario, timing)
        except (RuntimeError, subprocess.TimeoutExpired) as error:
            results.failures.append(f"{CLIENTS[client]} ({scenario.title}): {error}")
        else:
            results.samples.setdefault((scenario, client), []).append(sample)
    return results
