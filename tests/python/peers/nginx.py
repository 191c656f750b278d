"""nginx on loopback: plain, TLS 1.3, TLS 1.2, TLS with client certificates, and one that ends each connection early."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from urllib.request import urlopen

from support.certificates import Certificates

from .ports import free_ports, listens

BIG_FILE_BYTES = 50 * 1024 * 1024
#: Requests after which the `short_lived` server ends a connection.
SHORT_LIFE = 3
_PATIENCE = 60.0

_LOCATIONS = """
    add_header x-connection $connection always;
    add_header x-connection-requests $connection_requests always;
    add_header x-protocol $ssl_protocol always;
    add_header x-resumed $ssl_session_reused always;
    add_header x-server-name $ssl_server_name always;
    add_header x-client $ssl_client_s_dn always;
    location / { return 200 "$request_method $request_uri"; }
    location /missing { return 404 "not here"; }
    location /empty { return 204; }
    location /moved { return 302 /there; }
    location /counts { stub_status; }
    location /files/ { alias FOLDER/files/; }
    location /uploads/ {
      alias FOLDER/uploads/;
      dav_methods PUT;
      client_max_body_size 100m;
      client_body_temp_path FOLDER/bodies;
    }
"""

#: How a configuration begins: FOLDER has all of nginx's files, and what follows is its block `http`.
OPENING = """
daemon off;
worker_processes 1;
USER
pid FOLDER/nginx.pid;
error_log FOLDER/error.log notice;
events { worker_connections 2048; }
http {
  access_log off;
  client_body_temp_path FOLDER/bodies;
  proxy_temp_path FOLDER/proxy;
  fastcgi_temp_path FOLDER/fastcgi;
  uwsgi_temp_path FOLDER/uwsgi;
  scgi_temp_path FOLDER/scgi;
  keepalive_requests 1000000;
"""

_CONFIGURATION = (
    OPENING
    + """
  keepalive_timeout 300;
  ssl_certificate CERTIFICATE;
  ssl_certificate_key KEY;
  ssl_session_cache shared:sessions:1m;
  server { listen 127.0.0.1:PORT0 backlog=511; LOCATIONS }
  server { listen 127.0.0.1:PORT1 ssl; ssl_protocols TLSv1.3; LOCATIONS }
  server { listen 127.0.0.1:PORT2 ssl; ssl_protocols TLSv1.2; LOCATIONS }
  server { listen 127.0.0.1:PORT3 ssl; ssl_client_certificate CA; ssl_verify_client on; LOCATIONS }
  server { listen 127.0.0.1:PORT4; keepalive_requests SHORT_LIFE; LOCATIONS }
  server { listen unix:FOLDER/nginx.sock; LOCATIONS }
}
"""
)


@dataclass(frozen=True)
class Urls:
    plain: str
    tls13: str
    tls12: str
    client_certificate: str
    short_lived: str


class Nginx:
    """One nginx, from `with` to its end, in `folder`."""

    def __init__(self, folder: Path, certificates: Certificates) -> None:
        self._folder = folder
        self._certificates = certificates
        self._process: subprocess.Popen[bytes] | None = None
        self.urls = Urls("", "", "", "", "")
        self.ca_file = str(certificates.ca_file)
        self.unix_socket = str(folder / "nginx.sock")

    def accepted(self) -> int:
        """Connections accepted until now on all its ports, without the one that this call makes."""
        with urlopen(f"{self.urls.plain}/counts", timeout=_PATIENCE) as response:
            text = response.read().decode()
        found = re.search(r"handled requests\n\s+(\d+)", text)
        assert found, text
        self._own += 1
        return int(found.group(1)) - self._own

    def uploaded(self, name: str) -> Path:
        return self._folder / "uploads" / name

    def drop_idle_connections(self) -> None:
        """Reloads: the worker closes its idle connections, another takes over. Returns once the old one is gone."""
        old = self._workers()
        self._signal("reload")
        _wait(lambda: not old & self._workers(), "the reload")

    def __enter__(self) -> Nginx:
        nginx = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
        if nginx is None:
            raise RuntimeError("nginx is missing: install the package nginx (or nginx-light and libnginx-mod-*)")
        self._nginx = nginx
        self._own = 0
        for name in ("files", "uploads", "bodies"):
            (self._folder / name).mkdir(parents=True, exist_ok=True)
        with (self._folder / "files" / "big").open("wb") as file:
            file.truncate(BIG_FILE_BYTES)
        for _attempt in range(5):  # another process may take a port between our look and nginx's bind
            ports = free_ports(5)
            text = _CONFIGURATION.replace("LOCATIONS", _LOCATIONS)
            for name, value in {
                "FOLDER": str(self._folder),
                "CERTIFICATE": str(self._certificates.server.certificate),
                "KEY": str(self._certificates.server.key),
                # As root nginx would make its worker another user, which cannot read these files.
                "USER": "user root;" if os.geteuid() == 0 else "",
                "CA": self.ca_file,
                "SHORT_LIFE": str(SHORT_LIFE),
                **{f"PORT{index}": str(port) for index, port in enumerate(ports)},
            }.items():
                text = re.sub(rf"\b{name}(?=\b|/)", value, text)
            self._file = self._folder / "nginx.conf"
            self._file.write_text(text)
            self._process = subprocess.Popen(
                [nginx, "-p", str(self._folder), "-c", str(self._file), "-e", str(self._folder / "error.log")]
            )
            if all(listens(port, [self._process]) for port in ports):
                schemes = ("http", "https", "https", "https", "http")
                self.urls = Urls(*(f"{s}://127.0.0.1:{p}" for s, p in zip(schemes, ports, strict=True)))
                return self
            self._end()
        raise RuntimeError("nginx did not start:\n" + (self._folder / "error.log").read_text())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> None:
        assert self._process is not None
        self._process.terminate()
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _signal(self, name: str) -> None:
        command = [self._nginx, "-p", str(self._folder), "-c", str(self._file), "-s", name]
        subprocess.run([*command, "-e", str(self._folder / "error.log")], check=True)

    def _workers(self) -> set[int]:
        assert self._process is not None
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text()
        return {int(child) for child in children.split()}


def _wait(reached: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + _PATIENCE
    while not reached():
        if time.monotonic() > end:
            raise RuntimeError(f"nginx: {what} never ended")
        time.sleep(0.02)
