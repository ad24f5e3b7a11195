"""Counts what a search has used of its budget and which limit is reached."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import replace

from hpo.core.budget import (
    CONVERGED,
    Budget,
    Spent,
    early_end,
    exhausted,
    fraction_used,
    gave_up,
    render_seconds,
)
from hpo.core.text import count_of, shell_word
from hpo.core.trial import TrialRecord
from hpo.run.ledger import Ledger
from hpo.run.run_dir import RunDir
from hpo.searching.convergence import Gain, measure_gain

logger = logging.getLogger(__name__)

CONFIRM_SHARE = 0.15
"""Share of a time or epoch budget that is kept for confirmations."""


class Account:
    """Counts trials, epochs and time of one search; all but the running clock stands in the ledger.

    Args:
        ledger: the study.
        budget: the limits.
        confirm: how many finalists are trained again; 0 leaves the whole budget to the search.
        gpus_per_trial: GPUs that each trial holds from now on; what they held before stands in the
            ledger, and only for ledgers of versions that kept none it is taken to be the same.
        before_s: seconds that were used before the first trial; those of the ledger hold them.
        now: a clock in seconds that never goes back; default: the machine's.
        until_converged: minutes of training that must pay for the search to go on; 0 chooses them,
            None goes on to the end of the budget.
    """

    def __init__(
        self,
        ledger: Ledger,
        budget: Budget,
        *,
        confirm: int,
        gpus_per_trial: float,
        before_s: float = 0.0,
        now: Callable[[], float] | None = None,
        until_converged: float | None = None,
    ) -> None:
        self._until_converged = until_converged
        self._judged: tuple[int, Gain | None] = (-1, None)
        self._ledger = ledger
        self._now = now or time.monotonic
        self._budget = budget
        self._search_budget = _less_confirmations(budget) if confirm else budget
        self.gpus_per_trial = gpus_per_trial
        self._base = max(ledger.active_seconds, before_s)
        self._began: float | None = None
        self._ended = Spent()
        """Of the trials that have ended, whose costs are what they are for ever."""
        self._open: list[int] = []
        self._num_seen = 0

    def start_clock(self) -> None:
        """Charge the time from now on; a clock that runs already is left alone."""
        if self._began is None:
            self._began = self._now()

    def stop_clock(self) -> None:
        """Charge nothing until the clock is started again."""
        self._base, self._began = self.clock(), None

    def exclude_time(self, seconds: float) -> None:
        """Take time back that a running clock has charged."""
        if self._began is not None:
            self._began += seconds

    def clock(self) -> float:
        """Seconds the search has been active, over all its starts."""
        return self._base + (0.0 if self._began is None else self._now() - self._began)

    def spent(self) -> Spent:
        """What has been used of the budget."""
        return replace(self._total(), seconds=self.clock())

    def _total(self) -> Spent:
        """Cost of all trials; looks only at those that had not ended when it was last asked."""
        self._open += range(self._num_seen, self._ledger.next_number)
        self._num_seen = self._ledger.next_number
        records = [self._ledger.trial(number) for number in self._open]
        still_open = [r for r in records if not r.state.is_finished]
        self._ended = sum(
            (_cost_of(r, self.gpus_per_trial) for r in records if r.state.is_finished), self._ended
        )
        self._open = [r.number for r in still_open]
        return sum((_cost_of(r, self.gpus_per_trial) for r in still_open), self._ended)

    def search_share(self) -> float:
        """Share of the search's own budget that is gone, between 0 and 1."""
        return fraction_used(self._search_budget, self.spent())

    def limit_of_search(self) -> str | None:
        """The limit that keeps new search trials from starting, or that it no longer pays."""
        limit = exhausted(self._search_budget, self.spent())
        if limit is not None or self._until_converged is None:
            return limit
        gain = self._gain()
        return f"{CONVERGED}{gain}" if gain is not None and gain.has_converged else None

    def _gain(self) -> Gain | None:
        """What the last part of the search has brought, measured once per ended trial."""
        count = self._ledger.num_ended
        if self._judged[0] != count:
            window_s = 60.0 * self._until_converged if self._until_converged else None
            gain = measure_gain(self._ledger.ended(), self._ledger.direction, window_s=window_s)
            self._judged = (count, gain)
        return self._judged[1]

    def limit_of_everything(self) -> str | None:
        """The limit that ends confirmations too; the number of trials does not."""
        return exhausted(replace(self._budget, trials=None), self.spent())

    def limit_of(self, trial: TrialRecord) -> str | None:
        """The limit that cuts off this trial; the number of trials never does."""
        if trial.is_repeat:
            return self.limit_of_everything()
        return exhausted(replace(self._search_budget, trials=None), self.spent())


def _cost_of(trial: TrialRecord, gpus: float) -> Spent:
    """What a trial has cost beside time, with the GPUs that it held where the ledger lacks them."""
    return Spent(
        trials=int(trial.is_counted),
        gpu_seconds=sum(
            m.seconds * (gpus if m.gpus is None else m.gpus) for m in trial.measurements
        ),
        epochs=trial.trained_epochs if trial.stage.is_counted(trial.number) else 0,
    )


def _less_confirmations(budget: Budget) -> Budget:
    """The budget without the share of confirmations, which the number of trials has no part in."""

    def reduced(name: str, limit: float) -> float:
        if name == "trials":
            return limit
        left = limit * (1.0 - CONFIRM_SHARE)
        return max(1, int(left)) if name == "epochs" else left

    return budget.mapped(reduced)


def remark_on(budget: Budget, run: RunDir, confirm: int) -> None:
    """Say that a new budget brings no trial: its part for the search is used up, or not all was."""
    state = run.read_state()
    because = (state.get("finished") or {}).get("ended_because", "")
    if (why := early_end(because)) and not gave_up(because):
        logger.warning(
            "the search has not used its budget up (%s), so a larger one brings no more trials; "
            "begin a new search with --warm-start %s, which tries the best of this one first",
            why,
            shell_word(run),
        )
        return
    told = state.get("spent") or {}
    spent = Spent(**{name: told[name] for name in Spent.__dataclass_fields__ if name in told})
    if exhausted(_less_confirmations(budget) if confirm else budget, spent):
        logger.warning(
            "a budget of %s is used up already (%s, %s so far), so nothing more is searched; "
            "write more than that, such as %s",
            budget,
            count_of(spent.trials, "trial"),
            render_seconds(spent.seconds),
            budget.mapped(lambda name, limit: _more(limit, getattr(spent, name))).to_text(),
        )


def _more(limit: float, spent: float) -> float:
    """A limit that goes on by half of what is spent, unless it is above that already."""
    return max(limit, math.ceil(spent * 1.5))
