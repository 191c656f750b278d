"""A fleet that is configured and cannot be kept: nothing is sent, and the error says why. Stock transports would send
without the limit, so there is no falling back to them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fleet.counting_chat import CountingChat
from fleet.processes import settled_meanwhile
from support.interpreter import without_settings

#: What is wrong -> settings, and what the error says.
WRONG: dict[str, tuple[dict[str, str], str]] = {
    "redis-py is missing": (
        {"FAST_LITELLM_FLEET": "redis://:hunter2@host", "FAST_LITELLM_FLEET_LIMITS": "http://a=40"},
        "redis://host: the engine needs redis-py: pip install 'fast-litellm[fleet]'",
    ),
    "no engine's URL": (
        {"FAST_LITELLM_FLEET": "mysql://user:hunter2@host", "FAST_LITELLM_FLEET_LIMITS": "http://a=40"},
        "FAST_LITELLM_FLEET=(not shown) is not the URL of an engine",
    ),
    "a relative path": (
        {"FAST_LITELLM_FLEET": "sqlite:///fleet.db", "FAST_LITELLM_FLEET_LIMITS": "http://a=40"},
        "the path must be absolute",
    ),
    "no number": (
        {"FAST_LITELLM_FLEET": "sqlite:////run/fleet.db", "FAST_LITELLM_FLEET_LIMITS": "http://a=many"},
        "FAST_LITELLM_FLEET_LIMITS='http://a=many' is not origins",
    ),
    "no origin": (
        {"FAST_LITELLM_FLEET": "sqlite:////run/fleet.db", "FAST_LITELLM_FLEET_LIMITS": "http://a/v1=40"},
        "an origin has no path: http://a",
    ),
}

#: Begins each program: `attempts` and the result of each, as JSON at the end. Without collections litellm is imported
#: in two thirds of the time, and without a last one the program ends at once.
PROLOGUE = """
import asyncio, gc, json, logging, os, sys
gc.disable()
sys.modules["redis"] = None
class Kept(logging.Handler):
    lines = []
    def emit(self, record): self.lines.append(record.getMessage())
logging.getLogger("fast_litellm").addHandler(Kept())
BASE = os.environ["BASE"]
def outcome(attempt):
    try:
        return ["answered", str(attempt())]
    except Exception as error:
        chain, seen = error, []
        while chain is not None:
            seen.append(f"{type(chain).__name__}: {chain}")
            chain = chain.__cause__ or chain.__context__
        return ["failed", " <- ".join(seen)]
def tell(results):
    import fast_litellm
    print("\\n" + json.dumps({
        "results": results, "health": fast_litellm.health_check(), "fleet": fast_litellm.get_fleet_status(),
        "stats": fast_litellm.get_performance_stats(), "log": [l for l in Kept.lines if l.startswith("fleet:")],
    }, default=str))
    gc.freeze()
"""

BY_HTTPX = """
import fast_litellm, httpx
def accelerated():
    with httpx.Client() as client:
        return fast_litellm.accelerate(client).get(BASE + "/models").status_code
def transport():
    with httpx.Client(transport=fast_litellm.HTTPTransport(pool="default")) as client:
        return client.get(BASE + "/models").status_code
def pool():
    return fast_litellm.SimpleConnectionPool("default").request(BASE + "/models", "GET", "/").status_code
tell({attempt.__name__: outcome(attempt) for attempt in (accelerated, transport, pool)})
"""

MESSAGES = """
MESSAGES = [{"role": "user", "content": "hello"}]
def sdk():
    import openai
    with openai.OpenAI(base_url=BASE, api_key="none", max_retries=0) as client:
        return client.chat.completions.create(model="m", messages=MESSAGES).choices[0].message.content
def asynchronous_sdk():
    import openai
    async def ask():
        async with openai.AsyncOpenAI(base_url=BASE, api_key="none", max_retries=0) as client:
            return (await client.chat.completions.create(model="m", messages=MESSAGES)).choices[0].message.content
    return asyncio.run(ask())
