"""The part over the fleet: which loads the agent is measured under, and which works with and without a limit."""

from __future__ import annotations

from dataclasses import dataclass

from bench.loops.rounds import Client

#: An origin that nothing listens on: the agent's rows send no request.
ORIGIN = "http://fleet.example"


@dataclass(frozen=True)
class Engine:
    """A column of the agent's table."""

    name: str
    title: str


SQLITE = Engine("sqlite", "SQLite")
REDIS = Engine("redis", "Redis")
ENGINES = (SQLITE, REDIS)


@dataclass(frozen=True)
class Load:
    """A row of the agent's table: what each of the member processes does. `callers` threads take a lease, keep it for
    `hold` seconds, and return it; 0 seconds: until the end."""

    name: str
    title: str
    limit: int
    callers: int
    hold: float = 0.0
    members: int = 2


NO_LEASES = Load("no leases", "no leases", limit=40, callers=0)
LEASES = Load("leases", "4 leases, no caller waits", limit=40, callers=4)
WAITING = Load("waiting", "16 callers for 4 of 8 leases", limit=8, callers=16, hold=0.05)
LONG = Load("long leases", "16 callers wait for a member that keeps all 8 leases", limit=8, callers=16)
TURNS = Load("turns", "4 callers, 3 members take turns with 2 leases", limit=2, callers=4, hold=0.05, members=3)
LOADS = (NO_LEASES, LEASES, WAITING, LONG, TURNS)


@dataclass(frozen=True)
class Work:
    """A row of the table of ratios. `name` is the word for it in limit_worker.py; `requests`: needs the server."""

    name: str
    title: str
    unit: str
    asked: float
    requests: bool = True

    @property
    def client(self) -> Client:
        return Client(self.name, self.title)


PAIR = Work("pair", "get and return", "ns", 1.05, requests=False)
REQUEST = Work("request", "`pool.request`", "us", 1.05)
TRANSPORT = Work("transport", "httpx over our transport", "us", 1.05)
AREQUEST = Work("arequest", "`await pool.arequest`, one task", "us", 1.05)
WORKS = (PAIR, REQUEST, TRANSPORT, AREQUEST)

#: The agent's CPU, in milliseconds per second of each process.
AGENT_LIMIT = 1.0
