"""redis-server on loopback: plain, with TLS, a password, persistence, as a Sentinel or a cluster of one node."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType

from .ports import free_port, listens

_PATIENCE = 60.0
_ATTEMPTS = 5


def program(name: str = "redis-server") -> str:
    found = shutil.which(name)
    assert found is not None, f"{name} is missing: scripts/setup.sh system installs it"
    return found


class RedisServer:
    """Starts on entering, ends on leaving. `restart()` keeps the port; its data too with `keeps_data`."""

    def __init__(self, folder: Path, *options: str, keeps_data: bool = False, port: int | None = None) -> None:
        self.folder = folder
        self.port = port or free_port()
        #: The port must not change: it was named, or clients may know it.
        self._keeps_port = port is not None
        self._options = options
        self._keeps_data = keeps_data
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def __enter__(self) -> RedisServer:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        for _attempt in range(_ATTEMPTS):  # another process may have the port by now
            self._process = subprocess.Popen(self._command(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
            if listens(self.port, [self._process]) and self._answers_in_time():
                self._keeps_port = True
                return
            self.stop()
            if self._keeps_port:
                time.sleep(1.0)
            else:
                self.port = free_port()
        log = self.folder / "log"
        raise AssertionError("redis-server did not start:\n" + (log.read_text() if log.exists() else ""))

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def restart(self) -> None:
        self.stop()
        self.start()

    def _command(self) -> list[str]:
        persistence = ["--appendonly", "yes", "--appendfsync", "always"] if self._keeps_data else ["--appendonly", "no"]
        command = [program(), "--bind", "127.0.0.1", "--port", str(self.port), "--save", "", *persistence]
        return [*command, "--dir", str(self.folder), "--logfile", str(self.folder / "log"), *self._options]

    def _answers_in_time(self) -> bool:
        assert self._process is not None
        end = time.monotonic() + _PATIENCE
        while time.monotonic() < end and self._process.poll() is None:
            if self._answers():
                return True
            time.sleep(0.01)
        return False

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=10) as connection:
                if "--tls-port" in self._options:
                    return True
                connection.sendall(b"PING\r\n")
                answer = connection.recv(100)
                return answer.startswith((b"+PONG", b"-NOAUTH"))
        except OSError:
            return False
