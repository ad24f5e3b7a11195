"""Makes processes of this project import its own packages, not other files of the same names.

A `numpy.py` beside somebody's pictures, or another package `trainer` on PYTHONPATH, must not be
imported in place of what is installed. What only the user has stays importable.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
import threading
import warnings
from collections.abc import Iterator
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import FunctionType
from typing import Any, TypeVar

from hpo.core.process import children
from hpo.core.process.search_path import ROOT, ordered

T = TypeVar("T")

PACKAGES = ("hpo", "search_spaces", "trainer")
"""What this distribution installs, side by side."""


class _OwnPackages:
    """A finder that knows our packages alone, and only where this one lies."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Find one of our packages; the rest is for the finders behind this one."""
        del path
        return PathFinder.find_spec(name, [ROOT], target) if name in PACKAGES else None


def settle() -> None:
    """Make a process that is ours import the right modules; to be called before anything else.

    Our own packages are found first, the working directory is searched last. Warnings of other
    libraries stay warnings, also under `-W error`. In a child the user's own variables are back in
    the environment, for programs that are started by a trainer or a skill.
    """
    sys.path[:] = ordered()
    if _OwnPackages not in sys.meta_path:
        sys.meta_path.insert(0, _OwnPackages)
    _keep_warnings_harmless()
    children.restore_environment()


def is_own_process() -> bool:
    """Whether this process is one of ours, not somebody else's program that imports us."""
    return _OwnPackages in sys.meta_path


def _keep_warnings_harmless() -> None:
    """Drop filters that turn warnings into exceptions: they would end other libraries' code."""
    warnings.filters[:] = [f for f in warnings.filters if f[0] != "error"]  # type: ignore[index]
    sys.warnoptions[:] = filter(children.is_harmless, sys.warnoptions)


@contextlib.contextmanager
def warnings_stay_harmless() -> Iterator[None]:
    """`_keep_warnings_harmless` for a while, in a program of somebody else's.

    Where there is nothing to drop, its filters stay as they are: whenever they change, Python tells
    once more of what is told once.
    """
    options = list(sys.warnoptions)
    are_harmless = all(map(children.is_harmless, options))
    if are_harmless and not any(f[0] == "error" for f in warnings.filters):
        yield
        return
    with warnings.catch_warnings():
        _keep_warnings_harmless()
        try:
            yield
        finally:
            sys.warnoptions[:] = options


def calls_stay_harmless(kind: type[T]) -> type[T]:
    """`warnings_stay_harmless` in all calls and properties of a public class."""
    for name, value in list(vars(kind).items()):
        if name.startswith("_") and name not in ("__init__", "_repr_html_"):
            continue
        if isinstance(value, property) and value.fget is not None:
            setattr(kind, name, property(warnings_stay_harmless()(value.fget)))
        elif isinstance(value, FunctionType):
            setattr(kind, name, warnings_stay_harmless()(value))
    return kind


def import_apart(name: str) -> None:
    """Import a module in a thread of its own; one that cannot be imported is left out.

    Optuna keeps the errors by which it has found that optional packages are missing, and with them
    every frame below the import: what stands in these would live as long as the process.
    """

    def work() -> None:
        with contextlib.suppress(ImportError):  # told where it is used
            importlib.import_module(name)

    if name not in sys.modules:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()


def claim_packages() -> None:
    """Import our packages in a program of somebody else's, whose other imports stay as they are.

    Raises:
        ImportError: in one line, when the program has imported another module of such a name.
    """
    sys.meta_path.insert(0, _OwnPackages)
    try:
        for name in PACKAGES:
            importlib.import_module(name)
    finally:
        sys.meta_path.remove(_OwnPackages)
    for name in PACKAGES:
        found = sys.modules[name].__file__
        if found is None or Path(found).resolve().parent != Path(ROOT, name):
            raise ImportError(
                f"{found or name}: has the name of a package of hpo-recognition and was imported "
                "before it; rename it, or import hpo first"
            )
