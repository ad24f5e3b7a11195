"""Turns a trial's record into a row of the Optuna study that is the ledger, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from hpo.core.trial import ONLY_STAGE, Measurement, Purpose, TrialRecord, TrialStage, TrialState

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

T = TypeVar("T")

_HEAD = (
    *("params", "latents", "until_epoch", "start_from", "note", "memo"),
    *("purpose", "seed", "started"),
)
"""What is kept of a trial's start; its stage where there are several."""


class Change(NamedTuple):
    """One recorded call, for replay: `what` is `start`, `epoch` or `end`."""

    sequence: int
    what: str
    number: int
    measurement: Measurement | None
    clock: float
    """Seconds that the search had been active."""


def head_of(record: TrialRecord) -> dict[str, Any]:
    """What is kept of a trial's start."""
    head = {name: getattr(record, name) for name in _HEAD}
    return head if record.stage == ONLY_STAGE else {**head, "stage": record.stage.to_dict()}


def optuna_state(state: TrialState) -> Any:
    """Optuna's state of a trial."""
    import optuna

    return optuna.trial.TrialState["FAIL" if state is TrialState.FAILED else state.name]


def template_of(
    record: TrialRecord,
    head: dict[str, Any],
    distributions: Mapping[str, BaseDistribution] | None,
) -> FrozenTrial:
    """Return a new trial as Optuna's; `distributions` are its view of the latents."""
    import optuna

    known = {k: d for k, d in (distributions or {}).items() if k in record.latents}
    return optuna.trial.create_trial(
        state=optuna.trial.TrialState.RUNNING,
        params={k: record.latents[k] for k in known},
        distributions=known,
        user_attrs={"start": json.loads(json.dumps(head))},
    )


def read_trial(frozen: FrozenTrial, direction: str) -> tuple[TrialRecord, list[Change]]:
    """Read a trial back: its record, and the calls that changed it."""
    attrs = frozen.user_attrs
    head, tail = attrs["start"], attrs.get("end")
    states = {optuna_state(state): state for state in TrialState}
    record = TrialRecord(
        number=frozen.number,
        state=states[frozen.state],
        params=head["params"],
        latents=head["latents"],
        until_epoch=head["until_epoch"],
        start_from=tuple(head["start_from"]) if head["start_from"] else None,
        note=head.get("note", ""),
        memo=head.get("memo"),
        stage=_made(TrialStage, head.get("stage") or {}),
        purpose=Purpose(head["purpose"]),
        seed=head["seed"],
        started=head["started"],
        receipt=attrs.get("receipt"),
        retries=attrs.get("retries", 0),
    )
    changes = [Change(head["sequence"], "start", record.number, None, head["clock"])]
    lines = {int(k[6:]): v for k, v in attrs.items() if k.startswith("epoch:")}
    for epoch, line in sorted(lines.items()):
        facts = {k: v for k, v in line.items() if k not in {"sequence", "clock"}}
        measurement = _made(Measurement, {"epoch": epoch, **facts})
        record.measurements.append(measurement)
        record.seconds += measurement.seconds
        change = Change(line["sequence"], "epoch", record.number, measurement, line["clock"])
        changes.append(change)
    if record.state.is_finished and tail:
        best = record.best_measurement(direction)
        record.value = best.value if best and record.state is not TrialState.FAILED else None
        record.ended, record.error = tail["ended"], tail["error"]
        changes.append(Change(tail["sequence"], "end", record.number, None, tail["clock"]))
    return record, changes


def _made(kind: type[T], facts: Mapping[str, Any]) -> T:
    try:
        return kind(**facts)
    except TypeError as error:
        if new := sorted(facts.keys() - {item.name for item in fields(kind)}):  # type: ignore[arg-type]
            raise ValueError(
                f"{', '.join(new)}: is not known here; a newer release has written it, so install "
                "that one"
            ) from error
        raise
