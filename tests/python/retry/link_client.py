"""Sends many requests by several threads through one pool, each with an id of its own; prints the outcome as JSON.

link_client.py URL METHOD COUNT THREADS [CA_FILE]
"""

from __future__ import annotations

import collections
import json
import sys
import threading
from typing import Any

import httpx

import fast_litellm

TIMEOUT = 20.0


def main(arguments: list[str]) -> None:
    url, method, count, threads = arguments[0], arguments[1], int(arguments[2]), int(arguments[3])
    verify: Any = arguments[4] if arguments[4:] else True
    errors: collections.Counter[str] = collections.Counter()
    failed: list[str] = []
    lock = threading.Lock()
    pool = fast_litellm.SimpleConnectionPool("over-a-link", verify=verify)

    def run(thread: int) -> None:
        for number in range(thread, count, threads):
            name = f"{method}-{number}"
            body: dict[str, Any] = {"json": {"id": name, "content": "x" * 200}} if method == "POST" else {}
            try:
                response = client.request(method, url, headers={"x-id": name}, **body)
                assert response.text == "ok"
            except httpx.HTTPError as error:
                with lock:
                    errors[f"{type(error).__name__}: {error}"] += 1
                    failed.append(name)

    with httpx.Client(transport=fast_litellm.HTTPTransport(verify=verify, pool=pool), timeout=TIMEOUT) as client:
        workers = [threading.Thread(target=run, args=(thread,)) for thread in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    statistics = {name: value for name, value in pool.get_stats().items() if isinstance(value, int)}
    pool.close()
    print(json.dumps({"count": count, "failed": failed, "errors": errors, "statistics": statistics}))


if __name__ == "__main__":
    main(sys.argv[1:])
