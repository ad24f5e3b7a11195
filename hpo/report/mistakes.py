"""Asks the trainer which validation queries the winner gets wrong, and why.

The explanations are kept below `evaluations/looks/`, so that a report can be made again at once.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG
from typing import Any

from hpo.core.addresses import is_remote, without_file
from hpo.core.durable_files import write_atomically
from hpo.core.errors import RunError
from hpo.core.event_json import from_dict
from hpo.core.protocols import Executor, Trainer
from hpo.core.spec_dicts import merged
from hpo.core.trainer_extras import Explainer
from hpo.core.trial import TrialRecord
from hpo.core.trial_failures import error_line
from hpo.executors.inprocess import InProcessExecutor
from hpo.report.run_data import RunData
from hpo.run.checkpoint_retention import describe_removed, was_removed
from hpo.run.disk_errors import find_problem
from hpo.study.plan import held_out_sources
from hpo.study.provenance import describe_source, describe_written
from hpo.study.skill import load_skill
from hpo.study.start_files import describe_file

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class _Look:
    """The outline of what a trainer's `explain` returns."""

    queries: Sequence[Mapping[str, Any]]
    suspects: Sequence[Mapping[str, Any]]
    map: Mapping[str, Any] | None
    unknowns: Mapping[str, Any] | None = None
    growth: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        kinds = {"path": str, "class": str, "hit": bool}
        pairs = itertools.product(self.queries, kinds.items())
        if not all(isinstance(query.get(name), kind) for query, (name, kind) in pairs):
            raise ValueError("queries: must tell path, class and hit")


def look(
    facts: RunData,
    trial: TrialRecord,
    executor: Executor,
    *,
    with_map: bool,
    held_out: Mapping[str, str] | None = None,
) -> dict[str, Any] | None:
    """Return the trainer's explanation of a trial's best checkpoint (see `Explainer.explain`).

    It is of the validation queries, or of the held-out sources that are given, and is made anew
    once their pictures or labels have changed, if they are there. None when the trainer has no such
    method, the checkpoint is gone, or it fails; the last is logged, as a report is worth having
    without pictures. Where it only fails anew, the explanation is the one of before.
    """
    checkpoint = facts.checkpoint_of(trial)
    model = "-average" if checkpoint.parent == facts.run.best_dir else ""
    name = f"{trial.number:04d}{model}{'-held-out' if held_out else ''}.json"
    kept = facts.run.evaluations_dir / "looks" / name
    if trial is facts.best:
        _tell_of_lists(facts)
    is_gone = was_removed(facts.run, trial.number)
    places = held_out or facts.plan.sources
    sources = [places[split] for split in ("reference", "query") if split in places]
    described = None if is_gone else _describe(sources, facts.trainer)
    looked_at = ""
    with contextlib.suppress(OSError):
        looked_at = describe_file(checkpoint)
    earlier = _read_kept(kept, checkpoint, looked_at, is_gone=is_gone)
    if earlier and with_map and not earlier["map"]:
        earlier = None
    if earlier and (described in (None, earlier.get("sources")) or _has_to_do(earlier, kept)):
        return earlier
    if not isinstance(facts.trainer, Explainer):
        return None
    if not checkpoint.is_file():
        if is_gone:
            logger.warning("%s", describe_removed(facts.run, trial.number))
        return None
    skill = load_skill(facts.trainer.skill_dir)
    fields = {name: str(checkpoint) for name in skill.fields("evaluate", "parent_model")}
    where = {name: str(kept.parent) for name in skill.fields("evaluate", "output_dir")}
    data = facts.trainer.data_overrides(held_out) if held_out else {}
    spec = merged(facts.spec_of(trial), data, fields, where)
    try:
        explained = dict(executor.call("explain", spec, with_map))
    except Exception as error:
        anew = " anew, and is told of as before" if earlier else ""
        logger.warning("trial %d was not looked at%s: %s", trial.number, anew, error_line(error))
        logger.debug("the traceback", exc_info=True)
        return earlier
    told = {"sources": described, "checkpoint": looked_at}
    try:
        write_atomically(kept, json.dumps({**explained, **told}))
    except OSError as error:  # a run that may only be read
        logger.debug("what was looked up is not kept: %s", error)
    return explained


