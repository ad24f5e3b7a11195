"""Prepares a trial's start: its spec on disk and the checkpoint to continue from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from hpo.core.seeds import derive_seed
from hpo.core.spec_dicts import lookup, merged
from hpo.core.trial import Job, TrialRecord
from hpo.run.ledger import Ledger
from hpo.run.run_dir import RunDir
from hpo.search.warm_start import OverLimitError, find_start


class Launcher:
    """Makes jobs of trials.

    Args:
        run: where specs are written and checkpoints lie; None, in simulations, writes nothing.
        ledger: the study.
        base_spec: full spec of a trial without its searched parameters.
        seed_key: spec key of the random seed; empty for a trainer that has none.
        refuse: why parameters are not to be tried at all; empty when they may be.
    """

    def __init__(
        self,
        run: RunDir | None,
        ledger: Ledger,
        *,
        base_spec: Mapping[str, Any],
        seed_key: str,
        refuse: Callable[[Mapping[str, Any]], str],
    ) -> None:
        self._run, self._ledger = run, ledger
        self._base_spec, self._seed_key, self._refuse = base_spec, seed_key, refuse

    def search_seed(self, study_seed: int) -> int:
        """One seed for all searched trials, so that they differ in their parameters alone."""
        seed = int(lookup(self._base_spec, self._seed_key)) if self._seed_key else -1
        return seed if seed >= 0 else derive_seed(study_seed, "trials")

    def spec_of(self, record: TrialRecord) -> dict[str, Any]:
        """The full spec of one trial."""
        own: dict[str, Any] = {self._seed_key: record.seed} if self._seed_key else {}
        if self._run is not None:
            own["results_dir"] = str(self._run.trial_dir(record.number))
        return merged(self._base_spec, record.params, own)

    def job_of(self, record: TrialRecord) -> Job:
        """Write a trial's spec and return its next start.

        Raises:
            CannotStartError: when it is refused, or its checkpoint is not there.
            OSError: when the disk takes no files.
        """
        if why := self._refuse(record.params):
            raise OverLimitError(why)
        spec = self.spec_of(record)
        if self._run is None:
            start_epoch = record.base_epoch or None
            return Job(number=record.number, spec=spec, folder="", start_epoch=start_epoch)
        folder = self._run.write_spec(record.number, spec)
        checkpoint, start_epoch = find_start(self._run, record, self._ledger)
        return Job(
            number=record.number,
            spec=spec,
            folder=str(folder),
            resume_from=str(checkpoint) if checkpoint else None,
            start_epoch=start_epoch,
        )
