"""Local mirrored-Gaussian search around a default configuration that nothing has beaten.

A default that its author has tuned is often nearly right. Then hardly any draw over decades is
better, but small steps from it are. They begin when some other trials have ended and the default,
or such a step, is still the best that was trained in full. From there on every second trial is a
step: normally distributed in every number, and where it was no better, its mirror image, as one of
two small opposite steps leads uphill (Brockhoff et al. 2010, Mirrored sampling and sequential
selection for evolution strategies). Steps are trained in full, since early epochs cannot tell
trials apart that lie so close together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from hpo.algorithms.chooser import RUNS_IN_FULL, Chooser, Chosen, Limits, Observation
from hpo.algorithms.gaussian_process import Array
from hpo.algorithms.narrowing import box_of, inside, narrowed
from hpo.algorithms.unit_points import default_latents, is_new, latents_at, point_of
from hpo.core.protocols import Emit, Narrowable
from hpo.core.seeds import derive_seed
from hpo.core.trial import Direction, TrialRecord, TrialState
from search_spaces import Choice, SearchSpace

WIDTH, LEAST_WIDTH = 0.025, 0.01
"""Standard deviation of a step, where a range is 1: a tenth of a decade in one of four decades."""
WIDER, NARROWER = 1.2, 0.7
"""What the width is multiplied by after a step that was better, and after two that were not."""
MEMO = "step"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A trial close to another."""

    origin: int
    """The trial it is close to."""
    width: float
    mirrors: int | None
    """The step whose mirror image it is."""


class CloseLook:
    """Steps away from the default in place of every second choice of another chooser.

    Args:
        inner: chooses all other trials.
        space: what is searched.
        direction: `maximize` or `minimize`.
        seed: the study's seed.
        others: trials that must have ended, beside the default and steps.
        epochs: for which these and the default must have been trained, all together.
    """

    def __init__(
        self,
        inner: Chooser,
        space: SearchSpace,
        *,
        direction: str,
        seed: int,
        others: int,
        epochs: int = 0,
    ) -> None:
        self._inner, self._space, self._seed = inner, space, seed
        self._others, self._epochs = others, epochs
        self._sign = Direction(direction).sign
        self._default = default_latents(space)
        self._steps: dict[int, Step] = {}
        self._limits: Limits = {}

    def narrow(self, limits: Limits) -> None:
        """Take no steps from outside these limits, nor out of them."""
        self._limits = limits
        if isinstance(self._inner, Narrowable):
            self._inner.narrow(limits)

    def restore(self, trial: TrialRecord) -> None:
        """Take a recorded step."""
        if trial.memo and MEMO in trial.memo:
            self._steps[trial.number] = Step(**trial.memo[MEMO])
        self._inner.restore(trial)

    def update(self, trial: TrialRecord) -> None:
        """Pass it on."""
        self._inner.update(trial)

    def attach(self, emit: Emit) -> None:
        """Pass it on."""
        self._inner.attach(emit)

    def choose(self, number: int, seen: list[Observation]) -> Chosen | None:
        """Choose a step where one is due, else leave the trial to the other chooser."""
        return self._stepped(number, seen) or self._inner.choose(number, seen)

    def _stepped(self, number: int, seen: list[Observation]) -> Chosen | None:
        best = self._best(seen)
        if best is None or number % 2 == 0 or not self._is_due(best, seen):
            return None
        step = self._next_from(best, seen)
        box = box_of(self._space, self._limits)
        latents = latents_at(self._space, np.clip(self._point(number, step, seen), *box))
        if not is_new(latents, seen):  # options alone, or whole numbers, stay put
            return None
        self._steps[number] = step
        source = f"trial {step.origin}"
        note = f"a small step from {source}"
        if step.mirrors is not None:
            note = f"the step of trial {step.mirrors} from {source}, mirrored"
        return Chosen(latents=latents, note=note, memo={MEMO: asdict(step), RUNS_IN_FULL: True})

    def _best(self, seen: Sequence[Observation]) -> Observation | None:
        """The best trial that was trained in full; the first of equals."""
        full = [o for o in seen if o.state is TrialState.COMPLETE and o.value is not None]
        return max(full, key=lambda o: (self._sign * (o.value or 0.0), -o.number), default=None)

    def _is_due(self, best: Observation, seen: Sequence[Observation]) -> bool:
        """Whether the default is still the best after others enough."""
        others = [o for o in seen if o.number not in self._steps]
        ended = [o for o in others if _is_judged(o)]
        is_close = best.latents == self._default or best.number in self._steps
        is_late = len(ended) > self._others and sum(o.epochs for o in ended) >= self._epochs
        return is_close and is_late and self._is_within(best)

    def _is_within(self, trial: Observation) -> bool:
        allowed = narrowed(self._space, self._limits)
        return not self._limits or inside(allowed, trial.latents) == trial.latents

    def _next_from(self, best: Observation, seen: Sequence[Observation]) -> Step:
        """The mirror image of a step that was no better, else a new one."""
        running = {o.number for o in seen if o.state is TrialState.RUNNING}
        known = {o.number for o in seen}  # a step may lie outside a space that was changed since
        made = {
            n: step for n, step in self._steps.items() if step.origin == best.number and n in known
        }
        mirrored = {step.mirrors for step in made.values()}
        for number, step in made.items():
            if step.mirrors is None and number not in mirrored | running:
                return Step(origin=best.number, width=step.width, mirrors=number)
        last = self._steps.get(best.number)
        first = WIDTH if last is None else WIDER * last.width
        pairs = sum(step.mirrors is not None for step in made.values())
        width = max(LEAST_WIDTH, first * NARROWER**pairs)
        return Step(origin=best.number, width=width, mirrors=None)

    def _point(self, number: int, step: Step, seen: Sequence[Observation]) -> Array:
        latents = {o.number: o.latents for o in seen}
        origin_D = np.array(point_of(self._space, latents[step.origin]))
        if step.mirrors is not None:
            failed_D = np.array(point_of(self._space, latents[step.mirrors]))
            moved_D = 2.0 * origin_D - failed_D
        else:
            rng = np.random.default_rng(derive_seed(self._seed, number, "step"))
            moved_D = rng.normal(origin_D, step.width)
        stays_D = [isinstance(dimension, Choice) for dimension in self._space.dimensions]
        return np.where(stays_D, origin_D, np.clip(moved_D, 0.0, 1.0))


def _is_judged(trial: Observation) -> bool:
    """Whether a trial has ended with a value, or without one by its own parameters."""
    if trial.state is TrialState.FAILED:
        return trial.is_infeasible and not trial.is_refused
    return trial.state is not TrialState.RUNNING
