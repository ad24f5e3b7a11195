"""What policies are compared on: two made-up surfaces over the trainer's own space, and recordings.

The made-up ones are smooth around an optimum that is drawn per seed, and scaled so that the default
configuration has a given value: `near` has its optimum within 0.4 decades of the default in every
parameter, `far` within 1.5 decades, with noise. Fifteen parameters count, each 0.85 of the one
before it, the two learning rates first; a learning rate above 0.03 means chance level. Curves rise
to their end value, faster with higher learning rates. With these shares random search of 40 trials
ends where the description of the surfaces says (a median of 0.744 against 0.749).
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from hpo.core.seeds import derive_seed
from hpo.executors.simulator import SimulatedEpoch
from hpo.study.sections import SearchOptions
from hpo.study.spec import StudySpec
from search_spaces import SearchSpace, compile_space, load_schema
from search_spaces.rule import Scale
from tests.benchmarks.recorded_curves import RecordedCurves, read_curves
from trainer.session import TRAINER

RECORDED = Path(__file__).parents[2] / "studies" / "recorded" / "omniglot28.json.gz"
PEAK, CHANCE = 0.90, 0.02
SHARE = 0.85
DIVERGES_ABOVE = 0.03
RATES = ("train.optim.trunk.base_lr", "train.optim.embedder.base_lr")
ORDER = (
    *RATES,
    "train.optim.warmup_factor",
    "train.optim.triplet_loss_margin",
    "train.optim.miner_function_margin",
    "train.optim.gamma",
    "train.optim.trunk.weight_decay",
    "train.optim.embedder.weight_decay",
    "train.optim.warmup_iters",
    "train.optim.trunk.momentum",
    "train.optim.embedder.momentum",
    "train.optim.trunk.bias_lr_factor",
    "train.optim.embedder.bias_lr_factor",
    "train.optim.trunk.weight_decay_bias",
    "train.optim.embedder.weight_decay_bias",
)
"""From what matters most to what matters least."""


class Surface(Protocol):
    """A problem to search on."""

    name: str
    space: SearchSpace
    num_epochs: int
    best_known: float
    """The best value a configuration can have, noise aside, as far as is known."""

    def epochs(self, params: Mapping[str, Any], seed: int) -> Iterator[SimulatedEpoch]:
        """What a trial of these parameters reports."""

    def truth(self, params: Mapping[str, Any]) -> float:
        """The value of a fully trained configuration, noise aside."""

    def raw(self, rng: random.Random) -> dict[str, Any]:
        """Draw uniformly between the bounds that the schema states."""


def compiled(
    spec: Mapping[str, Any],
    limits: Any,
    *,
    num_trials: int | None = None,
    search: Mapping[str, Any] | None = None,
) -> SearchSpace:
    """The space of a search on this spec; `search` may hold `over` and `ranges` as a study does."""
    overlay = StudySpec(search=SearchOptions(**(search or {}))).overlay
    return compile_space(
        load_schema(TRAINER.skill_dir / "schemas" / "train.schema.json"),
        overlay=overlay,
        spec=spec,
        inactive=TRAINER.inactive,
        limits=limits,
        multiple_of=TRAINER.multiple_of,
        num_trials=num_trials,
    )


def draw_raw(space: SearchSpace, rng: random.Random) -> dict[str, Any]:
    """Draw every parameter of a space uniformly between the bounds that the schema states."""
    schema = load_schema(TRAINER.skill_dir / "schemas" / "train.schema.json")
    drawn: dict[str, Any] = {}
    for parameter in space.parameters:
        leaf = schema.leaves[parameter.name]
        low, high = float(leaf.minimum or 0.0), float(leaf.maximum)
        whole = leaf.kind.value == "int"
        drawn[parameter.name] = (
            rng.randint(int(low), int(high)) if whole else low + (high - low) * (1 - rng.random())
        )
    return drawn


@dataclass
class Synthetic:
    """One made-up surface; `seed` draws its optimum."""

    name: str
    reach: float
    """How far the optimum may be from the default, in decades (half the range if linear)."""
    default_value: float
    noise: float
    seed: int
    num_epochs: int = 27
    best_known: float = PEAK
    space: SearchSpace = field(init=False)

    def __post_init__(self) -> None:
        spec = TRAINER.validate(
            {"train.num_epochs": 27, "train.optim.name": "SGD", "train.optim.steps": [9, 18]}
        )
        self.space = compiled(spec, {})
        if {p.name for p in self.space.parameters} != set(ORDER):
            raise SystemExit("the schema's default parameters are no longer those of this surface")
        self._domains = {p.name: (p.domain, p.default) for p in self.space.parameters}
        self._ends = {
            p.name: tuple(self._offset(p.name, p.domain.decode([end], {})) for end in ends(p))
            for p in self.space.parameters
        }
        rng = random.Random(derive_seed("surface", self.name, self.seed))
        self._optimum = {name: self._draw(name, rng) for name in ORDER}
        away = sum(SHARE**k * self._optimum[name] ** 2 for k, name in enumerate(ORDER))
        drop = -math.log((self.default_value - CHANCE) / (PEAK - CHANCE))
        self._weights = {name: drop * SHARE**k / away for k, name in enumerate(ORDER)}

    def _draw(self, name: str, rng: random.Random) -> float:
        low, high = self._ends[name]
        return rng.uniform(max(-self.reach, low), min(self.reach, high))

    def _offset(self, name: str, value: float) -> float:
        """How far a value is from the default: decades, or units of 0.5 on a linear scale."""
        domain, default = self._domains[name]
        if domain.scale is Scale.LINEAR:
            return (value - default) / 0.5
        if domain.scale is Scale.REFLECTED:
            value, default = domain.pivot - value, domain.pivot - default
        return math.log10(max(value, 1e-12) / default)

    def truth(self, params: Mapping[str, Any]) -> float:
        """The end value."""
        if any(params[name] > DIVERGES_ABOVE for name in RATES):
            return CHANCE
        away = sum(
            weight * (self._offset(name, params[name]) - self._optimum[name]) ** 2
            for name, weight in self._weights.items()
        )
        return CHANCE + (PEAK - CHANCE) * math.exp(-away)

    def epochs(self, params: Mapping[str, Any], seed: int) -> Iterator[SimulatedEpoch]:
        """A saturating curve with independent noise at every epoch."""
        end = self.truth(params)
        rate = max(params[RATES[0]], 1e-7)
        pace = min(12.0, max(2.5, 5.0 * (3.5e-4 / rate) ** 0.08))
        rng = random.Random(derive_seed(seed, *(repr(params[name]) for name in ORDER)))
        whole = 1 - math.exp(-self.num_epochs / pace)
        for epoch in range(1, self.num_epochs + 1):
            risen = (1 - math.exp(-epoch / pace)) / whole
            value = CHANCE + (end - CHANCE) * risen + rng.gauss(0.0, self.noise)
            yield SimulatedEpoch(value=value, seconds=1.0)

    def raw(self, rng: random.Random) -> dict[str, Any]:
        """Uniform between the schema's bounds."""
        return draw_raw(self.space, rng)


