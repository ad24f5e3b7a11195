"""Prepares a trial's start: its spec on disk and the checkpoint to continue from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from hpo.core.seeds import derive_seed
from hpo.core.spec_dicts import lookup
from hpo.core.trial import Launch, TrialRecord
from hpo.run.ledger import Ledger
from hpo.run.trial_specs import TrialSpecs
from hpo.searching.warm_start import OverLimitError, find_start, set_aside_other


class Launcher:
    """Makes the launches of trials.

    Args:
        ledger: the study.
        specs: makes full specs; its run is where they are written and checkpoints lie.
        refuse: why parameters are not to be tried at all; empty when they may be.
    """

    def __init__(
        self, ledger: Ledger, specs: TrialSpecs, *, refuse: Callable[[Mapping[str, Any]], str]
    ) -> None:
        self._run, self._ledger = specs.run, ledger
        self._specs, self._refuse = specs, refuse

    def search_seed(self, study_seed: int) -> int:
        """One seed for all searched trials, so that they differ in their parameters alone.

        It is the spec's; where that is below 0, one made from the study's.
        """
        key = self._specs.seed_key
        seed = int(lookup(self._specs.base_spec, key)) if key else -1
        return seed if seed >= 0 else derive_seed(study_seed, "trials")

    def launch_of(self, record: TrialRecord) -> Launch:
        """Write a trial's spec and return its next launch.

        Raises:
            CannotStartError: when it is refused, or its checkpoint is not there.
            OSError: when the disk takes no files.
        """
        if why := self._refuse(record.params):
            raise OverLimitError(why)
        spec = self._specs.spec_of(record)
        if self._run is None:
            start_epoch = record.base_epoch or None
            return Launch(number=record.number, spec=spec, folder="", start_epoch=start_epoch)
        set_aside_other(self._run, record, spec, self._specs.seed_key)
        folder = self._run.write_spec(record.number, spec)
        checkpoint, start_epoch = find_start(self._run, record, self._ledger)
        return Launch(
            number=record.number,
            spec=spec,
            folder=str(folder),
            resume_from=str(checkpoint) if checkpoint else None,
            start_epoch=start_epoch,
        )
