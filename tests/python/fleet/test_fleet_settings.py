"""How a fleet is configured: variables, the JSON file, `fleet.configure`; and what its status shows."""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import fast_litellm
from fast_litellm import config, fleet
from fast_litellm.fleet.limits import checked_limits, origin_of
from fleet.counted_pool import CountedPool
from support import interpreter

ORIGIN = "https://api.openai.com"
run = partial(interpreter.run, patience=300)


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in [name for name in os.environ if name.startswith("FAST_LITELLM_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(config, "_warned", set())
    monkeypatch.setattr(config, "_files", {})
    monkeypatch.setattr(config, "_file_errors", {})
    yield
    if fleet.get_status()["enabled"]:
        fleet.configure({})


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("https://api.openai.com", ORIGIN),
        ("HTTPS://API.OpenAI.com:443/", ORIGIN),
        ("http://host:80", "http://host"),
        ("http://host:8000", "http://host:8000"),
        ("https://[::1]:8443", "https://[::1]:8443"),
    ],
)
def test_an_origin_may_be_written_as_users_do(given: str, meant: str) -> None:
    assert origin_of(given) == meant


@pytest.mark.parametrize(
    "given", ["api.openai.com", "ftp://host", "https://host/v1", "https://user:secret@host", "https://", "https://a}b"]
)
def test_what_is_no_origin_is_an_error_that_shows_no_secret(given: str) -> None:
    with pytest.raises(ValueError, match="origin") as caught:
        origin_of(given)
    assert "secret" not in str(caught.value)


def test_two_spellings_of_an_origin_have_the_least_limit() -> None:
    assert checked_limits({"https://a": 7, "https://A:443": 5}) == {"https://a": 5}


@pytest.mark.parametrize("limit", [0, -1, 1.5, True, "40", None])
def test_a_limit_is_a_whole_number_above_0(limit: object) -> None:
    with pytest.raises(ValueError, match="whole number above 0"):
        checked_limits({ORIGIN: limit})


