"""Each engine answers as the ledger does, keeps its state safe, and shows no secret."""

from __future__ import annotations

import dataclasses
import itertools
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from fast_litellm.fleet.bargain import Report
from fast_litellm.fleet.engines import sqlite as sqlite_engine
from fast_litellm.fleet.engines.interface import Engine, EngineError
from fast_litellm.fleet.engines.opening import open_engine
from fast_litellm.fleet.engines.redis import RedisEngine, Script, arguments_of, connected, keys_of
from fast_litellm.fleet.engines.urls import checked, shown, without_secrets
from fast_litellm.fleet.ledger import Allotment, Ledger, Pace, Row, Stale
from fleet import processes
from peers.ports import free_port, listens
from peers.redis_server import RedisServer, program
from support.certificates import Certificates

ORIGIN = "https://api.openai.com"
PACE = Pace()


def random_reports(seed: int, steps: int) -> list[tuple[Report | str, float, str]]:
    """Reports and leaves of a dozen members, also late, contradictory and with other limits, as time jumps and the
    engine restarts."""
    draw = random.Random(seed)
    now, run, epochs, held = 1000.0, "run1", dict.fromkeys("abcdefghijkl", 0), dict.fromkeys("abcdefghijkl", 0)
    limit = draw.choice((2, 5, 40, 300))
    steps_made: list[tuple[Report | str, float, str]] = []
    for _ in range(steps):
        now += draw.choice((0.01, 0.1, 0.1, 0.3, 1.0)) if draw.random() < 0.98 else draw.choice((-50.0, 3.0, 7.5))
        if draw.random() < 0.01:
            run = f"run{draw.randrange(100)}"
        name = draw.choice("abcdefghijkl")
        if draw.random() < 0.02:
            steps_made.append((name, now, run))
            continue
        epochs[name] += draw.choice((1, 1, 1, 1, 0))
        held[name] = draw.choice((0, 1, 3, 10, held[name]))
        said = Report(
            name,
            epochs[name],
            held[name],
            draw.choice((0, 0, 1, 2, 7, 30)),
            draw.choice((0, 0, 1, 5, 64, 1000)),
            limit if draw.random() < 0.9 else draw.choice((1, 3, 50)),
            draw.random() < 0.05,
        )
        steps_made.append((said, now, run))
    return steps_made


def client_of(server: RedisServer) -> redis.Redis:
    """Sends nothing twice because the machine is busy."""
    return redis.Redis.from_url(server.url, socket_timeout=60, socket_connect_timeout=60)


def rows_in_redis(client: redis.Redis, origin: str) -> dict[str, Row]:
    _, rows, seen, suspects, limits, _ = keys_of(origin)
    found = {}
    for name, packed in client.hgetall(rows).items():  # type: ignore[union-attr]
        epoch, allotment, reserved, in_use, waiting, short, ticket, turn_since = map(float, packed.split())
        suspected = client.zscore(suspects, name)
        found[name.decode()] = Row(
            int(epoch),
            client.zscore(seen, name),  # type: ignore[arg-type]
            int(allotment),
            int(reserved),
            int(in_use),
            int(waiting),
            int(client.zscore(limits, name)),  # type: ignore[arg-type]
            bool(short),
            int(ticket),
            turn_since,
            -1.0 if suspected is None else suspected,  # type: ignore[arg-type]
        )
    return found


@pytest.mark.parametrize("seed", range(12))
def test_the_script_in_redis_and_the_ledger_agree_on_every_answer_and_every_row(
    seed: int,
    redis_server: RedisServer,
) -> None:
    origin, ledger = f"http://seed-{seed}", Ledger(PACE)
    bargain, leave = Script("bargain.lua"), Script("leave.lua")
    with client_of(redis_server) as client:
        for step, (said, now, run) in enumerate(random_reports(seed, 600)):
            if isinstance(said, str):
                ledger.leave(said)
                leave.run(client, keys_of(origin), [said])
            else:
                try:
                    expected = list(dataclasses.astuple(ledger.report(said, now, run)))
                except Stale:
                    expected = [-1]
                answer = bargain.run(client, keys_of(origin), arguments_of(said, PACE, now, run))
                assert answer == expected, (step, said)
            if step % 20 == 0:
                assert rows_in_redis(client, origin) == ledger.rows, step
        assert rows_in_redis(client, origin) == ledger.rows
        state = client.hgetall(keys_of(origin)[0])
        sums = {name: int(state[name.encode()]) for name in ("reserved", "wanting", "wishes", "short", "tickets")}  # type: ignore[index,arg-type]
        assert sums == {name: getattr(ledger, name) for name in sums}
        assert float(state[b"frozen_until"]) == ledger.frozen_until  # type: ignore[index,arg-type]


