"""Selects the best trial: the best value in the last stage, among those trained longest.

A trial that still runs counts among them once it is better than all of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from hpo.core.trial import Direction, TrialRecord, TrialState

SEARCHED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING)

REPEATS = 2
"""How often each finalist is trained again, where the budget allows."""


def of_last_stage(trials: Iterable[TrialRecord]) -> list[TrialRecord]:
    """Leave out trials of stages before the last one that has a value.

    A head on frozen features and a whole network are not compared by their values.
    """
    everything = list(trials)
    reached = min((t.stage.left for t in everything if t.measurements), default=0)
    return [t for t in everything if t.stage.left <= reached]


def ranked(trials: Iterable[TrialRecord], direction: str) -> list[TrialRecord]:
    """Sort trials from best to worst: trained longest first, then by best value, then by number.

    A better value of a pruned trial does not win: it was never compared at the same budget. A trial
    that still runs, or that the end of the budget has cut short, counts as trained longest once its
    best value is better than those of all that were: with more epochs its best can only rise.
    Failed trials, trials without an epoch and those of earlier stages are left out.
    """
    sign = Direction(direction).sign
    able = of_last_stage(t for t in trials if t.state in SEARCHED and t.measurements)
    best = {t.number: t.best_measurement(direction) for t in able}
    values = {n: sign * found.value if found else -math.inf for n, found in best.items()}
    longest = max((t.epochs for t in able), default=0)
    goal = max((values[t.number] for t in able if t.epochs == longest), default=-math.inf)

    def length(trial: TrialRecord) -> int:
        is_ahead = trial.state is TrialState.RUNNING and values[trial.number] > goal
        return longest if is_ahead else trial.epochs

    return sorted(able, key=lambda t: (-length(t), -values[t.number], t.number))


def leading(order: Sequence[TrialRecord]) -> list[TrialRecord]:
    """Of ranked trials those that count as trained longest."""
    longest = max((t.epochs for t in order), default=0)
    # An open trial that counts among them is better than all of them, so it stands before them.
    num = max((n for n, t in enumerate(order, start=1) if t.epochs == longest), default=0)
    return list(order[:num])


def distinct(order: Iterable[TrialRecord]) -> Iterator[TrialRecord]:
    """Of trials of one configuration only the first; two draws may be the same."""
    found: list[TrialRecord] = []
    for trial in order:
        if not any(trial.is_twin_of(other) for other in found):
            found.append(trial)
            yield trial


def with_params_of_their_own(
    order: Iterable[TrialRecord], trials: Iterable[TrialRecord]
) -> list[TrialRecord]:
    """Of some trials those whose parameters were the same over all epochs, as a new training's are.

    A trial that goes on from another one may have changed them.
    """
    known = {t.number: t for t in trials}

    def is_unchanged(trial: TrialRecord) -> bool:
        begun = trial
        while begun.start_from is not None and begun.params == trial.params:
            begun = known[begun.start_from[0]]
        return begun.params == trial.params

    return [t for t in order if is_unchanged(t)]


def default_trial(trials: Iterable[TrialRecord], direction: str) -> TrialRecord | None:
    """The trial that the default configuration is judged by; None where it has no result.

    That is trial 0 unless it has failed, or its parameters were trained for longer in another one.
    """
    everything = list(trials)
    first = next((t for t in everything if t.number == 0), None)
    if first is None:
        return None
    twins = (t for t in everything if not t.is_repeat and t.is_twin_of(first))
    longest = leading(ranked(twins, direction))
    return first if first in longest else next(iter(longest), None)


def finalists(trials: Iterable[TrialRecord], direction: str, count: int) -> list[TrialRecord]:
    """The `count` best configurations of the largest budget, by their best trials, and the default.

    Trials that are not trained to their end are left out where others are: their repeats would be,
    and so tell of another model. So would those of trials whose parameters changed on the way: they
    are left out too, and where the best is one of them there is nothing to compare it with.
    """
    trials = list(trials)
    order = ranked([t for t in trials if not t.is_repeat], direction)
    if not order:
        return []
    longest = leading(order)
    able = [t for t in longest if t.state.is_finished] or longest
    same = with_params_of_their_own(able, trials)
    if same[:1] != able[:1]:
        return []
    chosen = list(islice(distinct(same), count))
    default = default_trial(trials, direction)
    # A default of an earlier stage is not compared with these, nor is one without which a
    # comparison was made: an earlier release left out one that had failed.
    is_decided = any(t.is_chosen for t in order)
    if (
        default is not None
        and default in order
        and not any(t.is_twin_of(default) for t in chosen)
        and not (is_decided and not repeats_of(default, trials))
    ):
        chosen.append(default)
    return chosen


def repeats_of(trial: TrialRecord, trials: Iterable[TrialRecord]) -> list[TrialRecord]:
    """Confirmation runs of a finalist; they are recognised by its parameters and its parent."""
    return [t for t in trials if t.is_repeat and t.is_twin_of(trial)]


def roles(trials: Iterable[TrialRecord], direction: str) -> dict[int, str]:
    """What trials are to a person, by number; most have no role.

    `winner`, `default` (what that is judged by, else trial 0), `winner and default`, `repeat of N`
    (trial N's configuration trained again with another seed, N being its finalist).
    """
    everything = list(trials)
    found = {}
    default = default_trial(everything, direction)
    default = default or next((t for t in everything if t.number == 0), None)
    if default is not None:
        found[default.number] = "default"
    best = best_trial(everything, direction)
    if best is not None:
        same = default is not None and best.is_twin_of(default)
        found[best.number] = "winner and default" if same else "winner"
    if again := [t for t in everything if t.is_repeat]:
        for finalist in ranked((t for t in everything if not t.is_repeat), direction)[::-1]:
            own = repeats_of(finalist, again)
            found |= {repeat.number: f"repeat of {finalist.number}" for repeat in own}
    return found


def shown_role(role: str, status: str) -> str:
    """A role for people: what leads a search that has not ended is not its winner yet."""
    return role if status == "finished" else role.replace("winner", "best so far")


def open_repeats(trials: Iterable[TrialRecord], direction: str, count: int) -> list[TrialRecord]:
    """Finalists that are still to be trained again, in rounds: each once before any twice."""
    everything = list(trials)
    chosen = finalists(everything, direction, count)
    # The default comes second: where the budget is short, the winner is compared with it at least.
    chosen[1:] = sorted(chosen[1:], key=lambda t: not t.is_twin_of(everything[0]))
    begun = {t.number: len(repeats_of(t, everything)) for t in chosen}
    return [t for nth in range(REPEATS) for t in chosen if begun[t.number] <= nth]


def best_trial(trials: Iterable[TrialRecord], direction: str) -> TrialRecord | None:
    """The winner: what the comparison of finalists chose, else the best at the largest budget.

    Before they are compared, the best mean over their repeats decides, over as many seeds as all of
    them have; the run by which a finalist was found is not counted, as it was chosen for its luck.
    """
    return leader(trials, direction)[0]


def leader(trials: Iterable[TrialRecord], direction: str) -> tuple[TrialRecord | None, list[float]]:
    """Return `best_trial`, and the values of its repeats where those decided."""
    everything = list(trials)
    searched = ranked([t for t in everything if not t.is_repeat], direction)
    chosen = [t for t in searched if t.is_chosen]
    if chosen or not searched:
        return (chosen[0] if chosen else None), []
    again = [t for t in everything if t.is_repeat]
    values = {t.number: repeat_values(t, again, direction) for t in searched}
    able = list(distinct(t for t in searched if values[t.number]))
    if not able:
        return searched[0], []
    common = min(len(values[t.number]) for t in able)
    sign = Direction(direction).sign
    best = max(able, key=lambda t: (sign * sum(values[t.number][:common]), -t.number))
    return best, values[best.number][:common]


def repeat_values(trial: TrialRecord, trials: Iterable[TrialRecord], direction: str) -> list[float]:
    """Best values of a finalist's repeats that were trained as long as it was."""
    values = []
    for record in repeats_of(trial, trials):
        best = record.best_measurement(direction)
        able = record.state in SEARCHED and record.epochs >= trial.epochs
        if best is not None and able:
            values.append(best.value)
    return values
