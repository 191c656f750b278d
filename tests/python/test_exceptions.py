"""The table of errors is complete, and no error makes a caller send a POST twice."""

from __future__ import annotations

import errno
import re
import sys
import types
from pathlib import Path

import httpx
import pytest

from fast_litellm import exceptions
from fast_litellm.exceptions import error_factory


def _codes() -> list[str]:
    header = (Path(__file__).parents[2] / "include/fastpool/error.h").read_text()
    [body] = re.findall(r"enum class ErrorCode[^{]*\{(.*?)\};", header, re.DOTALL)
    return re.findall(r"^\s*(\w+)\s*(?:,|//|$)", body, re.MULTILINE)


def test_every_code_of_the_core_has_a_row() -> None:
    assert set(exceptions.TABLE) == set(_codes())


@pytest.mark.parametrize("code", exceptions.TABLE)
def test_an_exception_has_code_phase_and_bytes_sent(code: str) -> None:
    error = error_factory(code, "read_head", 12, errno.ECONNRESET, "what happened to http://host:1")
    assert isinstance(error, Exception)
    assert str(error) == "what happened to http://host:1"
    assert (error.code, error.phase, error.bytes_sent) == (code, "read_head", 12)  # type: ignore[attr-defined]
    assert isinstance(error.__cause__, ConnectionResetError)


@pytest.mark.parametrize("code", exceptions.TABLE)
def test_once_bytes_were_sent_no_exception_says_that_none_were(code: str) -> None:
    error = error_factory(code, "read_head", 1, 0, "x")
    assert not isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout))


def test_the_rows_are_httpxs_exceptions() -> None:
    expected = {
        "connect_failed": httpx.ConnectError,
        "resolve_failed": httpx.ConnectError,
        "tls_failed": httpx.ConnectError,
        "connect_timeout": httpx.ConnectTimeout,
        "pool_timeout": httpx.PoolTimeout,
        "write_failed": httpx.WriteError,
        "write_timeout": httpx.WriteTimeout,
        "read_failed": httpx.ReadError,
        "read_timeout": httpx.ReadTimeout,
        "local_protocol": httpx.LocalProtocolError,
        "remote_protocol": httpx.RemoteProtocolError,
        "pool_closed": exceptions.PoolClosed,
        "forked": exceptions.Forked,
        "stale_lease": exceptions.StaleLease,
        "invalid_argument": ValueError,
        "unsupported": exceptions.NotOffered,
        "out_of_memory": MemoryError,
        "total_timeout": httpx.ReadTimeout,
        "cancelled": httpx.ReadError,
        "body_too_large": httpx.ReadError,
        "proxy_failed": httpx.ProxyError,
    }
    for code, kind in expected.items():
        assert type(error_factory(code, "none", 0, 0, "x")) is kind


def test_an_error_without_a_text_names_its_code() -> None:
    assert str(error_factory("read_failed", "read_body", 1, 0, "")) == "read_failed (read_body)"


def test_a_code_that_the_table_does_not_know_is_no_httpx_error() -> None:
    assert type(error_factory("brand_new", "none", 0, 0, "x")) is RuntimeError


def test_another_library_with_the_same_names_uses_the_same_table(monkeypatch: pytest.MonkeyPatch) -> None:
    class ReadTimeout(Exception):
        pass

    library = types.ModuleType("another_httpx")
    library.ReadTimeout = ReadTimeout  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "another_httpx", library)
    assert type(error_factory("read_timeout", "read_head", 1, 0, "x", library="another_httpx")) is ReadTimeout
