"""The benchmark: `python -m bench.run` (or `make bench`).

Six parts. The pool itself: what it costs to take a connection and give it back, in C++ and from Python, beside other
pools and beside many idle connections. HTTP: requests through the pool beside raw system calls, httpx (stock, over
memory, over our transport), pycurl and pyreqwest. Async: tasks of an event loop beside a bare epoll loop, streams, and
litellm's acompletion, each beside the peers. C++: the library's own interface beside libcurl, cpp-httplib and
Boost.Beast. These against a local C++ server that is built here. HTTP/2: threads, tasks and the C++ interface beside
the same over HTTP/1.1 and beside peers over HTTP/2, against nginx. Fleet: the CPU of the agent that shares limits among
processes, and what a limit adds to a request. Ends with tables in Markdown and a line per target; the same figures go
to build/bench/{pool,results,async,cpp,h2,fleet}.json. Nothing fails when a target is missed: this
measures, it does not judge.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time

from bench.common import tables
from bench.common.environment import (
    BUILD_DIR,
    MEMORY_PROGRAM,
    POOL_PROGRAM,
    RAW_CLIENT,
    RAW_LOOP,
    ROOT,
    Server,
    SetupError,
    build,
    disturbance,
    running_server,
    versions,
)
from bench.common.placement import PLACEMENTS
from bench.cpp import part as cpp_part
from bench.cpp import report as cpp_report
from bench.cpp import rounds as cpp_rounds
from bench.fleet import report as fleet_report
from bench.fleet import rounds as fleet_rounds
from bench.http import report, rounds
from bench.http2 import part as http2_part
from bench.http2 import report as http2_report
from bench.http2 import rounds as http2_rounds
from bench.http2.server import running_nginx
from bench.http2.server import version as nginx_version
from bench.loops import part as async_part
from bench.loops import report as async_report
from bench.pool import idle
from bench.pool import part as pool_part
from bench.pool import report as pool_report

_SERVER_CORE = 0
_PARTS = {
    "pool": [POOL_PROGRAM.name, MEMORY_PROGRAM.name],
    "http": [RAW_CLIENT.name],
    "async": [RAW_LOOP.name],
    "cpp": cpp_part.TARGETS,
    "h2": http2_part.TARGETS,
    "fleet": [],
    "proxy": [RAW_LOOP.name],
}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=_PARTS, help="one part; all without it")
    parser.add_argument("--readme", action="store_true", help="put the figures of pool, async and cpp into README.md")
    parser.add_argument("--rows", default=",".join(async_part.ROWS), help="which rows of async; of: %(default)s")
    parser.add_argument(
        "--rounds", type=int, help="rounds; prints their medians (default 5, of pool 11, of cpp and h2 3; quick: 1)"
    )
    parser.add_argument(
        "--seconds",
        type=float,
        help="seconds measured per process (default 0.6, of cpp 0.25, of h2 0.4; quick: 0.3, 0.1, 0.15)",
    )
    parser.add_argument("--warm", type=float, default=0.1, help="seconds of warm-up per process (default 0.1)")
    parser.add_argument("--quick", action="store_true", help="one short round: a look, not a measurement")
    parser.add_argument("--free", action="store_true", help="measure also with the client not pinned at all")
    parser.add_argument("--threads", default="1,8", help="numbers of threads (default 1,8)")
    parser.add_argument("--placements", default="same,cross", help="of same, cross, free (default same,cross)")
    parser.add_argument("--clients", default=",".join(rounds.CLIENTS), help="which clients; of: %(default)s")
    parser.add_argument("--plain", action="store_true", help="leave TLS out")
    arguments = parser.parse_args()
    arguments.effort = pool_part.Effort.of(arguments.quick, arguments.rounds)
    arguments.async_effort = async_part.Effort.of(arguments.quick, arguments.rounds)
    arguments.cpp_effort = cpp_rounds.Effort.of(arguments.quick, arguments.rounds, arguments.seconds)
    arguments.http2_effort = http2_rounds.Effort.of(arguments.quick, arguments.rounds, arguments.seconds)
    arguments.fleet_effort = fleet_rounds.Effort.of(arguments.quick, arguments.rounds, arguments.seconds)
    arguments.rounds = arguments.rounds or (1 if arguments.quick else 5)
    arguments.seconds = arguments.seconds or (0.3 if arguments.quick else 0.6)
    arguments.clients = arguments.clients.split(",")
    arguments.rows = arguments.rows.split(",")
    arguments.placements = [*arguments.placements.split(","), *(["free"] if arguments.free else [])]
    arguments.threads = [int(count) for count in arguments.threads.split(",")]
    for name, known in (
        ("clients", rounds.CLIENTS),
        ("placements", PLACEMENTS),
        ("rows", async_part.ROWS),
    ):
        unknown = set(getattr(arguments, name)) - set(known)
        if unknown:
            parser.error(f"unknown {name}: {', '.join(sorted(unknown))}; known: {', '.join(known)}")
    return arguments


def _pool(server: Server, arguments: argparse.Namespace, descriptors: int) -> None:
    begin, told = time.monotonic(), disturbance(server)
    results = pool_part.run(_SERVER_CORE, descriptors, arguments.effort, report.print_progress)
    seconds = time.monotonic() - begin
    conditions = f"{arguments.effort.rounds} rounds, {os.cpu_count() or 1} cores, {seconds:.0f} s in all; {told()}"
    print(file=sys.stderr)
    print(pool_report.render(results, f"{conditions}; {versions(*report.PACKAGES)}"))
    target = BUILD_DIR / "pool.json"
    target.write_text(json.dumps({"conditions": conditions, **results.as_json()}, indent=1))
    print(f"\nAll figures: {target}", file=sys.stderr)
    if arguments.readme:
        tables.update_readme(ROOT / "README.md", "pool", pool_report.readme_figures(results, conditions))


def _http(server: Server, arguments: argparse.Namespace, wanted: list[rounds.Scenario]) -> None:
    begin, told = time.monotonic(), disturbance(server)
    timing = rounds.Timing(arguments.warm, arguments.seconds)
    results = rounds.run(server, arguments.clients, wanted, timing, arguments.rounds, report.print_progress)
    conditions = (
        f"{arguments.rounds} rounds of {arguments.seconds} s, {os.cpu_count() or 1} cores, "
        f"{time.monotonic() - begin:.0f} s in all; {told()}"
    )
    print(file=sys.stderr)
    print(report.render(results, wanted, arguments.clients, conditions))
    target = BUILD_DIR / "results.json"
    target.write_text(json.dumps({"conditions": conditions, **results.as_json()}, indent=1))
    print(f"\nAll figures: {target}", file=sys.stderr)


def _async(server: Server, arguments: argparse.Namespace) -> None:
    begin, told = time.monotonic(), disturbance(server)
    results = async_part.run(server, arguments.rows, arguments.async_effort, report.print_progress)
    seconds = time.monotonic() - begin
    conditions = (
        f"{arguments.async_effort.rounds} rounds, {os.cpu_count() or 1} cores, {seconds:.0f} s in all; {told()}"
    )
    print(file=sys.stderr)
    print(async_report.render(results, conditions))
    target = BUILD_DIR / "async.json"
    target.write_text(json.dumps({"conditions": conditions, **results.as_json()}, indent=1))
    print(f"\nAll figures: {target}", file=sys.stderr)
    if arguments.readme:
        tables.update_readme(ROOT / "README.md", "async", async_report.readme_figures(results, conditions))


def _cpp(server: Server, arguments: argparse.Namespace) -> None:
    begin, told, effort = time.monotonic(), disturbance(server), arguments.cpp_effort
    wanted = cpp_part.scenarios(os.cpu_count() or 1, tls=not arguments.plain)
    results = cpp_rounds.run(server, wanted, effort, report.print_progress)
    conditions = (
        f"{effort.rounds} rounds of {effort.seconds:g} s, {os.cpu_count() or 1} cores, "
        f"{time.monotonic() - begin:.0f} s in all; {told()}"
    )
    print(file=sys.stderr)
    print(cpp_report.render(results, wanted, conditions))
    target = BUILD_DIR / "cpp.json"
    target.write_text(json.dumps({"conditions": conditions, **results.as_json()}, indent=1))
    print(f"\nAll figures: {target}", file=sys.stderr)
    if arguments.readme:
        tables.update_readme(ROOT / "README.md", "cpp", cpp_report.readme_figures(results, wanted, conditions))


def _http2(arguments: argparse.Namespace) -> None:
    effort, wanted = arguments.http2_effort, http2_part.scenarios(tls=not arguments.plain)
    with running_nginx(_SERVER_CORE) as nginx:
        begin, told = time.monotonic(), disturbance(nginx)
        results = http2_rounds.run(nginx, wanted, effort, report.print_progress)
        conditions = (
            f"{effort.rounds} rounds of {effort.seconds:g} s, {os.cpu_count() or 1} cores, "
            f"{time.monotonic() - begin:.0f} s in all; {told()}"
        )
    print(file=sys.stderr)
    print(http2_report.render(results, wanted, conditions, nginx_version()))
    target = BUILD_DIR / "h2.json"
    target.write_text(json.dumps({"conditions": conditions, **results.as_json()}, indent=1))
    print(f"\nAll figures: {target}", file=sys.stderr)


def _fleet(server: Server, arguments: argparse.Namespace) -> None:
    begin, told, effort = time.monotonic(), disturbance(server), arguments.fleet_effort
    results = fleet_rounds.run(server, _SERVER_CORE, effort, report.print_progress)
    conditions = (
        f"{effort.rounds} rounds, agents watched for {effort.watched:g} s each, {os.cpu_count() or 1} cores, "
        f"{time.monotonic() - begin:.0f} s in all; {told()}"
    )
    print(file=sys.stderr)
    print(fleet_report.render(results, conditions))
    target = BUILD_DIR / "fleet.json"
    target.write_text(json.dumps({"conditions": conditions, **results.as_json()}, indent=1))
    print(f"\nAll figures: {target}", file=sys.stderr)


def main() -> int:
    arguments = _arguments()
    if (os.cpu_count() or 1) < 2 and set(arguments.placements) != {"same"}:
        print("one core only: measuring 'same core' alone", file=sys.stderr)
        arguments.placements = ["same"]
    wanted = rounds.scenarios(arguments.placements, arguments.threads)
    if arguments.plain:
        wanted = [scenario for scenario in wanted if not scenario.tls]
    if arguments.only == "proxy":  # one row of the asynchronous part
        arguments.rows = ["proxy"]
    descriptors = idle.allow_descriptors()
    try:
        report.print_progress("building the server, the raw clients and the library")
        parts = [part for part in _PARTS if part != "proxy"] if arguments.only is None else [arguments.only]
        build([target for part in parts for target in _PARTS[part]])
        with running_server(_SERVER_CORE) as server:
            for number, part in enumerate(parts):
                if number > 0:
                    print()
                if part == "pool":
                    _pool(server, arguments, descriptors)
                elif part == "http":
                    _http(server, arguments, wanted)
                elif part in ("async", "proxy"):
                    _async(server, arguments)
                elif part == "h2":
                    _http2(arguments)
                elif part == "fleet":
                    _fleet(server, arguments)
                else:
                    _cpp(server, arguments)
    except SetupError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
