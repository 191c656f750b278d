"""Proxies on loopback: tinyproxy (HTTP), microsocks (SOCKS 5), and one of our own for what these cannot do (TLS)."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import shutil
import socket
import subprocess
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import TracebackType

from support.certificates import Identity

from .scripted import Connection, ScriptedServer

_PATIENCE = 20.0

#: tinyproxy takes letters and digits alone.
USER, PASSWORD = "user", "pass1"


class _Program:
    """A proxy program, from `with` to its end."""

    name: str
    scheme: str

    def __init__(self, folder: Path, *, authenticates: bool = False) -> None:
        self._folder = folder
        self._authenticates = authenticates
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    @property
    def url_with_credentials(self) -> str:
        return f"{self.scheme}://{USER}:{PASSWORD}@127.0.0.1:{self.port}"

    def _arguments(self) -> list[str]:
        raise NotImplementedError

    def __enter__(self) -> _Program:
        program = shutil.which(self.name)
        if program is None:
            raise RuntimeError(f"{self.name} is missing: install the package {self.name}")
        for _attempt in range(5):  # another process may take the port between our look and the program's bind
            with socket.create_server(("127.0.0.1", 0)) as free:
                self.port = free.getsockname()[1]
            log = (self._folder / f"{self.name}.log").open("ab")
            self._process = subprocess.Popen([program, *self._arguments()], stdout=log, stderr=log)
            log.close()
            end = time.monotonic() + _PATIENCE
            while time.monotonic() < end and self._process.poll() is None:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                    return self
                time.sleep(0.02)
        raise RuntimeError(f"{self.name} did not start:\n" + (self._folder / f"{self.name}.log").read_text())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()


class Tinyproxy(_Program):
    name, scheme = "tinyproxy", "http"

    def _arguments(self) -> list[str]:
        file = self._folder / f"tinyproxy-{self.port}.conf"
        lines = [f"Port {self.port}", "Listen 127.0.0.1", "Timeout 60", "MaxClients 400", "Allow 127.0.0.1"]
        if self._authenticates:
            lines.append(f"BasicAuth {USER} {PASSWORD}")
        file.write_text("\n".join(lines) + "\n")
        return ["-d", "-c", str(file)]


class Microsocks(_Program):
    name, scheme = "microsocks", "socks5"

    def _arguments(self) -> list[str]:
        place = ["-i", "127.0.0.1", "-p", str(self.port)]
        return [*place, "-u", USER, "-P", PASSWORD] if self._authenticates else place


class RelayingProxy(ScriptedServer):
    """Opens tunnels and answers forwarded requests itself; over TLS if it has an identity. `requests`: those to it."""

    def __init__(self, tls: Identity | None = None) -> None:
        super().__init__(self._relay, tls=tls)

    async def _relay(self, connection: Connection) -> None:
        while True:
            request = await connection.request()
            if request.method != "CONNECT":
                await connection.respond(b"forwarded")
                continue
            host, _, port = request.target.rpartition(":")
            reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
            await connection.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
            there = asyncio.create_task(_copy(connection.receive, _sender(writer)))
            back = asyncio.create_task(_copy(functools.partial(reader.read, 65536), connection.send))
            await asyncio.wait((there, back), return_when=asyncio.FIRST_COMPLETED)
            for copying in (there, back):
                copying.cancel()
            writer.close()
            return


def _sender(writer: asyncio.StreamWriter) -> Callable[[bytes], Awaitable[None]]:
    async def send(piece: bytes) -> None:
        writer.write(piece)
        await writer.drain()

    return send


async def _copy(receive: Callable[[], Awaitable[bytes]], send: Callable[[bytes], Awaitable[None]]) -> None:
    with contextlib.suppress(OSError):
        while piece := await receive():
            await send(piece)
