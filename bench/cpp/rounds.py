"""The measuring of the C++ part: every client in every scenario, each time in a fresh process, rounds interleaved."""

from __future__ import annotations

import statistics
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from bench.common.environment import RAW_CLIENT, RAW_LOOP, Server
from bench.common.interleaving import interleaved
from bench.common.processes import figures_of
from bench.common.workload import Peer, request_bytes
from bench.cpp.part import NEEDS, Client, Scenario

_PATIENCE = 60.0


@dataclass(frozen=True)
class Effort:
    """How long it may take: rounds, and of each process the seconds before and during the measurement."""

    rounds: int
    seconds: float
    warm: float = 0.05

    @classmethod
    def of(cls, quick: bool, rounds: int | None, seconds: float | None) -> Effort:
        return cls(rounds or 1, seconds or 0.1) if quick else cls(rounds or 3, seconds or 0.25)


@dataclass(frozen=True)
class Sample:
    """One process's result; CPU per request."""

    requests: int
    cpu_us: float
    requests_per_second: float
    connections: int


@dataclass
class Results:
    """All samples, the programs that are not built, and what failed."""

    samples: dict[tuple[Scenario, Client], list[Sample]] = field(default_factory=dict)
    absent: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    versions: list[str] = field(default_factory=list)

    def of(self, scenario: Scenario, client: Client) -> list[Sample]:
        return self.samples.get((scenario, client), [])

    def median(self, scenario: Scenario, client: Client, figure: str = "cpu_us") -> float | None:
        values = [getattr(sample, figure) for sample in self.of(scenario, client)]
        return statistics.median(values) if values else None

    def as_json(self) -> dict[str, Any]:
        return {
            "absent": self.absent,
            "failures": self.failures,
            "versions": self.versions,
            "samples": [
                {
                    "scenario": scenario.title,
                    "client": client.name,
                    "rounds": [asdict(sample) for sample in samples],
                }
                for (scenario, client), samples in self.samples.items()
            ],
        }


def command(client: Client, peer: Peer, scenario: Scenario, effort: Effort) -> list[str]:
    """The command of one process; the request comes on its standard input."""
    timing = [str(effort.warm), str(effort.seconds * scenario.share)]
    authority = [peer.ca_file] if peer.ca_file is not None else []
    if client.program.name in (RAW_CLIENT.name, RAW_LOOP.name):
        wire = str(scenario.work.wire_size)
        return [str(client.program), str(peer.port), str(scenario.width), *timing, wire, *authority]
    url = peer.origin + scenario.work.target
    sizes = [str(scenario.work.body_size), str(scenario.width)]
    return [str(client.program), client.name, url, *sizes, *timing, *authority]


def run_once(server: Server, client: Client, scenario: Scenario, effort: Effort) -> dict[str, Any]:
    """One fresh process: what it prints. RuntimeError if it fails, as on an answer that is not the server's."""
    peer = server.tls if scenario.tls else server.plain
    given = request_bytes(peer.port, scenario.work.target)
    return figures_of(command(client, peer, scenario, effort), given, scenario.cores, _PATIENCE)


def measure_once(server: Server, client: Client, scenario: Scenario, effort: Effort) -> Sample:
    """The same, with the server's counters taken around it."""
    before = server.counts()
    figures = run_once(server, client, scenario, effort)
    if figures["requests"] == 0:
        raise RuntimeError("no request was answered in the time of the measurement")
    return Sample(
        requests=figures["requests"],
        cpu_us=figures["cpu_us"] / figures["requests"],
        requests_per_second=figures["requests"] / figures["seconds"],
        connections=server.counts().since(before).connections,
    )


def _versions(clients: Iterable[Client]) -> list[str]:
    programs = dict.fromkeys(client.program for client in clients if client.program not in (RAW_CLIENT, RAW_LOOP))
    return [
        subprocess.run([str(program), "--version"], capture_output=True, text=True, check=True).stdout.strip()
        for program in programs
    ]


def run(server: Server, wanted: list[Scenario], effort: Effort, progress: Callable[[str], None]) -> Results:
    """All rounds. A client whose program is not built is left out."""
    clients = dict.fromkeys(client for scenario in wanted for client in scenario.clients)
    built = [client for client in clients if client.program.exists()]
    results = Results(
        absent=[
            f"{client.title}: not built, {NEEDS.get(client.program, client.program.name)} is missing"
            for client in clients
            if client not in built
        ],
        versions=_versions(built),
    )
    for line in results.absent:
        progress(f"left out: {line}")
    plan = {scenario: [client for client in scenario.clients if client in built] for scenario in wanted}
    for scenario, client in interleaved(plan, effort.rounds, lambda each, own: f"{each.title}: {own.name}", progress):
        try:
            sample = measure_once(server, client, scenario, effort)
        except (RuntimeError, subprocess.TimeoutExpired) as error:
            results.failures.append(f"{client.title} ({scenario.title}): {error}")
        else:
            results.samples.setdefault((scenario, client), []).append(sample)
    return results
