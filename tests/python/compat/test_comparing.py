"""What the matrix calls equal, and what it does not."""

from __future__ import annotations

from typing import Any

import pytest

from .cells import Cell
from .comparing import compare_requests, compare_values, judge

CELL = Cell("openai", "acompletion")


def request(*headers: str, line: str = "POST /v1/x HTTP/1.1", body: str = "{}") -> dict[str, Any]:
    return {"connection": 1, "head": "\r\n".join((line, *headers)) + "\r\n\r\n", "body": body}


def outcome(result: Any = "answer", requests: Any = None, pool: int = 0, **counted: Any) -> dict[str, Any]:
    requests = [request("Host: a")] if requests is None else requests
    counts = {"requests": pool, "requests_stock": {}, "fallback_reasons": {}, **counted}
    return {"result": result, "requests": requests, "pool": counts}


def outcomes(ours: dict[str, Any], stock: dict[str, Any] | None = None) -> dict[str, Any]:
    stock = stock or outcome()
    return {"stock": stock, "httpx": stock, "accelerated": ours}


def test_equal_and_carried_is_through_the_pool() -> None:
    assert judge(CELL, outcomes(outcome(pool=1))).state == "pool"


@pytest.mark.parametrize(
    "ours", [outcome(pool=0), outcome(pool=2), outcome(pool=1, requests_stock={"instrumented": 1})]
)
def test_a_request_that_the_pool_did_not_carry_is_stock(ours: dict[str, Any]) -> None:
    assert judge(CELL, outcomes(ours)).state == "stock"


def test_a_request_that_bypasses_httpx_is_reported() -> None:
    bypassing = outcome(requests=[request("Host: a", "User-Agent: Python/3.11 aiohttp/3.14.5")])
    assert "aiohttp itself" in str(judge(CELL, outcomes(bypassing, bypassing)))


@pytest.mark.parametrize(
    "ours",
    [
        outcome("other", pool=1),
        outcome(requests=[request("Host: b")], pool=1),
        outcome(requests=[], pool=0),
        outcome(requests=[request("Host: a")] * 2, pool=2),
    ],
)
def test_another_answer_or_another_request_differs(ours: dict[str, Any]) -> None:
    assert judge(CELL, outcomes(ours)).state == "differs"


def test_a_refusal_without_a_request_is_not_offered_and_one_with_it_differs() -> None:
    error = {"error": "BadRequestError", "message": "no"}
    refused = outcome(error, requests=[])
    assert judge(CELL, outcomes(refused, refused)).state == "not offered"
    failed = outcome(error, pool=1)
    assert judge(CELL, outcomes(failed, failed)).state == "differs"
    assert judge(Cell("openai", "aerror"), outcomes(failed, failed)).state == "pool"
    assert judge(Cell("openai", "aerror"), outcomes(outcome(pool=1))).state == "differs"


def test_connections_past_the_proxy_differ_unless_litellm_as_it_comes_makes_them_too() -> None:
    through, past = {**outcome(pool=1), "past_the_proxy": 0}, {**outcome(pool=1), "past_the_proxy": 1}
    assert judge(CELL, outcomes(through, through)) == ("pool", ())
    assert judge(CELL, outcomes(past, through)).state == "differs"
    assert judge(CELL, outcomes(through, past)).state == "differs"
    assert judge(CELL, outcomes(past, past)) == ("pool", ("litellm as it comes does not use the proxy here",))


def test_httpx_is_compared_byte_for_byte() -> None:
    theirs = [request("Host: a", "X-B: 1", "x-c: 2")]
    assert compare_requests(theirs, [request("Host: a", "X-B: 1", "x-c: 2")], exact=True) == []
    for ours in (
        request("host: a", "X-B: 1", "x-c: 2"),
        request("Host: a", "x-c: 2", "X-B: 1"),
        request("Host: a", "X-B:  1", "x-c: 2"),
        request("Host: a", "X-B: 1"),
    ):
        assert compare_requests(theirs, [ours], exact=True)


def test_aiohttp_may_differ_in_the_case_of_names_and_a_type_of_its_own_only() -> None:
    theirs = [request("host: a", "x-b: V", "content-length: 2", "Content-Type: application/octet-stream")]
    assert compare_requests(theirs, [request("Host: a", "X-B: V", "Content-Length: 2")], exact=False) == []
    for ours in (
        request("Host: a", "X-B: v", "Content-Length: 2"),
        request("X-B: V", "Host: a", "Content-Length: 2"),
        request("Host: a", "Content-Length: 2"),
        request("Host: a", "X-B: V", "Content-Length: 2", "Content-Type: application/json"),
        request("Host: a", "X-B: V", "Content-Length: 2", body="{ }"),
        request("Host: a", "X-B: V", "Content-Length: 2", line="POST /v1/y HTTP/1.1"),
    ):
        assert compare_requests(theirs, [ours], exact=False)


def test_random_ids_and_times_of_litellm_are_no_difference() -> None:
    one = {"id": "chatcmpl-01234567-89ab-cdef-0123-456789abcdef", "created": 1795457310, "_response_ms": 1.5}
    other = {"id": "chatcmpl-ffffffff-89ab-cdef-0123-456789abcdef", "created": 1795457311, "_response_ms": 2.5}
    assert compare_values(one, other) == []
    assert compare_values({"id": "chatcmpl-a"}, {"id": "chatcmpl-b"})
    assert compare_values({"created": 1_700_000_000}, {"created": 1795457311})


@pytest.mark.parametrize(
    ("stock", "ours"),
    [
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ({"a": 1}, {"a": 1, "b": None}),
        ([1, 2], [1]),
        ([1], [True]),
        ({"a": [{"b": "x"}]}, {"a": [{"b": "y"}]}),
    ],
)
def test_every_field_its_type_and_the_fields_order_count(stock: Any, ours: Any) -> None:
    assert compare_values(stock, ours)
