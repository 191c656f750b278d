"""Runs closing_server.py and link_client.py at the two ends of a link, and prints what both saw as JSON.

To be started by delayed_link.py:

over_link.py WAY METHOD COUNT THREADS [CERTIFICATE KEY CA_FILE]
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def main(arguments: list[str]) -> int:
    way, method, count, threads, *tls = arguments
    at_server = [os.environ["LINK_IP"], "netns", "exec", os.environ["LINK_SERVER_NS"], sys.executable]
    at_client = [os.environ["LINK_IP"], "netns", "exec", os.environ["LINK_CLIENT_NS"], sys.executable]
    address = os.environ["LINK_SERVER_ADDR"]
    with subprocess.Popen(
        [*at_server, str(HERE / "closing_server.py"), address, way, *tls[:2]],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stdout is not None
        port = server.stdout.readline().strip()
        url = f"{'https' if tls else 'http'}://{address}:{port}/"
        try:
            client = subprocess.run(
                [*at_client, str(HERE / "link_client.py"), url, method, count, threads, *tls[2:]],
                check=False,
                stdout=subprocess.PIPE,
                text=True,
                timeout=120,
            )
            seen, _ = server.communicate("", timeout=30)
        except BaseException:
            server.kill()
            raise
    if client.returncode != 0 or server.returncode != 0:
        return 1
    print(json.dumps({**json.loads(client.stdout), "seen": json.loads(seen)}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
