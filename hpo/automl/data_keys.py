"""Maps the data and start weights of a request to spec keys and to a study's sources."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hpo.automl.errors import AutoMLError
from hpo.automl.skill_trainer import SkillTrainer
from hpo.core.errors import DataError, HpoError
from hpo.core.spec_dicts import flatten
from hpo.jobs.data_sources import as_absolute, resolve_data_sources
from hpo.study.overrides import Overrides
from hpo.study.sections import DataSources
from hpo.study.weights import check_weights, is_address

if TYPE_CHECKING:
    from hpo.automl.request import Request

SOURCES = ("train", "reference", "query")


def anchored_roots(roots: Mapping[str, Any], platform: str) -> dict[str, str]:
    """Data roots, from wherever they are given; those of a platform are its own."""
    given = {name: str(uri) for name, uri in roots.items()}
    return given if platform else {name: as_absolute(uri) for name, uri in given.items()}


def train_keys(request: Request, overrides: Overrides) -> dict[str, Any]:
    """Data keys of training from exact keys and roots."""
    skill, action = request.skill, request.action
    if not skill.data_entries(action):
        return {}
    try:
        return resolve_data_sources(skill, action, request.roots, flatten(overrides.nested))
    except HpoError:
        if request.platform or not request.needs_data:  # its paths are not to be seen from here
            return {}
        raise


def eval_keys(request: Request) -> tuple[dict[str, Any], str]:
    """Data keys of the final evaluation where roots give others, and why not otherwise."""
    own = flatten(request.skill.expand(request.eval_overrides, "eval_overrides."))
    known = request.skill.data_entries("evaluate")
    if unknown := sorted(set(own) - set(known)):
        listed = f"one of {', '.join(known)}" if known else "left out, as the skill names none"
        raise AutoMLError(
            f"eval_overrides: {', '.join(unknown)}: no data of the final evaluation; must be "
            f"{listed}"
        )
    if not known:
        return {}, "the skill names no data for the evaluate action"
    if not any(request.roots.values()) and not own:
        return {}, "no root was given below which other evaluation data lie"
    try:
        return resolve_data_sources(request.skill, "evaluate", request.roots, own), ""
    except DataError as error:
        if own:
            raise
        return {}, str(error)


def start_weights(request: Request, overrides: Overrides, trainer: SkillTrainer) -> dict[str, Any]:
    """Spec keys of the weights that every trial starts from.

    A file goes where the skill says; an address goes to the trainer's own key for weights, if it
    has one.
    """
    base = request.base_checkpoint
    if not base:
        return {}
    if not request.platform:
        base = check_weights(base, "base_checkpoint", "name a file of weights, or their address")
        own = trainer.data_overrides({"weights": base}) if is_address(base) else {}
        if own:
            return {name: value for name, value in own.items() if name not in overrides.names}
    fields = request.skill.fields(request.action, "ptm_if_no_resume_model")
    if not fields:
        raise AutoMLError(
            f"base_checkpoint: {request.skill.path} names no field that takes start weights"
        )
    return {name: base for name in fields if name not in overrides.names}


def study_sources(
    request: Request, trainer: SkillTrainer, given: Mapping[str, Any], eval_keys: Mapping[str, Any]
) -> DataSources:
    """The same sources by their names, as every study has them."""
    keys = trainer.data_overrides({name: name for name in SOURCES})
    if not keys:
        return DataSources()
    flat = flatten(trainer.validate(given))
    named = {str(name): flat.get(key) for key, name in keys.items()}
    missing = [key for key, name in keys.items() if not named.get(str(name))]
    if missing and not request.needs_data:
        return DataSources()
    if missing:
        raise AutoMLError(f"{', '.join(missing)}: mandatory data source not given")
    tests = {str(name): eval_keys[key] for key, name in keys.items() if key in eval_keys}
    return DataSources(
        train=str(named.get("train", "")),
        reference=str(named.get("reference", "")),
        query=str(named.get("query", "")),
        test_reference=str(tests.get("reference", "")) if "query" in tests else "",
        test_query=str(tests.get("query", "")),
    )
