"""redis-server on loopback: plain, with TLS, a password, persistence, as a Sentinel or a cluster of one node."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType

_PATIENCE = 20.0


def program(name: str = "redis-server") -> str:
    found = shutil.which(name)
    assert found is not None, f"{name} is missing: scripts/setup.sh system installs it"
    return found


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    # A cluster's node also listens 10,000 above.
    return port if port < 50_000 else port - 20_000


class RedisServer:
    """Starts on entering, ends on leaving. `restart()` keeps the port; its data too with `keeps_data`."""

    def __init__(self, folder: Path, *options: str, keeps_data: bool = False, port: int | None = None) -> None:
        self.folder = folder
        self.port = port or free_port()
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
        persistence = ["--appendonly", "yes", "--appendfsync", "always"] if self._keeps_data else ["--appendonly", "no"]
        command = [program(), "--bind", "127.0.0.1", "--port", str(self.port), "--save", "", *persistence]
        command += ["--dir", str(self.folder), "--logfile", str(self.folder / "log"), *self._options]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        self._await()

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def restart(self) -> None:
        self.stop()
        self.start()

    def _await(self) -> None:
        deadline = time.monotonic() + _PATIENCE
        assert self._process is not None
        while time.monotonic() < deadline:
            assert self._process.poll() is None, (self.folder / "log").read_text()
            log = self.folder / "log"
            if log.exists() and self._answers():
                return
            time.sleep(0.01)
        raise AssertionError(f"redis-server did not answer within {_PATIENCE} s: {(self.folder / 'log').read_text()}")

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                if "--tls-port" in self._options:
                    return True
                connection.sendall(b"PING\r\n")
                answer = connection.recv(100)
                return answer.startswith((b"+PONG", b"-NOAUTH"))
        except OSError:
            return False
