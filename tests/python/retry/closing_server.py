"""An HTTP server that ends its keep-alive connections, in one way or another, around the time of the next request.

    closing_server.py ADDRESS WAY [CERTIFICATE KEY]

It prints its port and serves until its standard input ends; then it prints, as JSON, how often it has read each request
as a whole, by the request's `x-id`. The first request of a connection is always answered. The ways:

    close   closes at a random moment after an answer, unless a request has come by then; it is answered then
    half    ends its own side only, at such a moment; reads on and counts, and answers no more
    reset   as close, but with a reset
    read    reads the second request, and closes without an answer

Under TLS half of the closes are preceded by a close_notify.

Each worker is one thread of its own process, and looks at the socket right before it closes it. A request that arrives
between the look and the close is lost for good, since the kernel then resets the connection instead of ending it; a
real server has the same gap, a few microseconds wide.
"""

from __future__ import annotations

import collections
import contextlib
import heapq
import itertools
import json
import multiprocessing
import multiprocessing.connection
import os
import random
import selectors
import socket
import ssl
import struct
import sys
import time

WORKERS = 2
#: The next request comes about one round trip of 20 ms after an answer, later on a busy machine.
LATEST = 0.06
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


class Peer:
    """One accepted connection. Reads without waiting; what it writes is little enough to be taken at once."""

    def __init__(self, accepted: socket.socket, context: ssl.SSLContext | None) -> None:
        accepted.setblocking(False)
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = accepted
        self.answered = 0
        self.half_closed = False
        self.ended = False
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_side=True) if context else None
        self._shaken = False
        self._buffer = b""

    def receive(self) -> list[str]:
        """Takes what has arrived. Returns the ids of the requests that are whole now."""
        while not self.ended:
            try:
                data = self.socket.recv(65536)
            except BlockingIOError:
                break
            except OSError:
                data = b""
            if not data:
                self.ended = True
            elif self._tls is None:
                self._buffer += data
            else:
                self._in.write(data)
                self._decrypt(self._tls)
        ids = []
        while b"\r\n\r\n" in self._buffer:
            head, rest = self._buffer.split(b"\r\n\r\n", 1)
            lines = (line.partition(b": ") for line in head.split(b"\r\n")[1:])
            fields = {name.lower(): value for name, _, value in lines}
            length = int(fields.get(b"content-length", b"0"))
            if len(rest) < length:
                break
            self._buffer = rest[length:]
            ids.append(fields[b"x-id"].decode())
        return ids

    @property
    def has_part(self) -> bool:
        """Whether a request has begun to arrive."""
        return bool(self._buffer)

    def _decrypt(self, tls: ssl.SSLObject) -> None:
        try:
            if not self._shaken:
                tls.do_handshake()
                self._shaken = True
            while data := tls.read(65536):
                self._buffer += data
            self.ended = True  # close_notify
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError:
            self.ended = True
        self._flush()

    def _flush(self, flags: int = 0) -> None:
        data = self._out.read()
        if data:
            try:
                self.socket.send(data, flags)
            except OSError:
                self.ended = True

    def answer(self) -> None:
        self.answered += 1
        if self._tls is not None:
            self._tls.write(ANSWER)
        else:
            self._out.write(ANSWER)
        self._flush()

    def say_goodbye(self) -> None:
        if self._tls is not None:
            try:
                self._tls.unwrap()
            except ssl.SSLError:  # it would wait for the client's
                pass
            self._flush(socket.MSG_MORE)  # goes out with the FIN

    def end_own_side(self) -> None:
        self.half_closed = True
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError:
            self.ended = True

    def reset(self) -> None:
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


class Worker:
    """Accepts and serves in one thread, until `stop` is called."""

    def __init__(self, listener: socket.socket, way: str, context: ssl.SSLContext | None) -> None:
        self._listener, self._way, self._context = listener, way, context
        self._selector = selectors.DefaultSelector()
        self._due: list[tuple[float, int, Peer, int]] = []  # when, order, whom, after which answer
        self._order = itertools.count()
        self._random = random.Random()
        self.seen: collections.Counter[str] = collections.Counter()

    def run(self, control: multiprocessing.connection.Connection) -> None:
        with contextlib.suppress(PermissionError):
            os.nice(-10)  # so that little comes between the look and the close
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(control, selectors.EVENT_READ)
        while True:
            wait = self._due[0][0] - time.monotonic() if self._due else None
            for key, _ in self._selector.select(None if wait is None else max(0.0, wait)):
                if key.fileobj is control:
                    control.send(self.seen)
                    return
                if key.fileobj is self._listener:
                    self._accept()
                else:
                    self._serve(key.data)
            while self._due and self._due[0][0] <= time.monotonic():
                _, _, peer, answered = heapq.heappop(self._due)
                if peer.answered == answered and peer.socket.fileno() >= 0:
                    self._end(peer)

    def _accept(self) -> None:
        try:
            accepted, _ = self._listener.accept()
        except BlockingIOError:  # another worker was faster
            return
        peer = Peer(accepted, self._context)
        self._selector.register(accepted, selectors.EVENT_READ, peer)

    def _serve(self, peer: Peer) -> bool:
        """Takes what has come. Returns whether the connection has something else to do than to end."""
        ids = peer.receive()
        self.seen.update(ids)
        if ids and not peer.half_closed:
            if self._way == "read" and peer.answered:
                self._close(peer)
                return True
            peer.answer()
            if self._way != "read":
                due = time.monotonic() + self._random.uniform(0, LATEST)
                heapq.heappush(self._due, (due, next(self._order), peer, peer.answered))
        if peer.ended:
            self._close(peer)
        return bool(ids) or peer.ended or peer.has_part

    def _end(self, peer: Peer) -> None:
        if self._serve(peer):
            return
        if self._way == "half":
            peer.end_own_side()
        elif self._way == "reset":
            self._selector.unregister(peer.socket)
            peer.reset()
        else:
            goodbye = self._random.random() < 0.5
            self._selector.unregister(peer.socket)
            try:
                peer.socket.recv(1, socket.MSG_PEEK)
            except BlockingIOError:
                if goodbye:
                    peer.say_goodbye()
                peer.socket.close()
                return
            self._selector.register(peer.socket, selectors.EVENT_READ, peer)

    def _close(self, peer: Peer) -> None:
        if peer.socket.fileno() >= 0:
            self._selector.unregister(peer.socket)
            peer.socket.close()


def main(arguments: list[str]) -> None:
    address, way = arguments[:2]
    context = None
    if arguments[2:]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*arguments[2:4])
    listener = socket.create_server((address, 0), backlog=256)
    listener.setblocking(False)
    forked = multiprocessing.get_context("fork")
    controls = []
    for _ in range(WORKERS):
        ours, theirs = forked.Pipe()
        forked.Process(target=Worker(listener, way, context).run, args=(theirs,), daemon=True).start()
        controls.append(ours)
    print(listener.getsockname()[1], flush=True)
    sys.stdin.read()
    seen: collections.Counter[str] = collections.Counter()
    for control in controls:
        control.send(None)
        seen.update(control.recv())
    print(json.dumps(seen), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
