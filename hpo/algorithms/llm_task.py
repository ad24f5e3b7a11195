"""Builds the prompts for a language model and maps its answers to points of the space."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hpo.algorithms.chooser import Limits, Observation
from hpo.algorithms.llm_client import LlmError
from hpo.core.text import is_number
from hpo.core.trial import Direction, TrialState
from search_spaces import PointError, SearchSpace

NUM_BEST, NUM_LATEST = 15, 10
"""Trials that are shown."""

SYSTEM = (
    "You tune hyperparameters of a metric-learning trainer. Answer with one JSON object and "
    "nothing else. Use only the parameters that are listed, each within its bounds."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A search in words.

    Args:
        space: what is searched.
        direction: `maximize` or `minimize`.
        num_epochs: length of a full trial.
        seed: the study's seed; another one asks another question.
    """

    space: SearchSpace
    direction: str
    num_epochs: int
    seed: int = 0

    def describe(self, seen: Sequence[Observation], **more: Any) -> str:
        """Return the search as JSON text: goal, parameters, the best and the latest trials.

        Values are turned so that larger is better: a search and its mirror image read alike.
        """
        sign = Direction(self.direction).sign
        ended = [o for o in seen if o.state is not TrialState.RUNNING]
        valued = [o for o in ended if o.value is not None]
        best = sorted(valued, key=lambda o: (-sign * (o.value or 0.0), o.number))[:NUM_BEST]
        shown = {o.number: o for o in [*best, *ended[-NUM_LATEST:]]}
        facts = {
            "goal": "maximize score, the validation metric turned so that larger is better",
            "seed": self.seed,
            "epochs_of_a_full_trial": self.num_epochs,
            "parameters": self.space.to_json()["parameters"],
            "default": self.space.default(),
            "trials": [_row(shown[number], sign) for number in sorted(shown)],
            "running": [o.params for o in seen if o.state is TrialState.RUNNING],
            **more,
        }
        return json.dumps(facts, default=str)

    def latents(self, params: Any, base: Mapping[str, Any]) -> dict[str, Any]:
        """Return what an answered configuration means; parameters left out are taken from `base`.

        Raises:
            LlmError: for names that are not searched, and values that are none.
        """
        if not isinstance(params, Mapping) or not params:
            raise LlmError("the answer names no parameters")
        names = {parameter.name for parameter in self.space.parameters}
        unknown = sorted(set(params) - names)
        if unknown:
            raise LlmError(f"{unknown[0]} is not searched")
        values = {p.name: p.default for p in self.space.parameters} | dict(base) | dict(params)
        try:
            latents = dict(self.space.encode(values))
            self.space.validate(self.space.decode(latents))
        except (PointError, TypeError, ValueError, ArithmeticError, LookupError) as error:
            raise LlmError(f"the answer cannot be used: {error}") from None
        return latents

    def limits(self, focus: Any) -> Limits:
        """Return ranges of parameters as limits of dimensions; only plain numbers have some.

        Raises:
            LlmError: for names that are not searched, and ranges that are none.
        """
        found: dict[str, tuple[float, float]] = {}
        if not isinstance(focus, Mapping):
            raise LlmError("ranges must be a mapping of parameters to [low, high]")
        dimensions = {p.name: p.dimensions for p in self.space.parameters}
        for name, ends in focus.items():
            if name not in dimensions:
                raise LlmError(f"{name} is not searched")
            pair = ends if isinstance(ends, list | tuple) else ()
            if len(pair) != 2 or not all(is_number(end) for end in pair) or pair[0] >= pair[1]:
                raise LlmError(f"{name}: a range must be [low, high], got {ends!r}")
            own = dimensions[name]
            if len(own) != 1 or not hasattr(own[0], "low"):
                raise LlmError(f"{name}: has no range to narrow")
            base = self.space.default()
            sides = [self.latents({name: end}, base).get(own[0].name) for end in pair]
            if None in sides:
                raise LlmError(f"{name}: does nothing beside the default configuration")
            low, high = sorted(float(side) for side in sides if side is not None)
            found[own[0].name] = (low, high)
        return found


def best_of(seen: Sequence[Observation], direction: str) -> Observation | None:
    """Return the best ended trial."""
    sign = Direction(direction).sign
    able = [o for o in seen if o.value is not None and o.state is not TrialState.RUNNING]
    return max(able, key=lambda o: (o.epochs, sign * (o.value or 0.0)), default=None)


def _row(seen: Observation, sign: float) -> dict[str, Any]:
    row = {
        "trial": seen.number,
        "params": seen.params,
        "state": str(seen.state),
        "score": None if seen.value is None else sign * seen.value,
        "epochs": seen.epochs,
    }
    return row | ({"error": seen.error} if seen.error else {})
