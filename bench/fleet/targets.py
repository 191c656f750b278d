"""The targets of the part over the fleet: the agent's CPU, and ratios that are not to be larger than asked."""

from __future__ import annotations

from collections.abc import Iterator

from bench.common.tables import verdict
from bench.fleet.part import AGENT_LIMIT, ENGINES, LOADS, WORKS, Engine, Load, Work
from bench.fleet.rounds import Results


def why(results: Results, measured: Engine | Work) -> str:
    return results.unavailable.get(measured, "no figures")


def _on_agent(results: Results, load: Load, engine: Engine) -> str:
    name = f"agent on {engine.title} at most {AGENT_LIMIT:g} ms of CPU per second ({load.title})"
    cpu, rounds = (results.of_agent(load, engine, figure) for figure in ("ms_per_second", "rounds_per_second"))
    if cpu is None or rounds is None:
        return verdict(name, None, why(results, engine))
    return verdict(name, cpu <= AGENT_LIMIT, f"{cpu:.2f} ({rounds:.1f} reports per second)")


def _on_limit(results: Results, work: Work) -> str:
    name = f"{work.title}, with a limit at most {work.asked:g} x without"
    ratio, limited, without = (results.of_work(work, figure) for figure in ("ratio", "limited", "without"))
    if ratio is None:
        return verdict(name, None, why(results, work))
    return verdict(name, ratio <= work.asked, f"{ratio:.2f} ({limited:.1f} against {without:.1f} {work.unit})")


def verdicts(results: Results) -> Iterator[str]:
    """One line per target."""
    for load in LOADS:
        for engine in ENGINES:
            yield _on_agent(results, load, engine)
    for work in WORKS:
        yield _on_limit(results, work)
