"""Compares finalists that were trained again with new seeds, query by query.

The runs themselves are the engine's (`hpo.core.selection.open_repeats`); here their checkpoints are
evaluated, compared (`hpo.results.compare`), and the choice is kept in the ledger and put in words.
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, median
from typing import Any

from hpo.core.durable_files import write_atomically
from hpo.core.event_json import from_dict
from hpo.core.events import Chosen
from hpo.core.held_out import figure_words
from hpo.core.protocols import Emit, Executor, Trainer
from hpo.core.selection import distinct, finalists, repeats_of
from hpo.core.text import count_of, is_number
from hpo.core.ties import over_words, tie_words, trial_name
from hpo.core.trial import Direction, TrialRecord, TrialState
from hpo.core.trial_failures import describe_failure
from hpo.results.compare import Finalist, Standing, class_means, decide
from hpo.run.disk_errors import find_problem
from hpo.run.ledger import Ledger
from hpo.run.run_dir import RunDir
from hpo.study.skill import load_skill

logger = logging.getLogger(__name__)

TOLERANCE = 1e-6
"""Two figures of one metric may differ by so much."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmation:
    """What the comparison of the finalists came to."""

    winner: int
    default: int | None
    standings: list[Standing]
    words: list[str]
    """The same for people, a sentence each."""

    def to_json(self) -> dict[str, Any]:
        """As it stands in `report.json` and in the event."""
        return asdict(self)


def confirm(
    run: RunDir,
    ledger: Ledger,
    trainer: Trainer,
    executor: Executor,
    spec_of: Callable[[TrialRecord], Mapping[str, Any]],
    emit: Emit,
    *,
    asked: int = 0,
) -> Confirmation | None:
    """Compare the finalists that were trained again, and keep the choice in the ledger.

    Args:
        run: where checkpoints and evaluations lie.
        ledger: the study.
        trainer: for its skill, its metric and its direction.
        executor: evaluates checkpoints.
        spec_of: full spec of a trial.
        emit: receives `Chosen`.
        asked: how many finalists were to be trained again beside the default.

    Returns:
        None when no two finalists have a full run with the same new seed, and the default does not
        stand alone among them.
    """
    trials = ledger.trials()
    runs = _comparable(trials, trainer.direction)
    if runs is None:
        return None
    seen = {r.number: _evaluate(run, trainer, executor, spec_of, r) for rs in runs for r in rs[1]}
    sign = Direction(trainer.direction).sign
    classes = hits_of_classes(list(seen.values()), trainer.monitoring_metric) if sign > 0 else None
    have_hits = classes is not None
    found = [
        Finalist(
            number=trial.number,
            values=tuple(sign * _value(r, seen[r.number], trainer) for r in repeats),
            cost=median(repeat.seconds_per_epoch for repeat in repeats),
            hits=tuple(tuple(seen[r.number]["hits"]) for r in repeats) if have_hits else (),
        )
        for trial, repeats in runs
    ]
    default = next((t.number for t, _ in runs if t.is_twin_of(trials[0])), None)
    winner, standings = decide(found, classes or None, default)
    ledger.choose(winner)
    words = describe(standings, winner, default, sign=sign)
    words += fewer_words(trials, trainer.direction, asked, len(standings))
    result = Confirmation(winner=winner, default=default, standings=standings, words=words)
    emit(Chosen(**result.to_json()))
    return result


def _comparable(
    trials: Sequence[TrialRecord], direction: str
) -> list[tuple[TrialRecord, list[TrialRecord]]] | None:
    """Finalists with their full repeats, the same seeds for all; those without any are left out."""
    count = len(list(distinct(t for t in trials if t.is_repeat)))
    found = []
    for trial in finalists(trials, direction, count):
        repeats = [r for r in repeats_of(trial, trials) if r.state is TrialState.COMPLETE]
        if repeats:
            found.append((trial, repeats))
    if len(found) < 2 and not (found and found[0][0].is_twin_of(trials[0])):
        return None  # two are needed to compare; the default's repeats are shown alone too
    common = set.intersection(*({r.seed for r in repeats} for _, repeats in found))
    if not common:
        return None
    return [(trial, [r for r in repeats if r.seed in common]) for trial, repeats in found]


def fewer_words(
    trials: Sequence[TrialRecord], direction: str, asked: int, compared: int
) -> list[str]:
    """Say in at most one sentence why fewer trials were compared than were asked for."""
    chosen = finalists(trials, direction, asked)
    if not chosen and trials:
        return [
            "the best trial went on from one with other parameters, so with its own alone another "
            "model would be trained"
        ]
    failed = _failed_words(chosen, trials, is_any=not compared)
    if not compared:
        return [failed or "the budget ended before two finalists were trained again"]
    if compared < len(chosen):
        why = failed or "the budget ended before the others were trained again"
        return [f"{compared} of {count_of(len(chosen), 'finalist')} compared: {why}"]
    if compared < asked:
        how = " with the same parameters" if any(t.start_from for t in trials) else ""
        return [
            f"{count_of(compared, 'trial')} compared where {asked} were asked for: no other was "
            f"trained to its end{how}"
        ]
    return []


def _failed_words(
    chosen: Sequence[TrialRecord], trials: Sequence[TrialRecord], *, is_any: bool
) -> str:
    """Whose repeats have failed and the first cause: all that a finalist has, or any of them."""
    numbers, causes = [], []
    for trial in chosen:
        own = repeats_of(trial, trials)
        failed = [r for r in own if r.state is TrialState.FAILED]
        if failed and (is_any or len(failed) == len(own)):
            numbers.append(str(trial.number))
            causes += [(r.error or {}).get("message", "unknown") for r in failed]
    if not numbers:
        return ""
    whose = f"trial{'s' * (len(numbers) > 1)} {', '.join(numbers)}"
    return f"repeats of {whose} failed: {causes[0]}"