def _read_kept(
    kept: Path, checkpoint: Path, looked_at: str, *, is_gone: bool
) -> dict[str, Any] | None:
    """Read an explanation that is of the checkpoint as it is, or of one that was removed.

    Earlier releases did not keep which it was of, but wrote the file after that.
    """
    with contextlib.suppress(OSError, ValueError):  # a damaged file counts as none
        found: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8"))
        _ = from_dict(_Look, found)
        if is_gone or found.get("checkpoint") == looked_at != "":
            return found
        if "checkpoint" not in found and kept.stat().st_mtime >= checkpoint.stat().st_mtime:
            return found
    return None


def _has_to_do(earlier: Mapping[str, Any], kept: Path) -> bool:
    """Whether it is an earlier release's and, made anew, could not be kept, as in an archive."""
    return "sources" not in earlier and find_problem(kept.parent) is not None


def _describe(sources: Sequence[str], trainer: Trainer) -> list[Any] | None:
    """Tell what differs once pictures or lists of them do; None where they cannot be looked at."""
    places = [without_file(source) for source in sources]
    lists = [Path(place) for place in places if not is_remote(place)]
    try:
        files = [found for path in lists if S_ISREG((found := path.stat()).st_mode)]
        pictures = [describe_source(place, trainer) for place in places]
        return [*sources, *pictures, *(file.st_mtime_ns for file in files)]
    except OSError:
        return None


def _tell_of_lists(facts: RunData) -> None:
    """Warn of lists of which the search took rows of its own, and which were written since."""
    now, taken = describe_written(facts.study), facts.plan.written
    for place in now.keys() & taken.keys() - set(facts.plan.sources.values()):
        if now[place] != taken[place]:
            logger.warning(
                "%s was written after the search had begun, which keeps what it took from it; "
                "a new search takes what was corrected",
                place,
            )


def looked_up_by_both(
    both: tuple[RunData, RunData], split: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the explanations of two winners, of their `query` or their `test_query`.

    Raises:
        RunError: a winner cannot be looked at.
    """
    explained = []
    for facts in both:
        executor = InProcessExecutor(facts.study.trainer)
        given = held_out_sources(facts.plan.sources) if split == "test_query" else None
        found = facts.best and look(facts, facts.best, executor, with_map=False, held_out=given)
        if not found:
            raise RunError(
                f"{facts.run}: its winner cannot be looked at: the checkpoint is gone, or the "
                "trainer does not explain models"
            )
        explained.append(found)
    return explained[0], explained[1]


def per_class(queries: Sequence[Mapping[str, Any]]) -> tuple[dict[str, float], dict[str, int]]:
    """Return Precision@1 and number of queries per class."""
    hits: dict[str, list[bool]] = defaultdict(list)
    for row in queries:
        hits[row["class"]].append(bool(row["hit"]))
    means = {name: sum(values) / len(values) for name, values in hits.items()}
    return means, {name: len(values) for name, values in hits.items()}


def confusions(queries: Sequence[Mapping[str, Any]]) -> list[tuple[str, str, int]]:
    """Return (class, taken for, how often), the most frequent first."""
    pairs = Counter((row["class"], row["nearest"]["class"]) for row in queries if not row["hit"])
    return [(*pair, n) for pair, n in sorted(pairs.items(), key=lambda item: (-item[1], item[0]))]


def worst_misses(queries: Sequence[Mapping[str, Any]], count: int) -> list[Mapping[str, Any]]:
    """Return the clearest mistakes: the farthest from their own class, two of a pair at most."""
    taken: Counter[tuple[str, str]] = Counter()
    chosen: list[Mapping[str, Any]] = []
    misses = [row for row in queries if not row["hit"]]
    for row in sorted(
        misses, key=lambda r: (r["nearest"]["distance"] - r["own"]["distance"], r["path"])
    ):
        pair = (row["class"], row["nearest"]["class"])
        if taken[pair] < 2 and len(chosen) < count:
            taken[pair] += 1
            chosen.append(row)
    return chosen
