"""The table of algorithms and pruners, and how a name becomes an algorithm.

An algorithm of another package registers an `AlgorithmEntry` under the entry-point group
`hpo.algorithms`; nothing here changes for it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from hpo.algorithms import (
    asha,
    auto,
    autoresearch,
    bayesian,
    bfbo,
    bohb,
    dehb,
    hybrid,
    hyperband,
    hyperband_es,
    llm,
    mfbo,
    pbt,
    random_search,
    tpe,
)
from hpo.algorithms.entry import AlgorithmEntry, Context, Setting
from hpo.algorithms.llm_analyzer import analyzed
from hpo.algorithms.options import resolve_options, without_secrets
from hpo.algorithms.primary import StoppedByPrimary
from hpo.algorithms.pruners import PRUNERS
from hpo.core.errors import SpecError
from hpo.core.installed import entry_points
from hpo.core.protocols import Algorithm
from hpo.core.text import nearest

if TYPE_CHECKING:
    from search_spaces import SearchSpace

GROUP = "hpo.algorithms"
AUTO = auto.NAME
ALGORITHMS: dict[str, AlgorithmEntry] = {
    module.ENTRY.name: module.ENTRY
    for module in (
        random_search,
        tpe,
        bayesian,
        bfbo,
        mfbo,
        hyperband,
        hyperband_es,
        asha,
        bohb,
        dehb,
        pbt,
        llm,
        hybrid,
        autoresearch,
    )
}
"""name -> entry, of all that come with the package."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What `auto` and aliases stand for in one study."""

    algorithm: str
    pruner: str
    """`none` also where the algorithm brings its own pruning."""
    reason: str
    """Why, where something was chosen for the user; else empty."""
    warning: str = ""
    """What stands against the choice, where the user has made it."""


def find_algorithm(name: str) -> AlgorithmEntry:
    """Return the entry of a name or alias, in any case; other packages are asked last.

    Raises:
        SpecError: when nothing is registered under the name.
    """
    wanted = str(name).strip().lower()
    found = _named(wanted, ALGORITHMS) or _named(wanted, _foreign(wanted))
    if found := found or _foreign_alias(wanted):
        return found
    known = [AUTO, *ALGORITHMS, *(point.name for point in entry_points(GROUP))]
    raise SpecError(
        f"search.algorithm: must be one of {', '.join(known)}; got {name!r}{nearest(wanted, known)}"
    )


def canonical_name(name: str) -> str:
    """The name of what is called so; of what nobody knows, the same in small letters."""
    try:
        return find_algorithm(name).name
    except SpecError:
        return str(name).strip().lower()


def _named(wanted: str, table: Mapping[str, AlgorithmEntry]) -> AlgorithmEntry | None:
    entries = table.values()
    return next((e for e in entries if wanted in map(str.lower, (e.name, *e.aliases))), None)


def list_algorithms() -> list[AlgorithmEntry]:
    """Every entry, those of other packages last."""
    return [*ALGORITHMS.values(), *_foreign(None).values()]


def resolve_names(
    algorithm: str,
    pruner: str,
    *,
    num_epochs: int,
    num_reports: int | None = None,
    dimensions: int = 0,
    trials: int | None = None,
    slots: int = 1,
) -> Choice:
    """Replace `auto` and aliases by names and say why.

    Args:
        algorithm: a name, an alias or `auto`.
        pruner: a name or `auto`.
        num_epochs: length of a full trial.
        num_reports: validations of a full trial; None: one after each epoch.
        dimensions: of the compiled space; 0 when unknown.
        trials: the budget of trials, or None.
        slots: trials at a time.

    Raises:
        SpecError: for a name that is not registered, or a pruner beside an algorithm that prunes.
    """
    if pruner != AUTO and pruner not in PRUNERS:
        known = ", ".join([AUTO, *PRUNERS])
        hint = nearest(pruner, PRUNERS)
        raise SpecError(f"search.pruner: must be one of {known}; got {pruner!r}{hint}")
    reasons = []
    num_reports = num_epochs if num_reports is None else num_reports
    if algorithm == AUTO:
        algorithm, why = auto.choose_algorithm(
            num_reports=num_reports, dimensions=dimensions, trials=trials, slots=slots
        )
        reasons.append(why)
    entry = find_algorithm(algorithm)
    if entry.brings_pruning:
        if pruner not in (AUTO, "none"):
            raise SpecError(
                f"search.pruner: {entry.name} stops trials by itself, so no other pruner can stand "
                f"beside it; leave {pruner!r} out, or choose tpe, random or bayesian"
            )
        reasons.append(f"{entry.name} stops trials by itself")
        pruner = "none"
    elif pruner == AUTO:
        pruner, why = auto.choose_pruner(num_epochs, num_reports)
        reasons.append(why)
    return Choice(
        algorithm=entry.name,
        pruner=pruner,
        reason="; ".join(reasons),
        warning=_warning(entry, pruner, num_reports),
    )


