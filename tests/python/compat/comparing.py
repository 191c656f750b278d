"""Judges what the matrix collected. Pure: plain values in, verdicts out.

What the caller got must be equal field for field, stock and accelerated, save for what litellm makes anew at each call:
random ids and the time (see `normalised`).

What the server saw must be, byte for byte, what httpx's own transport sends for the same client: the worker "httpx"
(litellm without its aiohttp transport) is that client. Against litellm as it comes, whose asynchronous calls go through
aiohttp, method, target and body must be equal too, and the headers with two differences that are aiohttp's:

- names come in lower case, because litellm hands aiohttp the headers as a plain dict of httpx's;
- a body without a `content-type` gets one, `application/octet-stream`, at the end. httpx sends none.

With a proxy (`matrix.run_proxied`) connections must go past it where those of litellm as it comes do, and nowhere else.

What did not go through the pool must be what litellm as it comes sends, byte for byte.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from .cells import Cell
from .sdk_cells import SdkCell

POOL = "pool"  # through the pool, and equal
STOCK = "stock"  # equal, but not through the pool
DIFFERS = "differs"
NOT_OFFERED = "not offered"  # litellm or the SDK refuses before it sends anything

#: Of the embedded server's answers; any other time is litellm's own.
_SERVERS_NOW = 1_700_000_000
_TIMES = frozenset({"created", "created_at", "_response_ms", "litellm_overhead_time_ms", "callback_duration_ms"})
_AIOHTTPS_TYPE = ("content-type", "application/octet-stream")
_RANDOM = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|\b0x[0-9a-f]{6,}\b")


class Verdict(NamedTuple):
    state: str
    #: Why it is not POOL; or, for POOL, what a reader should know.
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        return ": ".join((self.state, "; ".join(self.notes))) if self.notes else self.state


def judge(cell: Cell | SdkCell, outcomes: Mapping[str, Any]) -> Verdict:
    """`outcomes`: mode -> what `matrix.run` has of this cell."""
    stock, ours = outcomes["stock"], outcomes["accelerated"]
    counted, seen = ours["pool"], ours["requests"]
    carried = counted["requests"] == len(seen) and not counted["requests_stock"]
    same = outcomes["httpx"] if carried else stock
    differences = [
        *(f"the caller got {text}" for text in compare_values(stock["result"], ours["result"])),
        *(f"the server saw {text}" for text in compare_requests(same["requests"], seen, exact=True)),
        *(f"the server saw {text}" for text in compare_requests(stock["requests"], seen, exact=False)),
    ]
    if differences and stock_fails(cell, outcomes):
        return Verdict(DIFFERS, (f"litellm as it comes fails: {error_of(stock['result'])}", *differences))
    if differences:
        return Verdict(DIFFERS, tuple(differences))
    refusal = error_of(stock["result"])
    past, theirs = ours.get("past_the_proxy", 0), stock.get("past_the_proxy", 0)
    if bool(past) != bool(theirs):
        return Verdict(DIFFERS, (f"{past} connections past the proxy, {theirs} of litellm as it comes",))
    if refusal and not stock["requests"]:
        return Verdict(NOT_OFFERED, (refusal,))
    if bool(refusal) != (cell.operation in ("error", "aerror")):
        return Verdict(DIFFERS, (f"litellm as it comes fails too: {refusal or 'no error'}",))
    notes = []
    if cell.operation in ("image", "aimage") and not any(_is_get(request) for request in seen):
        notes.append("the provider gets the URL: nothing is fetched")
    if past:
        notes.append("litellm as it comes does not use the proxy here")
    if carried:
        return Verdict(POOL, tuple(notes))
    reasons = [*counted["fallback_reasons"], *counted["requests_stock"]]
    if any(re.search(r"(?im)^user-agent: python/.* aiohttp/", request["head"]) for request in seen):
        reasons.append("litellm uses aiohttp itself here, without httpx")
    amount = f"the pool carried {counted['requests']} of {len(seen)} requests"
    return Verdict(STOCK, (*(reasons or [amount]), *notes))


def stock_fails(cell: Cell | SdkCell, outcomes: Mapping[str, Any]) -> bool:
    """Whether litellm as it comes fails in a cell that it offers, and that is not about failing."""
    stock = outcomes["stock"]
    refused_at_once = not stock["requests"] and not outcomes["accelerated"]["requests"]
    return bool(error_of(stock["result"])) and cell.operation not in ("error", "aerror") and not refused_at_once


def error_of(result: Any) -> str:
    """What was raised, "" if nothing was."""
    return f"{result['error']}: {result['message']}" if isinstance(result, dict) and "error" in result else ""


def compare_values(stock: Any, ours: Any) -> list[str]:
    """Where two results differ, in words; both as they came."""
    return list(_walk(normalised(stock), normalised(ours), "result"))


def compare_requests(theirs: Sequence[Any], ours: Sequence[Any], *, exact: bool) -> list[str]:
    """Where what the server saw differs. Not `exact`: see above."""
    if len(theirs) != len(ours):
        return [f"{len(ours)} requests, not {len(theirs)}"]
    found = []
    for their, our in zip(theirs, ours, strict=True):
        pairs = [("heads", their["head"], our["head"])] if exact else _parts(their["head"], our["head"])
        pairs.append(("bodies", their["body"], our["body"]))
        found += [
            f"other {what}: {our_part!r}, not {their_part!r}"
            for what, their_part, our_part in pairs
            if our_part != their_part
        ]
    return found


def normalised(value: Any, key: str = "") -> Any:
    """Without what no two calls have in common."""
    if isinstance(value, dict):
        # litellm's logging threads put `optional_params` into the hidden parameters of a chunk, when they come to it.
        return {
            name: normalised(item, name) for name, item in value.items() if key != "hidden" or name != "optional_params"
        }
    if isinstance(value, list):
        return [normalised(item) for item in value]
    if isinstance(value, str):
        return _RANDOM.sub("<random>", value)
    if key in _TIMES and isinstance(value, (int, float)) and value != _SERVERS_NOW:
        return "<time>"
    return value


def _walk(stock: Any, ours: Any, where: str) -> Iterator[str]:
    if isinstance(stock, dict) and isinstance(ours, dict):
        # As lists: the order of the fields is the caller's to see.
        if list(stock) != list(ours):
            yield f"{where} with {list(ours)}, not {list(stock)}"
        for name in stock.keys() & ours.keys():
            yield from _walk(stock[name], ours[name], f"{where}.{name}")
    elif isinstance(stock, list) and isinstance(ours, list):
        if len(stock) != len(ours):
            yield f"{where} with {len(ours)} items, not {len(stock)}"
        for index, (one, other) in enumerate(zip(stock, ours, strict=False)):
            yield from _walk(one, other, f"{where}[{index}]")
    elif type(stock) is not type(ours) or stock != ours:
        yield f"{where} = {ours!r}, not {stock!r}"


def _parts(their_head: str, our_head: str) -> list[tuple[str, Any, Any]]:
    (their_line, their_headers), (our_line, our_headers) = _split(their_head), _split(our_head)
    if not any(name == "content-type" for name, _ in our_headers):
        their_headers = [header for header in their_headers if header != _AIOHTTPS_TYPE]
    return [("request lines", their_line, our_line), ("headers", their_headers, our_headers)]


def _split(head: str) -> tuple[str, list[tuple[str, str]]]:
    """The request line; the headers with names in lower case."""
    line, *fields = head.removesuffix("\r\n\r\n").split("\r\n")
    return line, [(name.lower(), value.strip()) for name, _, value in (field.partition(":") for field in fields)]


def _is_get(request: Mapping[str, Any]) -> bool:
    return str(request["head"]).startswith("GET ")
