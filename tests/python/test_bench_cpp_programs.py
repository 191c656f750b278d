"""Every client of the benchmark's C++ part gets right answers from the benchmark's server, plain and over TLS."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from bench.common.environment import ROOT, SERVER, Server, running_server
from bench.cpp import part
from bench.cpp.rounds import Effort, run_once

#: Where the whole build has them; those of build/bench may be older than the sources.
PROGRAMS = ROOT / "build" / "dev" / "bench" / "bin"
#: Two at once, each of which is answered during the warm-up.
SMALLEST = part.Scenario(part.SMALL, loop=False, width=2, tls=False, placement="free")
EFFORT = Effort(rounds=1, seconds=0.01, warm=0.0)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    program = PROGRAMS / SERVER.name
    if not program.exists():
        pytest.skip("elsewhere: after make test-cpp, which builds the programs")
    with running_server(min(os.sched_getaffinity(0)), program=program) as running:
        yield running


@pytest.mark.parametrize("client", [*part.BLOCKING, *part.LOOPING], ids=lambda client: client.name)
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_a_client_gets_right_answers(server: Server, client: part.Client, tls: bool) -> None:
    scenario = replace(SMALLEST, loop=client in part.LOOPING, tls=tls)
    if client not in scenario.clients:
        pytest.skip("case: the bare loop speaks no TLS")
    own = replace(client, program=PROGRAMS / client.program.name)
    if client.program in part.NEEDS and not own.program.exists():
        pytest.skip(f"machine: no {part.NEEDS[client.program]}")
    before = server.counts()
    assert run_once(server, own, scenario, EFFORT)["requests"] >= 0
    assert server.counts().since(before).requests >= SMALLEST.width