@pytest.mark.parametrize("seed", range(6))
def test_the_script_and_the_ledger_agree_on_what_an_evicted_key_leaves(seed: int, redis_server: RedisServer) -> None:
    origin, ledger, draw = f"http://evicted-{seed}", Ledger(PACE), random.Random(seed)
    bargain, leave = Script("bargain.lua"), Script("leave.lua")
    with client_of(redis_server) as client:
        for step, (said, now, run) in enumerate(random_reports(seed, 300)):
            if isinstance(said, str):
                ledger.leave(said)
                leave.run(client, keys_of(origin), [said])
                continue
            if draw.random() < 0.03:
                at = draw.randrange(len(keys_of(origin)))
                if client.delete(keys_of(origin)[at]):
                    if at == 3:
                        for row in ledger.rows.values():
                            row.suspected = -1.0
                    elif ledger.rows:
                        ledger.lose(now)
                    else:
                        ledger = Ledger(PACE)
            try:
                expected = list(dataclasses.astuple(ledger.report(said, now, run)))
            except Stale:
                expected = [-1]
            assert bargain.run(client, keys_of(origin), arguments_of(said, PACE, now, run)) == expected, (step, said)
            if step % 20 == 0:
                assert rows_in_redis(client, origin) == ledger.rows, step


@pytest.mark.parametrize("victim", range(6))
def test_a_fleet_keeps_its_limit_and_recovers_after_redis_evicts_a_key(victim: int, redis_server: RedisServer) -> None:
    """Three members that wait for more than there is; the times are given, so nothing here takes as long as it says."""
    origin, bargain, names = f"http://victim-{victim}", Script("bargain.lua"), "abc"
    held, now, epoch = dict.fromkeys(names, 0), 1000.0, 0

    def rounds(count: int) -> None:
        nonlocal now, epoch
        for _ in range(count):
            for name in names:
                epoch, now = epoch + 1, now + 0.2
                said = Report(name, epoch, held[name], held[name], 20, 10)
                answer = bargain.run(client, keys_of(origin), arguments_of(said, PACE, now, "run"))
                assert answer[1] <= len(names)
                held[name] = answer[0]
                assert sum(held.values()) <= 10

    with client_of(redis_server) as client:
        rounds(10)
        assert sum(held.values()) == 10
        client.delete(keys_of(origin)[victim])
        rounds(20)
        assert sum(held.values()) == 10
        # Another member may still join and leave.
        held["d"], names = 0, "abcd"
        rounds(20)
        assert (sum(held.values()), min(held.values())) == (10, 2)
        Script("leave.lua").run(client, keys_of(origin), ["d"])
        held["d"], names = 0, "abc"
        rounds(20)
        assert sum(held.values()) == 10


