"""The measuring of the asynchronous part: groups of clients that do the same works in turn, each client in a process of
its own that lives as long as its group."""

from __future__ import annotations

import json
import os
import select
import statistics
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

from bench.common.environment import RAW_LOOP, ROOT, child_environment, worker
from bench.common.interleaving import interleaved
from bench.common.workload import Peer, request_bytes, response_bytes

#: The clients have a core of their own; on a machine with one they share the server's.
CLIENT_CORES = {1} if (os.cpu_count() or 1) > 1 else {0}
_PATIENCE = 120.0


@dataclass(frozen=True)
class Client:
    """A column or row of the report: which client, on which loop."""

    name: str
    title: str
    loop: str = "asyncio"

    @property
    def key(self) -> str:
        return self.name if self.loop == "asyncio" else f"{self.name}-{self.loop}"


@dataclass(frozen=True)
class Work:
    """What a client is told to do. By time (`seconds`): "post", "burst", "paced", "acompletion"; by number (`calls`):
    "steady", "again", "empty", "single", "tenants"."""

    kind: str
    tasks: int = 1
    seconds: float = 0.0
    warm: float = 0.0
    calls: int = 0

    @property
    def key(self) -> str:
        return f"{self.kind}-{self.tasks}"


@dataclass(frozen=True)
class Group:
    """Clients that are compared, and their works; `skipped` names what one cannot do in a reasonable time."""

    name: str
    title: str
    clients: tuple[Client, ...]
    works: tuple[Work, ...]
    tls: bool = False
    skipped: frozenset[tuple[str, str]] = frozenset()

    def measures(self, client: Client, work: Work) -> bool:
        return (client.key, work.key) not in self.skipped


@dataclass(frozen=True)
class Sample:
    """One work, done once."""

    calls: int
    seconds: float
    cpu_us: float
    connections: int = 0
    handshakes: int = 0
    delays_us: list[int] = field(default_factory=list)

    @property
    def cpu_per_call(self) -> float:
        return self.cpu_us / self.calls

    @property
    def us_per_call(self) -> float:
        return self.seconds / self.calls * 1e6

    @property
    def core_share(self) -> float:
        """How much of a core the process had: a client that waits for nothing and has less was kept from it."""
        return self.cpu_us / 1e6 / self.seconds

    @property
    def rate(self) -> float:
        return self.calls / self.seconds


class Failed(Exception):
    """A client's process ended or hung; the text says what it said last."""