def _warning(entry: AlgorithmEntry, pruner: str, num_reports: int) -> str:
    """Say that there are too few validations to judge a trial before its end."""
    if num_reports >= auto.LEAST_REPORTS or (pruner == "none" and not entry.brings_pruning):
        return ""
    who = entry.name if entry.brings_pruning else f"pruner {pruner}"
    times = "once" if num_reports == 1 else f"{num_reports} times"
    return (
        f"a trial is validated only {times}, so {who} has next to nothing to judge it by; validate "
        "more often (train.validation_interval) or train longer"
    )


def create_algorithm(
    name: str,
    space: SearchSpace,
    *,
    direction: str,
    num_epochs: int,
    seed: int,
    pruner: str = AUTO,
    options: Mapping[str, Any] | None = None,
    context: Context | None = None,
) -> Algorithm:
    """Build a registered algorithm over a space.

    Args:
        name: a name, an alias or `auto`.
        space: what is searched.
        direction: `maximize` or `minimize`.
        num_epochs: length of a full trial.
        seed: the study's seed.
        pruner: a name or `auto`.
        options: the algorithm's own, by any spelling (`hpo algorithms` lists them).
        context: the search around it.

    Raises:
        SpecError: for a name or option that is not registered, or a value that does not fit.
    """
    context = context or Context()
    choice = resolve_names(
        name,
        pruner,
        num_epochs=num_epochs,
        dimensions=len(space.dimensions),
        trials=context.planned_trials,
        slots=context.slots,
    )
    entry = find_algorithm(choice.algorithm)
    given = resolve_options(entry.name, entry.options, options or {}, route=context.route)
    setting = Setting(
        space=space,
        direction=direction,
        num_epochs=num_epochs,
        seed=seed,
        pruner=choice.pruner,
        options=given,
        context=context,
    )
    algorithm = analyzed(entry.build(setting), setting, options or {})
    if context.stops_by is None or entry.name in ALGORITHMS:
        return algorithm
    return StoppedByPrimary(algorithm, *context.stops_by)


def check_options(name: str, options: Mapping[str, Any], *, route: bool = False) -> dict[str, Any]:
    """Return the complete options of an algorithm without building it.

    Raises:
        SpecError: as `create_algorithm`.
    """
    if name == AUTO:
        if options:
            given = ", ".join(options)
            raise SpecError(
                f"search.algorithm_options: {given} needs a chosen algorithm; name one with "
                "--algorithm, `hpo algorithms` lists them"
            )
        return {}
    entry = find_algorithm(name)
    for option in entry.options:
        if option.instead and not route and not options.keys().isdisjoint(option.names):
            raise SpecError(
                f"search.algorithm_options.{option.name}: has no effect here; give "
                f"{option.instead} in its place"
            )
    return resolve_options(entry.name, entry.options, options, route=route)


def refuse_secrets(name: str, options: Mapping[str, Any]) -> None:
    """Refuse options that a study would write down, but that may stand in no file.

    Raises:
        SpecError: naming the variable that holds the secret instead.
    """
    if name == AUTO:
        return
    known = find_algorithm(name).options
    kept = without_secrets(known, options)
    for given in options:
        if given not in kept:
            option = next(o for o in known if given in o.names)
            raise SpecError(
                f"search.algorithm_options.{given}: a study is written to disk, so no secret may "
                f"stand in it; set {option.env[0]} in the environment"
            )


def _foreign_alias(alias: str) -> AlgorithmEntry | None:
    """The entry of another package that has an alias; those that are broken are passed over."""
    for point in entry_points(GROUP):
        with contextlib.suppress(Exception):
            if entry := _named(alias, _foreign(point.name.lower())):
                return entry
    return None


def _foreign(name: str | None) -> dict[str, AlgorithmEntry]:
    """Entries of other packages: the one of this name, or all."""
    found = {}
    for point in entry_points(GROUP):
        if name is None or point.name.lower() == name:
            if point.name.lower() in (AUTO, *ALGORITHMS):
                raise SpecError(
                    f"entry point {point.name} of {GROUP}: must be called otherwise than what "
                    "comes with hpo; rename it in the package that has it"
                )
            entry = point.load()
            if not isinstance(entry, AlgorithmEntry):
                raise SpecError(
                    f"entry point {point.name} of {GROUP}: must be an AlgorithmEntry, got "
                    f"{type(entry).__name__}"
                )
            found[point.name] = replace(entry, name=point.name)
    return found
