"""Requests that meet the end of a kept connection, over a link with delay.

On such a link the end and the request cross each other. The server counts each request that it has read;
docs/internals/retry.md has the rule.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

DELAYED_LINK = Path(__file__).parents[2] / "tools" / "delayed_link.py"
OVER_LINK = Path(__file__).parent / "over_link.py"
ONE_WAY_MS = "10"
SERVER_ADDRESS = "198.18.0.2"
PATIENCE = 180


@dataclass(frozen=True)
class Outcome:
    count: int
    failed: list[str]
    errors: dict[str, int]
    #: How often the server has read each request.
    seen: dict[str, int]
    statistics: dict[str, int]

    @property
    def twice(self) -> list[str]:
        return [name for name, times in self.seen.items() if times > 1]

    @property
    def unseen(self) -> int:
        return self.count - len(self.seen)

    @property
    def error_types(self) -> set[str]:
        return {error.partition(":")[0] for error in self.errors}


def _start(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(DELAYED_LINK), ONE_WAY_MS, "--", *command],
        check=False,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env={**os.environ, "FAST_LITELLM_ENABLED": "false"},
    )


@pytest.fixture(scope="module", autouse=True)
def link() -> None:
    """Skips where no such link can be made. A continuous integration that has root and TUN must be able to make it."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        pytest.skip("machine: a link with delay needs root")
    if not Path("/dev/net/tun").exists():
        pytest.skip("machine: a link with delay needs /dev/net/tun")
    probe = _start("true")
    if probe.returncode != 0:
        reason = f"no link with delay can be made here: {probe.stderr.strip()}"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(f"machine: {reason}")


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str, str]:
    """Certificate, key and authority of the server at its end of the link."""
    folder = tmp_path_factory.mktemp("link")
    authority = trustme.CA()
    issued = authority.issue_cert(SERVER_ADDRESS)
    files = (folder / "server.crt", folder / "server.key", folder / "ca.pem")
    files[0].write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    files[1].write_bytes(issued.private_key_pem.bytes())
    files[2].write_bytes(authority.cert_pem.bytes())
    return str(files[0]), str(files[1]), str(files[2])


def send(way: str, method: str, count: int, threads: int, tls: tuple[str, ...] = ()) -> Outcome:
    """Sends `count` requests to a server that ends its connections in that way (see closing_server.py)."""
    done = _start(sys.executable, str(OVER_LINK), way, method, str(count), str(threads), *tls)
    assert done.returncode == 0, done.stderr
    return Outcome(**json.loads(done.stdout))


def _check_posts_around_closes(outcome: Outcome) -> None:
    # Lost is what comes between the server's last look and its close: its kernel then resets the connection, which
    # proves nothing.
    assert len(outcome.failed) <= outcome.count // 500, outcome.errors
    assert outcome.twice == []
    assert outcome.unseen <= len(outcome.failed)
    again = outcome.statistics["retried_unread"]
    assert again > outcome.count // 20, "hardly a request met a close: this has shown nothing"


def test_posts_around_a_servers_closes_arrive_once() -> None:
    _check_posts_around_closes(send("close", "POST", 2000, 16))


def test_posts_around_a_servers_closes_arrive_once_through_tls(identity: tuple[str, str, str]) -> None:
    _check_posts_around_closes(send("close", "POST", 1000, 16, identity))


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_a_post_that_was_read_and_not_answered_fails_once(tls: bool, identity: tuple[str, str, str]) -> None:
    outcome = send("read", "POST", 200, 8, identity if tls else ())
    assert outcome.failed
    assert outcome.error_types == {"ReadError"}
    assert outcome.twice == []
    assert outcome.unseen == 0
    assert outcome.statistics["retried"] == 0


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_a_post_to_a_half_closed_server_that_still_reads_fails_once(tls: bool, identity: tuple[str, str, str]) -> None:
    outcome = send("half", "POST", 200, 8, identity if tls else ())
    assert outcome.failed
    assert outcome.error_types == {"ReadError"}
    assert outcome.twice == []
    assert outcome.unseen == 0
    assert outcome.statistics["retried"] == 0


def test_a_post_that_meets_a_reset_is_not_sent_again() -> None:
    outcome = send("reset", "POST", 200, 8)
    assert outcome.failed
    assert outcome.error_types <= {"ReadError", "WriteError"}
    assert outcome.twice == []
    assert outcome.unseen == len(outcome.failed)
    assert outcome.statistics["retried_unread"] == 0


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("way", ["close", "half", "reset", "read"])
def test_no_get_is_lost(way: str, tls: bool, identity: tuple[str, str, str]) -> None:
    outcome = send(way, "GET", 200, 8, identity if tls else ())
    assert outcome.failed == [], outcome.errors
    assert outcome.unseen == 0
