"""Budgets: how long a search may go on, and what has been spent."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from decimal import Decimal
from typing import Any

from hpo.core.errors import SpecError
from hpo.core.text import count_of, quoted

_UNLIMITED = "unlimited"
"""The budget of a search that its algorithm ends."""
GRAMMAR = "20 or 20trials, 90m, 2h, 3gpuh, 500epochs, or several joined by commas"

_UNITS: dict[str, tuple[str, int]] = {
    "": ("trials", 1),
    "trial": ("trials", 1),
    "trials": ("trials", 1),
    "s": ("seconds", 1),
    "m": ("seconds", 60),
    "min": ("seconds", 60),
    "h": ("seconds", 3600),
    "d": ("seconds", 86400),
    "gpus": ("gpu_seconds", 1),
    "gpum": ("gpu_seconds", 60),
    "gpuh": ("gpu_seconds", 3600),
    "epoch": ("epochs", 1),
    "epochs": ("epochs", 1),
}
_WRITTEN = {
    "trials": ("",),
    "seconds": ("h", "m", "s"),
    "gpu_seconds": ("gpuh", "gpum", "gpus"),
    "epochs": ("epochs",),
}
"""The units that a limit is written in, the longest first."""
WHOLE = ("trials", "epochs")
"""Limits that are whole numbers."""
MOST = 10**15
"""The largest limit, which a float still holds to the last digit."""
# Release 0.6 wrote some limits with a point at their end.
_PART = re.compile(r"(\d+(?:\.\d*)?)\s*([a-z]*)", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Limits of a search; the first that is reached ends it. None means no such limit.

    Every started trial counts as one, whatever became of it; a retry of the same trial does not
    count again. `seconds` runs from the first suggestion to the last epoch, without the time the
    search was down. `gpu_seconds` is the sum over trials of their seconds times the GPUs each of
    them holds.
    """

    trials: int | None = None
    seconds: float | None = None
    gpu_seconds: float | None = None
    epochs: int | None = None

    def __str__(self) -> str:
        """The budget in the words of the command line, e.g. `20 trials, 2h`."""
        parts = [_WORDS[name](limit) for name, limit in self.limits.items()]
        return ", ".join(parts) or _UNLIMITED

    def to_text(self) -> str:
        """The same in the grammar that `parse_budget` reads."""
        units = {"seconds": "s", "gpu_seconds": "gpus"}
        parts = [f"{_plain(limit)}{units.get(n, n)}" for n, limit in self.limits.items()]
        return ",".join(parts) or _UNLIMITED

    @property
    def limits(self) -> dict[str, float]:
        """The limits that there are, by name."""
        given = {item.name: getattr(self, item.name) for item in fields(self)}
        return {name: limit for name, limit in given.items() if limit is not None}

    def seconds_on(self, gpus: float) -> float | None:
        """Seconds that so many GPUs take for it at most; None where neither limits it."""
        by_gpus = self.gpu_seconds / gpus if self.gpu_seconds is not None and gpus else None
        return min((s for s in (self.seconds, by_gpus) if s is not None), default=None)

    def mapped(self, change: Callable[[str, float], float]) -> Budget:
        """The budget with `change(name, limit)` in place of every limit."""
        limits = {name: change(name, limit) for name, limit in self.limits.items()}
        return Budget(**limits)  # type: ignore[arg-type]  # whole numbers where they must be


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What a search has used up so far, in the units of `Budget`."""

    trials: int = 0
    seconds: float = 0.0
    gpu_seconds: float = 0.0
    epochs: int = 0

    def __add__(self, other: Spent) -> Spent:
        return Spent(
            trials=self.trials + other.trials,
            seconds=self.seconds + other.seconds,
            gpu_seconds=self.gpu_seconds + other.gpu_seconds,
            epochs=self.epochs + other.epochs,
        )


DEFAULT_BUDGET = Budget(trials=20)


def parse_budget(text: str) -> Budget:
    """Read a budget such as `20`, `90m` or `50trials,2h`; `unlimited` is one without limits.

    Raises:
        SpecError: when a part is not a positive number with a known unit, is more than `MOST`, or
            a unit is given twice.
    """
    if str(text).strip().lower() == _UNLIMITED:
        return Budget()
    values: dict[str, float] = {}
    for part in str(text).lower().split(","):
        match = _PART.fullmatch(part.strip())
        if match is None or match[2] not in _UNITS:
            raise SpecError(f"budget: {_refusal(part.strip())}; write {GRAMMAR}")
        name, factor = _UNITS[match[2]]
        amount = float(Decimal(match[1]) * factor)  # 1.1h are 3960 seconds; floats make it more
        whole = name in WHOLE
        if amount > MOST:
            raise SpecError(
                f"budget: a limit must be at most {MOST} {name.replace('_', ' ')}, got "
                f"{quoted(part.strip())}; give less, or {_UNLIMITED}"
            )
        if amount <= 0 or (whole and not amount.is_integer()):
            raise SpecError(
                f"budget: a positive {'whole ' if whole else ''}number must stand before "
                f"{match[2] or 'trials'!r}, got {match[1][:40]}; write {GRAMMAR}"
            )
        if name in values:
            what = name.replace("_", " ")
            raise SpecError(f"budget: {quoted(text)} limits {what} twice; keep one of them")
        values[name] = amount
    counts = {k: int(v) if k in WHOLE else v for k, v in values.items()}
    return Budget(**counts)  # type: ignore[arg-type]


def _refusal(part: str) -> str:
    if not part:
        return "a limit must be given, got nothing"
    if part.startswith("+"):
        return f"{quoted(part)} adds to the budget of an earlier search, which `hpo resume` does"
    return f"{quoted(part)} is not understood"


def extend_budget(budget: Budget, text: str) -> Budget:
    """Return the budget after `+20` (added to what was) or `20` (in place of it).

    `+20,+2h` and `+20,2h` add in two units.

    Raises:
        SpecError: for what `parse_budget` refuses, where some limits have a + and the first or
            another has none, and for `+2h` where time was not limited: the other limit would still
            end the search.
    """
    parts = [part.strip() for part in text.split(",")]
    signed = [part.startswith("+") for part in parts]
    if not any(signed):
        return parse_budget(text)
    plain = [part.removeprefix("+").strip() for part in parts]
    is_mixed = not all(signed) and signed != [True, *[False] * (len(parts) - 1)]
    if is_mixed or any(part.startswith("+") for part in plain):
        raise SpecError(
            f"budget: {quoted(text)}: every limit must have one + (added to what was), or none "
            "(in place of it), as in +20,+2h"
        )
    extra = parse_budget(",".join(plain))
    for name in extra.limits:
        if name not in budget.limits:
            raise SpecError(
                f"budget: {text}: the budget of {budget} has no limit on {name} to add to; "
                "add in its own units, or give a whole new budget without +"
            )
    total = budget.mapped(lambda name, limit: limit + extra.limits.get(name, 0))
    return parse_budget(total.to_text())  # what is too much together is refused


def more_of(budget: Budget) -> str:
    """What `extend_budget` takes for half as much again, such as `+20` or `+10,+1h`.

    Empty where nothing is limited.
    """

    def words(name: str, limit: float) -> str:
        *longer, shortest = _WRITTEN[name]
        unit = next((unit for unit in longer if limit % _UNITS[unit][1] == 0), shortest)
        more = max(1, round(limit / _UNITS[unit][1] / 2, 1))
        return f"+{int(more) if name in WHOLE else _plain(more)}{unit}"

    return ",".join(words(name, limit) for name, limit in budget.limits.items())


def exhausted(budget: Budget, spent: Spent) -> str | None:
    """Name the first limit that has been reached, or None while there is budget left."""
    limits = budget.limits.items()
    return next((name for name, limit in limits if getattr(spent, name) >= limit), None)


def fraction_used(budget: Budget, spent: Spent) -> float:
    """Share of the budget that is gone, by the limit that is nearest; between 0 and 1."""
    return min(1.0, max(_shares_used(budget, spent).values(), default=0.0))


def nearest_limit(budget: Budget, spent: Spent) -> str | None:
    """Name the limit of which the largest share is gone, or None where nothing is limited."""
    shares = _shares_used(budget, spent)
    return max(shares, key=lambda name: shares[name], default=None)


def _shares_used(budget: Budget, spent: Spent) -> dict[str, float]:
    return {name: getattr(spent, name) / limit for name, limit in budget.limits.items()}


def epochs_in_full(earlier: Spent, full: Spent) -> int:
    """Epochs of trials in full that take as long as what was spent on earlier stages."""
    if not earlier.epochs or not full.epochs or not full.seconds:
        return earlier.epochs
    return round(earlier.seconds / full.seconds * full.epochs)


def uses(budget: Budget, spent: Spent) -> dict[str, str]:
    """Name of each limit -> what is used of it, such as `12 of 40 trials`, `25m of 2h`."""

    def words(name: str, limit: float) -> str:
        used = getattr(spent, name)
        if name == "seconds":
            used = render_seconds(used)
        elif name == "gpu_seconds":
            used = f"{round(used / 3600, 2):g}"
        return f"{used} of {_WORDS[name](limit)}"

    return {name: words(name, limit) for name, limit in budget.limits.items()}


def _plain(amount: float) -> str:
    """A number in full, without the exponent that the grammar does not read."""
    return str(int(amount)) if float(amount).is_integer() else f"{Decimal(repr(amount)):f}"


def render_seconds(seconds: float) -> str:
    """Write a duration for people: `45s`, `12m`, `1h 30m`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 600:
        return f"{whole // 60}m {whole % 60:02d}s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes}m"
    hours, rest = divmod(minutes, 60)
    return f"{hours}h {rest:02d}m" if rest else f"{hours}h"


