"""nginx, which serves this part's rows over HTTP/1.1 and HTTP/2 alike."""

from __future__ import annotations

import http.client
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from bench.common.environment import ServerCounts, SetupError, make_certificate
from bench.common.workload import HOST, RESPONSE_BODY, TARGET, Peer

#: The file of the downloads.
DOWNLOAD = "/download"
DOWNLOAD_SIZE = 50_000_000
_PATIENCE = 10.0
_ATTEMPTS = 5

# `return 200` alone answers before the request's body has arrived, and over HTTP/2 nginx ends each such request with
# RST_STREAM. The module "mirror" reads the body first; `stub_status` then refuses the POST, and the refusal becomes the
# answer.
_CONFIGURATION = """
daemon off;
master_process off;
pid FOLDER/nginx.pid;
error_log FOLDER/error.log error;
worker_rlimit_nofile 8192;
events { worker_connections 4096; }
http {
  access_log off;
  client_body_temp_path FOLDER/bodies;
  proxy_temp_path FOLDER/proxy;
  fastcgi_temp_path FOLDER/fastcgi;
  uwsgi_temp_path FOLDER/uwsgi;
  scgi_temp_path FOLDER/scgi;
  default_type application/json;
  sendfile on;
  keepalive_requests 1000000000;
  keepalive_timeout 600;
  http2_max_concurrent_streams 1000;
  ssl_certificate CERTIFICATE;
  ssl_certificate_key KEY;
  server {
    listen HOST:PORT0 backlog=4096;
    listen HOST:PORT1 ssl backlog=4096;
    if ($server_protocol != HTTP/1.1) { return 505; }
    LOCATIONS
  }
  server {
    listen HOST:PORT2 http2 backlog=4096;
    listen HOST:PORT3 ssl http2 backlog=4096;
    if ($server_protocol != HTTP/2.0) { return 505; }
    LOCATIONS
  }
}
"""
_LOCATIONS = """
    location = TARGET { mirror /nothing; stub_status; error_page 405 =200 @answer; }
    location = /nothing { internal; return 204; }
    location @answer { return 200 'BODY'; }
    location = DOWNLOAD { alias FOLDER/download; }
    location = /counts { stub_status; }
"""


class Nginx:
    """The running nginx: where to reach it, and what it has counted."""

    def __init__(self, ports: list[int], ca_file: str, process: subprocess.Popen[bytes]) -> None:
        self._ports = ports
        self._ca_file = ca_file
        #: Of the process's CPU time; see clock_getcpuclockid(3).
        self._clock = (~process.pid << 3) | 2
        self._counts = http.client.HTTPConnection(HOST, ports[0], timeout=_PATIENCE)
        self._asked = 0

    def peer(self, tls: bool, http2: bool) -> Peer:
        """Its ports speak one protocol each; other requests get 505."""
        plain = Peer(self._ports[2 * http2], None)
        return replace(plain, port=self._ports[2 * http2 + 1], ca_file=self._ca_file) if tls else plain

    def counts(self) -> ServerCounts:
        """Without the requests of this method; handshakes are not counted."""
        self._counts.request("GET", "/counts")
        found = re.search(r"requests\s+\d+ (\d+) (\d+)", self._counts.getresponse().read().decode())
        assert found
        self._asked += 1
        cpu_us = int(time.clock_gettime(self._clock) * 1e6)
        return ServerCounts(int(found.group(1)), 0, int(found.group(2)) - self._asked, cpu_us)

    def close(self) -> None:
        self._counts.close()


def _program() -> str:
    program = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
    if program is None:
        raise SetupError("nginx is missing; run `scripts/setup.sh bench`, which installs it")
    return program


def version() -> str:
    told = subprocess.run([_program(), "-v"], capture_output=True, text=True, check=False).stderr
    return f"nginx {told.strip().rpartition('/')[2]}"


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server((HOST, 0)) for _ in range(count)]
    try:
        return [listener.getsockname()[1] for listener in sockets]
    finally:
        for listener in sockets:
            listener.close()


def _configuration(folder: Path, certificate: Path, key: Path, ports: list[int]) -> str:
    values = {
        "FOLDER": str(folder),
        "CERTIFICATE": str(certificate),
        "KEY": str(key),
        "HOST": HOST,
        "TARGET": TARGET,
        "DOWNLOAD": DOWNLOAD,
        "BODY": RESPONSE_BODY.decode(),
        **{f"PORT{index}": str(port) for index, port in enumerate(ports)},
    }
    text = _CONFIGURATION.replace("LOCATIONS", _LOCATIONS)
    return re.sub("|".join(rf"\b{name}\b" for name in values), lambda found: values[found.group()], text)


def _answers(port: int, process: subprocess.Popen[bytes]) -> bool:
    end = time.monotonic() + _PATIENCE
    while process.poll() is None and time.monotonic() < end:
        try:
            socket.create_connection((HOST, port), 1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return True
    return False


@contextmanager
def running_nginx(core: int) -> Iterator[Nginx]:
    """Starts one nginx process on `core`; stops it at the end. SetupError if nginx is missing or does not start."""
    program = _program()
    with tempfile.TemporaryDirectory(prefix="fastpool-bench-") as name:
        folder = Path(name)
        certificate, key, ca = make_certificate(folder, HOST)
        with (folder / "download").open("wb") as file:
            file.truncate(DOWNLOAD_SIZE)
        command = [program, "-p", name, "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")]
        for _ in range(_ATTEMPTS):  # another process may take a port before nginx binds it
            ports = _free_ports(4)
            (folder / "nginx.conf").write_text(_configuration(folder, certificate, key, ports))
            process = subprocess.Popen(
                command,
                stderr=subprocess.DEVNULL,
                preexec_fn=lambda: os.sched_setaffinity(0, {core}),  # noqa: PLW1509
            )
            try:
                if _answers(ports[0], process):
                    nginx = Nginx(ports, str(ca), process)
                    try:
                        yield nginx
                    finally:
                        nginx.close()
                    return
            finally:
                process.terminate()
                process.wait()
        raise SetupError(f"nginx did not start: {(folder / 'error.log').read_text()}")
