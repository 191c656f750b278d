"""Real HTTP/2 servers on loopback: nginx, nghttpd, hypercorn, Go's net/http, node's http2.

Each serves HTTP/2 over TLS (`https`) and with prior knowledge (`http`), and these paths. nghttpd serves files: it has
/hello alone, where POST returns the request's body, and its trailers follow every body.

    /hello              HELLO
    /echo               the request's body, piece by piece, and its field x-id
    /headers            {"host": :authority, "headers": [[name, value], ...]} as the server has them
    /digest             {"length": ..., "sha256": ...} of the request's body
    /stream?n=N         N pieces "piece I\\n"
    /big?bytes=N        N times "x"
    /status/N           N without a body, with x-status: bare
    /cookies            two fields set-cookie: a=1, b=2
    /early413           413 "too much", without a look at the request's body
    /never              no answer
    /trailers           "before the trailers", then the field x-trailer: last (not nginx)

nginx and hypercorn have these, too:

    /redirect/N?to=URL  N "moved" with location: URL, once the request's body was read; &cookie=C sets the cookie C
    /seen               {"method": ..., "headers": [[name, value], ...], "body": ...} of the request
    /set?NAME=VALUE&... a field set-cookie for each pair
    /protected/basic    /seen, for USER and PASSWORD of peers/http2_application.py; else 401 with the challenge
    /protected/digest   the same
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from support.certificates import Certificates

from .asgi import AsgiServer
from .http2_application import HELLO, application
from .nginx import OPENING
from .ports import free_ports, listens

_HERE = Path(__file__).parent


class Http2Server:
    """One server program, from `with` to its end: a process, or one for each port."""

    name: str

    def __init__(self, folder: Path, certificates: Certificates) -> None:
        self._folder = folder
        self._certificates = certificates
        self._ports = (0, 0)
        self._stack = ExitStack()

    @property
    def https(self) -> str:
        return f"https://127.0.0.1:{self._ports[0]}"

    @property
    def http(self) -> str:
        """For clients that know that the server speaks HTTP/2."""
        return f"http://127.0.0.1:{self._ports[1]}"

    def missing(self) -> str:
        """What this machine lacks of what the server needs."""
        return "" if shutil.which(self.name) else f"{self.name} is not installed"

    def _commands(self, secure_port: int, plain_port: int) -> list[list[str]]:
        raise NotImplementedError

    def _prepare(self) -> None:
        """What has to be there before the program starts; `_stack` ends it."""

    def __enter__(self) -> Http2Server:
        with ExitStack() as stack:
            self._stack = stack
            self._prepare()
            log = stack.enter_context((self._folder / f"{self.name}.log").open("ab"))
            for _attempt in range(5):  # another process may take a port between our look and the program's bind
                secure, plain = free_ports(2)
                self._ports = (secure, plain)
                environment = {**os.environ, "PYTHONPATH": str(_HERE.parent), "FAST_LITELLM_ENABLED": "false"}
                processes = [
                    subprocess.Popen(command, stdout=log, stderr=log, env=environment)
                    for command in self._commands(*self._ports)
                ]
                for process in processes:
                    stack.callback(_end, process)
                if all(listens(port, processes) for port in self._ports):
                    self._stack = stack.pop_all()
                    return self
        raise RuntimeError(f"{self.name} did not start:\n" + (self._folder / f"{self.name}.log").read_text())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.close()

    def _identity(self) -> tuple[str, str]:
        return str(self._certificates.server.certificate), str(self._certificates.server.key)


_NGINX = (
    OPENING
    + """
  ssl_certificate CERTIFICATE;
  ssl_certificate_key KEY;
  upstream application { server 127.0.0.1:UPSTREAM; keepalive 64; }
  server {
    listen 127.0.0.1:SECURE ssl http2 backlog=511;
    listen 127.0.0.1:PLAIN http2 backlog=511;
    client_max_body_size 100m;
    proxy_http_version 1.1;
    proxy_set_header Host $http_host;
    proxy_set_header Connection "";
    proxy_buffering off;
    proxy_request_buffering off;
    location / { proxy_pass http://application; }
    location /early413 { client_max_body_size 1k; error_page 413 @large; proxy_pass http://application; }
    location @large { return 413 "too much"; }
  }
}
"""
)


class NginxHttp2(Http2Server):
    """nginx, which passes requests on to uvicorn."""

    name = "nginx"

    def _prepare(self) -> None:
        self._nginx = _program("nginx")
        self._application = self._stack.enter_context(AsgiServer(application=application))
        (self._folder / "bodies").mkdir(exist_ok=True)

    def _commands(self, secure_port: int, plain_port: int) -> list[list[str]]:
        certificate, key = self._identity()
        text = _NGINX
        for name, value in {
            "FOLDER": str(self._folder),
            "CERTIFICATE": certificate,
            "KEY": key,
            # As root nginx would make its worker another user, which cannot read these files.
            "USER": "user root;" if os.geteuid() == 0 else "",
            "UPSTREAM": self._application.url.rpartition(":")[2],
            "SECURE": str(secure_port),
            "PLAIN": str(plain_port),
        }.items():
            text = text.replace(name, value)
        file = self._folder / "nginx.conf"
        file.write_text(text)
        return [[self._nginx, "-p", str(self._folder), "-c", str(file), "-e", str(self._folder / "error.log")]]


class Nghttpd(Http2Server):
    """nghttp2's own server, which has files, and trailers behind each body."""

    name = "nghttpd"

    def _prepare(self) -> None:
        self._nghttpd = _program("nghttpd")
        (self._folder / "hello").write_bytes(HELLO)

    def _commands(self, secure_port: int, plain_port: int) -> list[list[str]]:
        certificate, key = self._identity()
        common = [
            self._nghttpd,
            "-a",
            "127.0.0.1",
            "-d",
            str(self._folder),
            "--echo-upload",
            "--trailer=x-trailer: last",
        ]
        return [[*common, str(secure_port), key, certificate], [*common, "--no-tls", str(plain_port)]]


class Hypercorn(Http2Server):
    """hypercorn with the application, on the h2 package."""

    name = "hypercorn"

    def _commands(self, secure_port: int, plain_port: int) -> list[list[str]]:
        certificate, key = self._identity()
        ports = ["--bind", f"127.0.0.1:{secure_port}", "--insecure-bind", f"127.0.0.1:{plain_port}"]
        tls = ["--certfile", certificate, "--keyfile", key]
        times = ["--keep-alive", "300", "--graceful-timeout", "0"]
        return [[sys.executable, "-m", "hypercorn", *ports, *tls, *times, "peers.http2_application:application"]]


class GoServer(Http2Server):
    """Go's net/http (http2_go/), built here."""

    name = "go"

    def missing(self) -> str:
        """Older versions speak HTTP/2 over TLS only."""
        if absent := super().missing():
            return absent
        version = subprocess.run(["go", "env", "GOVERSION"], capture_output=True, text=True, check=True).stdout.strip()
        numbers = re.match(r"go(\d+)\.(\d+)", version)
        fit = numbers is not None and (int(numbers[1]), int(numbers[2])) >= (1, 24)
        return "" if fit else f"{version} is older than Go 1.24"

    def _prepare(self) -> None:
        self._program = self._folder / "http2_go"
        # A checkout that git takes for another user's has no version to stamp, and no other compiler is to be fetched.
        build = [_program("go"), "build", "-buildvcs=false", "-o", str(self._program), "."]
        environment = {"GOCACHE": str(self._folder / "cache"), **os.environ, "GOTOOLCHAIN": "local"}
        if "HOME" in os.environ and "GOCACHE" not in os.environ:
            del environment["GOCACHE"]  # its usual one
        subprocess.run(build, cwd=_HERE / "http2_go", env=environment, check=True, timeout=900)

    def _commands(self, secure_port: int, plain_port: int) -> list[list[str]]:
        return [[str(self._program), *self._identity(), str(secure_port), str(plain_port)]]


class NodeServer(Http2Server):
    """node's http2 (http2_node.mjs), on nghttp2."""

    name = "node"

    def _commands(self, secure_port: int, plain_port: int) -> list[list[str]]:
        return [[_program("node"), str(_HERE / "http2_node.mjs"), *self._identity(), str(secure_port), str(plain_port)]]


SERVERS = {server.name: server for server in (NginxHttp2, Nghttpd, Hypercorn, GoServer, NodeServer)}
#: Those that a machine may lack, as no make target installs them.
OPTIONAL = ("go", "node")


def _program(name: str) -> str:
    found = shutil.which(name) or shutil.which(f"/usr/sbin/{name}")
    if found is None:
        raise RuntimeError(f"{name} is missing: `make setup` installs what the tests need")
    return found


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
