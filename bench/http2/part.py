"""The part over HTTP/2: which clients do which works."""

from __future__ import annotations

from dataclasses import dataclass

from bench.cpp.part import OWN

#: What CMake builds.
TARGETS = (OWN.name,)
TASKS = (64, 500)
THREADS = (1, 8)
#: Small requests at once beside a download, or beside streams whose bodies stay unread.
BESIDE = TASKS[0]
STALLED = 20


@dataclass(frozen=True)
class Client:
    """A row of the report. `name` is the word for it in clients.py, or of the C++ program."""

    name: str
    title: str
    http2: bool = True
    loop: str = "asyncio"

    @property
    def key(self) -> str:
        protocol = "h2" if self.http2 else "h1"
        return f"{self.name}-{protocol}" if self.loop == "asyncio" else f"{self.name}-{self.loop}-{protocol}"


def _both(name: str, title: str) -> tuple[Client, Client]:
    return Client(name, title), Client(name, f"{title}, HTTP/1.1", http2=False)


#: Ours over both protocols.
ACCELERATED, ACCELERATED_1 = _both("accelerated", "`accelerate(client)`")
TRANSPORT, TRANSPORT_1 = _both("transport", "httpx over our transport")
AREQUEST, AREQUEST_1 = _both("arequest", "`await pool.arequest`")
REQUEST, REQUEST_1 = _both("request", "`pool.request`")
LOOP, LOOP_1 = Client("loop_http2", "C++ `Loop`"), Client("loop", "C++ `Loop`, HTTP/1.1", http2=False)
SEND, SEND_1 = Client("send_http2", "C++ `send`"), Client("send", "C++ `send`, HTTP/1.1", http2=False)

HTTPX = Client("httpx", "httpx[http2]")
PYQWEST, PYQWEST_UVLOOP = Client("pyqwest", "pyqwest"), Client("pyqwest", "pyqwest, uvloop", loop="uvloop")
PYREQWEST, PYREQWEST_UVLOOP = (
    Client("pyreqwest", "pyreqwest"),
    Client("pyreqwest", "pyreqwest, uvloop", loop="uvloop"),
)
AREQUEST_UVLOOP = Client("arequest", "`await pool.arequest`, uvloop", loop="uvloop")


@dataclass(frozen=True)
class Kind:
    """A work: who does it, and by how many at once. `unit` names these."""

    name: str
    title: str
    unit: str
    widths: tuple[int, ...]
    clients: tuple[Client, ...]


_BESIDE_CLIENTS = (ACCELERATED, TRANSPORT, ACCELERATED_1, TRANSPORT_1, HTTPX)
IN_TASKS = Kind(
    "tasks",
    "Tasks of an event loop",
    "tasks",
    TASKS,
    (
        *(ACCELERATED, ACCELERATED_1, TRANSPORT, TRANSPORT_1, HTTPX),
        *(AREQUEST, AREQUEST_1, AREQUEST_UVLOOP, PYQWEST, PYQWEST_UVLOOP, PYREQWEST, PYREQWEST_UVLOOP),
    ),
)
ON_THREADS = Kind(
    "threads",
    "Threads",
    "threads",
    THREADS,
    (
        *(ACCELERATED, ACCELERATED_1, TRANSPORT, TRANSPORT_1, HTTPX),
        *(REQUEST, REQUEST_1, PYQWEST, PYREQWEST),
    ),
)
CPP_LOOP = Kind("cpp_loop", "C++, on a `Loop`", "at once", TASKS, (LOOP, LOOP_1))
CPP_THREADS = Kind("cpp_threads", "C++, on threads", "threads", THREADS, (SEND, SEND_1))
#: The same small requests with nothing beside them, measured next to the two works below.
ALONE = Kind("alone", "alone", "tasks", (BESIDE,), _BESIDE_CLIENTS)
DOWNLOAD = Kind("download", "beside a 50 MB download", "tasks", (BESIDE,), _BESIDE_CLIENTS)
STALL = Kind("stall", f"beside {STALLED} unread streams", "tasks", (BESIDE,), _BESIDE_CLIENTS)
BESIDES = (ALONE, DOWNLOAD, STALL)
TABLES = (IN_TASKS, ON_THREADS, CPP_LOOP, CPP_THREADS)


@dataclass(frozen=True)
class Scenario:
    kind: Kind
    width: int
    tls: bool

    @property
    def count(self) -> str:
        return "1 thread" if (self.width, self.kind.unit) == (1, "threads") else f"{self.width} {self.kind.unit}"

    @property
    def title(self) -> str:
        place = f", {self.kind.title}" if self.kind in BESIDES else ""
        return f"{self.count}{place}, {'TLS' if self.tls else 'plain'}"


def scenarios(tls: bool = True) -> list[Scenario]:
    return [
        Scenario(kind, width, secured)
        for secured in ((False, True) if tls else (False,))
        for kind in (*TABLES, *BESIDES)
        for width in kind.widths
    ]
