"""What the workers of a matrix have in common: what they say on their pipes, and what a caller got as JSON.

Imported by programs under other interpreters: nothing but the standard library here.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

#: The line that asks for the status of the patch in place of a cell.
STATUS = "status"


def talk(make_client: Callable[[dict[str, Any]], Any], cells: Iterable[Any]) -> None:
    """Takes one line of JSON with the settings on standard input, and says what the client is. Then takes a line with
    the name of a cell each, answered with a line of JSON: what the caller got, and what the pool counted; or the line
    `STATUS`, answered with `get_patch_status()`. All else that is printed goes to stderr.

    `make_client(settings)` has `introduction()`, `run(cell)`, `status()` and `close()`."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def say(message: Any) -> None:
        answers.write(json.dumps(message, default=repr) + "\n")
        answers.flush()

    client = make_client(json.loads(sys.stdin.readline()))
    say(client.introduction())
    known = {cell.name: cell for cell in cells}
    for line in sys.stdin:
        name = line.strip()
        say(client.status() if name == STATUS else client.run(known[name]))
    client.close()


def counts(fast_litellm: Any) -> dict[str, Any]:
    """What the pool and the patch have counted; nothing without the package."""
    if fast_litellm is None:
        return {}
    stats = fast_litellm.get_performance_stats()
    return {
        "requests": stats["pool"]["requests"],
        "requests_stock": stats["requests_stock"],
        "fallback_reasons": stats["fallback_reasons"],
    }


def dump(answer: Any) -> Any:
    """All that the caller can see of an answer."""
    dumped = answer.model_dump() if hasattr(answer, "model_dump") else answer
    return {"type": type(answer).__name__, "fields": dumped, **dump_hidden(answer)}


def dump_hidden(answer: Any) -> dict[str, Any]:
    """What litellm attaches beside the fields: headers of the response, cost, and so on."""
    params = getattr(answer, "_hidden_params", None)
    hidden = {"hidden": params.model_dump() if hasattr(params, "model_dump") else params}
    headers = getattr(answer, "_response_headers", None)
    if headers is not None:
        hidden["headers"] = headers if isinstance(headers, dict) else dict(headers)
    return hidden


def dump_error(error: BaseException) -> dict[str, Any]:
    response = getattr(error, "response", None)
    headers = getattr(response, "headers", None)
    return {
        "error": type(error).__name__,
        "message": str(error),
        "status": getattr(error, "status_code", None),
        "body": getattr(error, "body", None),
        "headers": sorted(headers.items()) if headers is not None else None,
        "retries": [getattr(error, name, None) for name in ("num_retries", "max_retries")],
    }


def difference(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """What was counted in between."""
    added: dict[str, Any] = {}
    for name, value in after.items():
        if isinstance(value, dict):
            added_here = {key: count - before[name].get(key, 0) for key, count in value.items()}
            added[name] = {key: count for key, count in added_here.items() if count}
        else:
            added[name] = value - before[name]
    return added


def version_of(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
