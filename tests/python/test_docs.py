"""The documentation names files, tests, functions and headings that exist.

A page may shorten a path to its last parts (`client/retry.h`) and may use `*`. Names of other projects are listed in
FOREIGN_FILES and FOREIGN_NAMES.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
IGNORED = {"build", ".venv", ".git", "third_party", "node_modules", "__pycache__"}
SOURCES = {".py", ".pyi", ".h", ".cpp", ".in", ".sh", ".toml", ".txt", ".json", ".cmake", ".http", ".md", ".patch"}

#: Output of `make bench`, and names of other projects that look like paths.
FOREIGN_FILES = {
    "results.json",
    "async.json",
    "cpp.json",
    "h2.json",
    "fleet.json",
    "db.client.connection.*",
    "net/http",
}
#: Names of other projects that no source file of this repository uses.
FOREIGN_NAMES = {"AIOHTTP_TTL_DNS_CACHE", "asyncio.Future", "pthread_exit", "TCP_USER_TIMEOUT", "with_raw_response"}
#: Names of litellm, which the tests of the litellm patch reach by strings or not at all.
FOREIGN_NAMES |= {"AsyncHTTP2ConnectionSpread", "create_aiohttp_transport"}


def _pages() -> list[str]:
    found = [path for path in ROOT.rglob("*.md") if not IGNORED & set(path.relative_to(ROOT).parts)]
    return sorted(str(path.relative_to(ROOT)) for path in found)


PAGES = _pages()


@cache
def _paths() -> tuple[str, ...]:
    """Every file and folder of the repository, with a leading "/"."""
    every = []
    for path in ROOT.rglob("*"):
        parts = path.relative_to(ROOT).parts
        if not IGNORED & set(parts):
            every.append("/" + "/".join(parts))
    return tuple(every)


@cache
def _words() -> tuple[frozenset[str], ...]:
    """The identifiers of each source file of the repository; the documentation itself does not count."""
    words = []
    for path in _paths():
        file = ROOT / path[1:]
        is_source = file.suffix in SOURCES - {".md"} or file.name == "Makefile"
        if is_source and file.is_file() and file.name != Path(__file__).name:
            words.append(frozenset(re.findall(r"\w+", file.read_text(errors="replace"))))
    return tuple(words)


def _is_known(names: set[str]) -> bool:
    """Whether one source file has all the names."""
    return any(names <= words for words in _words())


def _prose(page: str) -> str:
    """The page without fenced blocks, whose paths may be a user's own."""
    return re.sub(r"^ *```.*?^ *```", "", (ROOT / page).read_text(), flags=re.DOTALL | re.MULTILINE)


def _quoted(page: str) -> list[str]:
    return re.findall(r"(?<!`)`([^`\n]+)`(?!`)", _prose(page))


def _looks_like_a_path(text: str) -> bool:
    if not re.fullmatch(r"[\w.*{},-]+(/[\w.*{},-]+)*/?", text) or text in FOREIGN_FILES:
        return False
    first = text.split("/")[0]
    if first == "build":
        return False
    known = {path.split("/")[-1] for path in _paths() if "." not in path.split("/")[-1]}
    has_suffix = Path(text.rstrip("/")).suffix in SOURCES | {".*"}
    return has_suffix or ("/" in text and first in known)


def _exists(text: str, paths: tuple[str, ...]) -> bool:
    pattern = "*/" + text.rstrip("/")
    return any(fnmatchcase(path, pattern) for path in paths)


def _drawn(page: str) -> list[str]:
    """The source files that the page's diagrams name: fenced blocks without a language."""
    diagrams = re.findall(r"^```\n(.*?)^```", (ROOT / page).read_text(), flags=re.DOTALL | re.MULTILINE)
    return re.findall(r"\b\w+(?:/\w+)+\.(?:py|h|cpp)\b", "\n".join(diagrams))


def missing_paths(page: str) -> Iterator[str]:
    for text in [*filter(_looks_like_a_path, _quoted(page)), *_drawn(page)]:
        if not _exists(text, _paths()):
            yield text


@pytest.mark.parametrize("page", PAGES)
def test_every_file_and_folder_that_a_page_names_exists(page: str) -> None:
    assert not list(missing_paths(page))


def missing_names(page: str) -> Iterator[str]:
    """Names in forms that only code has: `f()`, `A::b`, `a.b()`, `CamelCase`, `snake_case`."""
    for text in _quoted(page):
        if _looks_like_a_path(text):
            continue
        call = re.match(r"([A-Za-z_][\w.:]*)\(", text)
        plain = re.fullmatch(r"[A-Za-z_]\w*((::|\.)[A-Za-z_~]\w*)*", text)
        if not call and not plain:
            continue
        name = call[1] if call else text
        if plain and not call and not re.search(r"::|_|[a-z][A-Z]", name):
            continue
        if name not in FOREIGN_NAMES and not _is_known(set(re.findall(r"\w+", name))):
            yield text


@pytest.mark.parametrize("page", [page for page in PAGES if page.startswith("docs/internals/") or "README" in page])
def test_every_function_and_class_that_a_page_names_exists(page: str) -> None:
    assert not list(missing_names(page))


def missing_tests(page: str) -> Iterator[str]:
    for text in _quoted(page):
        python = re.fullmatch(r"([\w/]+\.py)::(\w+)", text)
        google = re.fullmatch(r"(\w+Test)\.(\w+)", text)
        if python:
            files = [path for path in _paths() if path.endswith("/" + python[1])]
            if not any(f"def {python[2]}(" in (ROOT / path[1:]).read_text() for path in files):
                yield text
        elif google and not _is_known({google[1], google[2]}):
            yield text


@pytest.mark.parametrize("page", PAGES)
def test_every_test_that_a_page_names_exists(page: str) -> None:
    assert not list(missing_tests(page))


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(page: str) -> Iterator[str]:
    here = ROOT / page
    for target in re.findall(r"\]\(([^)\s]+)\)", _prose(page)):
        if "://" in target:
            continue
        file, _, anchor = target.partition("#")
        other = (here.parent / file).resolve() if file else here
        if not other.exists() or (anchor and anchor not in _anchors(other)):
            yield target


@pytest.mark.parametrize("page", PAGES)
def test_every_link_between_pages_leads_to_a_page_and_a_heading(page: str) -> None:
    assert not list(broken_links(page))
