"""The server in a process of its own, as a context manager."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from types import TracebackType
from typing import IO, Any

from .counters import ServerStats
from .recording import RequestRecord

START_TIMEOUT = 60.0
STOP_TIMEOUT = 10.0


class EmbeddedServerError(RuntimeError):
    """The server did not start, or is gone."""


class EmbeddedServer:
    """Starts the server in a subprocess (the client's CPU time stays its own) and stops it on exit.

    Any thread may ask for the statistics. It belongs to the process that started it: a fork's child must not stop it.
    """

    def __init__(
        self,
        *,
        tls: bool = True,
        host: str = "127.0.0.1",
        port: int = 0,
        keep_alive: int = 75,
        record: bool = False,
    ) -> None:
        """`keep_alive`: seconds that the server leaves an idle connection open. `record`: it keeps each request as it
        was on the wire, until `records()` takes them."""
        self._arguments = ["--host", host, "--port", str(port), "--keep-alive", str(keep_alive), "--print-json"]
        if tls:
            self._arguments.append("--tls")
        self._recording = record
        if record:
            self._arguments.append("--record")
        self._process: subprocess.Popen[str] | None = None
        self._where: dict[str, Any] = {}
        self._lock = threading.Lock()  # one question on the pipe at a time

    def start(self) -> EmbeddedServer:
        """Returns once connections are accepted. EmbeddedServerError if that does not come about."""
        if self._process is not None:
            raise EmbeddedServerError("the server was started before")
        environment = {**os.environ, "FAST_LITELLM_ENABLED": "false"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "fast_litellm.server", *self._arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
            # Ctrl-C at the terminal is for the client; the server goes when its standard input ends.
            start_new_session=True,
        )
        watchdog = threading.Timer(START_TIMEOUT, self._process.kill)
        watchdog.start()
        try:
            line = self._stdout.readline()
        finally:
            watchdog.cancel()
        if not line:
            self.stop()
            raise EmbeddedServerError(
                "the embedded server did not start; does `python -m fast_litellm.server` run? "
                "It needs the extra: pip install 'fast-litellm[server]'"
            )
        self._where = json.loads(line)
        return self

    @property
    def base_url(self) -> str:
        """What OpenAI's clients call the base URL: ends in /v1."""
        return str(self._where["base_url"])

    @property
    def origin(self) -> str:
        """Scheme, host and port, without a slash at the end."""
        return str(self._where["origin"])

    @property
    def ca_file(self) -> str:
        """The certificate to trust, in PEM. KeyError without TLS."""
        path = self._where["ca_file"]
        if path is None:
            raise KeyError("a server without TLS has no ca_file")
        return str(path)

    @property
    def pid(self) -> int:
        return int(self._where["pid"])

    def stats(self) -> ServerStats:
        """A snapshot, asked for over the pipe: it costs no connection and is no request."""
        return ServerStats.from_dict(json.loads(self._ask("stats")))

    def records(self) -> list[RequestRecord]:
        """The requests that arrived whole since this was last asked, in that order; needs `record=True`."""
        if not self._recording:
            raise EmbeddedServerError("the embedded server does not record: EmbeddedServer(record=True) does")
        return [RequestRecord.from_dict(one) for one in json.loads(self._ask("records"))]

    def _ask(self, command: str) -> str:
        with self._lock:
            if self._process is None or self._process.poll() is not None:
                raise EmbeddedServerError("the embedded server is not running")
            try:
                self._stdin.write(f"{command}\n")
                self._stdin.flush()
            except BrokenPipeError:
                raise EmbeddedServerError("the embedded server is gone") from None
            line = self._stdout.readline()
        if not line:
            raise EmbeddedServerError("the embedded server is gone")
        return line

    def stop(self) -> None:
        """Idempotent."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
        try:
            process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()

    def __enter__(self) -> EmbeddedServer:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def _stdin(self) -> IO[str]:
        assert self._process is not None
        assert self._process.stdin is not None
        return self._process.stdin

    @property
    def _stdout(self) -> IO[str]:
        assert self._process is not None
        assert self._process.stdout is not None
        return self._process.stdout
