"""Proxies on loopback: tinyproxy and squid (HTTP), microsocks (SOCKS 5), and one of our own for what they cannot do."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from support.certificates import Identity

from .ports import free_ports, listens
from .scripted import Connection, ScriptedServer

if TYPE_CHECKING:
    from typing_extensions import Self

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

    def __enter__(self) -> Self:
        program = shutil.which(self.name) or shutil.which(f"/usr/sbin/{self.name}")
        if program is None:
            raise RuntimeError(f"{self.name} is missing: install the package {self.name}")
        for _attempt in range(5):  # another process may take the port between our look and the program's bind
            (self.port,) = free_ports(1)
            with (self._folder / f"{self.name}.log").open("ab") as log:
                self._process = subprocess.Popen([program, *self._arguments()], stdout=log, stderr=log)
            if listens(self.port, [self._process]):
                return self
            self._end()
        raise RuntimeError(f"{self.name} did not start:\n" + (self._folder / f"{self.name}.log").read_text())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> None:
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


class Squid(_Program):
    """Keeps its clients' connections, and adds `Via` and `X-Forwarded-For` to what it forwards. It caches nothing."""

    name, scheme = "squid", "http"

    def __init__(self, folder: Path, *, authenticates: bool = False) -> None:
        super().__init__(folder, authenticates=authenticates)
        self._readable = ""

    def __enter__(self) -> Self:
        # Started by root, squid and its helpers become another user, which cannot read below pytest's folders.
        with contextlib.ExitStack() as stack:
            self._readable = stack.enter_context(tempfile.TemporaryDirectory(prefix="squid-"))
            os.chmod(self._readable, 0o755)
            super().__enter__()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._stack:
            super().__exit__(kind, error, traceback)

    def _arguments(self) -> list[str]:
        file = self._folder / f"squid-{self.port}.conf"
        lines = [_SQUID, f"http_port 127.0.0.1:{self.port}"]
        if self._authenticates:
            passwords = Path(self._readable) / "passwords"
            passwords.write_text(f"{USER}:{_hashed(PASSWORD)}\n")
            lines += [f"auth_param basic program {_ncsa_auth()} {passwords}", "auth_param basic children 2 startup=1"]
            lines += ["acl users proxy_auth REQUIRED", "http_access allow users"]
        lines.append(f"http_access {'deny' if self._authenticates else 'allow'} all")
        file.write_text("\n".join(lines) + "\n")
        return ["-N", "-d", "1", "-f", str(file)]


#: One process without files, shared memory or name look-ups that leave the machine; it ends at once.
_SQUID = """
pid_filename none
cache deny all
cache_mem 0
access_log none
cache_store_log none
cache_log /dev/null
coredump_dir none
netdb_filename none
pinger_enable off
max_filedescriptors 1024
visible_hostname squid.test
shutdown_lifetime 0 seconds
"""


def _ncsa_auth() -> str:
    for place in ("/usr/lib/squid", "/usr/lib64/squid", "/usr/libexec/squid"):
        if os.access(f"{place}/basic_ncsa_auth", os.X_OK):
            return f"{place}/basic_ncsa_auth"
    raise RuntimeError("squid's basic_ncsa_auth is missing: install the package squid")


def _hashed(password: str) -> str:
    """As htpasswd writes it."""
    command = ["openssl", "passwd", "-apr1", password]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


class Microsocks(_Program):
    name, scheme = "microsocks", "socks5"

    def _arguments(self) -> list[str]:
        place = ["-i", "127.0.0.1", "-p", str(self.port)]
        return [*place, "-u", USER, "-P", PASSWORD] if self._authenticates else place


class RelayingProxy(ScriptedServer):
    """Opens tunnels; over TLS if it has an identity. `requests`: those to it. It answers forwarded requests itself, or,
    if it `forwards`, sends them on as they are: the origin sees what the client sent to the proxy, absolute-form too.
    A client's connection then stays with the origin of its first forwarded request."""

    def __init__(self, tls: Identity | None = None, *, forwards: bool = False) -> None:
        super().__init__(self._relay, tls=tls)
        self._forwards = forwards
        #: Connections to origins that were made until now.
        self.opened = 0

    async def _relay(self, connection: Connection) -> None:
        while True:
            request = await connection.request()
            if request.method == "CONNECT":
                host, _, port = request.target.rpartition(":")
                await self._join(connection, host.strip("[]"), int(port))
                return
            if self._forwards:
                url = urlsplit(request.target)
                assert url.hostname is not None
                await self._join(connection, url.hostname, url.port or 80, request.raw_head + request.body)
                return
            await connection.respond(b"forwarded")

    async def _join(self, connection: Connection, host: str, port: int, first: bytes = b"") -> None:
        """Copies both ways until one side ends. `first`: the bytes of the client's that were read already."""
        reader, writer = await asyncio.open_connection(host, port)
        self.opened += 1
        if first:
            writer.write(first)
        else:
            await connection.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
        there = asyncio.create_task(_copy(connection.receive, _sender(writer)))
        back = asyncio.create_task(_copy(functools.partial(reader.read, 65536), connection.send))
        await asyncio.wait((there, back), return_when=asyncio.FIRST_COMPLETED)
        for copying in (there, back):
            copying.cancel()
        writer.close()


def _sender(writer: asyncio.StreamWriter) -> Callable[[bytes], Awaitable[None]]:
    async def send(piece: bytes) -> None:
        writer.write(piece)
        await writer.drain()

    return send


async def _copy(receive: Callable[[], Awaitable[bytes]], send: Callable[[bytes], Awaitable[None]]) -> None:
    with contextlib.suppress(OSError):
        while piece := await receive():
            await send(piece)
