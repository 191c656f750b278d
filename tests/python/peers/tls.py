"""Servers that do with TLS what asyncio's cannot: ask for a certificate after the handshake, change keys in between."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import TypeVar

from support.certificates import Certificates

from .ports import free_port
from .scripted import server_context

_PATIENCE = 60.0
T = TypeVar("T")


class AskingForCertificates:
    """Answers one request with the mail address in the certificate that it asks for once the request is there."""

    def __init__(self, certificates: Certificates) -> None:
        self._context = server_context(certificates.server)
        self._context.load_verify_locations(certificates.ca_file)
        self._context.verify_mode = ssl.CERT_REQUIRED
        self._context.post_handshake_auth = True
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(_PATIENCE)
        self.url = f"https://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> AskingForCertificates:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._listener.close()
        self._thread.join(_PATIENCE)

    def _serve(self) -> None:
        with suppress(OSError):
            plain, _ = self._listener.accept()
            with self._context.wrap_socket(plain, server_side=True) as connection:
                connection.settimeout(_PATIENCE)
                connection.recv(65536)
                assert connection.getpeercert() is None
                connection.verify_client_post_handshake()
                connection.sendall(b"HTTP/1.1 200 OK\r\n")  # the request goes with it
                connection.sendall(b"content-type: text/plain\r\n")
                # The certificate comes with the next bytes of the client, which has nothing to say but that.
                connection.setblocking(False)
                while connection.getpeercert() is None:
                    with suppress(ssl.SSLWantReadError):
                        connection.recv(1)
                connection.setblocking(True)
                name = dict(connection.getpeercert()["subjectAltName"])["email"]  # type: ignore
                connection.sendall(f"content-length: {len(name)}\r\n\r\n{name}".encode())


class KeyUpdatingServer:
    """OpenSSL's own test server, which changes keys on request, and asks the client to do the same."""

    def __init__(self, certificates: Certificates) -> None:
        port = free_port()
        self.url = f"https://127.0.0.1:{port}"
        identity = certificates.server
        command = [
            "stdbuf",
            "-o0",
            "openssl",
            "s_server",
            "-accept",
            f"127.0.0.1:{port}",
            "-cert",
            identity.certificate,
        ]
        command += ["-key", identity.key, "-tls1_3"]
        self._process = subprocess.Popen(
            [str(part) for part in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        self._lines: list[bytes] = []
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._answers = 0

    def __enter__(self) -> KeyUpdatingServer:
        self._reader.start()
        self._wait(lambda: self._count(b"ACCEPT") > 0, "its own start")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()
        self._reader.join(_PATIENCE)

    def update_keys(self) -> None:
        """Sends the message, which asks for one of the client's."""
        done = b"SSL_do_handshake -> 1"
        before = self._count(done)
        self._say(b"K\n")
        self._wait(lambda: self._count(done) > before, "its own change of keys")

    def answered(self, request: Callable[[], T]) -> T:
        """Runs `request` while the server answers it with "answer 0", "answer 1" and so on."""
        seen = self._count(b"GET / HTTP/1.1")
        answerer = threading.Thread(target=self._answer, args=(seen,), daemon=True)
        answerer.start()
        result = request()
        answerer.join(_PATIENCE)
        return result

    def _answer(self, seen: int) -> None:
        self._wait(lambda: self._count(b"GET / HTTP/1.1") > seen, "the request")
        body = f"answer {self._answers}"
        self._answers += 1
        self._say(f"HTTP/1.1 200 OK\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode())

    def _say(self, text: bytes) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(text)
        self._process.stdin.flush()

    def _count(self, text: bytes) -> int:
        return sum(text in line for line in self._lines)

    def _wait(self, reached: Callable[[], bool], what: str) -> None:
        with self._changed:
            assert self._changed.wait_for(reached, _PATIENCE), f"the server never saw {what}: {self._lines}"

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._changed:
                self._lines.append(line)
                self._changed.notify_all()
