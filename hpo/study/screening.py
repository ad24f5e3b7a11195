"""Compares networks before any of them is trained: one row for each candidate, the best first."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hpo.core.errors import HpoError
from hpo.core.protocols import Trainer
from hpo.core.spec_dicts import merged, nest
from hpo.core.trial import Direction
from hpo.study.plan import as_user_errors

Candidate = Mapping[str, Any]
Row = dict[str, Any]
"""`name`, `weights` and `spec` of a candidate, `seconds`, and either what `Screener.screen` returns
or `error`, one line."""

_OF_ONE = frozenset({"spec", "out_of_memory", "diverged"})
"""Kinds of errors that are one candidate's own; all others would end every candidate."""


def screen_all(
    trainer: Trainer,
    candidates: Sequence[Candidate],
    base: Mapping[str, Any],
    screen: Callable[[Candidate, dict[str, Any]], Mapping[str, Any]],
) -> list[Row]:
    """Screen every candidate; one that cannot be used gets a row with its error.

    Args:
        trainer: checks every spec before the first is screened.
        candidates: as `Screener.find_candidates` lists them.
        base: the spec that they share, pictures included, nested.
        screen: screens one, given its full spec.

    Returns:
        Rows, the best first and errors last.

    Raises:
        HpoError: of pictures or machine, or when no candidate can be used.
    """
    specs = [merged(base, nest(candidate["spec"])) for candidate in candidates]
    with as_user_errors():
        for spec in specs:
            trainer.validate(spec)
    rows = []
    for candidate, spec in zip(candidates, specs, strict=True):
        began = time.monotonic()
        row: Row = {name: candidate[name] for name in ("name", "weights", "spec")}
        try:
            with as_user_errors():
                row |= screen(candidate, spec)
        except Exception as error:
            kind = getattr(error.__cause__ or error, "kind", None)
            if kind not in _OF_ONE:
                raise
            row["error"] = f"{row['name']}: {error}"
        row["seconds"] = round(time.monotonic() - began, 2)
        rows.append(row)
    if not any("value" in row for row in rows):
        raise HpoError("; ".join(row["error"] for row in rows))
    sign = Direction(trainer.direction).sign
    return sorted(rows, key=lambda r: -sign * r["value"] if "value" in r else float("inf"))