"""

BY_LITELLM = (
    MESSAGES
    + """
import fast_litellm, litellm
GIVEN = dict(model="openai/m", messages=MESSAGES, api_base=BASE, api_key="none", num_retries=0)
def blocking(): return litellm.completion(**GIVEN).choices[0].message.content
def asynchronous(): return asyncio.run(litellm.acompletion(**GIVEN)).choices[0].message.content
tell({attempt.__name__: outcome(attempt) for attempt in (blocking, asynchronous, sdk, asynchronous_sdk)})
"""
)

#: litellm makes clients while it is being imported.
BY_IMPORT = (
    MESSAGES
    + """
import fast_litellm
def litellm(): import litellm
tell({attempt.__name__: outcome(attempt) for attempt in (litellm, sdk, asynchronous_sdk)})
"""
)


def run(code: str, server: CountingChat, **environment: str) -> dict[str, Any]:
    variables = without_settings()
    variables.update(environment, BASE=server.base_url, PYTHONPATH=os.pathsep.join(filter(None, sys.path)))
    command = [sys.executable, "-W", "ignore", "-c", PROLOGUE + code]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert "hunter2" not in done.stdout + done.stderr
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


@pytest.mark.parametrize("wrong", WRONG)
def test_accelerated_clients_transports_and_the_pool_itself_send_nothing(wrong: str) -> None:
    settings, says = WRONG[wrong]
    with CountingChat(0.0) as server:
        answer = run(BY_HTTPX, server, **settings)
        assert server.most == 0
    for how, what in answer["results"].values():
        assert how == "failed"
        assert what.startswith("FleetUnavailable: the fleet's limits cannot be kept, so nothing is sent: ")
        assert says in what
    # Once, however many clients were refused; and the status can be asked for nevertheless.
    assert len(answer["log"]) == 1
    assert says in answer["log"][0]
    assert says in answer["fleet"]["error"]
    assert not answer["fleet"]["enabled"]
    assert answer["health"]["status"] == "degraded"
    assert says in answer["health"]["detail"]
    assert answer["stats"]["pool"] == {}
    assert answer["stats"]["fallback_reasons"] == {}


def test_the_sdks_send_nothing_and_litellm_is_not_imported() -> None:
    settings, says = WRONG["redis-py is missing"]
    with CountingChat(0.0) as server:
        answer = run(BY_IMPORT, server, **settings)
        assert server.most == 0
    assert set(answer["results"]) == {"litellm", "sdk", "asynchronous_sdk"}
    for how, what in answer["results"].values():
        assert how == "failed"
        assert f"FleetUnavailable: the fleet's limits cannot be kept, so nothing is sent: {says}" in what
    assert len(answer["log"]) == 1
    assert answer["stats"]["fallback_reasons"] == {}


def test_the_commands_tell_what_is_wrong_and_do_not_fail() -> None:
    settings, says = WRONG["a relative path"]
    done = subprocess.run(
        [sys.executable, "-m", "fast_litellm", "status"],
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert "Traceback" not in done.stderr
    assert says in done.stdout + done.stderr


@pytest.mark.parametrize("how", ["kept", "turned off"])
def test_with_a_fleet_that_can_be_kept_or_without_the_package_the_same_is_answered(how: str, tmp_path: Path) -> None:
    with CountingChat(0.0) as server:
        if how == "kept":
            url = f"sqlite:///{tmp_path}/fleet.db"
            settled_meanwhile(url)
            settings = {"FAST_LITELLM_FLEET": url, "FAST_LITELLM_FLEET_LIMITS": f"{server.origin}=4"}
        else:
            settings = {**WRONG["redis-py is missing"][0], "FAST_LITELLM_ENABLED": "false"}
        answer = run(BY_LITELLM, server, **settings)
        assert list(answer["results"].values()) == [["answered", "hello"]] * 4
        assert answer["log"] == []
        assert answer["fleet"]["enabled"] == (how == "kept")
        assert server.served == 4
