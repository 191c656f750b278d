"""Tests of the transports over HTTP/1.1 whose subject is not HTTP/1.1, run over HTTP/2: their scripts serve a stream in
place of a connection (conftest.py). These look at what httpx's own transport has not: codes of errors, a
network stream's addresses, and timeouts of nothing."""

from __future__ import annotations

import pytest

from blocking_transport.test_http_requests import test_the_network_stream_reports_the_addresses  # noqa: F401
from blocking_transport.test_requests_as_httpx_sends_them import (  # noqa: F401
    test_a_negative_timeout_acts_as_zero,
    test_a_response_that_has_arrived_is_read_even_with_a_tiny_timeout,
)
from blocking_transport.test_timeouts import test_a_body_that_stalls_is_a_read_timeout  # noqa: F401


@pytest.fixture
def engine() -> str:
    return "ours"
