"""Calls back when a module has been imported, whichever comes first.

A finder on `sys.meta_path` waits for the module's name, lets the other finders find it, and wraps the loader just far
enough to learn that the module's code has run. It then takes itself off: it costs other imports one string comparison,
and only until the module is there.
"""

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any

#: Packages whose clients this one accelerates.
ACCELERATED = ("litellm", "openai", "anthropic")
#: Modules to act upon when they are there. Two of litellm's come before the whole, which makes clients while it is
#: being imported.
AWAITED = ("litellm.llms.custom_httpx.http_handler", "litellm.llms.openai.common_utils", *ACCELERATED)


def when_imported(name: str, callback: "Callable[[], object]") -> None:
    """Calls `callback` once the module is fully imported: at once if it is already, else right after its import, on the
    importing thread. An exception of the callback becomes a warning: it must not break another package's import."""
    if name not in sys.modules:
        forget(name)
        sys.meta_path.insert(0, _Finder(name, callback))
        return
    from importlib import import_module

    import_module(name)  # another thread may be in the middle of importing it: waits for that one
    _call(name, callback)


def forget(name: str) -> bool:
    """Takes back what `when_imported` asked for. True if it was still waiting."""
    waiting = [finder for finder in sys.meta_path if isinstance(finder, _Finder) and finder.name == name]
    for finder in waiting:
        sys.meta_path.remove(finder)
    return bool(waiting)


def _call(name: str, callback: "Callable[[], object]") -> None:
    try:
        callback()
    except Exception as error:
        import warnings

        warnings.warn(f"fast_litellm: what was to follow the import of {name} failed: {error!r}", RuntimeWarning, 2)


class _Finder:
    def __init__(self, name: str, callback: "Callable[[], object]") -> None:
        self.name = name
        self._callback = callback

    def find_spec(
        self, name: str, path: "Sequence[str] | None" = None, target: "ModuleType | None" = None
    ) -> "ModuleSpec | None":
        if name != self.name:
            return None
        for finder in list(sys.meta_path):
            find_spec = getattr(finder, "find_spec", None)
            spec: ModuleSpec | None = None if finder is self or find_spec is None else find_spec(name, path, target)
            if spec is not None:
                if hasattr(spec.loader, "exec_module"):
                    spec.loader = _Loader(spec.loader, self)  # type: ignore[assignment]
                return spec
        return None

    def imported(self) -> None:
        if self in sys.meta_path:  # two threads may have raced here: only the first calls back
            sys.meta_path.remove(self)
            _call(self.name, self._callback)


class _Loader:
    """The real loader, and a word to the finder after the module's code has run."""

    def __init__(self, loader: "Any", finder: _Finder) -> None:
        self._loader = loader
        self._finder = finder

    def __getattr__(self, name: str) -> object:
        return getattr(self._loader, name)

    def create_module(self, spec: "ModuleSpec") -> "ModuleType | None":
        create: Callable[[ModuleSpec], ModuleType | None] | None = getattr(self._loader, "create_module", None)
        return create(spec) if create is not None else None

    def exec_module(self, module: "ModuleType") -> None:
        # The module must see its real loader: pkgutil, resources and pickling by path look at it.
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        self._finder.imported()
