"""Refuses spec keys that a search sets or reads itself, where a user's values cannot stand.

Each refusal names what does the same: a flag, or another verb.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpo.core.errors import SpecError
from hpo.core.protocols import Trainer
from hpo.core.spec_dicts import flatten, merged
from hpo.core.text import quoted
from hpo.study.skill import Skill, load_skill
from hpo.study.spec import StudySpec
from hpo.study.spec_paths import anchored_path
from hpo.study.stages import read_stages
from hpo.study.trainers import demand_mapping

if TYPE_CHECKING:
    from search_spaces import SearchSpace

FOLDER = "results_dir"
_SOURCES = ("train", "reference", "query")
_OF_THE_BEST = (
    ("evaluate", "parent_model"), ("export", "parent_model"), ("export", "create_onnx_file"),
)  # fmt: skip
"""Actions of the hand-off, and the functions whose fields it fills."""


def refuse_owned_keys(study: StudySpec, trainer: Trainer) -> None:
    """Refuse what a study sets, fixes or searches and the search would overwrite.

    Trials that run elsewhere, as jobs of a platform or of the caller, are left to those.

    Raises:
        SpecError: naming the keys, and what to give in their place.
    """
    if getattr(trainer, "is_elsewhere", False):
        return
    searched = _searched(study)
    values = flatten(merged(study.spec, study.search.fix))
    given = {name: value for name, value in values.items() if value not in (None, "", {}, [])}
    problems = [
        *_sections(values, trainer),
        *_folders([*given, *searched]),
        *_checkpoints([*given, *searched], load_skill(trainer.skill_dir)),
        *_sources(given, study, trainer),
    ]
    if problems:
        raise SpecError("; ".join(problems))


def refuse_searched(space: SearchSpace, trainer: Trainer) -> None:
    """Refuse a space that varies what is alike in all trials; a value that it pins is that.

    Raises:
        SpecError: as of `refuse_owned_keys`.
    """
    names = [parameter.name for parameter in space.parameters]
    problems = [*_seed(names, trainer), *_length(names, trainer)]
    if problems and not getattr(trainer, "is_elsewhere", False):
        raise SpecError("; ".join(problems))


def _searched(study: StudySpec) -> list[str]:
    search = study.search
    named = [name.removeprefix("+") for name in search.over]
    named += [*search.ranges, *search.options, *search.custom_param_ranges]
    for stage in read_stages(search).values():
        named += [*stage.over, *stage.ranges, *stage.options]
    return list(dict.fromkeys(named))


def _sections(values: Mapping[str, Any], trainer: Trainer) -> Iterator[str]:
    """Values in place of a section that a key of every search stands in."""
    for name, value in values.items():
        below = [
            key for key in (trainer.epochs_key, trainer.seed_key) if key.startswith(f"{name}.")
        ]
        if below and not isinstance(value, Mapping):
            yield (
                f"{name}: is a section of keys, so it cannot be set to {quoted(value)}; set the "
                f"keys below it, such as {below[0]}"
            )


def _folders(names: Iterable[str]) -> Iterator[str]:
    for name in names:
        if name.rpartition(".")[2] == FOLDER:
            yield (
                f"{name}: must be left out, as each trial of a search has a folder of its own; "
                "--out (AutoML: --workspace) says where runs lie"
            )


def _checkpoints(names: Iterable[str], skill: Skill) -> Iterator[str]:
    going_on = "a search goes on with `hpo resume`, and --weights gives what trials start from"
    reasons = dict.fromkeys(skill.fields("train", "resume_model"), going_on)
    for action, function in _OF_THE_BEST:
        for name in skill.fields(action, function):
            reasons[name] = (
                f"it is set for the best trial; `hpo job {action} --parent RUN` takes it otherwise"
            )
    for name in names:
        if name in reasons:
            yield f"{name}: must be left out of a search: {reasons[name]}"


def _sources(given: Mapping[str, Any], study: StudySpec, trainer: Trainer) -> Iterator[str]:
    """Pictures and weights that stand in the spec and are not those that the study names."""
    data = study.data
    for source in (*_SOURCES, "weights"):
        own = study.weights if source == "weights" else data.folder or getattr(data, source)
        flag = "--data" if data.folder and source != "weights" else f"--{source}"
        if source == "weights" and not own:
            continue
        keys = demand_mapping(trainer.data_overrides({source: "."}), trainer, "data_overrides")
        for key in keys:
            if key not in given or (own != data.folder and _is_same(str(given[key]), own)):
                continue
            other = quoted(own) if own else "the embedded pictures"
            yield (
                f"{key}: is {quoted(given[key])} in the spec and would be overwritten by {other}; "
                f"give it with {flag} alone"
            )


def _is_same(one: str, other: str) -> bool:
    """Whether two addresses or paths name the same place."""
    return anchored_path(one, Path.cwd()) == anchored_path(other, Path.cwd())


def _seed(searched: Iterable[str], trainer: Trainer) -> Iterator[str]:
    if trainer.seed_key and trainer.seed_key in searched:
        yield (
            f"{trainer.seed_key}: cannot be searched, as trials differ in their parameters alone; "
            "--confirm trains the best again with new seeds"
        )


def _length(searched: Iterable[str], trainer: Trainer) -> Iterator[str]:
    if trainer.epochs_key and trainer.epochs_key in searched:
        yield (
            f"{trainer.epochs_key}: cannot be searched, as trials are compared epoch by epoch; set "
            f"what all train (--fix {trainer.epochs_key}=30), and asha, hyperband or a pruner ends "
            "bad ones early"
        )
