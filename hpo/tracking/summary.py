"""Builds the parent run's text and metrics about the whole study."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from hpo.core.selection import best_trial, default_trial, of_last_stage, ranked, shown_role
from hpo.core.text import count_of, markdown_table, shell_word
from hpo.core.ties import less_words
from hpo.core.trial import Measurement, TrialRecord, TrialState
from hpo.core.trial_counts import REFUSED, state_word
from hpo.results.story import read_story
from hpo.run.handed_on import extent_of
from hpo.tracking.rows import Point, Study, milliseconds, to_text

STEPS_METRIC = "trials_ended"
"""The metric whose steps tell which points a parent run already has."""
_WORDS = {TrialState.RUNNING: "unfinished"}
_DEFAULT_TRIAL = 0
"""The trial that runs the default configuration."""


def progress(
    records: Sequence[TrialRecord], metric: str, direction: str, known: Collection[int]
) -> list[Point]:
    """The study's history, one step per ended trial; steps in `known` are left out.

    What a comparison of finalists has chosen comes last, a moment after the last trial.
    """
    then = [replace(r, is_chosen=False) for r in records if r.ended is not None]
    ended = sorted(then, key=lambda r: (r.ended or 0.0, r.number))
    points: list[Point] = []
    done = next((n for n in range(len(ended)) if n + 1 not in known), len(ended))
    again = [r for r in ended if r.is_repeat]
    repeated = {r.number for r in ended if r.is_repeat or any(map(r.is_twin_of, again))}
    front, counts = ended[:done], _counts(ended[:done])
    for step, last in enumerate(ended[done:], start=done + 1):
        front, best = _leading([*front, last], repeated, direction)
        counts += _counts([last])
        values = _standing(step, counts) | _leader(best, metric)
        moment = milliseconds(last.ended or 0.0)
        if step not in known:
            points += [Point(name, value, moment, step) for name, value in values.items()]
    if ended and (chosen := next((r for r in records if r.is_chosen), None)):
        moment = milliseconds(ended[-1].ended or 0.0) + 1
        values = _leader(chosen, metric)
        points += [Point(name, value, moment, len(ended)) for name, value in values.items()]
    return points


def _leading(
    ended: list[TrialRecord], repeated: Collection[int], direction: str
) -> tuple[list[TrialRecord], TrialRecord | None]:
    """Of trials that have ended, those that may lead later on, too, and the one that leads.

    That is the first in rank, or one of a stage that no trial of an earlier one stands up to, and
    those that are repeated at some time with their repeats.
    """
    measured = [t for t in ended if t.measurements]
    order = ranked((t for t in measured if not t.is_repeat), direction)
    first = {t.number for t in (order or of_last_stage(measured))[:1]}
    later = [t for t in measured if t.number in first | set(repeated)]
    return later, best_trial(measured, direction)


def _standing(ended: int, counts: Mapping[str, int]) -> dict[str, float]:
    values = {
        STEPS_METRIC: float(ended),
        **{f"trials_{s}": float(counts[s]) for s in TrialState if s.is_finished},
    }
    if counts[REFUSED]:
        values[f"trials_{REFUSED}"] = float(counts[REFUSED])
    return values


def _counts(records: list[TrialRecord]) -> Counter[str]:
    """How many trials of the last stage there are in each state."""
    return Counter(state_word(r) for r in records if not r.is_repeat and not r.stage.left)


def _leader(best: TrialRecord | None, metric: str) -> dict[str, float]:
    if best is None or best.value is None or best.stage.left:
        return {}  # values of an earlier stage are compared with none that come later
    return {f"{metric}_best": best.value, "best_trial": float(best.number)}


def describe(study: Study, records: list[TrialRecord], state: str) -> str:
    """The description on the parent run, in Markdown; `state` is the search's."""
    best = best_trial(records, study.direction)
    counts = _counts(records)
    refused = counts.pop(REFUSED, 0)
    parts = [f"{counts[state]} {_WORDS.get(state, state)}" for state in TrialState if counts[state]]
    tally = (
        f"{count_of(sum(counts.values()), 'trial')}: {', '.join(parts)}."
        if parts
        else "No trial yet."
    )
    tally += f" {refused} {REFUSED}, as beyond a limit." if refused else ""
    earlier = Counter(r.stage.name for r in records if r.stage.left)
    tally += "".join(f" {count_of(n, 'trial')} of stage {name}." for name, n in earlier.items())
    repeats = sum(r.is_repeat for r in records)
    if repeats:
        tally += f" {count_of(repeats, 'repeat')} of the best with new seeds."
    command = f"`hpo best {shell_word(study.run.home)}`"
    reached = None if best is None else best.best_measurement(study.direction)
    if best is None or reached is None:
        return f"{tally}\n\n{command}"
    told = read_story(study.run, extent_of([r.trained_epochs for r in records]))
    story = [f"{line[:1].upper()}{line[1:]}." for line in told]
    parts = [
        _outcome(study, records, best, reached, state),
        tally,
        *story,
        *_table(records, best),
        command,
    ]
    return "\n\n".join(parts)


def _outcome(
    study: Study, records: list[TrialRecord], best: TrialRecord, reached: Measurement, state: str
) -> str:
    role = shown_role("winner", state)
    words = (
        f"**Trial {best.number} is the {role}: {study.metric} {reached.value:.4f}** in epoch "
        f"{reached.epoch} of {best.until_epoch}"
    )
    default = default_trial(records, study.direction)
    if default is not None and best.is_twin_of(default):
        return f"{words}; it is the default configuration."
    compared = any(r.is_repeat for r in records)  # repeats say the gain better
    before = None if default is None else default.best_measurement(study.direction)
    if compared or before is None:
        return f"{words}."
    gain = reached.value - before.value
    less = f"; {less}" if (less := less_words(study.direction)) else ""
    return f"{words}, {gain:+z.4f} against the default configuration ({before.value:.4f}{less})."


def _table(records: list[TrialRecord], best: TrialRecord) -> list[str]:
    """The winner's parameters beside the default's."""
    if not best.params:
        return []
    default = next((r.params for r in records if r.number == _DEFAULT_TRIAL), {})
    rows = [
        (name, short(default[name]) if name in default else "", short(value))
        for name, value in best.params.items()
    ]
    return ["\n".join(markdown_table(("parameter", "default", "best"), rows))]


def short(value: object) -> str:
    """A value for reading: four significant digits."""
    return f"{value:.4g}" if isinstance(value, float) else to_text(value)