@pytest.mark.parametrize("seed", range(6))
def test_sqlite_and_the_ledger_agree_on_every_answer(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite has one run, and members that are forgotten are forgotten in the file."""
    ledger, engine = Ledger(PACE), open_engine(f"sqlite:///{tmp_path}/fleet.db", PACE)
    clock = [1000.0]
    monkeypatch.setattr(sqlite_engine, "boot_time", lambda: clock[0])
    for step, (said, now, _) in enumerate(random_reports(seed, 300)):
        clock[0] = now
        if isinstance(said, str):
            ledger.leave(said)
            engine.leave(ORIGIN, said)
            continue
        try:
            expected = ledger.report(said, now, "file")
        except Stale:
            with pytest.raises(EngineError, match="newer report"):
                engine.report(ORIGIN, said)
            continue
        assert engine.report(ORIGIN, said) == expected, (step, said)
    engine.close()


def hungry(epoch: int, *, held: int = 0, member: str = "me", waiting: int = 64) -> Report:
    return Report(member, epoch, held, held, waiting, 40)


def settled(engine: Engine, pace: Pace, wait: Callable[[float], None], member: str = "me") -> int:
    engine.report(ORIGIN, hungry(1, member=member))
    wait(pace.settle)
    engine.report(ORIGIN, hungry(2, member=member))
    wait(pace.settle)
    return engine.report(ORIGIN, hungry(3, member=member)).value


def wait_by_reports(engine: Engine) -> Callable[[float], None]:
    """Lets the engine's own clock pass, by reports of a member that wants nothing."""
    epochs = iter(range(1, 1_000_000))

    def wait(seconds: float) -> None:
        end = time.monotonic() + seconds + 0.02
        while time.monotonic() < end:
            engine.report(ORIGIN, Report("idle", next(epochs), 0, 0, 0, 40))
            time.sleep(0.005)

    return wait


#: Short times, and calls of the engine that may take as long as they do on a busy machine.
FAST = dataclasses.replace(PACE.scaled(0.05), patience=30.0)
HASTY = dataclasses.replace(FAST, patience=0.5)


def answered(engine: Engine, epochs: Iterator[int]) -> Allotment:
    """The answer to the first report that gets one, by an engine that may be too hasty for the machine."""
    end = time.monotonic() + 60
    while True:
        try:
            return engine.report(ORIGIN, hungry(next(epochs)))
        except EngineError:
            if time.monotonic() > end:
                raise


def answers(url: str) -> bool:
    try:
        return bool(connected(url, 10.0).ping())
    except redis.exceptions.RedisError:
        return False


def test_a_member_has_the_room_once_the_engine_knows_all_members_and_frees_it_by_leaving(
    engine_url: str,
) -> None:
    engine = open_engine(engine_url, FAST)
    wait = wait_by_reports(engine)
    assert settled(engine, FAST, wait) == 39
    assert engine.report(ORIGIN, hungry(1, member="other")).value == 0
    engine.leave(ORIGIN, "me")
    assert engine.report(ORIGIN, hungry(2, member="other")).value == 39
    engine.close()


def test_origins_have_rooms_of_their_own(engine_url: str) -> None:
    engine = open_engine(engine_url, FAST)
    assert settled(engine, FAST, wait_by_reports(engine)) == 39
    answer = engine.report("https://api.anthropic.com", hungry(9))
    assert answer.members == 1
    engine.close()


def test_a_report_that_comes_late_is_an_error(engine_url: str) -> None:
    engine = open_engine(engine_url, FAST)
    engine.report(ORIGIN, hungry(5))
    with pytest.raises(EngineError, match="newer report of this member"):
        engine.report(ORIGIN, hungry(5))
    engine.close()


def test_a_server_that_restarted_lets_members_keep_what_they_hold_and_gives_nothing_new_at_first(
    tmp_path: Path,
) -> None:
    for keeps_data in (True, False):
        with RedisServer(tmp_path / f"{keeps_data}", keeps_data=keeps_data) as server:
            engine = open_engine(server.url, FAST)
            assert settled(engine, FAST, wait_by_reports(engine)) == 39
            server.restart()
            engine.close()
            # So that the settling lasts longer than these reports, however busy the machine is.
            engine = open_engine(server.url, dataclasses.replace(FAST, settle=60.0))
            assert engine.report(ORIGIN, hungry(1, member="new")).value == 0
            assert engine.report(ORIGIN, hungry(5, held=39)).value in range(19, 40)
            assert engine.report(ORIGIN, hungry(2, member="new")).value == 0
            engine.close()


def test_a_server_that_does_not_answer_is_an_error_in_time(tmp_path: Path) -> None:
    engine = open_engine(f"redis://127.0.0.1:{free_port()}", FAST)
    with pytest.raises(EngineError, match="redis://127"):
        engine.report(ORIGIN, hungry(1))
    epochs = itertools.count(1)
    with RedisServer(tmp_path) as server:
        engine = open_engine(server.url, HASTY)
        answered(engine, epochs)
        assert server._process is not None
        server._process.send_signal(signal.SIGSTOP)
        with pytest.raises(EngineError, match=r"[Tt]imeout"):
            engine.report(ORIGIN, hungry(next(epochs)))
        server._process.send_signal(signal.SIGCONT)
        assert answered(engine, epochs).members == 1
        engine.close()


def test_a_password_is_used_and_never_shown(tmp_path: Path) -> None:
    with RedisServer(tmp_path, "--requirepass", "hunter2") as server:
        url = server.url.replace("//", "//:hunter2@")
        engine = open_engine(url, FAST)
        assert engine.report(ORIGIN, hungry(1)).members == 1
        assert engine.shown == server.url
        engine.close()
        wrong = open_engine(url.replace("hunter2", "hunter3"), FAST)
        with pytest.raises(EngineError) as caught:
            wrong.report(ORIGIN, hungry(1))
        assert "hunter" not in str(caught.value)
        assert caught.value.__cause__ is None


def test_tls_is_verified(tmp_path: Path, certificates: Certificates) -> None:
    identity = certificates.server
    port = free_port()
    options = ["--tls-port", str(port), "--tls-auth-clients", "no"]
    options += ["--tls-cert-file", str(identity.certificate), "--tls-key-file", str(identity.key)]
    options += ["--tls-ca-cert-file", str(certificates.ca_file)]
    with RedisServer(tmp_path, "--port", "0", *options, port=port):
        url = f"rediss://localhost:{port}/0"
        engine = open_engine(f"{url}?ssl_ca_certs={certificates.ca_file}", FAST)
        assert engine.report(ORIGIN, hungry(1)).members == 1
        engine.close()
        with pytest.raises(EngineError, match="certificate"):
            open_engine(url, FAST).report(ORIGIN, hungry(2))


def test_the_master_of_a_sentinel_is_found(tmp_path: Path) -> None:
    configuration = tmp_path / "sentinel.conf"
    with RedisServer(tmp_path / "master") as master:
        port = free_port()
        configuration.write_text(f"port {port}\nbind 127.0.0.1\nsentinel monitor mine 127.0.0.1 {master.port} 1\n")
        with subprocess.Popen(
            [program(), str(configuration), "--sentinel", "--logfile", str(tmp_path / "log")],
            stdout=subprocess.DEVNULL,
        ) as sentinel:
            try:
                assert listens(port, [sentinel]), (tmp_path / "log").read_text()
                url = f"redis+sentinel://127.0.0.1:{port}/mine/0"
                processes.wait_until(lambda: answers(url), "the node answers", patience=60.0)
                engine = open_engine(url, FAST)
                assert engine.report(ORIGIN, hungry(1)).members == 1
                with client_of(master) as direct:
                    assert direct.exists(keys_of(ORIGIN)[1])
                engine.close()
            finally:
                sentinel.kill()


def test_a_cluster_keeps_the_keys_of_an_origin_together(tmp_path: Path) -> None:
    with RedisServer(tmp_path, "--cluster-enabled", "yes") as server:
        with client_of(server) as direct:
            direct.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            processes.wait_until(
                lambda: "cluster_state:ok" in str(direct.execute_command("CLUSTER", "INFO")),
                "the cluster is formed",
                patience=60.0,
            )
        engine = open_engine(server.url.replace("redis:", "redis+cluster:").removesuffix("/0"), FAST)
        assert isinstance(engine, RedisEngine)
        assert engine.report(ORIGIN, hungry(1)).members == 1
        assert engine.report("https://[::1]:8443", hungry(2)).members == 1
        engine.close()


@pytest.mark.parametrize(
    ("url", "seen"),
    [
        ("redis://user:pa%2Fss@host:6379/0", "redis://host:6379/0"),
        ("rediss://:secret@host/1?password=other&ssl_ca_certs=/x", "rediss://host/1?password=***&ssl_ca_certs=/x"),
        ("redis+sentinel://:s@a:1,b:2/mine?sentinel_password=t", "redis+sentinel://a:1,b:2/mine?sentinel_password=***"),
        ("sqlite:////run/fleet.db", "sqlite:////run/fleet.db"),
    ],
)
def test_a_url_is_shown_without_its_secrets(url: str, seen: str) -> None:
    assert shown(url) == seen
    for secret in ("pa/ss", "secret", "other"):
        if secret in url or secret == "pa/ss":
            assert secret not in without_secrets(f"cannot connect with {secret} to {url}", url) or secret not in url


@pytest.mark.parametrize("url", ["", "mysql://user:secret@host/db", "sqlite:///relative.db", "secret"])
def test_a_url_of_no_engine_is_an_error_that_does_not_repeat_it(url: str) -> None:
    with pytest.raises(ValueError, match="sqlite:////") as caught:
        checked(url)
    assert "secret" not in str(caught.value)
