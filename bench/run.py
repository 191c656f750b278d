"""The benchmark: `python bench/run.py` (or `make bench`).

Compares the pool with raw system calls, with httpx (stock, over memory, over our transport), pycurl and pyreqwest,
against a local C++ server that is built here. Ends with tables in Markdown and a line per target; the same figures go
to build/bench/results.json. Nothing fails when a target is missed: this measures, it does not judge.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time

import report
import rounds
from environment import BUILD_DIR, SetupError, build, disturbance, running_server

_SERVER_CORE = 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, help="rounds, of which the median is told (default 5; quick: 1)")
    parser.add_argument("--seconds", type=float, help="seconds measured per process (default 0.6; quick: 0.3)")
    parser.add_argument("--warm", type=float, default=0.1, help="seconds of warm-up per process (default 0.1)")
    parser.add_argument("--quick", action="store_true", help="one short round: a look, not a measurement")
    parser.add_argument("--free", action="store_true", help="measure also with the client not pinned at all")
    parser.add_argument("--threads", default="1,8", help="numbers of threads (default 1,8)")
    parser.add_argument("--placements", default="same,cross", help="of same, cross, free (default same,cross)")
    parser.add_argument("--clients", default=",".join(rounds.CLIENTS), help="which clients; of: %(default)s")
    parser.add_argument("--plain", action="store_true", help="leave TLS out")
    arguments = parser.parse_args()
    arguments.rounds = arguments.rounds or (1 if arguments.quick else 5)
    arguments.seconds = arguments.seconds or (0.3 if arguments.quick else 0.6)
    arguments.clients = arguments.clients.split(",")
    arguments.placements = [*arguments.placements.split(","), *(["free"] if arguments.free else [])]
    arguments.threads = [int(count) for count in arguments.threads.split(",")]
    for name, known in (("clients", rounds.CLIENTS), ("placements", rounds.PLACEMENTS)):
        unknown = set(getattr(arguments, name)) - set(known)
        if unknown:
            parser.error(f"unknown {name}: {', '.join(sorted(unknown))}; known: {', '.join(known)}")
    return arguments


def main() -> int:
    arguments = _arguments()
    cores = os.cpu_count() or 1
    if cores < 2 and set(arguments.placements) != {"same"}:
        print("one core only: measuring 'same core' alone", file=sys.stderr)
        arguments.placements = ["same"]
    wanted = rounds.scenarios(arguments.placements, arguments.threads)
    if arguments.plain:
        wanted = [scenario for scenario in wanted if not scenario.tls]
    begin = time.monotonic()
    try:
        report.print_progress("building the server and the raw client")
        build()
        with running_server(_SERVER_CORE) as server:
            told = disturbance(server)
            timing = rounds.Timing(arguments.warm, arguments.seconds)
            results = rounds.run(server, arguments.clients, wanted, timing, arguments.rounds, report.print_progress)
            others = told()
    except SetupError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    print(file=sys.stderr)
    conditions = (
        f"{arguments.rounds} rounds of {arguments.seconds} s, {cores} cores, "
        f"{time.monotonic() - begin:.0f} s in all; {others}"
    )
    print(report.render(results, wanted, arguments.clients, conditions))
    target = BUILD_DIR / "results.json"
    target.write_text(json.dumps({"conditions": conditions, **results.as_json()}, indent=1))
    print(f"\nAll figures: {target}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
