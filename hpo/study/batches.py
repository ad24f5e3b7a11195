"""Corrects batch sizes that cannot learn: larger than the data fill, or of a single class."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from hpo.core.errors import SpecError
from hpo.core.protocols import Trainer
from hpo.core.spec_dicts import flatten, lookup, merged, nest
from hpo.core.text import count_of
from hpo.study.skill import Skill, load_skill

Limit = tuple[float | None, float | None]
_USUAL_BATCH = 32
"""What a batch that nobody chose is raised to, where the data hold as much."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Adjusted:
    """What was changed in every trial's spec before the search, and why."""

    values: dict[str, Any] = field(default_factory=dict)
    records: tuple[dict[str, Any], ...] = ()
    """`{param, from, to, reason}` each."""
    warnings: tuple[str, ...] = ()


def adjust_batch(
    spec: Mapping[str, Any],
    key: str,
    *,
    multiple_of: Mapping[str, str],
    limit: Limit,
    explicit: Collection[str],
    cap: int | None = None,
    force: bool = False,
) -> Adjusted:
    """Bring the spec's batch into what can be trained on.

    A batch of more than all samples is capped to the largest legal one. One that nobody chose is
    lowered to what the trainer's data fill; of an explicit one the trainer says what it needs. A
    batch of a single class gives a mined loss nothing to compare: one that nobody chose is raised,
    an explicit one refused.

    Args:
        spec: a full spec.
        key: of the batch.
        multiple_of: parameter -> the parameter of which it must be a multiple.
        limit: what the trainer says of the batch under this spec, lowest and highest.
        explicit: keys that the caller set.
        cap: samples that each device has; None where unknown.
        force: keep an explicit batch of a single class.

    Raises:
        SpecError: when no batch is legal, or an explicit one holds a single class.
    """
    try:
        batch = lookup(spec, key)
        multiple = int(lookup(spec, multiple_of[key])) if key in multiple_of else 1
    except (KeyError, TypeError, ValueError):
        return Adjusted()
    if isinstance(batch, bool) or not isinstance(batch, int):
        return Adjusted()
    low, high = limit
    most = math.inf if high is None or key in explicit else high // multiple * multiple or high
    if cap is not None and batch > cap and cap <= most:
        return _capped(key, batch, cap, multiple, multiple_of.get(key, "1"))
    if batch > most:
        return _changed(key, batch, int(most), f"the training data fill no batch of {batch}")
    if low is None or batch >= low:
        return Adjusted()
    if key in explicit and not force:
        raise SpecError(
            f"{key}: a batch of {batch}, with {multiple} pictures of a class, holds "
            f"{_classes(batch, multiple)}, and the loss compares classes; give at least {int(low)} "
            "(AutoML keeps it with force=true)"
        )
    if key in explicit:
        return Adjusted(warnings=(f"{key}: {batch} is a batch of a single class, kept as asked",))
    new = max(int(low), int(min(_USUAL_BATCH, most)) // multiple * multiple)
    reason = f"a batch of {batch} holds {_classes(batch, multiple)}; the loss compares at least two"
    return _changed(key, batch, new, reason)


def with_fitting_batch(
    trainer: Trainer, spec: Mapping[str, Any], given: Mapping[str, Any]
) -> tuple[dict[str, Any], list[str]]:
    """Fit the batch that the trials of a search start from, where its user has set none.

    Args:
        trainer: of the study.
        spec: a full spec with its data.
        given: what the user has set, nested.

    Returns:
        The spec, and what was changed, a line each.
    """
    key = batch_key(load_skill(trainer.skill_dir))
    found = adjust_batch(
        spec,
        key,
        multiple_of=trainer.multiple_of,
        limit=trainer.limits(spec).get(key, (None, None)),
        explicit=set(flatten(given)),
        force=True,  # what the user has set stays
    )
    lines = [describe_change(record) for record in found.records]
    return (trainer.validate(merged(spec, nest(found.values))) if lines else dict(spec)), lines


def batch_key(page: Skill) -> str:
    """The spec key of the training batch."""
    return page.shorthands.get("batch_size", "train.batch_size")


def describe_change(record: Mapping[str, Any]) -> str:
    """Say in one line what was changed and why."""
    how = "raised" if record["to"] > record["from"] else "lowered"
    return f"{record['param']}: {record['from']} is {how} to {record['to']}: {record['reason']}"


def _capped(key: str, batch: int, cap: int, multiple: int, of: str) -> Adjusted:
    new = cap // multiple * multiple
    if new < 1:
        raise SpecError(
            f"{key}: no batch is legal: each device has {count_of(cap, 'training sample')}, "
            f"and a batch must be a multiple of {multiple} ({of})"
        )
    samples = count_of(cap, "sample")
    reason = f"train_sample_count gives each device {samples}, fewer than a batch of {batch}"
    return _changed(key, batch, new, reason)


def _classes(batch: int, multiple: int) -> str:
    return count_of(batch // multiple, "class", "classes")


def _changed(key: str, old: int, new: int, reason: str) -> Adjusted:
    record = {"param": key, "from": old, "to": new, "reason": reason}
    return Adjusted(values={key: new}, records=(record,))
