"""``python -m fast_litellm.server``: runs the server until SIGTERM, SIGINT, or the end of its standard input.

With ``--print-json`` one line of JSON says where it is once it listens; then every line ``stats`` on its standard
input is answered with one line of JSON, which costs the server neither a connection nor a request; with ``--record``,
``records`` too: the requests seen since the last such line.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import os
import signal
import ssl
import sys
import tempfile
import threading
from pathlib import Path

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from .app import Application
from .certificates import loopback_context
from .counters import ServerStats, listen
from .recording import RequestRecord, RequestRecorder


def counting_protocol(stats: ServerStats, records: list[RequestRecord] | None) -> type[asyncio.Protocol]:
    """uvicorn's protocol, which counts into `stats` and, unless it is None, adds to `records`."""

    class CountingProtocol(HttpToolsProtocol):
        """uvicorn's protocol; over TLS its connection_made comes after the handshake."""

        def connection_made(self, transport: asyncio.Transport) -> None:
            stats.connections_established += 1
            stats.connections_open += 1
            stats.connections_peak = max(stats.connections_peak, stats.connections_open)
            tls: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
            if tls is not None and tls.session_reused:
                stats.handshakes_resumed += 1
            elif tls is not None:
                stats.handshakes_full += 1
            super().connection_made(transport)

        def connection_lost(self, exc: Exception | None) -> None:
            stats.connections_open -= 1
            super().connection_lost(exc)

    class RecordingProtocol(CountingProtocol):
        """Also keeps what arrived, which uvicorn itself hands on with names in lower case."""

        def connection_made(self, transport: asyncio.Transport) -> None:
            super().connection_made(transport)
            assert records is not None
            self._recorder = RequestRecorder(records, stats.connections_established)

        def data_received(self, data: bytes) -> None:
            self._recorder.arrived(data)
            super().data_received(data)

        def on_body(self, body: bytes) -> None:
            self._recorder.body_piece(body)
            super().on_body(body)

        def on_message_complete(self) -> None:
            self._recorder.complete()
            super().on_message_complete()

    protocol: type[asyncio.Protocol] = CountingProtocol if records is None else RecordingProtocol
    return protocol


def answer_commands(
    server: uvicorn.Server, stats: ServerStats, records: list[RequestRecord] | None, loop: asyncio.AbstractEventLoop
) -> None:
    """Reads standard input on a thread of its own; its end is the end of the server."""

    # Both on the loop's thread, so that what they tell belongs together.
    def answer_stats() -> None:
        print(json.dumps(stats.as_dict()), flush=True)

    def answer_records() -> None:
        print(json.dumps([record.as_dict() for record in records or ()]), flush=True)
        if records is not None:
            records.clear()

    commands = {"stats": answer_stats, "records": answer_records}
    for line in sys.stdin:
        if line.strip() in commands:
            loop.call_soon_threadsafe(commands[line.strip()])
    server.should_exit = True


async def serve(arguments: argparse.Namespace, ca_file: Path) -> None:
    stats = ServerStats()
    records: list[RequestRecord] | None = [] if arguments.record else None
    listener = listen(stats, arguments.host, arguments.port)
    port = listener.getsockname()[1]
    config = uvicorn.Config(
        Application(stats),
        http=counting_protocol(stats, records),
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        # Equal requests get equal answers.
        date_header=False,
        timeout_keep_alive=arguments.keep_alive,
        timeout_graceful_shutdown=1,
        backlog=1024,
    )
    config.load()
    if arguments.tls:
        config.ssl = loopback_context(ca_file)
    server = uvicorn.Server(config)
    scheme = "https" if arguments.tls else "http"
    host = f"[{arguments.host}]" if ":" in arguments.host else arguments.host
    origin = f"{scheme}://{host}:{port}"
    # Listening now, so that a reader of the line may connect at once: the kernel queues until the loop accepts.
    listener.listen(1024)
    if arguments.print_json:
        where = {
            "base_url": f"{origin}/v1",
            "origin": origin,
            "ca_file": str(ca_file) if arguments.tls else None,
            "pid": os.getpid(),
        }
        print(json.dumps(where), flush=True)
        commands = threading.Thread(
            target=answer_commands, args=(server, stats, records, asyncio.get_running_loop()), daemon=True
        )
        commands.start()
    else:
        print(f"Serving {origin}/v1" + (f" (authority: {ca_file})" if arguments.tls else ""), flush=True)
    await server.serve(sockets=[listener])


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m fast_litellm.server", description="An OpenAI-compatible server for demonstrations and tests."
    )
    parser.add_argument("--host", default="127.0.0.1", help="numeric address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=0, help="0, the default, takes a free one")
    parser.add_argument("--tls", action="store_true", help="serve TLS with a certificate made on the spot")
    parser.add_argument("--ca-file", type=Path, help="where to write the authority's certificate")
    parser.add_argument(
        "--keep-alive", type=int, default=75, metavar="SECONDS", help="idle time of a connection (default: %(default)s)"
    )
    parser.add_argument(
        "--print-json", action="store_true", help="say where it is in JSON; take commands from standard input"
    )
    parser.add_argument("--record", action="store_true", help="keep each request as it was on the wire")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    # A truncated answer leaves the application as an exception on purpose: its traceback is not logged.
    logging.getLogger("uvicorn").setLevel(logging.CRITICAL)
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
    # uvicorn raises the signal that stopped it once more, for its callers. Here it is the ordinary end, after which the
    # folder with the certificate has to go.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    with tempfile.TemporaryDirectory(prefix="fast-litellm-") as folder, contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(arguments, arguments.ca_file or Path(folder) / "ca.pem"))


if __name__ == "__main__":
    main()
