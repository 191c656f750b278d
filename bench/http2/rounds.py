"""The measuring of the part over HTTP/2: every client in every scenario, each time in a fresh process, in rounds."""

from __future__ import annotations

import json
import statistics
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench.common.environment import worker
from bench.common.interleaving import interleaved
from bench.common.processes import figures_of
from bench.common.workload import RESPONSE_BODY, Peer, request_bytes
from bench.cpp.part import OWN
from bench.http2.part import BESIDES, CPP_LOOP, CPP_THREADS, Client, Scenario
from bench.http2.server import Nginx
from bench.loops.rounds import CLIENT_CORES

_PATIENCE = 120.0


@dataclass(frozen=True)
class Effort:
    """How long it may take: rounds, and of each process the seconds before and during the measurement."""

    rounds: int
    seconds: float
    warm: float = 0.1

    @classmethod
    def of(cls, quick: bool, rounds: int | None, seconds: float | None) -> Effort:
        return cls(rounds or 1, seconds or 0.15, 0.05) if quick else cls(rounds or 3, seconds or 0.4)

    def of_kind(self, scenario: Scenario) -> float:
        """Seconds of a measurement; a download takes a while."""
        return self.seconds * (2.0 if scenario.kind in BESIDES else 1.0)


@dataclass(frozen=True)
class Sample:
    """One process's result; times in microseconds per request, `us` on the clock."""

    requests: int
    cpu_us: float
    us: float
    server_cpu_us: float
    connections: int
    p50_us: float | None = None
    megabytes_per_second: float | None = None


@dataclass
class Results:
    """All samples, the clients that could not be measured with the reason, and how which measurement failed last."""

    samples: dict[tuple[Scenario, Client], list[Sample]] = field(default_factory=dict)
    unavailable: dict[Client, str] = field(default_factory=dict)
    failures: dict[tuple[Scenario, Client], str] = field(default_factory=dict)

    def of(self, scenario: Scenario, client: Client) -> list[Sample]:
        return self.samples.get((scenario, client), [])

    def median(self, scenario: Scenario, client: Client, figure: str = "cpu_us") -> float | None:
        values = [getattr(sample, figure) for sample in self.of(scenario, client)]
        values = [value for value in values if value is not None]
        return statistics.median(values) if values else None

    def as_json(self) -> dict[str, Any]:
        return {
            "unavailable": {client.key: reason for client, reason in self.unavailable.items()},
            "failures": [
                {"scenario": scenario.title, "client": client.key, "reason": reason}
                for (scenario, client), reason in self.failures.items()
            ],
            "samples": [
                {"scenario": scenario.title, "client": client.key, "rounds": [asdict(sample) for sample in samples]}
                for (scenario, client), samples in self.samples.items()
            ],
        }


def _command(client: Client, peer: Peer, scenario: Scenario, effort: Effort, program: Path) -> tuple[list[str], bytes]:
    """What to run, and its standard input."""
    timing = [effort.warm, effort.of_kind(scenario)]
    if scenario.kind in (CPP_LOOP, CPP_THREADS):
        settings = [client.name, peer.url, len(RESPONSE_BODY), scenario.width, *timing]
        authority = [peer.ca_file] if peer.ca_file is not None else []
        return [str(program), *map(str, settings), *authority], request_bytes(peer.port)
    order = {
        "client": client.name,
        "http2": client.http2,
        "loop": client.loop,
        "kind": scenario.kind.name,
        "width": scenario.width,
        "warm": timing[0],
        "seconds": timing[1],
        **asdict(peer),
    }
    return worker("http2.worker"), json.dumps(order).encode() + b"\n"


def run_once(
    server: Nginx,
    client: Client,
    scenario: Scenario,
    effort: Effort,
    cores: set[int] | None = CLIENT_CORES,
    program: Path = OWN,
) -> dict[str, Any]:
    """One fresh process: what it prints. RuntimeError if it fails, as on an answer that is not the server's."""
    command, given = _command(client, server.peer(scenario.tls, client.http2), scenario, effort, program)
    return figures_of(command, given, cores, _PATIENCE)


def measure_once(server: Nginx, client: Client, scenario: Scenario, effort: Effort) -> Sample:
    """The same, with the server's counters taken around it."""
    before = server.counts()
    figures = run_once(server, client, scenario, effort)
    served = server.counts().since(before)
    requests = figures["requests"]
    if requests == 0:
        raise RuntimeError("no request was answered in the time of the measurement")
    return Sample(
        requests=requests,
        cpu_us=figures["cpu_us"] / requests,
        us=figures["seconds"] / requests * 1e6,
        server_cpu_us=served.cpu_us / served.requests,
        connections=served.connections,
        p50_us=figures.get("p50_us"),
        megabytes_per_second=figures.get("megabytes_per_second"),
    )


def probe(server: Nginx, wanted: Iterable[Scenario]) -> dict[Client, str]:
    """One call of each Python client in each kind of work: which cannot be measured, and why."""
    reasons: dict[Client, str] = {}
    seen = set()
    for scenario in wanted:
        if scenario.kind in (CPP_LOOP, CPP_THREADS, *BESIDES):
            continue
        for client in scenario.kind.clients:
            case = (scenario.kind, scenario.tls, client)
            if client in reasons or case in seen:
                continue
            seen.add(case)
            try:
                result = run_once(server, client, scenario, Effort(1, 0, 0))
            except (RuntimeError, subprocess.TimeoutExpired) as error:
                reasons[client] = f"failed ({scenario.title}): {error}"
            else:
                if "unavailable" in result:
                    reasons[client] = str(result["unavailable"])
    return reasons


def run(server: Nginx, wanted: list[Scenario], effort: Effort, progress: Callable[[str], None]) -> Results:
    """All rounds."""
    progress("one call of each client")
    results = Results(unavailable=probe(server, wanted))
    plan = {
        scenario: [client for client in scenario.kind.clients if client not in results.unavailable]
        for scenario in wanted
    }
    for scenario, client in interleaved(plan, effort.rounds, lambda each, own: f"{each.title}: {own.key}", progress):
        try:
            sample = measure_once(server, client, scenario, effort)
        except (RuntimeError, subprocess.TimeoutExpired) as error:
            results.failures[scenario, client] = str(error)
        else:
            results.samples.setdefault((scenario, client), []).append(sample)
    return results
