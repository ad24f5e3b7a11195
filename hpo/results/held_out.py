"""Evaluates the winner, and the default beside it, on held-out pictures that chose nothing."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from hpo.core.held_out import HeldOut
from hpo.core.protocols import Executor, Trainer
from hpo.core.spec_dicts import merged
from hpo.core.trial import Direction, TrialRecord
from hpo.core.trial_failures import error_line
from hpo.results.compare import Finalist, compare, gain_of
from hpo.results.confirm import hits_of_classes, plain_outcome
from hpo.results.worker_calls import call_twice
from hpo.run.run_dir import RunDir
from hpo.study.plan import StudyPlan, held_out_sources
from hpo.study.skill import load_skill

logger = logging.getLogger(__name__)

_ASKED = {
    "test": "the test split",
    "test_default": "the default on the test split",
    "test_alone": "the winner by itself on the test split",
}
"""Folder of an evaluation -> what is evaluated, for people."""


def evaluate_held_out(
    run: RunDir,
    plan: StudyPlan,
    trainer: Trainer,
    executor: Executor,
    winner: tuple[TrialRecord, Mapping[str, Any], Path],
    default: tuple[TrialRecord, Mapping[str, Any], Path] | None,
    alone: tuple[TrialRecord, Mapping[str, Any], Path] | None = None,
) -> dict[str, Any] | None:
    """Evaluate on the test split, if the study has one; its numbers choose nothing.

    Args:
        run: where evaluations lie.
        plan: for the data sources.
        trainer: for its skill, its metric and its direction.
        executor: evaluates checkpoints.
        winner: trial, full spec, checkpoint.
        default: the same of the default configuration; None where it is the winner.
        alone: the same of the winner by itself, where `winner` is its average with others.

    Returns:
        The winner's metrics, `trial`, `held_out` (as `HeldOut`) and, where it is an average,
        `alone` (the same beside the winner by itself); or `error` alone.
    """
    sources = held_out_sources(plan.sources)
    if sources is None:
        return None
    outcomes: dict[str, Mapping[str, Any]] = {}
    asked = (("test", winner), ("test_default", default), ("test_alone", alone))
    for name, chosen in asked:
        if chosen is None or not chosen[2].is_file():
            continue
        _, spec, checkpoint = chosen
        skill = load_skill(trainer.skill_dir)
        folder = run.evaluations_dir / name
        folder.mkdir(parents=True, exist_ok=True)
        data = merged(spec, trainer.data_overrides(sources))
        test_spec = skill.evaluation(data, checkpoint, folder)
        try:
            outcomes[name] = call_twice(executor, "evaluate", test_spec)
        except Exception as error:  # the winner is chosen and exported, so this is a warning
            who = _ASKED[name]
            logger.warning("%s was not evaluated: %s", who, error_line(error))
            logger.debug("the traceback", exc_info=True)
            if name == "test":
                return {"error": error_line(error)}
    result: dict[str, Any] = {"trial": winner[0].number, **outcomes["test"]["metrics"]}
    for key, other in (("held_out", "test_default"), ("alone", "test_alone")):
        both = [outcomes[name] for name in ("test", other) if name in outcomes]
        if key == "held_out" or other in outcomes:
            found = weigh(both, trainer.monitoring_metric, trainer.direction)
            result |= {} if found is None else {key: asdict(found)}
    return result


def weigh(outcomes: Sequence[Mapping[str, Any]], metric: str, direction: str) -> HeldOut | None:
    """Compare the winner's evaluation with the default's, query by query.

    Args:
        outcomes: what `evaluate` gave of the winner and, if it was evaluated, of the default.
        metric: the monitored metric's name.
        direction: `maximize` or `minimize`.
    """
    values = [outcome["metrics"].get(metric) for outcome in outcomes]
    if values[0] is None or None in values:
        return None
    seen = [plain_outcome(outcome) for outcome in outcomes]
    sign = Direction(direction).sign
    classes = hits_of_classes(seen, metric) if sign > 0 else None
    found = [
        Finalist(
            number=number,
            values=(sign * float(value),),
            cost=0.0,
            hits=() if classes is None else (tuple(told["hits"]),),
        )
        for number, (told, value) in enumerate(zip(seen, values, strict=True))
    ]
    standings = compare(found, classes or None)
    by_number = {s.number: s for s in standings}
    own = HeldOut(value=float(values[0]), interval=by_number[0].interval, direction=str(direction))
    if len(outcomes) == 1:
        return own
    gain, interval = gain_of(0, standings)
    return replace(
        own,
        default=float(values[1]),
        default_interval=by_number[1].interval,
        gain=gain,
        gain_interval=interval,
    )