def _render_gpu_hours(seconds: float) -> str:
    return "1 GPU hour" if seconds == 3600 else f"{seconds / 3600:g} GPU hours"


_WORDS: dict[str, Callable[[Any], str]] = {
    "trials": lambda number: count_of(number, "trial"),
    "seconds": render_seconds,
    "gpu_seconds": _render_gpu_hours,
    "epochs": lambda number: count_of(number, "epoch"),
}


MEASURES = {"seconds": "time", "gpu_seconds": "GPU time"}
"""What limits measure whose names are units."""

RAN_DRY = "algorithm"
"""`ended_because` of a search whose algorithm has no more trials to propose."""
CONVERGED = "converged: "
"""Begins that of one that went on for too little."""


def gave_up(because: str) -> str:
    """Return the cause for which a search has given up; empty where it came to an end of its own.

    Args:
        because: `ended_because` of its `finished` event.
    """
    ends = {"", "interrupted", RAN_DRY, *Budget.__dataclass_fields__}
    return "" if because in ends or because.startswith(CONVERGED) else because


def was_foreseen(because: str) -> bool:
    """Whether a search ended by what its forecast counts on: its budget, or the algorithm."""
    return not gave_up(because) and not because.startswith(CONVERGED)


def early_end(because: str) -> str:
    """Say why a search ended although its budget was not used up; empty where a limit ended it.

    Args:
        because: as of `gave_up`.
    """
    if because == RAN_DRY:
        return "the algorithm has no more trials to propose"
    cause = gave_up(because)
    return f"gave up: {cause}" if cause else because if because.startswith(CONVERGED) else ""
