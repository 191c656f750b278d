"""The loops and keys over a link with a delay; run by part.py within tests/tools/delayed_link.py.

    delayed_link.py 15 -- python -m bench.loops.link ROUNDS

Starts the server in one namespace and the clients in the other; prints the results as JSON.
"""

from __future__ import annotations

import json
import os
import sys

from bench.common.environment import running_server
from bench.http.report import print_progress
from bench.loops.part import Effort, delayed, groups, quiet_environment
from bench.loops.rounds import Place, run

_SERVER_CORE = 0


def main(rounds: int) -> None:
    def within(side: str) -> list[str]:
        return ["ip", "netns", "exec", os.environ[f"LINK_{side}_NS"]]

    with running_server(_SERVER_CORE, os.environ["LINK_SERVER_ADDR"], within("SERVER")) as server:
        place = Place(server.plain, server.tls, quiet_environment(), within("CLIENT"))
        results = run(delayed(groups(Effort(rounds, 1.0))["keys"]), place, rounds, print_progress)
    print(json.dumps(results.as_json()))


if __name__ == "__main__":
    main(int(sys.argv[1]))
