"""Connections of an `ssl.SSLContext` where the process matters: Ctrl-C, forks, and the interpreter's exit."""

from __future__ import annotations

import signal
import textwrap
from collections.abc import Callable

import pytest

from peers import child
from peers.scripted import Connection, Gate, ScriptedServer, serve_ok
from support.certificates import Certificates

Serve = Callable[..., ScriptedServer]

_PRELUDE = """
    import gc, os, signal, ssl, sys, threading, time, httpx
    from fast_litellm import HTTPTransport, SimpleConnectionPool
    url, ca_file = sys.argv[1:3]
    context = ssl.create_default_context(cafile=ca_file)
    pool = SimpleConnectionPool("contexts", verify=context)
    client = httpx.Client(transport=HTTPTransport(verify=context, pool=pool), timeout=None)
"""


def _program(text: str) -> str:
    return textwrap.dedent(_PRELUDE) + textwrap.dedent(text)


def _hold(end: Gate, wait: str) -> Callable[[Connection], object]:
    """Answers until `wait` is to be waited for."""

    async def script(connection: Connection) -> None:
        if wait == "handshake":
            await connection.receive()
            await end.passed()
            return
        await connection.request_head()
        if wait == "body":
            await connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nsome")
        if wait == "write":
            connection.pause()
        await end.passed()

    return script


@pytest.mark.parametrize("wait", ["handshake", "write", "head", "body"])
def test_ctrl_c_ends_the_wait(serve: Serve, certificates: Certificates, wait: str) -> None:
    end = Gate()
    server = serve(_hold(end, wait), tls=None if wait == "handshake" else certificates.server)
    program = """
        interrupted = False
        try:
            if sys.argv[3] == "write":
                client.post(url, content=b"x" * 50_000_000)
            else:
                client.get(url)
        except KeyboardInterrupt:
            interrupted = True
        assert interrupted
        gc.collect()
        assert pool.open_leases() == 0, pool.get_stats()
        print("interrupted", flush=True)
    """
    url = server.url.replace("http:", "https:")
    with child.running(_program(program), url, str(certificates.ca_file), wait) as process:
        server.wait_until(lambda counts: counts.connections == 1, "the connection")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=child.PATIENCE)
        assert (process.returncode, out.strip()) == (0, "interrupted"), err
    end.open()


def test_a_handler_that_raises_inside_the_context_ends_the_request(serve: Serve, certificates: Certificates) -> None:
    server = serve(serve_ok, tls=certificates.server)
    done = child.run(
        _program(
            """
            class Object(ssl.SSLObject):
                def do_handshake(self):
                    super().do_handshake()
                    os.kill(os.getpid(), signal.SIGINT)
                    for _ in range(1000):
                        pass

            context.sslobject_class = Object
            interrupted = False
            try:
                client.get(url)
            except KeyboardInterrupt:
                interrupted = True
            assert interrupted
            context.sslobject_class = ssl.SSLObject
            assert client.get(url + "/after").text == "GET /after"
            assert pool.get_stats()["total_connections"] == 1, pool.get_stats()
            """
        ),
        server.url,
        str(certificates.ca_file),
    )
    assert done.returncode == 0, done.stderr
    assert [request.target for request in server.requests] == ["/after"]


def test_a_fork_does_not_affect_the_parents_connections(serve: Serve, certificates: Certificates) -> None:
    server = serve(serve_ok, tls=certificates.server)
    done = child.run(
        _program(
            """
            assert client.get(url + "/before").text == "GET /before"
            for _ in range(3):
                pid = os.fork()
                if pid == 0:
                    code = 1
                    try:
                        assert client.get(url + "/child").text == "GET /child"
                        gc.collect()
                        code = 0
                    finally:
                        sys.stdout.flush()
                        os._exit(code)
                assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
                assert client.get(url + "/after").text == "GET /after"
            assert pool.get_stats()["dials"] == 1
            """
        ),
        server.url,
        str(certificates.ca_file),
    )
    assert done.returncode == 0, done.stderr
    assert server.connections == 1 + 3


@pytest.mark.parametrize("python", child.pythons())
def test_the_interpreter_exits_with_connections_in_every_state(
    serve: Serve, certificates: Certificates, python: str
) -> None:
    end = Gate()

    async def script(connection: Connection) -> None:
        while True:
            request = await connection.request()
            if request.target == "/hold":
                await end.passed()
            await connection.respond(b"x" * 100_000)

    busy = serve(script, tls=certificates.server)
    mute = serve(_hold(end, "handshake"))
    program = _program(
        """
        mute = sys.argv[3]

        def hold(address):
            client.get(address)

        def loop():
            while True:
                client.get(url + "/short")

        for work, address in ((hold, url + "/hold"), (hold, mute)):
            threading.Thread(target=work, args=(address,), daemon=True).start()
        for _ in range(2):
            threading.Thread(target=loop, daemon=True).start()
        client.get(url)
        pool.warm(url, 3)
        while pool.get_stats()["active_connections"] < 2 or pool.get_stats()["reused"] < 20:
            time.sleep(0.001)
        print("exiting", flush=True)
        """
    )
    for _ in range(child.exit_runs()):
        done = child.run(
            program, busy.url, str(certificates.ca_file), mute.url.replace("http:", "https:"), python=python
        )
        assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "exiting", "")
    end.open()
