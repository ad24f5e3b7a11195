"""Counts what a search has used of its budget and which limit is reached."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from hpo.core.budget import (
    CONVERGED,
    Budget,
    Spent,
    early_end,
    epochs_in_full,
    exhausted,
    fraction_used,
    gave_up,
    render_seconds,
)
from hpo.core.event_json import from_dict
from hpo.core.text import count_of, shell_word
from hpo.core.trial import ONLY_STAGE, Purpose, TrialRecord
from hpo.core.trial_row import TrialRow
from hpo.run.ledger import Ledger
from hpo.run.run_dir import RunDir
from hpo.searching.confirm_share import Costs, kept_for_repeats, reduced
from hpo.searching.convergence import Gain, measure_gain
from hpo.searching.engine_parts import Plan

logger = logging.getLogger(__name__)

NOTHING = Spent()


class Account:
    """Counts trials, epochs and time of one search; all but the running clock stands in the ledger.

    Args:
        ledger: the study.
        plan: the study's constants. The GPUs that trials held before stand in the ledger; only for
            ledgers of versions that kept none they are taken to be those of the plan.
        now: a clock in seconds that never goes back; default: the machine's.
    """

    def __init__(self, ledger: Ledger, plan: Plan, now: Callable[[], float] | None = None) -> None:
        self._plan, self._budget = plan, plan.budget
        self._judged: tuple[int, Gain | None] = (-1, None)
        self._ledger = ledger
        self._now = now or time.monotonic
        self.gpus_per_trial, self.at_a_time = plan.gpus_per_trial, plan.at_a_time
        self._base = max(ledger.active_seconds, plan.spent_before_s)
        self._began: float | None = None
        self._ended = _Costs()
        """Of the trials that have ended, whose costs are what they are for ever."""
        self._reckoned: tuple[tuple[int, float] | None, _Costs] = (None, self._ended)
        """Costs of all trials, and after how many changes, at how many GPUs they were reckoned."""
        self._running: dict[int, tuple[tuple[int, float], _Costs]] = {}
        """The same of each trial that runs, after so many measurements."""
        self._has_repeats = False
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
        return replace(self._costs().total(), seconds=self.clock())

    def _costs(self) -> _Costs:
        """Costs of all trials; looks only at those that had not ended when it was last asked."""
        after = self._ledger.num_changes, self.gpus_per_trial
        if self._reckoned[0] != after:
            running = self._look()
            self._reckoned = after, sum(map(self._cost_of, running), self._ended)
        return self._reckoned[1]

    def _cost_of(self, record: TrialRecord) -> _Costs:
        """Cost of a trial that runs, reckoned once after each of its epochs."""
        after = len(record.measurements), self.gpus_per_trial
        known = self._running.get(record.number)
        if known is None or known[0] != after:
            known = after, _Costs.of(record, self.gpus_per_trial, self._plan.num_epochs)
            self._running[record.number] = known
        return known[1]

    def _look(self) -> list[TrialRecord]:
        """Count the trials that have ended since the last look; return those that have not."""
        self._open += range(self._num_seen, self._ledger.next_number)
        self._num_seen = self._ledger.next_number
        still_open = []
        for record in map(self._ledger.trial, self._open):
            self._has_repeats |= record.is_repeat
            if not record.state.is_finished:
                still_open.append(record)
                continue
            self._running.pop(record.number, None)
            self._ended += _Costs.of(record, self.gpus_per_trial, self._plan.num_epochs)
        self._open = [r.number for r in still_open]
        return still_open

    def _training(self) -> Costs:
        """What a training to the last epoch costs; empty where no epoch tells it yet.

        By whole ones once there are any: where pictures grow, the first epochs are the cheapest.
        """
        costs = self._costs()
        seen = costs.whole if costs.whole.epochs else costs.full
        return training_cost(seen, self._plan.num_epochs)

    def _search_budget(self) -> Budget:
        """What the search has of the budget: nothing is kept where no repeat could come to its end.

        Once a repeat has begun, what was kept stays so: the search is over.
        """
        confirm, kept = self._plan.confirm, self._plan.kept
        if not confirm:
            return self._budget
        if kept is None:
            kept = kept_for_repeats(self._budget, self._training(), confirm, self.at_a_time)
        is_of_use = self._has_repeats or self.has_room_for_repeat()
        return reduced(self._budget, kept) if is_of_use else self._budget

    def has_room_for_repeat(self) -> bool:
        """Whether what is left holds one more training, beside the repeats that have begun."""
        training, spent = self._training(), self.spent()
        begun = [self._cost_of(r).repeats for r in self._look() if r.is_repeat]

        def rest(name: str) -> float:
            """What these still take; those that run take their time beside the next one."""
            costs = [] if name == "seconds" else begun
            return math.fsum(max(0.0, training[name] - getattr(cost, name)) for cost in costs)

        return all(
            limit - getattr(spent, name) >= training[name] + rest(name)
            for name, limit in self._budget.limits.items()
            if name in training
        )

    def search_share(self) -> float:
        """Share of the search's own budget that is gone, between 0 and 1."""
        return fraction_used(self._search_budget(), self.spent())

    def limit_of_search(self) -> str | None:
        """The limit that keeps new search trials from starting, or that it no longer pays."""
        limit = exhausted(self._search_budget(), self.spent())
        if limit is not None or self._plan.until_converged is None:
            return limit
        gain = self._gain()
        return f"{CONVERGED}{gain}" if gain is not None and gain.has_converged else None

    def _gain(self) -> Gain | None:
        """What the last part of the search has brought, measured once per ended trial."""
        count = self._ledger.num_ended
        if self._judged[0] != count:
            minutes = self._plan.until_converged
            window_s = 60.0 * minutes if minutes else None
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
        return exhausted(replace(self._search_budget(), trials=None), self.spent())


