"""docs/compatibility.md: the verdicts of `make compat` as tables, with numbered notes."""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from compat_sdks import Tried

from compat import comparing
from compat.cells import CELLS, DESCRIPTIONS, OPERATIONS, PROVIDERS, Cell

PROVIDER_NAMES = {
    "openai": "OpenAI",
    "azure": "Azure",
    "anthropic": "Anthropic",
    "hosted_vllm": "hosted_vllm",
    "ollama": "Ollama (litellm's own handlers; streams are lines of JSON)",
}


#: Of the package's own reasons, what a reader of the table needs to hear more of.
EXPLANATIONS = {"bare httpx": "bare httpx: litellm calls `httpx.stream()` or the like, whose client lives for one call"}


class Result(NamedTuple):
    """What came of one version."""

    versions: dict[str, str | None]
    missing_points: list[str]
    verdicts: dict[str, comparing.Verdict]
    #: With a proxy in the environment.
    proxied: dict[str, comparing.Verdict]

    def count(self, state: str) -> int:
        return sum(verdict.state == state for verdict in self.verdicts.values())


INTRODUCTION = f"""# Compatibility

Written by `make compat` with Python {sys.version_info[0]}.{sys.version_info[1]}; do not edit.

Every call of litellm below is made three times against the embedded server, in processes of their own: by litellm as
it comes, by litellm without its aiohttp transport, and by litellm accelerated. *Through the pool, equal* means:

- the pool counted each request that the server saw, and none went through another transport;
- the caller got what litellm as it comes gives, field for field, with the hidden parameters, the headers of the
  response, and the errors; random ids and times that litellm makes itself are left out;
- the server saw, byte for byte, what httpx's own transport sends: method, target, headers in their order and case,
  body;
- the same as litellm as it comes sends, where that is aiohttp, but for the case of header names and for a
  `content-type: application/octet-stream` that aiohttp adds to bodies without one.

`make test` runs the same for the versions that are installed; `make canary` for the newest of the index.

## Versions
"""
CELLS_INTRODUCTION = """*Points missing*: what this version of litellm or of the SDK does not have, so there was nothing
to patch.

## Calls

*yes*: through the pool, equal. **stock**: equal, but not through the pool. *not offered*: litellm refuses before it
sends anything."""


SDKS_INTRODUCTION = """Chats, streams, embeddings and an error of the openai and anthropic SDKs by themselves,
blocking and on asyncio, uvloop and trio, stock and accelerated, compared in the same way. From openai 3 and anthropic 1
on they use httpx2."""
PROXY_INTRODUCTION = """The proxy as `fast-litellm run litellm ...` with two workers, 64 requests at a time, a quarter
of them streamed: each answer is checked, and the workers' pools count as many requests as were sent."""

PROXIED_INTRODUCTION = """Calls of litellm with `HTTPS_PROXY` and `HTTP_PROXY` in the environment. Calls of the SDKs
with these variables, or with an accelerated `httpx.Client` (or that of httpx2) that has `proxy=` or `mounts=`. Origins
over `https://` are reached through tunnels; requests to `http://` are forwarded, and compared as the proxy gets them.
*Through the pool, equal* means also that connections go past the proxy only where those of the stock client do."""