@dataclass
class GroupResults:
    """The samples of one group: client's key, work's key."""

    samples: dict[tuple[str, str], list[Sample]] = field(default_factory=dict)
    first_handshakes: dict[str, int] = field(default_factory=dict)
    unavailable: dict[str, str] = field(default_factory=dict)

    def of(self, client: str, work: str) -> list[Sample]:
        return self.samples.get((client, work), [])

    def median(self, client: str, work: str, figure: str) -> float | None:
        values = [getattr(sample, figure) for sample in self.of(client, work)]
        return statistics.median(values) if values else None

    def delay_ms(self, client: str, work: str, percent: int) -> float | None:
        """A percentile of the delays of all rounds."""
        delays = sorted(delay for sample in self.of(client, work) for delay in sample.delays_us)
        return delays[min(len(delays) - 1, len(delays) * percent // 100)] / 1e3 if delays else None

    def total(self, client: str, works: tuple[str, ...], figure: str) -> int | None:
        """The sum over all rounds of some works."""
        own = [sample for work in works for sample in self.of(client, work)]
        return sum(getattr(sample, figure) for sample in own) if own else None

    def as_json(self) -> dict[str, Any]:
        return {
            "unavailable": self.unavailable,
            "first_handshakes": self.first_handshakes,
            "samples": [
                {"client": client, "work": work, "rounds": [asdict(sample) for sample in samples]}
                for (client, work), samples in self.samples.items()
            ],
        }

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> GroupResults:
        samples = {
            (entry["client"], entry["work"]): [Sample(**sample) for sample in entry["rounds"]]
            for entry in document["samples"]
        }
        return cls(samples, document["first_handshakes"], document["unavailable"])


def _pin() -> None:
    """In the child, before it becomes the client; this program has no threads."""
    os.sched_setaffinity(0, CLIENT_CORES)


class LoopProcess:
    """The raw loop: a fresh process for every work."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self.handshakes = 0

    def do(self, work: Work) -> Sample:
        settings = [self._peer.port, work.tasks, work.warm, work.seconds, len(response_bytes())]
        done = subprocess.run(
            [str(RAW_LOOP), *map(str, settings)],
            input=request_bytes(self._peer.port),
            capture_output=True,
            preexec_fn=_pin,
            timeout=_PATIENCE,
            check=False,
        )
        if done.returncode != 0:
            raise Failed(done.stderr.decode(errors="replace").strip() or f"exit code {done.returncode}")
        figures = json.loads(done.stdout)
        return Sample(figures["requests"], figures["seconds"], figures["cpu_us"])

    def close(self) -> None:
        pass


class WorkerProcess:
    """One worker.py, ready for work. `within`: what is put before its command."""

    def __init__(self, client: Client, peer: Peer, stats_port: int, environment: dict[str, str], within: list[str]):
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the process)
        self._process = subprocess.Popen(
            [*within, *worker("loops.worker")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=environment,
            cwd=ROOT,
            preexec_fn=_pin,  # noqa: PLW1509
        )
        settings = {"client": client.name, "loop": client.loop, "stats_port": stats_port, **asdict(peer)}
        try:
            answer = self._ask(settings)
        except Failed:
            self.close()
            raise
        if "unavailable" in answer:
            self.close()
            raise Failed(answer["unavailable"])
        self.handshakes = int(answer["handshakes"])

    def do(self, work: Work) -> Sample:
        return Sample(**self._ask(asdict(work)))

    def _ask(self, message: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise Failed(self._last_words()) from None
        if not select.select([self._process.stdout], [], [], _PATIENCE)[0]:
            self._process.kill()
            raise Failed(f"no answer within {_PATIENCE:.0f} s")
        line = self._process.stdout.readline()
        if not line:
            raise Failed(self._last_words())
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _last_words(self) -> str:
        self._process.wait()
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"exit code {self._process.returncode}"

    def close(self) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.close()
        except BrokenPipeError:
            pass
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._errors.close()


@dataclass(frozen=True)
class Place:
    """Where a group is measured: its peer, and how a client's process is started there."""

    plain: Peer
    tls: Peer
    environment: dict[str, str] = field(default_factory=child_environment)
    within: list[str] = field(default_factory=list)


@contextmanager
def _processes(group: Group, place: Place, results: GroupResults) -> Iterator[dict[Client, Any]]:
    """Starts one after the other, so that what the server counts meanwhile is that one's own."""
    peer = place.tls if group.tls else place.plain
    running: dict[Client, Any] = {}
    try:
        for client in group.clients:
            try:
                if client.name == "loop":
                    running[client] = LoopProcess(peer)
                else:
                    running[client] = WorkerProcess(client, peer, place.plain.port, place.environment, place.within)
                results.first_handshakes[client.key] = running[client].handshakes
            except Failed as reason:
                results.unavailable[client.key] = str(reason)
        yield running
    finally:
        for process in running.values():
            process.close()


def run(group: Group, place: Place, rounds: int, progress: Callable[[str], None]) -> GroupResults:
    results = GroupResults()
    progress(f"{group.title}: starting the clients")
    with _processes(group, place, results) as running:
        plan = {work: [client for client in running if group.measures(client, work)] for work in group.works}
        for work, client in interleaved(
            plan,
            rounds,
            lambda each, own: f"{each.key}: {own.key}",
            lambda text: progress(f"{group.title}: {text}"),
        ):
            if client.key in results.unavailable:
                continue
            try:
                sample = running[client].do(work)
            except (Failed, subprocess.TimeoutExpired) as error:
                results.unavailable[client.key] = f"{work.key}: {error}"
            else:
                results.samples.setdefault((client.key, work.key), []).append(sample)
    return results
