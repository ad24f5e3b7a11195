"""Builds algorithms that consist of a proposer and a pruner.

An algorithm is a sampler (what to try), and a pruner (who is stopped) or, over rung trials, a
policy (who goes on).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hpo.algorithms.brackets import (
    Bracket,
    Length,
    first_rung,
    hyperband_brackets,
    validated_brackets,
)
from hpo.algorithms.entry import Setting, Style
from hpo.algorithms.options import Option
from hpo.core.errors import SpecError
from hpo.core.protocols import Algorithm

if TYPE_CHECKING:
    import optuna

    from hpo.algorithms.confidence_bound import ConfidenceBound
    from hpo.algorithms.optuna_brain import OptunaAlgorithm, Recipe
    from hpo.algorithms.pruning import Pruner
    from hpo.algorithms.rung_policies import Policy
    from search_spaces import SearchSpace

MAX_RECOMMENDATIONS = Option(
    name="max_recommendations",
    low=1,
    aliases=("num_recommendations",),
    help="configurations after which no more are proposed; the budget of a search ends it anyway",
)

HALVING = (
    Option(
        name="max_epochs",
        route_default=27,
        low=1,
        help="epochs of a configuration that is never stopped; by default those of the spec",
    ),
    Option(
        name="reduction_factor",
        default=3,
        low=2,
        help="one configuration in so many goes on at each rung",
    ),
    Option(
        name="epoch_multiplier",
        route_default=1,
        low=1,
        aliases=("min_epochs",),
        help="epochs of the first rung; by default a ninth of all, at least two of four or more",
    ),
)
"""Options of all that halve."""

ROUNDS = Option(
    name="rounds",
    route_default=1,
    low=1,
    help="rounds of brackets after which nothing new is started; by default the budget decides",
)


def random_points(space: SearchSpace) -> int:
    """Points before a model speaks: ten is Optuna's default, a small space needs fewer."""
    return min(10, max(4, len(space.dimensions)))


def num_designed(setting: Setting, *, is_model_based: bool) -> int:
    """Trials at the start that no sampler chooses: a model's first points, or a short search's."""
    first_points = random_points(setting.space) if is_model_based else 0
    return max(setting.space.early_trials, first_points)


def sampler_recipe(
    setting: Setting, sampler: str, *, is_model_based: bool = True, **facts: Any
) -> Recipe:
    """Draws of a sampler of Optuna, by its class's name, after a designed start."""
    from hpo.algorithms.optuna_brain import Recipe

    more = {"n_startup_trials": random_points(setting.space)} if is_model_based else {}

    def make_sampler(seed: int) -> optuna.samplers.BaseSampler:
        from optuna import samplers

        made: optuna.samplers.BaseSampler = getattr(samplers, sampler)(seed=seed, **more)
        return made

    return Recipe(
        make_sampler=make_sampler,
        num_designed=num_designed(setting, is_model_based=is_model_based),
        max_trials=setting.options.get("max_recommendations"),
        **facts,
    )


def random_recipe(setting: Setting) -> Recipe:
    """Uniform draws; a short search begins with a design."""
    return sampler_recipe(setting, "RandomSampler", is_model_based=False)


def tpe_recipe(setting: Setting) -> Recipe:
    """Optuna's TPE after a designed start."""
    return sampler_recipe(setting, "TPESampler")


def bound_for(setting: Setting) -> ConfidenceBound:
    """The chooser by a Gaussian process's upper confidence bound."""
    from hpo.algorithms.confidence_bound import ConfidenceBound

    return ConfidenceBound(
        setting.space,
        direction=setting.direction,
        seed=setting.seed,
        least=random_points(setting.space),
    )


def assemble(setting: Setting, recipe: Recipe, pruner: Pruner | None) -> OptunaAlgorithm:
    """Combine sampler and pruner."""
    from hpo.algorithms.optuna_brain import OptunaAlgorithm

    return OptunaAlgorithm(
        setting.space,
        replace(
            recipe,
            first=setting.context.first,
            can_repeat=recipe.can_repeat or setting.context.has_parents,
        ),
        pruner=pruner,
        direction=setting.direction,
        num_epochs=length_of(setting),
        seed=setting.seed,
        stops_by=setting.context.stops_by,
    )


