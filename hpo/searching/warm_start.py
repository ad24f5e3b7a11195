"""Finds the checkpoint a trial continues from: its own or another trial's."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from hpo.core.errors import SpecError
from hpo.core.spec_dicts import is_same, value_at
from hpo.core.trial import OVER_LIMIT, Suggestion, TrialRecord
from hpo.core.yaml_io import read_yaml
from hpo.run.checkpoint_retention import describe_removed, was_removed
from hpo.run.ledger import Ledger
from hpo.run.run_dir import SPEC_FILE, RunDir

logger = logging.getLogger(__name__)


class CannotStartError(Exception):
    """A trial cannot start; `kind` is one of `hpo.core.trial.FAILURE_KINDS`."""

    kind = "spec"


class NoCheckpointError(CannotStartError):
    """A trial was to start from a checkpoint that is not there."""

    kind = "infrastructure"


class OverLimitError(CannotStartError):
    """A trial's model costs more than the study allows; it counts as none."""

    kind = OVER_LIMIT


def settled_start(suggestion: Suggestion, ledger: Ledger) -> Suggestion:
    """Put the epoch that the source trial really ended at in place of the one that was asked for.

    They differ where not every epoch is validated: a trial ends at the first validated epoch at or
    after the one it was to be trained until.
    """
    if suggestion.start_from is None:
        return suggestion
    number = suggestion.start_from[0]
    return replace(suggestion, start_from=(number, ledger.trial(number).epochs))


def set_aside_other(
    run: RunDir, record: TrialRecord, spec: Mapping[str, Any], seed_key: str
) -> None:
    """Move the folder of another trial of the same number away, and what was made of its model.

    There is one where the ledger is older than the folders: after a power cut, or where a driver
    goes on from the copy that another one has left. What is proposed anew need not be the same.
    The folder of a trial with an epoch in the ledger is its own, whatever has become of its spec.

    Args:
        run: the run.
        record: the trial that begins.
        spec: its own.
        seed_key: where the seed stands in it; may be empty.
    """
    if record.measurements:
        return
    folder = run.trial_dir(record.number)
    before: Any = None
    with contextlib.suppress(SpecError):  # none yet, or a damaged one, which is written anew
        before = read_yaml(folder / SPEC_FILE)
    names = [*record.params, *filter(None, [seed_key])]
    if not isinstance(before, Mapping) or all(
        is_same(value_at(before, name), value_at(spec, name)) for name in names
    ):
        return
    aside = run.free_place_aside(folder.name)
    folder.rename(aside)
    for other in (run.path / "exports", run.evaluations_dir / "confirm"):
        if (other / folder.name).is_dir():
            (other / folder.name).rename(aside / other.name)
    logger.warning(
        "trial %d: its folder was another trial's, which the ledger does not know; it is now %s",
        record.number,
        aside,
    )


def find_start(run: RunDir, record: TrialRecord, ledger: Ledger) -> tuple[Path | None, int | None]:
    """Return the checkpoint to start a trial from, and its epoch where it is another trial's.

    The trial's own newest checkpoint comes first: it has been interrupted then.

    Raises:
        NoCheckpointError: when the source trial has left none of that epoch; never another one.
    """
    own = run.checkpoints_dir(record.number) / "last.ckpt"
    if own.is_file():
        return own, None
    if record.start_from is None:
        return None, None
    number, epoch = record.start_from
    source = ledger.trial(number)
    told = next((m.checkpoint for m in source.measurements if m.epoch == epoch), None)
    path = run.trial_dir(number) / (told or "ckpt/last.ckpt")
    if not path.is_file() and was_removed(run, number):
        raise NoCheckpointError(describe_removed(run, number))
    if source.epochs != epoch or not path.is_file():
        raise NoCheckpointError(
            "the trial that it starts from has left no checkpoint of its last epoch; "
            "checkpoints must be kept after every validated epoch"
        )
    return path, epoch
