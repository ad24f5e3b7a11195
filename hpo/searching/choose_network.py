"""Screens the networks that a search could start from, where its trainer asks for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from hpo.core.protocols import Trainer
from hpo.core.spec_dicts import merged, nest
from hpo.core.trainer_extras import Screener
from hpo.executors.child_call import Call, calls_in_child
from hpo.executors.placement import IN_PROCESS, find_machine, place_trials
from hpo.executors.placement import Start as Placement
from hpo.run.run_index import is_on, known_runs
from hpo.searching.make_plan import plan_study
from hpo.study.memory import recall
from hpo.study.plan import StudyPlan, build_space, kept_folder
from hpo.study.screening import Candidate, Row, screen_all
from hpo.study.spec import StudySpec
from hpo.study.stages import planned_stages
from hpo.study.start import Start, complete_study, given_spec

MOST_PICTURES = 1000
"""Of the gallery, and of the queries: enough to see which network is ahead."""
REMEMBERS = "begins with the best of earlier searches on this machine, after the default"
_USED = ("reference", "query")


class Settings(Placement, Protocol):
    """What is used of a start of a search."""

    @property
    def progress(self) -> Callable[[str, int, int], None] | None:
        """Called with how far it is."""

    @property
    def should_stop(self) -> Callable[[], bool]:
        """Whether the user wants to end."""


def plan_completed(
    study: StudySpec, trainer: Trainer, settings: Settings, out: Path, kept: Path | None = None
) -> tuple[StudySpec, StudyPlan]:
    """Let trainer and earlier searches choose what the user left open; screen where that is asked.

    A first plan is made before anything is screened: what is wrong is said without waiting. It
    opens no pictures, as they are decoded for the network that is then chosen.

    Args:
        study: of the user.
        trainer: the study's.
        settings: of this start.
        out: where runs are made; earlier ones are looked for there too.
        kept: as of `plan_study`.

    Raises:
        HpoError: for anything that cannot be searched.
        KeyboardInterrupt: the user wants to end.
    """
    machine, given = find_machine(settings), given_spec(study, trainer)

    def planned(start: Start, *, opens: bool = True) -> StudyPlan:
        if settings.progress is not None:
            settings.progress("looking at the pictures", 0, 0)
        slots = place_trials(start.study, trainer, settings)
        return plan_study(
            start.study, trainer, slots=slots.count, reasons=start.reasons, given=given, kept=kept,
            opens=opens,
        )  # fmt: skip

    start = complete_study(study, trainer, machine)
    if not (start.candidates and isinstance(trainer, Screener)):
        return _with_memory(start, planned(start), trainer, out, planned)
    plan = planned(start, opens=False)
    began = time.monotonic()
    rows = _screen(study, start, trainer, trainer.screen, plan.sources, settings)
    start = complete_study(study, trainer, machine, rows)
    seconds = round(time.monotonic() - began, 1)
    study, plan = _with_memory(start, planned(start), trainer, out, planned)
    return study, replace(plan, screened_s=seconds)


def _with_memory(
    start: Start,
    plan: StudyPlan,
    trainer: Trainer,
    out: Path,
    planned: Callable[[Start], StudyPlan],
) -> tuple[StudySpec, StudyPlan]:
    """Begin with what earlier searches found on similar pictures; kept in the study.

    Where nothing was found, that is kept too.
    """
    study, search = start.study, start.study.search
    if not search.memory or search.has_looked:
        return study, plan
    runs = known_runs(kept_folder(trainer), out) if is_on() else []
    if not runs:
        return replace(study, search=replace(search, after="")), plan
    space = build_space(study, trainer, plan.base_spec, num_trials=plan.planned_trials)
    earlier = {stage.name: stage.space for stage in planned_stages(study, plan, trainer)}
    found = recall(runs, study, plan, trainer, space, earlier)
    search = replace(search, after=found.after)
    if search.warm_start or not found:
        return replace(study, search=search), plan
    stages = {name: {**(stage or {})} for name, stage in search.earlier_stages.items()}
    reasons = [*start.reasons, f"{REMEMBERS} (--no-memory leaves them out)"]
    for name, rows in found.earlier.items():
        stages[name]["remembered"] = rows
        reasons += [f"stage {name} begins with that of {source}" for source in rows]
    study = replace(study, search=replace(search, remembered=found.last, earlier_stages=stages))
    return study, planned(replace(start, study=study, reasons=tuple(reasons)))


def _screen(
    study: StudySpec,
    start: Start,
    trainer: Trainer,
    screen: Callable[..., Mapping[str, Any]],
    sources: Mapping[str, str],
    settings: Settings,
) -> list[Row]:
    """Screen the candidates of a start on the validation pictures; the test's are not looked at."""
    validation = {name: sources[name] for name in _USED}
    base = merged(
        given_spec(study, trainer),
        nest(trainer.data_overrides(validation)),
        nest({trainer.seed_key: study.search.used_seed}),
    )

    def screen_one(call: Call, candidate: Candidate, spec: dict[str, Any]) -> Mapping[str, Any]:
        def show(what: str, done: int, total: int) -> None:
            if settings.should_stop():
                raise KeyboardInterrupt
            if settings.progress is not None:
                settings.progress(f"{candidate['name']}: {what}", done, total)

        asked = {"spec": spec, "most": MOST_PICTURES, "with_cost": False}
        if settings.executor == IN_PROCESS:
            return screen(**asked, progress=show)
        found: Mapping[str, Any] = call("screen", asked, show)
        return found

    with calls_in_child(study.trainer) as call:
        return screen_all(trainer, start.candidates, base, partial(screen_one, call))
