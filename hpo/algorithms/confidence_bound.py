"""Maximizes the upper confidence bound of a Gaussian process over the space.

The bound is mean + kappa * deviation; kappa falls from 2 to 0.5 with every proposal, so the search
begins curious and grows greedy. Running trials count as if they had come out as predicted, and
nothing is proposed within a small radius of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from hpo.algorithms.chooser import Chosen, Limits, Observation, StatelessChooser
from hpo.algorithms.gaussian_process import Array, GaussianProcess, fit, with_expected
from hpo.algorithms.narrowing import box_of
from hpo.algorithms.unit_points import IDLE, latents_at, point_of
from hpo.core.seeds import derive_seed
from hpo.core.trial import Direction, TrialState
from search_spaces import Choice, SearchSpace
from search_spaces.domains.options import Options

KAPPA, KAPPA_DECAY, KAPPA_LEAST = 2.0, 0.95, 0.5
_RADIUS = 0.1
"""Distance in the unit cube within which a running trial keeps others away."""
NUM_RANDOM, NUM_NEAR = 2048, 512
WIDTHS = tuple(0.1 / 3**k for k in range(4))
MOST_POINTS = 200
"""The newest points that the process is fitted to."""


class ProcessChooser(StatelessChooser):
    """A base for choosers that climb to where a Gaussian process expects most.

    Args:
        space: what is searched.
        direction: `maximize` or `minimize`.
        seed: the study's seed.
        least: trials before the model speaks.
    """

    def __init__(self, space: SearchSpace, *, direction: str, seed: int, least: int) -> None:
        self._space, self._seed, self._least = space, seed, least
        self._sign = Direction(direction).sign
        self._limits: Limits = {}

    def narrow(self, limits: Limits) -> None:
        """Choose within these limits from now on."""
        self._limits = limits

    def _rng(self, number: int, salt: str) -> np.random.Generator:
        """What is random in the choice of a trial."""
        return np.random.default_rng(derive_seed(self._seed, number, salt))

    def _running(self, seen: Sequence[Observation]) -> Array:
        """The points of trials that run."""
        return points_of(self._space, [o for o in seen if o.state is TrialState.RUNNING])


class ConfidenceBound(ProcessChooser):
    """Chooses latents once `least` trials have ended."""

    def choose(self, number: int, seen: Sequence[Observation]) -> Chosen:
        """Choose trial `number`, or leave it to the sampler while too little is known."""
        return Chosen(latents=self.best(number, seen))

    def best(
        self, number: int, seen: Sequence[Observation], limits: Limits | None = None
    ) -> dict[str, Any] | None:
        """Return the latents of trial `number` within limits; None while too little is known."""
        known = self._known(seen)
        if known is None:
            return None
        points_ND, values_N = known
        running_RD = self._running(seen)
        process = self._fit(points_ND, values_N, running_RD)
        kappa = max(KAPPA_LEAST, KAPPA * KAPPA_DECAY ** (len(values_N) - self._least))
        rng = self._rng(number, "bound")
        best_KD = points_ND[np.argsort(-values_N, kind="stable")[:5]]
        low_D, high_D = box = box_of(self._space, self._limits if limits is None else limits)
        everywhere_MD = low_D + rng.random((NUM_RANDOM, best_KD.shape[1])) * (high_D - low_D)
        start_MD = np.concatenate([everywhere_MD, near(best_KD, NUM_NEAR, WIDTHS[0], rng)])

        def worth(at_MD: Array) -> Array:
            return within(box, self._bound(process, kappa, running_RD, at_MD), at_MD)

        return first_new(self._space, climb(worth, start_MD, WIDTHS, rng), seen)

    def score(
        self, candidates: Sequence[dict[str, Any]], seen: Sequence[Observation]
    ) -> list[float] | None:
        """Return what is expected of configurations, or None while too little is known."""
        known = self._known(seen)
        if known is None:
            return None
        at_MD = np.array([point_of(self._space, latents) for latents in candidates])
        mean_M, _ = fit(features_of(self._space, known[0]), known[1]).predict(
            features_of(self._space, at_MD)
        )
        return [float(mean) for mean in mean_M]

    def _known(self, seen: Sequence[Observation]) -> tuple[Array, Array] | None:
        """Points of ended trials and their normalised values, larger is better."""
        ended = [o for o in seen if o.state is not TrialState.RUNNING]
        ended = [o for o in ended if o.value is not None or o.is_infeasible][-MOST_POINTS:]
        if sum(not o.is_infeasible for o in ended) < self._least:
            return None
        return points_of(self._space, ended), normalised(ended, sign=self._sign)

    def _fit(self, points_ND: Array, values_N: Array, running_RD: Array) -> GaussianProcess:
        """Fit to what has ended; add running trials with the values that are expected of them."""
        known_NF, running_RF = (features_of(self._space, p) for p in (points_ND, running_RD))
        return with_expected(fit(known_NF, values_N), known_NF, values_N, running_RF)

    def _bound(
        self, process: GaussianProcess, kappa: float, running_RD: Array, at_MD: Array
    ) -> Array:
        drawn_MD = as_drawn(self._space, at_MD)
        mean_M, deviation_M = process.predict(features_of(self._space, drawn_MD))
        return keep_away(mean_M + kappa * deviation_M, drawn_MD, running_RD)


def points_of(space: SearchSpace, trials: Sequence[Observation]) -> Array:
    """Points of the unit cube, one row each; there may be none."""
    points = [point_of(space, o.latents) for o in trials]
    return _at_options(space, np.array(points).reshape(len(points), len(space.dimensions)))


def normalised(known: Sequence[Observation], *, sign: float) -> Array:
    """Return values of mean 0 and deviation 1, larger is better.

    A trial that failed by its parameters counts as the worst of the others, whatever it showed
    before it failed: a surrogate needs a height there, and this one makes it keep away.

    Args:
        known: trials of which at least one has a value and did not fail so.
        sign: -1 where smaller values are better.
    """
    lived_N = np.array([not o.is_infeasible for o in known])
    values_N = np.array([sign * (o.value or 0.0) for o in known])
    values_N = np.where(lived_N, values_N, values_N[lived_N].min())
    return np.asarray((values_N - values_N.mean()) / (float(values_N.std()) or 1.0))


def as_drawn(space: SearchSpace, points_MD: Array) -> Array:
    """Return points with dimensions that are inactive there in the middle, as trained trials are.

    Otherwise points of one configuration would differ in what it has no part in.
    """
    points_MD = _at_options(space, points_MD)
    if all(dimension.condition is None for dimension in space.dimensions):
        return points_MD
    active = [latents_at(space, point).keys() for point in points_MD]
    is_active_MD = np.array([[d.name in names for d in space.dimensions] for names in active])
    return np.where(is_active_MD, points_MD, IDLE)


def features_of(space: SearchSpace, points_ND: Array) -> Array:
    """What a process sees of points: numbers as the cube has them, options side by side."""
    columns, options = [], _options_of(space)
    for index, dimension in enumerate(space.dimensions):
        column_N = points_ND[:, index]
        if isinstance(dimension, Choice):
            option_S = options[dimension.name]
            chosen_N = option_S[_slots(column_N, len(option_S))]
            columns += [(chosen_N == k) / np.sqrt(2.0) for k in range(option_S[-1] + 1)]
        else:
            columns.append(column_N)
    return np.stack(columns, axis=1).astype(float)


def _at_options(space: SearchSpace, points_ND: Array) -> Array:
    """Return points with options of several slots in their first one, as all mean the same."""
    options = _options_of(space)
    for index, dimension in enumerate(space.dimensions):
        option_S = options.get(dimension.name, np.arange(1))
        if option_S[-1] + 1 < len(option_S):
            first_S = np.searchsorted(option_S, option_S)
            at_N = (first_S[_slots(points_ND[:, index], len(option_S))] + 0.5) / len(option_S)
            points_ND = np.column_stack([points_ND[:, :index], at_N, points_ND[:, index + 1 :]])
    return points_ND


def _options_of(space: SearchSpace) -> dict[str, Any]:
    """Of each choice which option its slots stand for, in order."""
    found = {}
    for parameter in space.parameters:
        for dimension in parameter.dimensions:
            if isinstance(parameter.domain, Options):
                sizes = [len(labels) for labels in parameter.domain.labels_by_option]
                found[dimension.name] = np.repeat(np.arange(len(sizes)), sizes)
            elif isinstance(dimension, Choice):
                found[dimension.name] = np.arange(len(dimension.choices))
    return found


def _slots(column_N: Array, num: int) -> Any:
    """The slots that hold positions in [0, 1]."""
    return np.minimum((column_N * num).astype(int), num - 1)


def climb(
    worth: Callable[[Array], Array],
    start_MD: Array,
    widths: Sequence[float],
    rng: np.random.Generator,
) -> Array:
    """Return where ever smaller steps from the best of the start lead, then the start.

    Both in the order of what their points are worth.

    Args:
        worth: of points of shape (M, D), in the unit cube.
        start_MD: points to begin with.
        widths: standard deviations of the steps, one round each.
        rng: what is random.
    """
    found_MD = start_MD
    for width in widths:
        top_KD = found_MD[np.argsort(-worth(found_MD), kind="stable")[:10]]
        found_MD = np.concatenate([top_KD, near(top_KD, NUM_NEAR, width, rng)])
    ordered = [some[np.argsort(-worth(some), kind="stable")] for some in (found_MD, start_MD)]
    return np.concatenate(ordered)


def first_new(space: SearchSpace, points_MD: Array, seen: Sequence[Observation]) -> dict[str, Any]:
    """Return the latents of the first point that no trial had; of the first where all were had.

    Between options and small whole numbers many points are one configuration.
    """
    known = [o.params for o in seen]
    of_points = (latents_at(space, point) for point in points_MD)
    new = (latents for latents in of_points if space.decode(latents) not in known)
    return next(new, None) or latents_at(space, points_MD[0])


def keep_away(worth_M: Array, at_MD: Array, running_RD: Array) -> Array:
    """Make points next to running trials worth less than all others."""
    if not len(running_RD):
        return worth_M
    gap_MR = np.linalg.norm(at_MD[:, None, :] - running_RD[None, :, :], axis=2)
    return np.where(gap_MR.min(axis=1) < _RADIUS, worth_M - 1e3, worth_M)


def within(box: tuple[Array, Array], worth_M: Array, at_MD: Array) -> Array:
    """Make points outside a box worth less than all others."""
    low_D, high_D = box
    return np.where(np.all((low_D <= at_MD) & (at_MD <= high_D), axis=1), worth_M, -np.inf)


def near(centers_KD: Array, count: int, width: float, rng: np.random.Generator) -> Array:
    """Return points around centers; half of the coordinates of each move."""
    chosen_MD = centers_KD[rng.integers(len(centers_KD), size=count)]
    moved_MD = rng.random(chosen_MD.shape) < 0.5
    step_MD = rng.normal(0.0, width, chosen_MD.shape)
    return np.clip(np.where(moved_MD, chosen_MD + step_MD, chosen_MD), 0.0, 1.0)