def ends(parameter: Any) -> tuple[Any, Any]:
    """The lowest and highest value of a parameter's one dimension, by the default's side."""
    dimension = parameter.dimensions[0]
    low, high = dimension.low, dimension.high
    return (high, low) if parameter.domain.scale is Scale.REFLECTED else (low, high)


class Recorded:
    """Recorded curves of the real trainer, and what a surrogate says in between."""

    name = "recorded"

    def __init__(self, path: Path = RECORDED, *, with_noise: bool = True) -> None:
        self._with_noise = with_noise
        self.table: RecordedCurves = read_curves(path)
        self.num_epochs = self.table.num_epochs
        spec = TRAINER.validate(self.table.spec)
        self.space = compiled(spec, self.table.limits, search=self.table.search)
        self.table.fit(self.space)
        self.best_known = self.table.best_recorded()

    def truth(self, params: Mapping[str, Any]) -> float:
        """The surrogate's best epoch."""
        return float(self.table.predict(params).max())

    def epochs(self, params: Mapping[str, Any], seed: int) -> Iterator[SimulatedEpoch]:
        """The surrogate's curve with the trainer's own noise."""
        return self.table.replay(params, seed, with_noise=self._with_noise)

    def raw(self, rng: random.Random) -> dict[str, Any]:
        """Uniform between the schema's bounds."""
        return draw_raw(self.space, rng)


def make_far(seed: int, *, noise: float = 0.005) -> Surface:
    """The surface `far` of a seed."""
    return Synthetic("far", reach=1.5, default_value=0.734, noise=noise, seed=seed)


def make_surface(name: str, seed: int) -> Surface:
    """The surface of a comparison, by name."""
    if name == "near":
        return Synthetic("near", reach=0.4, default_value=0.889, noise=0.0, seed=seed)
    if name == "far":
        return make_far(seed)
    if name == "frozen":
        return Recorded(RECORDED.with_name("frozen.json.gz"))
    return Recorded(with_noise=name == "recorded")


MADE_UP = ("near", "far")
"""Drawn anew for each seed; the others are the same for all."""
SURFACES = (*MADE_UP, "recorded", "recorded_mean", "frozen")
"""All names. `recorded_mean` is the recorded surface without noise, where a
policy is not judged by how lucky the run was that it picked; `frozen` are heads on a pretrained trunk."""
