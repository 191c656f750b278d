"""Every client of the benchmark's HTTP/2 part gets right answers from its nginx, over the protocol of its row."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from bench.common.environment import ROOT
from bench.cpp.part import OWN
from bench.http2 import part
from bench.http2.rounds import Effort, run_once
from bench.http2.server import Nginx, running_nginx

#: Where the whole build has it; that of build/bench may be older than the sources.
PROGRAM = ROOT / "build" / "dev" / "bench" / "bin" / OWN.name
ONE_CALL = Effort(rounds=1, seconds=0.0, warm=0.0)
SHORT = Effort(rounds=1, seconds=0.1, warm=0.0)  # long enough for a call after a pause of a busy machine
#: httpx's own client cannot: its unread streams use up the connection's window, and all others wait.
OURS_BESIDE = [client for client in part.ALONE.clients if client is not part.HTTPX]

over_both = pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])


@pytest.fixture(scope="module")
def nginx() -> Iterator[Nginx]:
    with running_nginx(min(os.sched_getaffinity(0))) as running:
        yield running


def cases(*kinds: part.Kind) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        ("kind", "client"),
        [pytest.param(kind, client, id=f"{kind.name}-{client.key}") for kind in kinds for client in kind.clients],
    )


@over_both
@cases(part.IN_TASKS, part.ON_THREADS)
def test_a_python_client_makes_its_call(nginx: Nginx, kind: part.Kind, client: part.Client, tls: bool) -> None:
    before = nginx.counts()
    answer = run_once(nginx, client, part.Scenario(kind, kind.widths[0], tls), ONE_CALL, cores=None)
    if "unavailable" in answer:
        pytest.skip(f"elsewhere: make bench, which installs what it compares with: {answer['unavailable']}")
    assert answer == {"requests": 1}
    assert nginx.counts().since(before).requests == 1


@over_both
@cases(part.CPP_LOOP, part.CPP_THREADS)
def test_a_cpp_client_makes_its_calls(nginx: Nginx, kind: part.Kind, client: part.Client, tls: bool) -> None:
    if not PROGRAM.exists():
        pytest.skip("elsewhere: after make test-cpp, which builds the program")
    before, width = nginx.counts(), kind.widths[-1]
    assert run_once(nginx, client, part.Scenario(kind, width, tls), SHORT, None, PROGRAM)["requests"] >= 0
    served = nginx.counts().since(before)
    assert served.requests >= width
    assert served.connections == (1 if client.http2 else width)


@over_both
@pytest.mark.parametrize("kind", [part.DOWNLOAD, part.STALL], ids=lambda kind: kind.name)
@pytest.mark.parametrize("client", OURS_BESIDE, ids=lambda client: client.key)
def test_small_requests_are_answered_beside_others(
    nginx: Nginx, kind: part.Kind, client: part.Client, tls: bool
) -> None:
    before = nginx.counts()
    assert run_once(nginx, client, part.Scenario(kind, part.BESIDE, tls), SHORT, cores=None)["p50_us"] > 0
    connections = nginx.counts().since(before).connections
    assert connections == 1 if client.http2 else connections > 1


@pytest.mark.parametrize("http2", [False, True], ids=["http1", "http2"])
@over_both
def test_a_port_speaks_one_protocol(nginx: Nginx, tls: bool, http2: bool) -> None:
    """A client of the other protocol fails: its figures would stand in the wrong row."""

    class Swapped:
        def peer(self, tls: bool, http2: bool) -> object:
            return nginx.peer(tls, not http2)

    client = part.AREQUEST if http2 else part.AREQUEST_1
    with pytest.raises(RuntimeError):
        run_once(Swapped(), client, part.Scenario(part.IN_TASKS, 1, tls), ONE_CALL, cores=None)  # type: ignore[arg-type]
