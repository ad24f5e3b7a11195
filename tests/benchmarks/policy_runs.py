"""One simulated search of one policy on one surface, and the policies by name."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from hpo.algorithms import create_algorithm
from hpo.algorithms.entry import Context
from hpo.algorithms.registry import ALGORITHMS
from hpo.core.budget import Budget
from hpo.core.seeds import derive_seed
from hpo.core.spec_dicts import lookup
from hpo.core.trial import CONTINUE, Decision, Ended, Launch, Measurement, Suggestion, TrialRecord
from hpo.executors.simulator import SimulatedExecutor
from hpo.run.ledger import Ledger
from hpo.run.trial_specs import TrialSpecs
from hpo.searching.engine import Engine
from hpo.searching.engine_parts import Plan
from search_spaces.compilation import for_length
from tests.benchmarks.surfaces import Surface

LANGUAGE_MODELS = ("llm", "hybrid", "autoresearch")
"""Left out: what they propose costs calls to a model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How trials are chosen and stopped, and which of them counts as the best."""

    name: str
    make: Callable[[Surface, int, Context], Any]
    """Makes the algorithm for a surface, a seed and the search around it."""
    takes_any_length: bool = False
    """Whether the best is the best last value of all trials, as in Ray; else of the longest."""


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What a search had found, and when."""

    trace: list[tuple[int, int, float, float]] = field(default_factory=list)
    """(epochs, trials, simulated seconds, true value of the best so far), at every change."""
    epochs: int = 0
    trials: int = 0
    busy: float = 1.0

    def at(self, epochs: int) -> float:
        """The true value of the best after so many epochs; 0 before the first."""
        known = [truth for spent, _, _, truth in self.trace if spent <= epochs]
        return known[-1] if known else 0.0

    def reaches(self, value: float) -> int | None:
        """Epochs after which the best was at least so good, and stayed so for the moment."""
        return next((spent for spent, _, _, truth in self.trace if truth >= value), None)


class Watched:
    """The engine, with a look at the best trial after every epoch."""

    def __init__(self, engine: Engine, surface: Surface, policy: Policy, now: Callable[[], float]):
        self._engine, self._surface, self._policy, self._now = engine, surface, policy, now
        self._params: dict[int, dict[str, Any]] = {}
        self._best: dict[int, tuple[float, float]] = {}
        self._ended: set[int] = set()
        self._chosen: int | None = None
        self.outcome = Outcome()

    def next_launch(self) -> Launch | None:
        """The engine's."""
        launch = self._engine.next_launch()
        if launch is not None:
            names = [p.name for p in self._surface.space.parameters]
            self._params[launch.number] = {name: lookup(launch.spec, name) for name in names}
            self.outcome.trials = len(self._params)
        return launch

    def is_over(self) -> bool:
        """The engine's."""
        return self._engine.is_over()

    def on_epoch(self, number: int, payload: Mapping[str, Any]) -> bool:
        """Pass on, and see whether another trial is the best now."""
        goes_on = self._engine.on_epoch(number, payload)
        epoch, value = int(payload["epoch"]), float(payload["value"])
        self.outcome.epochs += 1
        if self._policy.takes_any_length:
            self._best[number] = (0.0, value)
        else:
            self._best[number] = (epoch, max(value, self._best.get(number, (0, value))[1]))
        chosen = self._first()
        if chosen != self._chosen:
            self._chosen = chosen
            truth = self._surface.truth(self._params[chosen])
            out = self.outcome
            out.trace.append((out.epochs, out.trials, round(self._now(), 3), round(truth, 6)))
        return goes_on

    def on_end(self, number: int, ended: Ended) -> None:
        """The engine's."""
        self._ended.add(number)
        self._engine.on_end(number, ended)

    def _first(self) -> int:
        """As `hpo.core.selection.ranked` has it, without sorting all trials after every epoch."""
        best = self._best
        longest = max(length for length, _ in best.values())
        goal = max(value for length, value in best.values() if length == longest)
        able = {n for n, (length, _) in best.items() if length == longest}
        able |= {n for n in best if n not in self._ended and best[n][1] > goal}
        return max(able, key=lambda n: (best[n][1], -n))


