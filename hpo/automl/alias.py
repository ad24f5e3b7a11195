"""Provides the import names of the published package: `tao_automl`, `tao_automl.runner`.

Nothing of that name is installed. A program opts in, in its first lines:

    from hpo.automl import alias
    alias.install()

or is started unchanged by `python -m hpo.automl.alias script.py ...`. Where a package of that name
is installed, both refuse: a workflow must never get another package than it believes.
"""

from __future__ import annotations

import importlib.util
import runpy
import sys
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType
from typing import Any

from hpo.core.errors import HpoError

NAME = "tao_automl"
DISTRIBUTION = "nvidia-tao-automl"
_PLACES = {
    NAME: ("AutoML", "AutoMLRunner", "query_status"),
    f"{NAME}.runner": ("AutoMLRunner",),
    f"{NAME}.status": ("query_status",),
}
"""Module -> the public names of this project that it offers."""


class AliasError(HpoError):
    """The published package itself is there, so its name is not taken."""


class _Alias(ModuleType):
    """A module that fetches its names from `hpo` when they are first used."""

    def __getattr__(self, name: str) -> Any:
        if name in _PLACES.get(self.__name__, ()):
            import hpo

            return getattr(hpo, name)
        raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")


def install() -> None:
    """Make `tao_automl` importable in this process; doing it again changes nothing.

    Raises:
        AliasError: in one line, when a package of that name is installed or was imported.
    """
    if isinstance(sys.modules.get(NAME), _Alias):
        return
    _refuse_beside_the_original()
    for name, offered in _PLACES.items():
        module = _Alias(name, doc=f"Alias of hpo: {', '.join(offered)}.")
        module.__path__ = []  # it is a package to the import system
        module.__all__ = list(offered)  # type: ignore[attr-defined]
        sys.modules[name] = module
    for name in _PLACES:
        if name != NAME:
            setattr(sys.modules[NAME], name.rpartition(".")[2], sys.modules[name])


def _refuse_beside_the_original() -> None:
    try:
        found = f"{DISTRIBUTION} {version(DISTRIBUTION)} is installed"
    except PackageNotFoundError:
        found = ""
    if not found and NAME in sys.modules:
        found = f"{NAME} was imported from {getattr(sys.modules[NAME], '__file__', 'elsewhere')}"
    if not found and (spec := importlib.util.find_spec(NAME)) is not None:
        found = f"{NAME} is installed at {spec.origin}"
    if found:
        raise AliasError(
            f"{found}, so hpo does not take its name; uninstall it, or import from hpo instead"
        )


def main(arguments: list[str]) -> int:
    """Run a script with the alias in place."""
    if not arguments:
        sys.stderr.write("python -m hpo.automl.alias: give a script to run\n")
        return 2
    try:
        install()
    except AliasError as error:
        sys.stderr.write(f"hpo.automl.alias: {error}\n")
        return 2
    sys.argv = arguments
    runpy.run_path(arguments[0], run_name="__main__")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
