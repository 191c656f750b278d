"""Part of `make compat`: the openai and anthropic SDKs by themselves, over httpx2 and (older ones) over httpx, and the
LiteLLM proxy, each in an environment of its own."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from canary_checks import Outcome, proxy_calls, sdk_calls
from canary_index import install_proxy, installed
from compat_run import proxied_sdks
from environments import FOLDER, ROOT, environment

from compat import comparing

#: What the tests need besides; litellm is not there.
TESTING = ("pytest", "httpx<1", "certifi", "uvicorn", "httptools", "trustme", "uvloop", "trio")
SDKS = {
    "sdks-httpx2": ("openai==3.57.0", "anthropic==2.14.0"),
    "sdks-httpx": ("openai<3", "anthropic<1"),
    "sdks-older": ("openai==1.61.1", "anthropic==0.45.2", "httpx==0.27.2"),
}
TESTS = [f"tests/python/litellm_patch/test_{name}.py" for name in ("sdks_alone", "httpx2_transports", "decision")]
PROXIES = ("1.108.7", "1.110.2")


class Tried(NamedTuple):
    """What came of one environment that is no column of the table."""

    versions: dict[str, str]
    outcome: Outcome
    notes: tuple[str, ...] = ()
    #: Of the cells with a proxy.
    proxied: Mapping[str, comparing.Verdict] = MappingProxyType({})


def sdks(name: str) -> Tried:
    """The matrix of the SDKs, and their tests."""
    python = environment(name, *SDKS[name], *TESTING)
    outcome = sdk_calls(python)
    tests = subprocess.run([python, "-m", "pytest", "-q", *TESTS], cwd=ROOT, check=False)
    if tests.returncode:
        outcome = outcome._replace(differences=(*outcome.differences, "their tests failed"))
    versions = installed(python, ("openai", "anthropic", "httpx", "httpx2", "uvloop", "trio"))
    return Tried(versions, outcome, proxied=proxied_sdks(python))


def proxy(version: str) -> Tried:
    """The LiteLLM proxy of that version."""
    name, litellm = f"proxy-{version}", f"litellm=={version}"
    python = environment(name, litellm, "certifi")
    notes = install_proxy(python, FOLDER / f"{name}.log", litellm)
    return Tried(
        installed(python, ("litellm", "openai", "httpx", "aiohttp", "uvloop")), proxy_calls(python), tuple(notes)
    )
