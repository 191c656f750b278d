"""httpx and httpx2: two libraries with the same names in them, of which a process may have one, the other or both."""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import NamedTuple


class Library(NamedTuple):
    """The code that constructs a client decides which library's classes it gets: nothing here is mixed."""

    #: httpx, or a module with its names. It may be known under the other's name too (`httpx2.alias_httpx`): what it
    #: calls itself counts.
    httpx: ModuleType
    #: httpcore, or its twin.
    core: ModuleType

    @property
    def name(self) -> str:
        return self.httpx.__name__


_CORES = {"httpx": "httpcore", "httpx2": "httpcore2"}
#: Modules of these packages stand between a client and who constructs it.
PACKAGES = frozenset(_CORES)


def loaded() -> list[Library]:
    """The libraries that this process has imported."""
    modules = {id(module): module for module in map(sys.modules.get, _CORES) if module is not None}
    return [of_module(module) for module in modules.values()]


def of_module(module: ModuleType) -> Library:
    return Library(module, import_module(_CORES[module.__name__]))
