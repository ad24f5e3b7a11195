"""What a search is expected to take, as its review and plan say it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """How long a search is expected to take, and what is in it."""

    seconds: float
    after_s: float = 0.0
    """Of these for the comparison of finalists and the average, which no budget is charged for."""
    low_s: float
    high_s: float
    """Four of five rehearsals end between these."""
    trials: int
    """Trials of the search itself."""
    epochs: int
    """Of all trainings."""
    pruned: int
    repeats: int = 0
    """Trainings of finalists again, which `--confirm` asks for."""
    earlier: int = 0
    """Trials of stages before the last."""
    start_points: int = 0
    """The most finished trials at a time that others may start from, so that they stay on disk."""
    longest: int | None = None
    """Epochs of the trial that is trained longest, those of earlier starts included; None where the
    algorithm, and not the budget, says when trials end."""
    busy_share: float = 1.0
    """Share of the slots' time that is used."""
    only_default: bool = False
    """Whether other trials begin, but none that goes as far as the default, so none can win."""

    @property
    def charged_s(self) -> float:
        """Seconds that the search's clock is expected to count."""
        return self.seconds - self.after_s

    def to_dict(self) -> dict[str, Any]:
        """Plain data, rounded to what is known."""
        digits = {"seconds": 1, "after_s": 1, "low_s": 1, "high_s": 1, "busy_share": 3}
        facts = asdict(self)
        return facts | {name: round(facts[name], places) for name, places in digits.items()}
