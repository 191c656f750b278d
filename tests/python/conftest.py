"""Fixtures for all Python tests."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Iterator

import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal

from fast_litellm.server import EmbeddedServer
from support.certificates import Certificates, make_certificates

pytest_plugins = ["peers.fixtures", "support.skips_plugin"]
collect_ignore = ["third_party"]  # other libraries' suites, which tests of ours run

# Before anything imports litellm: no look-up of its tables on the network, no .env file, no proxy between the tests
# and their servers on loopback.
os.environ.update(
    LITELLM_LOCAL_MODEL_COST_MAP="True",
    LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS="True",
    LITELLM_MODE="PRODUCTION",
    LITELLM_TELEMETRY="False",
)
for _name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
    os.environ.pop(_name, None)
    os.environ.pop(_name.lower(), None)

# A shell's background job ignores Ctrl-C, and its children inherit that: those of the tests are to get theirs.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="module", autouse=True)
def _fast_collections() -> Iterator[None]:
    """Each test collects garbage; what was there before need not be looked at again each time."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Good and bad certificates, made for this run."""
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="session")
def portal() -> Iterator[BlockingPortal]:
    """An event loop in a thread of its own: that of the asynchronous transports below blocking clients."""
    with start_blocking_portal() as portal:
        yield portal


@pytest.fixture(scope="session")
def shared_openai_server() -> Iterator[EmbeddedServer]:
    """One server for the whole run; its counts continue from test to test: compare with `stats().since(earlier)`."""
    with EmbeddedServer(tls=True) as server:
        yield server


@pytest.fixture
def openai_server() -> Iterator[EmbeddedServer]:
    """An embedded server over TLS of this test's own, so that its counts begin at 0."""
    with EmbeddedServer(tls=True) as server:
        yield server
