"""Provides the import names of the published package: `tao_automl` and the modules below it.

Nothing of that name is installed. A program opts in, in its first lines:

    from hpo.automl import alias
    alias.install()

or is started unchanged by `python -m hpo.automl.alias script.py ...`. A plan file is carried out
by `python -m hpo.automl.alias -m tao_automl.runner PLAN.json --platform NAME`. Where a package of
that name is installed, all refuse: a workflow must never get another package than it expects.
"""

from __future__ import annotations

import importlib
import importlib.util
import runpy
import sys
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType
from typing import Any

from hpo.core.errors import HpoError

NAME = "tao_automl"
DISTRIBUTION = "nvidia-tao-automl"
_TOP = {
    "AutoML": "hpo.automl.ask_tell",
    "AutoMLRunner": "hpo.automl.runner",
    "query_status": "hpo.automl.status",
    "format_result": "hpo.automl.formatting",
    "__version__": "hpo",
}
_BRAIN = "hpo.automl.brain"
_TYPES = ("JobStates", "Recommendation", "ResumeRecommendation", "AutoMLContext")
_PLACES: dict[str, dict[str, str]] = {
    NAME: _TOP,
    f"{NAME}.runner": {
        "AutoMLRunner": "hpo.automl.runner",
        "MetricExtractorError": "hpo.automl.errors",
        "validate_skill_runtime": "hpo.automl.skill_context",
        "SkillContext": "hpo.automl.skill_context",
        "KNOWN_AUTOML_SETTINGS": "hpo.automl.settings",
        "AUTOML_SETTING_ALIASES": "hpo.automl.settings",
        "run_automl_plan": "hpo.automl.plan_file",
    },
    f"{NAME}.status": {"query_status": "hpo.automl.status"},
    f"{NAME}.formatting": {"format_result": "hpo.automl.formatting"},
    f"{NAME}.types": dict.fromkeys(_TYPES, "hpo.automl.recommendation"),
    f"{NAME}.brain": {},
    f"{NAME}.brain.nl_config": {"NLConfigGenerator": _BRAIN},
    f"{NAME}.brain.llm_analyzer": {"LLMAnalyzer": _BRAIN},
    f"{NAME}.brain.research_program": {"ResearchProgram": _BRAIN, "ResearchPhase": _BRAIN},
    f"{NAME}.brain.llm_brain": {"LLMBrain": _BRAIN},
}
"""Module -> the public names that it offers -> the module of this project that has each."""


class AliasError(HpoError):
    """The published package itself is there, so its name is not taken."""


class _Alias(ModuleType):
    """A module that fetches its names from `hpo` when they are first used."""

    def __getattr__(self, name: str) -> Any:
        place = _PLACES.get(self.__name__, {}).get(name)
        if place is None:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        import hpo

        _ = hpo.AutoMLRunner  # checks the extras, and puts the folders of imports in order
        return getattr(importlib.import_module(place), name)


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
        above, _, own = name.rpartition(".")
        if above:
            setattr(sys.modules[above], own, sys.modules[name])


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
    """Run a script, or a plan file, with the alias in place."""
    if not arguments:
        sys.stderr.write("python -m hpo.automl.alias: give a script to run\n")
        return 2
    try:
        install()
    except AliasError as error:
        sys.stderr.write(f"hpo.automl.alias: {error}\n")
        return 2
    if arguments[:2] == ["-m", f"{NAME}.runner"]:
        from hpo.automl.plan_file import main as run_plan

        return run_plan(arguments[2:])
    sys.argv = arguments
    runpy.run_path(arguments[0], run_name="__main__")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