@pytest.mark.parametrize(
    "text", ['{"https://a": 40, "http://b:8000": 3}', "https://a=40, http://b:8000=3", "http://b:8000=3,https://a=40,"]
)
def test_the_variables_name_engine_and_limits(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAST_LITELLM_FLEET", "sqlite:////run/fleet.db")
    monkeypatch.setenv("FAST_LITELLM_FLEET_LIMITS", text)
    assert config.fleet_url() == "sqlite:////run/fleet.db"
    assert config.fleet_limits() == {"https://a": 40, "http://b:8000": 3}


def test_the_file_names_engine_and_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "settings.json"
    file.write_text(json.dumps({"fleet": "redis://host", "fleet_limits": {ORIGIN: 40}}))
    monkeypatch.setenv("FAST_LITELLM_FEATURE_CONFIG", str(file))
    assert (config.fleet_url(), config.fleet_limits()) == ("redis://host", {ORIGIN: 40})


@pytest.mark.parametrize("url", ["mysql://user:hunter2@host", "hunter2"])
def test_a_bad_engine_warns_without_showing_its_password(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAST_LITELLM_FLEET", url)
    with pytest.warns(RuntimeWarning, match=r"FAST_LITELLM_FLEET=\(not shown\) is not the URL of an engine") as caught:
        assert config.fleet_url() is None
    assert "hunter2" not in str(caught[0].message)


@pytest.mark.parametrize("text", ["40", "https://a=0", "https://a=many", '{"https://a": "40"}', "{", "a=4", "[1]"])
def test_bad_limits_warn_and_there_are_none(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAST_LITELLM_FLEET_LIMITS", text)
    with pytest.warns(RuntimeWarning, match="FAST_LITELLM_FLEET_LIMITS=.* is not origins"):
        assert config.fleet_limits() == {}


URL, LIMITS = "FAST_LITELLM_FLEET", "FAST_LITELLM_FLEET_LIMITS"


@pytest.mark.parametrize("content", [None, "{", "[]"])
@pytest.mark.parametrize(
    ("said", "given", "unsaid"), [(URL, "redis://:hunter2@host", LIMITS), (LIMITS, f"{ORIGIN}=4", URL)]
)
def test_half_a_fleet_in_variables_and_a_file_that_cannot_be_used_is_a_fleet_that_cannot_be_kept(
    said: str, given: str, unsaid: str, content: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file may say the other half."""
    path = tmp_path / "settings.json"
    if content is not None:
        path.write_text(content)
    monkeypatch.setenv("FAST_LITELLM_FEATURE_CONFIG", str(path))
    monkeypatch.setenv(said, given)
    with pytest.warns(RuntimeWarning, match="using the defaults"):
        problem = config.fleet_problem()
    assert problem.startswith(f"{unsaid} is not set, and FAST_LITELLM_FEATURE_CONFIG='{path}' ")
    assert "hunter2" not in problem


@pytest.mark.parametrize(
    ("variables", "content"),
    [
        ({}, "{"),
        ({URL: "redis://host", LIMITS: f"{ORIGIN}=4"}, "{"),
        ({URL: "redis://host", LIMITS: "none"}, "{"),
        ({URL: "none"}, "{"),
        ({URL: "redis://host"}, "{}"),
        ({URL: "redis://host"}, '{"enabled": true}'),
    ],
)
def test_a_file_that_cannot_be_used_is_a_warning_if_it_need_not_say_half_of_a_fleet(
    variables: dict[str, str], content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "settings.json"
    path.write_text(content)
    monkeypatch.setenv("FAST_LITELLM_FEATURE_CONFIG", str(path))
    for name, text in variables.items():
        monkeypatch.setenv(name, text)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert config.fleet_problem() == ""


def test_without_a_fleet_nothing_of_it_is_imported_and_no_thread_runs() -> None:
    code = (
        "import os, sys, fast_litellm\n"
        "fast_litellm.SimpleConnectionPool('default')\n"
        "fast_litellm.get_fleet_status()\n"
        "fast_litellm.health_check()\n"
        "print([name for name in sys.modules if 'fleet' in name or name.split('.')[0] in ('redis', 'sqlite3')])\n"
        "import threading; print(threading.active_count())"
    )
    assert run(code) == "[]\n1"


def test_with_a_fleet_the_import_is_still_cheap() -> None:
    code = (
        "import sys; before = set(sys.modules)\n"
        "import fast_litellm, os\n"
        "assert len(os.listdir('/proc/self/task')) == 1\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    loaded = set(run(code, FAST_LITELLM_FLEET="redis://host", FAST_LITELLM_FLEET_LIMITS=f"{ORIGIN}=40").split())
    assert "fast_litellm.fleet.process" in loaded
    assert not {"redis", "sqlite3", "httpx", "fast_litellm.fleet.agent"} & loaded


def test_the_environment_alone_limits_the_default_pool(tmp_path: Path) -> None:
    code = (
        "import fast_litellm, json\n"
        "fast_litellm.SimpleConnectionPool('default')\n"
        "print(json.dumps(fast_litellm.get_fleet_status()))\n"
    )
    answer = run(code, FAST_LITELLM_FLEET=f"sqlite:///{tmp_path}/fleet.db", FAST_LITELLM_FLEET_LIMITS=f"{ORIGIN}=40")
    status: dict[str, Any] = json.loads(answer)
    assert status["enabled"]
    assert status["engine"] == f"sqlite:///{tmp_path}/fleet.db"
    assert status["origins"][ORIGIN]["limit"] == 40


def test_configure_limits_a_pool_shows_its_status_and_gives_the_room_back(sqlite_url: str) -> None:
    pool = CountedPool()
    fleet.configure({"https://API.openai.com/": 40}, url=sqlite_url, pool=pool)
    status = fast_litellm.get_fleet_status()
    assert status["enabled"]
    assert list(status["origins"]) == [ORIGIN]
    assert pool.cap(ORIGIN) is not None
    fleet.configure({})
    assert pool.cap(ORIGIN) is None
    assert fast_litellm.get_fleet_status() == {"enabled": False, "error": ""}


def test_configure_refuses_what_cannot_be_kept(monkeypatch: pytest.MonkeyPatch, sqlite_url: str) -> None:
    with pytest.raises(ValueError, match="no engine"):
        fleet.configure({ORIGIN: 40})
    with pytest.raises(ValueError, match="four slashes"):
        fleet.configure({ORIGIN: 40}, url="sqlite:///relative.db")
    with pytest.raises(ValueError, match="has no path"):
        fleet.configure({f"{ORIGIN}/v1": 40}, url=sqlite_url)
    monkeypatch.setitem(sys.modules, "redis", None)
    monkeypatch.delitem(sys.modules, "fast_litellm.fleet.engines.redis", raising=False)
    with pytest.raises(ImportError, match=r"fast-litellm\[fleet\]"):
        fleet.configure({ORIGIN: 40}, url="redis://host", pool=CountedPool())
    assert not fleet.get_status()["enabled"]


def test_an_engine_that_does_not_answer_shows_as_degraded_health(sqlite_url: str) -> None:
    from fast_litellm.fleet import process
    from fast_litellm.fleet.agent import Agent
    from fast_litellm.fleet.engines.opening import open_engine
    from fast_litellm.fleet.ledger import Pace
    from fleet.processes import wait_until

    pace = Pace().scaled(0.05)
    pool = CountedPool()
    process._agent = Agent(open_engine("redis://:hunter2@127.0.0.1:1", pace), {ORIGIN: 40}, pace)
    process._agent.attach(pool)
    wait_until(lambda: pool.cap(ORIGIN) == 1, "degraded", fleet.get_status)
    health = fast_litellm.health_check()
    assert health["status"] == "degraded"
    assert "redis://127.0.0.1:1" in health["detail"]
    assert "hunter2" not in json.dumps(fast_litellm.get_fleet_status())


def test_a_process_that_exits_gives_its_room_back(sqlite_url: str) -> None:
    """Its successor has the room at once, and need not wait for a TTL."""
    code = (
        "import sys, time\n"
        "from fast_litellm import fleet\n"
        "from fleet.counted_pool import CountedPool\n"
        "pool = CountedPool()\n"
        f"fleet.configure({{{ORIGIN!r}: 40}}, url={sqlite_url!r}, pool=pool)\n"
        f"while not pool.cap({ORIGIN!r}): time.sleep(0.02)\n"
        "print(fleet.get_status()['member'])\n"
    )
    environment = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    first = run(code, **environment)
    import sqlite3

    with sqlite3.connect(sqlite_url.removeprefix("sqlite://")[1:]) as file:
        assert file.execute("SELECT count(*) FROM member").fetchone() == (0,)
    assert run(code, **environment) != first


def test_a_forked_worker_is_a_member_of_its_own_and_the_parent_goes_on(engine_url: str) -> None:
    """As with gunicorn's preload: the fleet is configured before the fork, several workers are forked."""
    code = (
        "import os, sys, time\n"
        "from fast_litellm import fleet\n"
        "from fleet.counted_pool import CountedPool\n"
        "pool = CountedPool()\n"
        f"fleet.configure({{{ORIGIN!r}: 40}}, url={engine_url!r}, pool=pool)\n"
        f"while not pool.cap({ORIGIN!r}): time.sleep(0.02)\n"
        "os.register_at_fork(after_in_child=pool.forked)\n"
        # A child that ends is no member soon: all stay until each has seen all.
        "seen, go_on = os.pipe(), os.pipe()\n"
        "children = []\n"
        "for _ in range(3):\n"
        "    child = os.fork()\n"
        "    if child == 0:\n"
        "        os.close(go_on[1])\n"
        f"        while fleet.get_status()['origins'][{ORIGIN!r}]['members'] < 4: time.sleep(0.02)\n"
        # In one write: other children write at the same time.
        "        os.write(1, (fleet.get_status()['member'] + '\\n').encode())\n"
        "        os.write(seen[1], b'.')\n"
        "        os.read(go_on[0], 1)\n"
        "        os._exit(0)\n"
        "    children.append(child)\n"
        "for _ in children: os.read(seen[0], 1)\n"
        "os.close(go_on[1])\n"
        "for child in children: os.waitpid(child, 0)\n"
        "print(fleet.get_status()['member'])\n"
    )
    members = run(code, PYTHONPATH=os.pathsep.join(filter(None, sys.path))).split()
    assert len(set(members)) == 4