def with_pruner(setting: Setting, recipe: Recipe) -> Algorithm:
    """Put the pruner that the user chose beside a sampler; of rung trials none is stopped early."""
    from hpo.algorithms.pruners import PRUNERS

    pruner = None
    if not setting.is_rungs:
        pruner = PRUNERS[setting.pruner][0](setting.num_epochs, setting.direction)
    return assemble(setting, recipe, pruner)


def with_brackets(setting: Setting, recipe: Recipe, *, early: Pruner | None = None) -> Algorithm:
    """Put Hyperband's brackets beside a sampler.

    Args:
        setting: with `reduction_factor`, `epoch_multiplier` and `rounds` among its options.
        recipe: what to try.
        early: may stop a trial between two rungs.
    """
    from hpo.algorithms.pruning import AnyPruner, BracketPruner
    from hpo.algorithms.rung_policies import SynchronousBrackets

    factor, rounds = setting.options["reduction_factor"], setting.options.get("rounds")
    brackets = brackets_of(setting.options, setting.length, setting.context.style)
    if setting.is_rungs:
        return over_rungs(setting, recipe, SynchronousBrackets(brackets, rounds), early)
    pruner = BracketPruner(brackets, factor, setting.direction)
    if rounds is not None:
        recipe = replace(recipe, max_trials=rounds * pruner.round_size)
    return assemble(setting, recipe, pruner if early is None else AnyPruner(pruner, early))


def over_rungs(
    setting: Setting, recipe: Recipe, policy: Policy, early: Pruner | None = None
) -> Algorithm:
    """Let a policy say which configurations of a sampler go on, each rung a trial of its own."""
    from hpo.algorithms.rung_trials import RungTrials

    return RungTrials(
        assemble(setting, replace(recipe, can_repeat=True), None),  # a rung waits until it is full
        policy,
        direction=setting.direction,
        num_epochs=length_of(setting),
        early=early,
    )


def length_of(setting: Setting) -> int:
    """Epochs of a configuration that is never stopped; see `longest_of`."""
    return longest_of(setting.options, setting.num_epochs)


def longest_of(options: Mapping[str, Any], num_epochs: int) -> int:
    """Epochs of a configuration that is never stopped, where a full trial has so many.

    Raises:
        SpecError: when more are asked for than a trial has.
    """
    asked = options.get("max_epochs")
    if asked is not None and asked > num_epochs:
        raise SpecError(
            f"max_epochs: at most the {num_epochs} epochs of a trial must be given, got "
            f"{asked}; set the trainer's number of epochs to {asked} too"
        )
    return int(asked or num_epochs)


def _shortest_of(options: Mapping[str, Any], num_epochs: int) -> int:
    """Epochs of the first rung."""
    epochs, given = longest_of(options, num_epochs), options.get("epoch_multiplier")
    if given is not None and given > epochs:
        raise SpecError(f"epoch_multiplier: at most {epochs} epochs must be given, got {given}")
    return int(given or first_rung(epochs))


def rungs_for(setting: Setting) -> tuple[int, ...]:
    """The rungs of the one bracket of successive halving."""
    return brackets_of(setting.options, setting.length, setting.context.style)[0].rungs


def brackets_of(options: Mapping[str, Any], length: Length, style: Style) -> tuple[Bracket, ...]:
    """Hyperband's brackets by the options of `HALVING`.

    Rungs that are trials end at validated epochs; a trial that runs on is judged at the next one.
    """
    longest, shortest = longest_of(options, length.epochs), _shortest_of(options, length.epochs)
    if style == "rungs":
        return validated_brackets(length.within(longest), shortest, options["reduction_factor"])
    return hyperband_brackets(longest, shortest, options["reduction_factor"])


def bracket_trials(options: Mapping[str, Any], length: Length, style: Style) -> int | None:
    """How many trials all rounds of Hyperband's brackets are; None of rounds without a limit.

    The default has a place of the brackets, but stands beside rungs that are trials.
    """
    rounds = options.get("rounds")
    if rounds is None:
        return None
    brackets = brackets_of(options, length, style)
    if style == "rungs":
        return 1 + int(rounds) * sum(sum(bracket.sizes) for bracket in brackets)
    return int(rounds) * sum(bracket.sizes[0] for bracket in brackets)
