"""Finding a registered trainer by name."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import cast

from hpo.core.errors import SpecError
from hpo.core.protocols import Trainer
from hpo.core.specs import nearest

GROUP = "hpo.trainers"


def find_trainer(name: str) -> Trainer:
    """Import the trainer registered under `name` in the entry-point group `hpo.trainers`.

    A name of the form `module:ATTRIBUTE` is imported as it stands, for trainers that are not
    installed.

    Raises:
        SpecError: when there is no such trainer, listing the ones there are.
    """
    if ":" in name:
        return cast(Trainer, EntryPoint(name=name, value=name, group=GROUP).load())
    points = {point.name: point for point in entry_points(group=GROUP)}
    if name not in points:
        known = ", ".join(sorted(points)) or "none: is the trainer's package installed?"
        raise SpecError(
            f"trainer: no trainer is registered as {name!r} (registered: {known})"
            f"{nearest(name, points)}"
        )
    return cast(Trainer, points[name].load())
