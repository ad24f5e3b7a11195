"""What an AutoML workspace stores beside the run: `.automl/controller/facts.json`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from hpo.automl.errors import AutoMLError
from hpo.automl.objectives import Objective, Objectives, from_list
from hpo.core.errors import RunError
from hpo.jobs.data_sources import UNSET_MARKS
from hpo.run.next_commands import BY_CALLER, call_of
from hpo.run.plain_files import write_json
from hpo.run.run_dir import AUTOML_FACTS, STUDY_FILE, lost_facts

AUTOML_DIR = ".automl"
RESULTS_DIR = "results_dir"
RUNNING_STYLE, RUNGS_STYLE = "running", "rungs"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkspaceFacts:
    """The constants of one workspace; no secrets."""

    skill_dir: str
    network: str
    metric: str
    """As the caller names it."""
    direction: str
    algorithm: str
    platform: str = ""
    """Class of the platform; empty for trials on this machine."""
    image: str = ""
    base_checkpoint: str = ""
    total: int | None = None
    policy: str = "on"
    session_id: str = ""
    """Names the files in `.automl/`."""
    adjustments: list[dict[str, Any]] = field(default_factory=list)
    """`{param, from, to, reason}` of what holds for every trial."""
    first_adjustments: list[dict[str, Any]] = field(default_factory=list)
    """The same of the default configuration alone."""
    warnings: list[str] = field(default_factory=list)
    train_keys: dict[str, Any] = field(default_factory=dict)
    """Data keys of training, dotted."""
    eval_keys: dict[str, Any] = field(default_factory=dict)
    """Data keys of the final evaluation where they are others, dotted."""
    no_eval_reason: str = ""
    """Why there are no other data to evaluate on."""
    roots: dict[str, str] | None = None
    """Data roots as they were given; None where an earlier release kept none."""
    has_eval_fn: bool | None = None
    """Whether trials are ranked by what `eval_fn` says; None where an earlier release began it."""
    has_extractor: bool | None = None
    """The same of what `metric_extractor` reads."""
    force: bool | None = None
    """Whether an explicit batch of a single class was kept; None as above."""
    job_arguments: dict[str, str] | None = None
    """Digests of what the caller passed on to jobs, by name; None as above."""
    evaluations: dict[str, Any] = field(default_factory=dict)
    """The settings of baseline and final evaluation that were given, by name."""
    delete_intermediate: bool | None = None
    """None: on a platform that can, and not on this machine."""
    retention: str = "auto"
    """Which checkpoints a job itself keeps: `auto`, `best` or `terminal`."""
    objectives: list[dict[str, Any]] = field(default_factory=list)
    """All objectives where there are several; the first is `metric`."""
    action: str = "train"
    execution: dict[str, Any] | None = None
    """A script that the caller passed in place of the action's own."""
    experiment_id: str = ""

    @property
    def objective_names(self) -> tuple[str, ...]:
        """The metrics of several objectives, the primary one first; empty where there is one."""
        return tuple(item["metric"] for item in self.objectives)

    def adjustments_of(self, number: int) -> list[dict[str, Any]]:
        """What was changed of a trial's spec, and why."""
        return [*self.adjustments, *(self.first_adjustments if number == 0 else ())]

    def write(self, folder: Path) -> None:
        """Write the file into a run directory."""
        write_json(folder / AUTOML_FACTS, asdict(self))


def choose_place(
    given: str | Path | None, overrides: Mapping[str, Any], default: Path
) -> tuple[Path, dict[str, Any]]:
    """Say where workspaces are made; a `results_dir` among the overrides says it too.

    Args:
        given: where the caller wants them, or the workspace to go on with; None says nothing.
        overrides: spec keys as the caller gave them.
        default: where they are made if nobody says.

    Returns:
        The folder, absolute, and the overrides without `results_dir`: trials have folders of their
        own in the workspace.

    Raises:
        AutoMLError: when two different places are named.
    """
    rest = {name: value for name, value in overrides.items() if name != RESULTS_DIR}
    wanted = overrides.get(RESULTS_DIR)
    if wanted in (None, "", *UNSET_MARKS):
        return Path(given or default).expanduser().resolve(), rest
    named = Path(str(wanted)).expanduser().resolve()
    place = Path(given or named).expanduser().resolve()
    if named not in (place, place.parent):
        raise AutoMLError(
            f"{RESULTS_DIR}: is {named}, and the workspace is to be {place}; give one of them"
        )
    return place, rest


def is_workspace(folder: Path) -> bool:
    """Whether a run directory is an AutoML workspace, be it a damaged one."""
    return (folder / STUDY_FILE).is_file() and (folder / AUTOML_DIR).is_dir()


def demand_own(folder: Path) -> None:
    """Refuse a workspace that the published package made, and one of ours without its study.

    Raises:
        RunError: naming it.
    """
    study = folder / STUDY_FILE
    if study.is_file():
        return
    if (folder / AUTOML_FACTS).is_file():  # which that package does not write
        raise RunError(f"{study}: must be the study of a workspace, and is missing; restore it")
    if (folder / AUTOML_FACTS.parent).is_dir():
        raise RunError(
            f"{folder}: is a workspace of the published package, whose searches cannot go on here; "
            "go on with that package, or start a new workspace"
        )


def demand_platform(folder: Path, facts: WorkspaceFacts, *, is_given: bool) -> None:
    """Refuse to start trials in another place than those that a workspace has.

    Args:
        folder: the workspace.
        facts: its constants.
        is_given: whether this start has a platform.

    Raises:
        RunError: its trials are jobs of a platform that was not passed, or of the caller.
    """
    if not facts.platform or (is_given and facts.platform != BY_CALLER):
        return
    how = call_of({"platform": facts.platform})
    raise RunError(f"{folder}: its trials are jobs of {facts.platform}; go on with {how}")


def demand_started_here(folder: Path) -> None:
    """Refuse, before anything is changed, a workspace whose trials are started elsewhere.

    Raises:
        RunError: as `demand_platform`, or when its facts are lost.
    """
    demand_platform(folder, read_facts(folder), is_given=False)


def read_facts(folder: Path) -> WorkspaceFacts:
    """Read the file of a run directory.

    Raises:
        RunError: when it is missing or damaged.
    """
    try:
        data = json.loads((folder / AUTOML_FACTS).read_text(encoding="utf-8"))
        known = {item.name for item in fields(WorkspaceFacts)}
        return WorkspaceFacts(**{key: value for key, value in data.items() if key in known})
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise RunError(lost_facts(folder)) from error


def objectives_of(facts: WorkspaceFacts) -> Objectives:
    """What a workspace optimizes."""
    if facts.objectives:
        return from_list(facts.objectives)
    return Objectives((Objective(metric=facts.metric, direction=facts.direction),))