class Notes:
    """Numbered notes; equal texts share a number."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def refer(self, *texts: str) -> str:
        numbers = (self._numbers.setdefault(brief(text), len(self._numbers) + 1) for text in texts)
        return " ".join(f"({number})" for number in dict.fromkeys(numbers))

    def lines(self) -> list[str]:
        return [f"{number}. {text}" for text, number in self._numbers.items()]


def brief(text: str) -> str:
    """The first sentence, without what is another one each time."""
    text = re.split(r"(?<=[a-z])\. (?=[A-Z])| - \{|\n", text.strip())[0]
    text = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1", comparing.normalised(text))
    return (text if len(text) <= 240 else text[:237] + "...").replace("|", "\\|")


def entry(verdict: comparing.Verdict, notes: Notes) -> str:
    word = {comparing.POOL: "yes", comparing.NOT_OFFERED: verdict.state}.get(verdict.state, f"**{verdict.state}**")
    return f"{word} {notes.refer(*(EXPLANATIONS.get(note, note) for note in verdict.notes[:3]))}".strip()


def rows_beside(tried: Mapping[str, Tried], failed: Mapping[str, str], notes: Notes) -> list[str]:
    """The SDKs by themselves and the LiteLLM proxy: one table for each kind, by the packages that its versions name."""
    lines: list[str] = []
    for title, introduction, prefix in (
        ("The SDKs without litellm", SDKS_INTRODUCTION, "sdks-"),
        ("The LiteLLM proxy", PROXY_INTRODUCTION, "proxy-"),
    ):
        mine = {name: one for name, one in tried.items() if name.startswith(prefix)}
        packages = next(iter(mine.values())).versions if mine else {}
        columns = [*packages, "calls", "through the pool, equal", "clients with the pool's own TLS"]
        lines += [
            "",
            f"## {title}",
            "",
            introduction,
            "",
            f"| {' | '.join(columns)} |",
            "| --- |" + " --- |" * (len(columns) - 1),
        ]
        for one in mine.values():
            outcome = one.outcome
            row: list[object] = [version or "none" for version in one.versions.values()]
            row += [outcome.calls, outcome.carried, f"{outcome.native} of {outcome.clients}"]
            entry_of_it = "| " + " | ".join(map(str, row)) + " |"
            lines.append(
                entry_of_it.removesuffix(" |") + f" {notes.refer(*outcome.differences, *one.notes)}".rstrip() + " |"
            )
        lines += [f"| {name} | not run {notes.refer(why)} |" for name, why in failed.items() if name.startswith(prefix)]
    return lines


def proxied_rows(results: Mapping[str, Result], tried: Mapping[str, Tried], notes: Notes) -> list[str]:
    """One row for each version of litellm, then for each of the SDKs."""
    lines = [
        "",
        "## Through a proxy",
        "",
        PROXIED_INTRODUCTION,
        "",
        "| client | calls | through the pool, equal | stock | different | not offered |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    rows = [(f"litellm {one.versions['litellm']}", one.proxied) for one in results.values()]
    for one in tried.values():
        if one.proxied:
            rows.append((f"openai {one.versions['openai']}, anthropic {one.versions['anthropic']}", one.proxied))
    for title, verdicts in rows:
        states = Counter(verdict.state for verdict in verdicts.values())
        why = [note for verdict in verdicts.values() for note in verdict.notes]
        cells = [title, str(len(verdicts))]
        cells += [str(states[each]) for each in (comparing.POOL, comparing.STOCK, comparing.DIFFERS)]
        cells.append(f"{states[comparing.NOT_OFFERED]} {notes.refer(*(EXPLANATIONS.get(n, n) for n in why))}".strip())
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def table(
    names: Sequence[str], results: Mapping[str, Result], tried: Mapping[str, Tried], failed: Mapping[str, str]
) -> str:
    """`names`: the columns, oldest first; of each the result, or why there is none. `tried`: of `compat_sdks`."""
    notes = Notes()
    titles = [(results[name].versions["litellm"] if name in results else name) or name for name in names]
    summary = [
        "| litellm | openai | httpx | aiohttp | cells | through the pool, equal | not through the pool | different "
        "| not offered by litellm | points missing |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, title in zip(names, titles, strict=True):
        if name not in results:
            summary.append(f"| {title} | not run {notes.refer(failed.get(name, 'left out'))} |")
            continue
        result = results[name]
        counts = [result.count(state) for state in (comparing.POOL, comparing.STOCK, comparing.DIFFERS)]
        row = [title, *(result.versions[package] or "none" for package in ("openai", "httpx", "aiohttp")), len(CELLS)]
        missing = ", ".join(f"`{point}`" for point in result.missing_points) or "none"
        row += [*counts, result.count(comparing.NOT_OFFERED), missing]
        summary.append("| " + " | ".join(map(str, row)) + " |")

    sections = []
    for provider in PROVIDERS:
        sections += ["", f"### {PROVIDER_NAMES[provider]}", ""]
        sections += [f"| call | {' | '.join(titles)} |", "| --- |" + " --- |" * len(titles)]
        for operation in OPERATIONS:
            cell = Cell(provider, operation).name
            entries = [entry(results[name].verdicts[cell], notes) if name in results else "?" for name in names]
            sections.append(f"| {DESCRIPTIONS[operation]} | {' | '.join(entries)} |")
    sections += rows_beside(tried, failed, notes)
    sections += proxied_rows(results, tried, notes)
    return "\n".join(
        [INTRODUCTION, *summary, "", CELLS_INTRODUCTION, *sections, "", "## Notes", "", *notes.lines(), ""]
    )