def simulate(surface: Surface, policy: Policy, seed: int, budget: Budget, slots: int) -> Outcome:
    """Search once."""
    context = Context(slots=slots, planned_trials=budget.trials)
    names = [p.name for p in surface.space.parameters]

    def replay(launch: Launch) -> Any:
        return surface.epochs({name: lookup(launch.spec, name) for name in names}, seed)

    executor = SimulatedExecutor(replay, slots)
    engine = Engine(
        ledger=Ledger.create(None, "maximize"),
        algorithm=policy.make(surface, derive_seed("policy", seed), context),
        plan=Plan(
            specs=TrialSpecs(base_spec={"train": {"seed": 1}}, seed_key="train.seed"),
            budget=budget,
            num_epochs=surface.num_epochs,
        ),
        emit=lambda _event: None,
        now=executor.now,
    )
    watched = Watched(engine, surface, policy, executor.now)
    executor.run(watched)
    watched.outcome.busy = round(executor.busy_share(), 4)
    return watched.outcome


def registered(name: str, pruner: str = "auto") -> Callable[[Surface, int, Context], Any]:
    """Makes a registered algorithm as a search would."""

    def make(surface: Surface, seed: int, context: Context) -> Any:
        return create_algorithm(
            name,
            for_length(surface.space, context.planned_trials),
            direction="maximize",
            num_epochs=surface.num_epochs,
            seed=seed,
            pruner=pruner,
            context=context,
        )

    return make


class RawRandom:
    """Uniform draws between the schema's bounds, every trial in full."""

    def __init__(self, surface: Surface, seed: int) -> None:
        self._surface, self._seed = surface, seed

    def ask(self, number: int) -> Suggestion:
        """Draw."""
        params = self._surface.raw(random.Random(derive_seed(self._seed, number)))
        until = self._surface.num_epochs
        return Suggestion(number=number, params=params, latents={}, until_epoch=until)

    def restore(self, trial: TrialRecord) -> None:
        """Nothing is remembered."""

    def report(self, number: int, measurement: Measurement) -> Decision:
        """Never stop."""
        return CONTINUE

    def tell(self, trial: TrialRecord) -> None:
        """Nothing is learned."""


class RayPair:
    """Ray's own OptunaSearch and ASHA objects with their defaults, asked as Tune asks them.

    Tune itself is not run: `suggest`, `on_trial_result` and `on_trial_complete` of the searcher and
    `on_result` of the scheduler's bracket are called in the order in which its loop calls them. A
    stopped trial is told as complete with its last value, which is what Tune does.
    """

    def __init__(self, surface: Surface, seed: int) -> None:
        from optuna.distributions import BaseDistribution
        from ray.tune.schedulers.async_hyperband import _Bracket
        from ray.tune.search.optuna import OptunaSearch

        from hpo.algorithms.optuna_points import to_distribution

        dimensions = {d.name: to_distribution(d) for d in surface.space.dimensions}
        assert all(isinstance(d, BaseDistribution) for d in dimensions.values())
        self._surface = surface
        self._search = OptunaSearch(space=dimensions, metric="value", mode="max", seed=seed)
        self._bracket = _Bracket(
            min_t=1, max_t=surface.num_epochs, reduction_factor=4, s=0, stop_last_trials=True
        )
        self._last: dict[int, float] = {}

    def ask(self, number: int) -> Suggestion:
        """Ask the searcher."""
        latents = self._search.suggest(str(number))
        params = self._surface.space.decode(latents)
        until = self._surface.num_epochs
        return Suggestion(number=number, params=params, latents=dict(latents), until_epoch=until)

    def restore(self, trial: TrialRecord) -> None:
        """Simulations are not resumed."""

    def report(self, number: int, measurement: Measurement) -> Decision:
        """Tell the searcher, ask the scheduler."""
        self._last[number] = measurement.value
        result = {"value": measurement.value, "training_iteration": measurement.epoch}
        self._search.on_trial_result(str(number), result)
        trial = type("Trial", (), {"trial_id": str(number)})()
        action = self._bracket.on_result(trial, measurement.epoch, measurement.value)
        return Decision(stop=action == "STOP", reason="ASHA")

    def tell(self, trial: TrialRecord) -> None:
        """Tell the last value, whether stopped or not."""
        result = {"value": self._last[trial.number], "training_iteration": trial.epochs}
        self._search.on_trial_complete(str(trial.number), result)


def policies() -> dict[str, Policy]:
    """Every policy that is compared, ours first."""
    names = ["auto", *(n for n in ALGORITHMS if n not in LANGUAGE_MODELS)]
    ours = [Policy(name=name, make=registered(name)) for name in names]
    others = [
        Policy(name="random, full training", make=registered("random", "none")),
        Policy(name="tpe, full training", make=registered("tpe", "none")),
        Policy(
            name="Ray ASHA + OptunaSearch",
            make=lambda surface, seed, _: RayPair(surface, seed),
            takes_any_length=True,
        ),
        Policy(
            name="random, raw schema ranges",
            make=lambda surface, seed, _: RawRandom(surface, seed),
        ),
    ]
    return {policy.name: policy for policy in (*ours, *others)}
