"""What the winner may be expected to show on new pictures, before any were looked at; its wording.

The best of many trials is partly the luckiest of them, so its value on the validation pictures is
too high on average (the winner's curse). How much is estimated in `hpo.results.drop`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from hpo.core.event_json import from_dict
from hpo.core.text import count_of, metric_word
from hpo.core.ties import tie_words


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """Estimate of the winner's value on pictures like those it was validated on."""

    value: float
    """What chose the winner: its best epoch on the validation pictures."""
    trials: int
    """Trials that it was chosen among: those that were trained as long."""
    drop: float
    """What of `value` is expected to be chance; above 0 means that new pictures show less."""
    drop_error: float
    """Standard error of `drop`, for the same configuration trained and validated once more."""
    expected: float
    interval: tuple[float, float]
    """One standard error around `expected`, in which pictures that differ are included."""
    noise: float
    """Standard deviation of a trial's value between seeds."""
    repeats: int = 0
    """Repeats with new seeds that the noise was estimated with."""
    tied: tuple[str, ...] = ()
    """Names of the trials whose difference to the winner may be chance, the best first; empty where
    repeats were compared, which tell ties better."""

    def to_json(self) -> dict[str, Any]:
        """As it stands in `report.json` and in the last event."""
        return {**asdict(self), "interval": list(self.interval), "tied": list(self.tied)}

    def words(self, name: str) -> list[str]:
        """Say it in sentences without their full stop, the metric under a name."""
        low, high = self.interval
        which = f"this trial among {count_of(self.trials, 'trial')} trained as long"
        chosen = f"validation {name} {self.value:.4f} chose {which}"
        if self.repeats:
            chosen = (
                f"validation {name} {self.value:.4f} found {which}, and its repeats were counted"
            )
        line = (
            f"{chosen}; on new pictures like these expect {self.expected:.3f} ({low:.3f} to "
            f"{high:.3f})"
        )
        return [line, *([tie_words(self.tied)] if self.tied else [])]


def expected_words(expected: Mapping[str, Any] | None, metric: str) -> list[str]:
    """Return the estimate of `report.json` in sentences; none where there is none.

    Args:
        expected: what stands under `expected`.
        metric: the monitored metric's name.
    """
    return from_dict(Expected, expected).words(metric_word(metric)) if expected else []