@dataclass(frozen=True, slots=True)
class _Costs:
    """What trials have cost, with the seconds of their epochs."""

    full: Spent = NOTHING
    """Trials of the last stage, which tell what a training in full costs."""
    repeats: Spent = NOTHING
    earlier: Spent = NOTHING
    """Trials of earlier stages; the seconds and epochs of a batch are those of its first trial."""
    whole: Spent = NOTHING
    """Those of `full` and `repeats` that were trained from the first epoch to the last."""

    @classmethod
    def of(cls, trial: TrialRecord, gpus: float, num_epochs: int | None) -> _Costs:
        """Costs of one trial, with the GPUs that it held where the ledger lacks them."""
        held = sum(m.seconds * (gpus if m.gpus is None else m.gpus) for m in trial.measurements)
        is_alone = trial.stage.is_counted(trial.number)
        cost = Spent(
            trials=int(trial.is_counted),
            seconds=trial.seconds if is_alone else 0.0,
            gpu_seconds=held,
            epochs=trial.trained_epochs if is_alone else 0,
        )
        if trial.stage.left:
            return cls(earlier=cost)
        whole = cost if cost.epochs == num_epochs else NOTHING
        return cls(repeats=cost, whole=whole) if trial.is_repeat else cls(full=cost, whole=whole)

    def __add__(self, other: _Costs) -> _Costs:
        names = ("full", "repeats", "earlier", "whole")
        parts = ((getattr(self, name), getattr(other, name)) for name in names)
        return _Costs(*(a if b is NOTHING else a + b for a, b in parts))

    def total(self) -> Spent:
        """Everything; epochs of earlier stages count as the epochs in full that take their time."""
        earlier = replace(self.earlier, epochs=epochs_in_full(self.earlier, self.full))
        return self.full + self.repeats + earlier


def training_cost(seen: Spent, num_epochs: int | None) -> dict[str, float]:
    """What a training of so many epochs costs where `seen` was spent on epochs like them."""
    if not seen.epochs or num_epochs is None:
        return {}
    names = [item.name for item in fields(Spent) if item.name != "trials"]
    return {name: getattr(seen, name) / seen.epochs * num_epochs for name in names}


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
    if exhausted(_part_of_search(budget, state, spent, confirm), spent):
        logger.warning(
            "a budget of %s is used up already (%s, %s so far), so nothing more is searched; "
            "write more than that, such as %s",
            budget,
            count_of(spent.trials, "trial"),
            render_seconds(spent.seconds),
            budget.mapped(lambda name, limit: _more(limit, getattr(spent, name))).to_text(),
        )


def _part_of_search(budget: Budget, state: Mapping[str, Any], spent: Spent, confirm: int) -> Budget:
    """What the search has of a new budget, by the state of its run."""
    if not confirm:
        return budget
    rows = [from_dict(TrialRow, row) for row in state.get("trials", ())]
    staged = [(row, row.stage or ONLY_STAGE) for row in rows]
    full = [r for r, stage in staged if r.purpose == Purpose.SEARCH and not stage.left]
    num_epochs = max((row.until_epoch for row in full), default=None)
    whole = [row for row in full if row.epoch == num_epochs and row.start_from is None]
    chosen = whole or full  # as in `Account`
    seconds = sum(row.seconds for row in chosen)
    all_s = sum(row.seconds for row, stage in staged if stage.is_counted(row.trial))
    seen = Spent(
        epochs=sum(row.epoch - (row.start_from or (0, 0))[1] for row in chosen),
        seconds=seconds,
        gpu_seconds=spent.gpu_seconds * seconds / all_s if all_s else 0.0,
    )
    training = training_cost(seen, num_epochs)
    left = {name: limit - getattr(spent, name) for name, limit in budget.limits.items()}
    is_short = any(left[name] < training.get(name, 0.0) for name in left)
    if is_short and not any(row.purpose == Purpose.CONFIRM for row in rows):
        return budget
    return reduced(budget, kept_for_repeats(budget, training, confirm))


def _more(limit: float, spent: float) -> float:
    """A limit that goes on by half of what is spent, unless it is above that already."""
    return max(limit, math.ceil(spent * 1.5))
