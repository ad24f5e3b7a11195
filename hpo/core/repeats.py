"""Suggestions that repeat a finalist with a seed shared by all finalists."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hpo.core.seeds import derive_seed
from hpo.core.selection import repeats_of
from hpo.core.trial import Suggestion, TrialRecord


def propose_repeat(
    pending: Sequence[TrialRecord], trials: Sequence[TrialRecord], *, study_seed: int
) -> tuple[Suggestion, int]:
    """Return what to train again next, as the study's next trial, and its seed.

    Args:
        pending: finalists that are still to be trained again, next one first; not empty.
        trials: all of the study.
        study_seed: of the search.
    """
    finalist = pending[0]
    suggestion = Suggestion(
        number=len(trials),
        params=finalist.params,
        latents=finalist.latents,
        until_epoch=max(t.until_epoch for t in pending),
        stage=replace(finalist.stage, batch=None),
    )
    # Finalists share their new seeds, so that they differ in their parameters alone.
    nth = len(repeats_of(finalist, trials))
    return suggestion, derive_seed(study_seed, "confirm", nth)
