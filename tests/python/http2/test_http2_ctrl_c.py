"""Ctrl-C ends each kind of wait for an HTTP/2 stream, although none has a timeout, and the streams that other threads
have on the same connection go on."""

from __future__ import annotations

import asyncio
import signal

import pytest

from peers import child
from peers.http2_scripted import (
    ClientLeft,
    Code,
    Http2Peer,
    Http2Request,
    Setting,
    answer_to,
    data,
    headers,
    http2_context,
    window_update,
)
from peers.scripted import Connection, Counts, Gate, ScriptedServer
from support.certificates import Certificates

BYSTANDERS = 3

_PROGRAM = """
    import gc, os, signal, sys, threading, time, httpx
    from fast_litellm import HTTPTransport, SimpleConnectionPool

    wait, first, url, ca_file, bystanders = *sys.argv[1:5], int(sys.argv[5])
    pool = SimpleConnectionPool("interrupted", max_connections_per_endpoint=1, verify=ca_file)
    transport = HTTPTransport(http2=True, verify=ca_file, pool=pool)
    client = httpx.Client(transport=transport, timeout=None)
    answers = []

    def bystand(path):
        answers.append(httpx.Client(transport=transport, timeout=None).post(url + path, content=path.encode()).text)

    threads = [threading.Thread(target=bystand, args=(f"/bystander/{number}",)) for number in range(bystanders)]

    def start_threads():
        for thread in threads:
            thread.start()

    def start_threads_when_told():
        sys.stdin.readline()
        start_threads()

    def interrupt_once_waiting():
        while pool.get_stats()["waiters"] == 0:
            time.sleep(0.001)
        os.kill(os.getpid(), signal.SIGINT)

    client.get(url + "/warm")
    starter = threading.Thread(target=start_threads_when_told)
    if first == "main":
        starter.start()
    else:
        start_threads_when_told()
    if wait == "stream":
        while pool.get_stats()["open_streams"] < bystanders:
            time.sleep(0.001)
        threading.Thread(target=interrupt_once_waiting, daemon=True).start()
    interrupted = False
    try:
        client.request("POST", url + "/main", content=b"x" * (1_000_000 if wait == "write" else 1))
    except KeyboardInterrupt:
        interrupted = True
    # Past the handler: the signal may come between any two steps of httpx, and then the traceback holds the response.
    assert interrupted
    gc.collect()
    print("interrupted", flush=True)
    if first == "main":
        starter.join()
    for thread in threads:
        thread.join()
    paths = [f"/bystander/{number}" for number in range(bystanders)]
    assert sorted(answers) == [f"answer to {path} {path}" for path in paths], answers
    assert client.get(url + "/after").text == "answer to /after "
    stats = pool.get_stats()
    assert (stats["open_streams"], stats["dials"], pool.open_leases()) == (0, 1, 0), stats
    assert transport._pool.connections == []
    print("went on", flush=True)
"""


class _Server:
    """Answers the bystanders once the gate is open, the main thread's request never, and others at once."""

    def __init__(self, wait: str) -> None:
        self._wait = wait
        self.interrupted = Gate()
        self.resets: dict[str, int] = {}
        self._bystanders: list[Http2Request] = []

    async def __call__(self, connection: Connection) -> None:
        most = BYSTANDERS + (self._wait != "stream")
        # Room on the connection for all, and on each stream for one window.
        room = window_update(0, 2**30)
        peer = await Http2Peer.begin(connection, {Setting.MAX_CONCURRENT_STREAMS: most}, credit=False, more=room)
        answering = asyncio.create_task(self._answer_bystanders(peer))
        try:
            while True:
                request = await peer.head()
                peer.processed(request)
                if request.path.startswith("/bystander"):
                    self._bystanders.append(request)
                elif request.path != "/main":
                    await peer.respond(request, answer_to(request.path))
                elif self._wait == "body":
                    await peer.send(headers(request.stream, (":status", "200")), data(request.stream, b"half"))
        except ClientLeft:
            await answering
            self.resets = {peer.streams[stream].path: code for stream, code in peer.resets.items()}

    async def _answer_bystanders(self, peer: Http2Peer) -> None:
        await self.interrupted.passed()
        for request in self._bystanders:
            await peer.respond(request, answer_to(request.path, bytes(request.body)))


def _has_main(counts: Counts) -> bool:
    return any(request.target == "/main" for request in counts.requests)


def _has_bystanders(counts: Counts) -> bool:
    return sum(request.target.startswith("/bystander") for request in counts.requests) == BYSTANDERS


@pytest.mark.parametrize(
    ("wait", "first"),
    # The thread that waits first reads for all. A wait for a stream needs others that have them all.
    [(wait, first) for wait in ("head", "body", "write") for first in ("main", "bystanders")]
    + [("stream", "bystanders")],
)
def test_ctrl_c_ends_the_wait_and_no_other_stream(wait: str, first: str, certificates: Certificates) -> None:
    script = _Server(wait)
    with ScriptedServer(script, tls=http2_context(certificates.server)) as server:
        arguments = (wait, first, server.url, str(certificates.ca_file), str(BYSTANDERS))
        with child.running(_PROGRAM, *arguments) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            assert process.stderr is not None
            steps = [(_has_main, "the main thread's request"), (_has_bystanders, "the bystanders")]
            if first == "main":
                server.wait_until(*steps[0])
            process.stdin.write("start\n")
            process.stdin.flush()
            server.wait_until(*steps[1])
            if wait != "stream":  # else the program interrupts itself, once it waits
                server.wait_until(*steps[0])
                process.send_signal(signal.SIGINT)
            assert process.stdout.readline() == "interrupted\n", process.stderr.read()
            script.interrupted.open()
            out, err = process.communicate(timeout=child.PATIENCE)
        assert out == "went on\n", err
        assert process.returncode == 0, err
        server.wait_until(lambda counts: counts.open == 0, "the end of the connection")
        assert script.resets == ({} if wait == "stream" else {"/main": Code.CANCEL})
        assert server.connections == 1
