"""Finds the pictures of a run that are no longer where they were."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hpo.core.addresses import is_remote
from hpo.core.errors import RunError
from hpo.core.protocols import Trainer
from hpo.core.spec_dicts import merged, nest
from hpo.run.next_commands import resume_command
from hpo.run.run_dir import RunDir
from hpo.study.plan import StudyPlan, resolve_sources
from hpo.study.provenance import NO_FILES, describe_source, describe_written, read_origin
from hpo.study.spec import StudySpec


def with_gallery(run: RunDir, study: StudySpec, plan: StudyPlan, trainer: Trainer) -> StudyPlan:
    """Return the plan with its gallery's pictures: split or drawn anew where they are gone.

    Raises:
        RunError: as `demand_data`.
    """
    place = Path(plan.sources.get("reference", ""))
    if not place.is_absolute() or place.exists():
        return plan
    demand_data(run, study, plan, trainer)
    return with_sources(study, plan, trainer)


def with_sources(
    study: StudySpec, plan: StudyPlan, trainer: Trainer, kept: Path | None = None
) -> StudyPlan:
    """Return the plan with the pictures of its study; a split that is gone is made anew.

    Args:
        study: of a run.
        plan: of the run.
        trainer: of the study.
        kept: as of `resolve_sources`.
    """
    written = describe_written(study)
    sources = {**plan.sources, **resolve_sources(study, trainer, kept)}
    base_spec = merged(plan.base_spec, nest(trainer.data_overrides(sources)))
    return replace(plan, sources=sources, base_spec=base_spec, written=written)


def find_gone(run: RunDir, study: StudySpec, plan: StudyPlan, trainer: Trainer) -> dict[str, str]:
    """Local sources of a run that are no longer there, or of which no file is left.

    What was not on this machine when the run began (a platform's folders, say) cannot have gone.

    Returns:
        Name (`data` for one folder that was split) -> where it was.
    """
    folder = study.data.folder
    if folder and not is_remote(folder) and _is_gone(folder, trainer):
        return {"data": folder}
    return {
        name: place
        for name, place in plan.sources.items()
        if not is_remote(place)
        and Path(place).is_absolute()
        and not read_origin(run).get("data", {}).get(name, "").startswith(NO_FILES)
        and _is_gone(place, trainer)
    }


def _is_gone(place: str, trainer: Trainer) -> bool:
    return describe_source(place, trainer).startswith(NO_FILES)


def demand_data(run: RunDir, study: StudySpec, plan: StudyPlan, trainer: Trainer) -> None:
    """Refuse what needs the pictures of a run while they are not where they were.

    Raises:
        RunError: naming what is gone, and how to give the new place.
    """
    gone = find_gone(run, study, plan, trainer)
    if not gone or (study.data.is_default and "data" not in gone):
        return
    if study.data.folder and "data" not in gone:
        return  # the split is made anew
    told = {name: study.data.splits.get(name, place) for name, place in gone.items()}
    named = {name: at for name, at in told.items() if _is_gone(at, trainer)}
    if not named:
        return  # the rows of a list are taken from it anew
    places = "; ".join(
        f"{name}: {at}: no picture of it is there"
        if Path(at).is_file()
        else f"{name}: no such folder or archive: {at}"
        for name, at in named.items()
    )
    flags = (f"--{name.replace('_', '-')} PLACE" for name in named)
    raise RunError(
        f"{places}; bring it back, or give its new place: `{resume_command(run, *flags)}` "
        "(the run remembers it)"
    )
