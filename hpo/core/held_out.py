"""The winner's value on held-out queries beside the default configuration's; its wording."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hpo.core.event_json import from_dict
from hpo.core.text import metric_word
from hpo.core.ties import less_words, may_be_chance
from hpo.core.trial import Direction


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut:
    """The monitored metric on held-out queries. Intervals are of 95 % (bootstrap over queries)."""

    value: float
    interval: tuple[float, float] | None = None
    default: float | None = None
    """Of what it is compared with, mostly the default configuration; None where there is none: the
    default is the winner, or has no checkpoint."""
    default_interval: tuple[float, float] | None = None
    gain: float | None = None
    """What the winner is better by, on the same queries; above 0 is better."""
    gain_interval: tuple[float, float] | None = None
    direction: str = "maximize"
    """Of the metric. Differences are told as they are, below 0 where a loss has become less."""

    def words(self, name: str) -> str:
        """Say it in a sentence without its full stop, the metric under a name."""
        return f"{name} {figure_words(self.value, self.interval)}{self.beside('the default')}"

    def beside(self, other: str) -> str:
        """Say what the other one under this name came to, and the difference."""
        if self.default is None or self.gain is None:
            return ""
        figure = figure_words(self.default, self.default_interval)
        sign = Direction(self.direction).sign
        text = f"; {other} {figure}: {sign * self.gain:+z.4f}"
        if self.gain_interval is not None:
            low, high = sorted(sign * end for end in self.gain_interval)
            text += f" ({low:+z.4f} to {high:+z.4f})"
            text += ", which may be chance" if may_be_chance(self.gain_interval) else ""
        less = less_words(self.direction)
        return f"{text} ({less})" if less else text


def figure_words(value: float, interval: Sequence[float] | None, sign: float = 1.0) -> str:
    """A figure and its interval; `sign` is -1 where they were turned so that more is better."""
    if not interval:
        return f"{sign * value:.4f}"
    low, high = sorted(sign * end for end in interval)
    return f"{sign * value:.4f} ({low:.4f} to {high:.4f})"


def held_out_words(test: Mapping[str, Any] | None, metric: str) -> str:
    """Return the held-out figure of `report.json`, with the default's beside it where it is known.

    Beside that of an average stands the winner's own.

    Args:
        test: what stands under `test`; of a workspace it is the metrics alone.
        metric: the monitored metric's name.
    """
    test, name = test or {}, metric_word(metric)
    if test.get("held_out"):
        words = from_dict(HeldOut, test["held_out"]).words(name)
        if not test.get("alone"):
            return words
        alone = from_dict(HeldOut, test["alone"])
        return words + alone.beside(f"trial {test['trial']} alone")
    return "" if test.get(metric) is None else f"{name} {test[metric]:.4f}"