def was_compared(run: RunDir, number: int) -> bool:
    """Whether a finalist's repeat has been evaluated, so that nobody asks for its checkpoint."""
    return _hits_file(run, number).is_file()


def _hits_file(run: RunDir, number: int) -> Path:
    return run.evaluations_dir / "confirm" / f"{number:04d}" / "hits.json"


def _evaluate(
    run: RunDir,
    trainer: Trainer,
    executor: Executor,
    spec_of: Callable[[TrialRecord], Mapping[str, Any]],
    trial: TrialRecord,
) -> dict[str, Any]:
    """Hits of a trial's best checkpoint on the validation queries; kept, so asked for once.

    Without them (the trainer tells none, or the evaluation failed) the reported values decide.
    """
    file = _hits_file(run, trial.number)
    folder = file.parent
    with contextlib.suppress(OSError, ValueError):  # a damaged file counts as none
        kept: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        _ = from_dict(_Outcome, kept)
        return kept
    checkpoint = run.checkpoints_dir(trial.number) / "best.ckpt"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        spec = load_skill(trainer.skill_dir).evaluation(spec_of(trial), checkpoint, folder)
        outcome = executor.call("evaluate", spec)
    except Exception as error:  # the values of the runs still decide; said in the result's words
        line = describe_failure(error)["message"]
        if (problem := find_problem(folder, line)) and problem.is_room:
            raise problem.as_error(run) from error
        logger.warning("trial %d was not evaluated for the comparison: %s", trial.number, line)
        logger.debug("the traceback", exc_info=True)
        return {"hits": [], "query_classes": [], "metrics": {}}
    kept = plain_outcome(outcome)
    write_atomically(file, json.dumps(kept) + "\n")
    return kept


@dataclass(frozen=True, kw_only=True)
class _Outcome:
    """What `plain_outcome` returns."""

    hits: Sequence[bool]
    query_classes: Sequence[Any]
    metrics: Mapping[str, float]


def plain_outcome(outcome: Mapping[str, Any]) -> dict[str, Any]:
    """Return hits, their classes and the numbers of an evaluation; lists are empty if not told."""
    return {
        "hits": [bool(hit) for hit in outcome.get("hits") or []],
        "query_classes": list(outcome.get("query_classes") or []),
        "metrics": {k: v for k, v in outcome["metrics"].items() if is_number(v)},
    }


def hits_of_classes(seen: Sequence[Mapping[str, Any]], metric: str) -> list[int] | None:
    """Class of each query if the metric is the hits' mean over classes; [] if over queries.

    None where the metric is neither, so that hits say nothing about it.
    """
    hits, names = seen[0]["hits"], seen[0]["query_classes"]
    if not hits or any(len(s["hits"]) != len(hits) for s in seen):
        return None
    labels = {name: i for i, name in enumerate(sorted(set(names)))}
    classes = [labels[name] for name in names] if len(names) == len(hits) else []
    told = [s["metrics"].get(metric) for s in seen]
    # All queries as one class give the mean over queries.
    for labels_of in ([classes] if classes else []) + [[0] * len(hits)]:
        means = [fmean(class_means(s["hits"], labels_of).values()) for s in seen]
        if all(
            t is not None and abs(mean - t) <= TOLERANCE
            for mean, t in zip(means, told, strict=True)
        ):
            return classes if labels_of is classes else []
    return None


def _value(trial: TrialRecord, seen: Mapping[str, Any], trainer: Trainer) -> float:
    """The metric of a run: as evaluated, else as reported at its best epoch."""
    best = trial.best_measurement(trainer.direction)
    reported = best.value if best else float("nan")
    metrics = seen["metrics"] if seen["hits"] else {}
    return float(metrics.get(trainer.monitoring_metric, reported))


def describe(
    standings: Sequence[Standing], winner: int, default: int | None, *, sign: float = 1.0
) -> list[str]:
    """Say in sentences who won, against whom, and what is no more than chance."""
    by_number = {s.number: s for s in standings}
    best, seeds = by_number[winner], len(standings[0].values)
    runs = count_of(seeds, "new seed")
    leader = standings[0]
    place = f", the best mean of {len(standings)}" if best is leader and len(standings) > 1 else ""
    words = [f"trial {winner}: {figure_words(best.value, best.interval, sign)} over {runs}{place}"]
    tied = [s for s in standings if s.is_level and s.number != winner]
    if any(s.number != default for s in tied):  # of the default alone, its own line tells
        means = [f"{trial_name(s.number, default)} ({sign * s.value:.4f})" for s in tied]
        words.append(tie_words(means))
    if leader.number != winner:
        words.append(
            f"{trial_name(winner, default)} is the cheaper one: {best.cost:.2g} s an epoch against "
            f"{leader.cost:.2g} s of {trial_name(leader.number, default)}"
        )
    if winner == default:
        words.append("nothing that was found is better than the default configuration")
    elif default is not None:
        words.append(_against_default(by_number[default], best, sign))
    if best.interval is None:
        words.append("the trainer reports no hits per query, so only the means are compared")
    return words


def _against_default(default: Standing, best: Standing, sign: float) -> str:
    gain = sign * (best.value - default.value)
    figure = figure_words(default.value, default.interval, sign)
    direction = Direction.MAXIMIZE if sign > 0 else Direction.MINIMIZE
    text = f"{over_words(gain, direction)}, {figure}"
    return f"{text}, which may be chance" if default.is_level else text
