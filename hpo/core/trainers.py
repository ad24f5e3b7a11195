"""Finding a registered trainer by name."""

from __future__ import annotations

import importlib
from importlib.metadata import entry_points
from typing import cast

from hpo.core.errors import SpecError
from hpo.core.protocols import Trainer
from hpo.core.specs import nearest

GROUP = "hpo.trainers"


def find_trainer(name: str) -> Trainer:
    """Import the trainer registered under `name` in the entry-point group `hpo.trainers`.

    A name of the form `module:ATTRIBUTE` is imported as it stands, for trainers that are not
    installed; `module:FACTORY@argument` is called with the text behind the sign.

    Raises:
        SpecError: when there is no such trainer, listing the ones there are.
    """
    if ":" in name:
        return _import_trainer(name)
    points = {point.name: point for point in entry_points(group=GROUP)}
    if name not in points:
        known = ", ".join(sorted(points)) or "none: is the trainer's package installed?"
        raise SpecError(
            f"trainer: no trainer is registered as {name!r} (registered: {known})"
            f"{nearest(name, points)}"
        )
    return cast(Trainer, points[name].load())


def demand(trainer: Trainer, method: str) -> None:
    """Refuse what a trainer cannot do because it has left out a method that it may leave out.

    Raises:
        SpecError: naming trainer and method.
    """
    if not hasattr(trainer, method):
        raise SpecError(f"trainer {trainer.name}: has no {method}, so it cannot do this")


def _import_trainer(name: str) -> Trainer:
    """Import `module:ATTRIBUTE`; an error inside the module itself is a bug and passes through."""
    place, is_call, argument = name.partition("@")
    module, _, attribute = place.partition(":")
    if not all(part.isidentifier() for part in [*module.split("."), attribute]):
        raise SpecError(f"trainer: {name!r} cannot be imported: it is not of the form module:NAME")
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if not f"{module}.".startswith(f"{error.name}."):
            raise
        raise SpecError(f"trainer: {name!r} cannot be imported: {error}") from error
    if not hasattr(found, attribute):
        raise SpecError(f"trainer: {name!r} cannot be imported: there is no {attribute} in it")
    value = getattr(found, attribute)
    return cast(Trainer, value(argument) if is_call else value)
