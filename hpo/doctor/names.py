"""Finds files that Python would import in place of installed modules of the same name."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from importlib.machinery import PathFinder
from pathlib import Path

from hpo.core.process.imports import PACKAGES
from hpo.core.process.search_path import ROOT, comes_last
from hpo.doctor.check import Check

_COMMON = frozenset({"test", "tests", "docs", "examples", "setup", "conftest"})
"""Names of installed modules that everybody uses, and that nobody imports."""


def check_names() -> list[Check]:
    """Look into the working directory and the folders of PYTHONPATH."""
    checks = [check for folder, where in _folders() for check in _look_into(folder, where)]
    text = "no file in the working directory or on PYTHONPATH has the name of an installed module"
    return checks or [Check("names", "ok", text)]


def _folders() -> Iterator[tuple[Path, str]]:
    """Folders that a user's own programs search before what is installed."""
    here = Path.cwd()
    yield here, "the working directory"
    seen = {here.resolve(), Path(ROOT)}
    for part in filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)):
        folder = Path(part).absolute()
        if folder.resolve() not in seen:
            seen.add(folder.resolve())
            yield folder, "on PYTHONPATH"


def _look_into(folder: Path, where: str) -> Iterator[Check]:
    if folder.resolve() == Path(ROOT):
        return
    found = _namesakes(folder)
    standard = sys.stdlib_module_names
    harmless = {
        file: name
        for file, name in found.items()
        if name in standard or name in PACKAGES or comes_last(str(folder))
    }
    used = {file: name for file, name in found.items() if file not in harmless}
    if harmless:
        yield Check(
            "names",
            "warning",
            f"{_listed(harmless)} in {folder} ({where}): `hpo` passes it over, but a script "
            "or notebook of yours imports it in place of what is installed",
            "rename it, or move it into a folder of its own",
        )
    if used:
        yield Check(
            "names",
            "warning",
            f"{_listed(used)} in {folder} ({where}) is imported in place of what is installed",
            "take the folder out of PYTHONPATH if that is not meant",
        )


def _namesakes(folder: Path) -> dict[str, str]:
    """File or package of a folder -> the installed module whose name it has."""
    try:
        entries = sorted(folder.iterdir())
    except OSError:
        return {}
    files = {entry.name: entry.stem for entry in entries if entry.suffix == ".py"}
    files |= {f"{e.name}/": e.name for e in entries if (e / "__init__.py").is_file()}
    return {file: name for file, name in files.items() if _is_installed(name)}


def _is_installed(name: str) -> bool:
    if name in _COMMON or not name.isidentifier():
        return False
    if name in sys.stdlib_module_names or name in PACKAGES:
        return True
    # `packages_distributions` would read the records of all that is installed: half a second.
    return PathFinder.find_spec(name, _site_folders()) is not None


def _site_folders() -> list[str]:
    return [part for part in sys.path if Path(part).name in ("site-packages", "dist-packages")]


def _listed(files: dict[str, str]) -> str:
    return ", ".join(f"{file} (module {name})" for file, name in files.items())
