"""Finds a registered trainer by name."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

from hpo.core import trainer_extras as extras
from hpo.core.averager import Averager
from hpo.core.errors import SpecError
from hpo.core.installed import entry_points
from hpo.core.protocols import Trainer
from hpo.core.text import nearest, quoted
from hpo.core.trial import Direction
from hpo.core.trial_failures import describe_exit
from hpo.core.unknown_calibrator import UnknownCalibrator

T = TypeVar("T")

GROUP = "hpo.trainers"
_NEEDED_FOR: dict[type, str] = {
    extras.CostMeter: "a limit on latency or parameters (--max-latency, --max-params)",
    Averager: "averaging the best trials (--average)",
    extras.DataDoctor: "looking at pictures (`hpo doctor`)",
    extras.SourceSettler: "keeping groups of pictures in one split (--group-by)",
    extras.FormExporter: "that form of an export (--with-preprocessing, --timm, --triton)",
    extras.GalleryEditor: "`hpo gallery`",
    extras.GalleryKeeper: "that change of a gallery",
    extras.PictureLabeller: "a threshold for unknown classes (--unknown-at)",
    extras.GalleryMeter: "measuring a gallery (`hpo gallery --sizes`)",
    UnknownCalibrator: "calibrating unknown pictures (`hpo gallery --calibrate-unknown`)",
}
TRUSTED = "HPO_TRAINER_MODULES"
"""Environment variable: modules and packages, by commas, that a study may name beside those that
are registered. Without it no file can have code imported."""
OWN = "hpo.automl.skill_trainer"
"""Stands in the studies that the AutoML route writes; it runs the command of the skill folder that
the user has named."""


def find_trainer(name: str) -> Trainer:
    """Import the trainer registered under `name` in the entry-point group `hpo.trainers`.

    A name of the form `module:ATTRIBUTE` is imported as it stands where the environment trusts its
    module, for trainers that are not installed; `module:FACTORY@argument` is called with the text
    behind the sign.

    Raises:
        SpecError: when there is no such trainer, listing the ones there are, or it is not trusted.
    """
    try:
        found = _import_trainer(name) if ":" in name else _load_registered(name)
    except SystemExit as end:
        raise SpecError(f"trainer: {name!r} cannot be imported: {describe_exit(end)}") from end
    return _checked(found, name)


def _load_registered(name: str) -> object:
    points = {point.name: point for point in entry_points(GROUP)}
    if name not in points:
        known = ", ".join(sorted(points)) or "none: is the trainer's package installed?"
        raise SpecError(
            f"trainer: no trainer is registered as {quoted(name)} (registered: {known})"
            f"{nearest(name, points)}"
        )
    return points[name].load()


def registered_trainer(network: str) -> Trainer | None:
    """The trainer registered for a network; None for one that is known by its skill alone."""
    names = {point.name for point in entry_points(GROUP)}
    return find_trainer(network) if network in names else None


_KINDS: dict[str, tuple[type, str]] = {
    **dict.fromkeys(("name", "monitoring_metric", "epochs_key", "seed_key"), (str, "text")),
    "skill_dir": (Path, "a pathlib.Path"),
    "multiple_of": (Mapping, "a mapping"),
}
"""What the members of a trainer are that are no methods, its direction apart."""


def _checked(found: object, name: str) -> Trainer:
    """Refuse what lacks a member of a trainer, or has another thing of its name.

    Args:
        found: what a name leads to.
        name: that name.
    """
    trainer = cast(Trainer, found)
    where = f"trainer: {name!r} is not a trainer"
    if isinstance(found, type):
        raise SpecError(f"{where}: it is the class {found.__name__}; name an object of it")
    for member in extras.members_of(Trainer):
        if not hasattr(found, member):
            raise SpecError(f"{where}: it has no {member}")
        kind, words = _KINDS.get(member, (None, "a method"))
        value = getattr(found, member)
        is_one = isinstance(value, kind) if kind else callable(value)
        if member != "direction" and not is_one:
            raise SpecError(f"{where}: its {member} must be {words}, got {quoted(value)}")
    if trainer.direction not in tuple(Direction):
        known, given = " or ".join(Direction), trainer.direction
        raise SpecError(f"trainer {trainer.name}: its direction must be {known}, got {given!r}")
    return trainer


def demand_mapping(value: Any, trainer: Trainer, method: str) -> dict[str, Any]:
    """Return what a method of a trainer has returned, which must be a mapping.

    Raises:
        SpecError: it is none.
    """
    if not isinstance(value, Mapping):
        raise SpecError(
            f"trainer {trainer.name}: {method} must return a mapping, got {quoted(value)}"
        )
    return dict(value)


def refuse_code(name: str, where: str) -> None:
    """Refuse a trainer's name by which a file from anywhere would have code run.

    Raises:
        SpecError: when it names a module or a skill folder and the environment does not trust it.
    """
    module = name.partition(":")[0]
    if ":" in name and not _is_trusted(module):
        raise SpecError(
            f"{where}: must be the name of a registered trainer, got {quoted(name)}, which names "
            f"code to run; if you trust it, register it under {GROUP} or set {TRUSTED}={module}"
        )


def _is_trusted(module: str) -> bool:
    trusted = [name.strip() for name in os.environ.get(TRUSTED, "").split(",")]
    return any(name and f"{module}.".startswith(f"{name}.") for name in trusted)


def demand(trainer: Trainer, extra: type[T]) -> T:
    """Return a trainer as one that has an extra (`hpo.core.trainer_extras`).

    Raises:
        SpecError: naming trainer and the first method that it lacks.
    """
    if isinstance(trainer, extra):
        return trainer
    members = extras.members_of(extra)
    lacking = next((name for name in members if not hasattr(trainer, name)), members[0])
    raise SpecError(
        f"trainer {trainer.name}: has no {lacking}, which {_NEEDED_FOR.get(extra, 'this')} needs; "
        "leave that out, or use another trainer"
    )


def restart_keys(trainer: Trainer) -> tuple[str, ...]:
    """Spec keys and sections that no checkpoint can go on under once they have changed."""
    return tuple(trainer.restart_keys) if isinstance(trainer, extras.RestartAware) else ("model",)


def _import_trainer(name: str) -> object:
    """Import `module:ATTRIBUTE`; an error inside the module itself is a bug and passes through."""
    place, is_call, argument = name.partition("@")
    module, _, attribute = place.partition(":")
    if not all(part.isidentifier() for part in [*module.split("."), attribute]):
        raise SpecError(f"trainer: {name!r} cannot be imported: it is not of the form module:NAME")
    if module != OWN:
        refuse_code(name, "trainer")
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if not f"{module}.".startswith(f"{error.name}."):
            raise
        raise SpecError(f"trainer: {name!r} cannot be imported: {error}") from error
    if not hasattr(found, attribute):
        raise SpecError(f"trainer: {name!r} cannot be imported: there is no {attribute} in it")
    value = getattr(found, attribute)
    if is_call and not callable(value):
        raise SpecError(f"trainer: {name!r} cannot be imported: {attribute} takes no @ARGUMENT")
    return value(argument) if is_call else value
