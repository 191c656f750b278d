"""`make canary`: whether this package still does its work under the newest of what it stands under.

    .venv/bin/python scripts/canary.py [--only "litellm proxy" ...] [--keep]

For each of `PACKAGES` of which the index has another version than this environment: what is installed here with that
one package renewed; then all of them renewed together, the SDKs without litellm, and the LiteLLM proxy. Each in an
environment of its own under build/canary, made anew each time. In it run the matrices of compatibility (each call
through the pool, equal to stock), and a look at who does the clients' TLS.

Prints one table, and ends with status 1 on any loss: a call that is not equal or not carried by the pool, a client
whose TLS is done by a context, a point of the patch that is missing, or a combination that could not be run.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable
from importlib.metadata import PackageNotFoundError, requires, version
from typing import NamedTuple

from environments import ROOT, NotRun, environment

sys.path.insert(0, str(ROOT / "tests" / "python"))

from canary_checks import Outcome, litellm_calls, proxy_calls, sdk_calls
from canary_index import install_proxy, installed, newest

FOLDER = ROOT / "build" / "canary"
PACKAGES = ("litellm", "openai", "anthropic", "httpx2", "aiohttp", "uvloop", "trio")
#: Of the matrices: pictures to Ollama, and what this package itself requires.
BESIDES = ("pillow", *(each for each in requires("fast-litellm") or () if "extra ==" not in each))


class Combination(NamedTuple):
    name: str
    #: Those whose versions the table shows.
    shown: tuple[str, ...]
    #: What pip is given; several attempts, the first that can be installed holds.
    attempts: tuple[tuple[str, ...], ...]
    checks: tuple[Callable[[str], Outcome], ...]
    proxy: bool = False


class Row(NamedTuple):
    name: str
    locked: str
    newest: str
    carried: str
    native: str
    differences: str


def here() -> dict[str, str]:
    """Package -> the version that is installed here, which the lock says; "" if it is not."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = ""
    return found


def combinations(locked: dict[str, str], latest: dict[str, str]) -> list[Combination]:
    """Those that are worth a run: of a package that is the newest already, `make test` says all."""
    both = (litellm_calls, sdk_calls)
    found = []
    renewed = [name for name in PACKAGES if latest[name] != locked[name]]
    for name in renewed if len(renewed) > 1 else ():
        others = [other for other in PACKAGES if other != name]
        pinned = [f"{other}=={locked[other]}" for other in others if locked[other]]
        one = f"{name}=={latest[name]}"
        found.append(Combination(f"{name} alone", (name,), ((one, *pinned), (one, *others)), both))
    exactly = tuple(f"{name}=={latest[name]}" for name in PACKAGES)
    found.append(Combination("all of them", PACKAGES, (exactly, PACKAGES), both))
    sdks = ("openai", "anthropic", "httpx2", "uvloop", "trio")
    found.append(
        Combination("SDKs without litellm", sdks, (tuple(f"{n}=={latest[n]}" for n in sdks), sdks), (sdk_calls,))
    )
    proxy = ("litellm", "aiohttp", "uvloop")
    exact = tuple(f"{name}=={latest[name]}" for name in proxy)
    found.append(Combination("LiteLLM proxy", proxy, (exact, (exact[0],)), (proxy_calls,), proxy=True))
    return found


def prepare(combination: Combination, keep: bool) -> tuple[str, list[str]]:
    """The interpreter of the combination's environment, and what is to be said of how it was made."""
    folder = combination.name.lower().replace(" ", "-")
    notes = []
    for number, attempt in enumerate(combination.attempts):
        try:
            python = environment(folder, *attempt, *BESIDES, parent=FOLDER, renew=not keep)
            break
        except NotRun as error:
            if number + 1 == len(combination.attempts):
                raise
            notes.append(f"not installable together, so pip chose ({str(error).splitlines()[0][:160]})")
    if combination.proxy:
        notes += install_proxy(python, FOLDER / f"{folder}.log", combination.attempts[0][0])
    return python, notes


def run(combination: Combination, keep: bool, locked: dict[str, str], latest: dict[str, str]) -> tuple[Row, bool]:
    """The row of the table, and whether something was lost."""
    names = combination.shown
    try:
        python, notes = prepare(combination, keep)
        outcome = Outcome.of(check(python) for check in combination.checks)
    except Exception as error:  # the other combinations are still to be seen
        lost = f"could not be run: {' '.join(str(error).split())[:300]}"
        return Row(combination.name, _listed(names, locked), _listed(names, latest), "none", "none", lost), True
    got = installed(python, names)
    notes += [f"{name} {latest[name]} is not accepted by the others" for name in names if got[name] != latest[name]]
    row = Row(
        combination.name,
        _listed(names, locked),
        _listed(names, got),
        f"{outcome.carried} of {outcome.calls}",
        f"{outcome.native} of {outcome.clients} clients",
        "; ".join([*outcome.differences, *notes]) or "none",
    )
    return row, outcome.is_loss


def _listed(names: Iterable[str], versions: dict[str, str]) -> str:
    return ", ".join(f"{name} {versions[name] or 'none'}" for name in names)


def table(rows: list[Row]) -> str:
    titles = Row("", "locked", "newest", "through the pool", "native TLS", "differences")
    lines = [titles, Row(*["---"] * len(titles)), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog="make canary", description="Under the newest of the index.")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="these combinations alone")
    parser.add_argument("--keep", action="store_true", help="use environments that are there already")
    arguments = parser.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    locked = here()
    try:
        latest = {name: newest(name) for name in PACKAGES}
    except NotRun as error:
        print(error, flush=True)
        return 1
    chosen = combinations(locked, latest)
    if arguments.only:
        unknown = set(arguments.only) - {combination.name for combination in chosen}
        if unknown:
            parser.error(f"there is no {', '.join(sorted(unknown))}; there are: {', '.join(c.name for c in chosen)}")
        chosen = [combination for combination in chosen if combination.name in arguments.only]
    rows, lost = [], False
    for number, combination in enumerate(chosen, 1):
        print(f"[{number}/{len(chosen)}] {combination.name}", flush=True)
        row, is_loss = run(combination, arguments.keep, locked, latest)
        rows.append(row)
        lost = lost or is_loss
    print(f"\n{table(rows)}\n")
    print("lost: see the differences above" if lost else "nothing is lost", flush=True)
    return int(lost)


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except KeyboardInterrupt:
        raise SystemExit("stopped") from None
