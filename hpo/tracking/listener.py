"""Attaches the MLflow mirror to a search."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from hpo.core.switches import is_switched_off

if TYPE_CHECKING:
    from hpo.core.events import Event
    from hpo.core.protocols import Listener
    from hpo.run.ledger import Ledger
    from hpo.run.run_dir import RunDir
    from hpo.study.plan import StudyPlan
    from hpo.study.spec import StudySpec


SWITCH = "HPO_MLFLOW"
"""Environment variable that leaves MLflow out where it is `off` (or 0, no, false)."""


class Nothing:
    """A listener that keeps nothing."""

    def handle(self, event: Event) -> None:
        """Pass over an event."""

    def close(self) -> None:
        """Nothing is held."""


def registry_note(run: RunDir) -> str:
    """How a changed gallery gets into MLflow's registry; empty where MLflow has no data."""
    from hpo.run.next_commands import resume_command
    from hpo.tracking.store import default_tracking_uri, local_database

    database = local_database(default_tracking_uri(run.store_dir))
    is_there = database is None or database.is_file()
    if is_switched_off(SWITCH) or find_spec("mlflow") is None or not is_there:
        return ""
    return f"MLflow's registry does not have this gallery yet; `{resume_command(run)}` registers it"


def mlflow_listener(run: RunDir, study: StudySpec, plan: StudyPlan, ledger: Ledger) -> Listener:
    """Mirror a search into MLflow; `SearchSettings.listeners` takes it."""
    if is_switched_off(SWITCH):
        return Nothing()
    from hpo.searching.state_writer import snapshot_of
    from hpo.study.plan import named_sources
    from hpo.study.trainers import find_trainer
    from hpo.tracking.mirror import MlflowMirror
    from hpo.tracking.rows import Study
    from hpo.tracking.store import default_tracking_uri

    mirrored = Study(
        run=run,
        name=study.name,
        uuid=plan.study_uuid,
        direction=ledger.direction,
        metric=find_trainer(study.trainer).monitoring_metric,
        summary={
            "budget": str(study.budget),
            "algorithm": plan.algorithm,
            "pruner": plan.pruner,
            "seed": study.search.used_seed,
            "epochs_per_trial": plan.num_epochs,
            "trainer": study.trainer,
            **_model_facts(plan.base_spec),
            **{f"data.{name}": path for name, path in named_sources(study, plan).items()},
        },
    )
    place = default_tracking_uri(run.store_dir)
    return MlflowMirror(mirrored, tracking_uri=place, snapshot=lambda: snapshot_of(ledger))


def _model_facts(spec: Mapping[str, Any]) -> dict[str, Any]:
    """What every trial has in common and people compare studies by: the spec's model section."""
    model = spec.get("model")
    facts = model.items() if isinstance(model, Mapping) else ()
    return {f"model.{name}": value for name, value in facts if value not in ("", None)}
