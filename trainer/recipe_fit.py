"""Finds what of a recipe does not go with the trunk, or with what the user has set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trainer.config.relations import broken
from trainer.inactive import inactive_keys
from trainer.models.trunk_facts import TrunkFacts
from trainer.spec import read_spec

NEEDS: Mapping[str, str] = {
    "dataset.first_size": "grows",
    "train.batch_norm": "has_batch_norm",
    "train.optim.layer_decay": "has_layers",
}
"""Key of a recipe -> what a trunk must have for it, by its name in `TrunkFacts`."""

Values = Mapping[str, Any]
"""Dotted key -> value."""


def unfit_for(facts: TrunkFacts) -> set[str]:
    """Return the keys that must stay at their defaults for a trunk."""
    return {key for key, fact in NEEDS.items() if not getattr(facts, fact)}


def refused(told: Values, recipe: Values) -> set[str]:
    """Return the keys of a recipe that are refused beside what was set."""
    lines = broken(read_spec({**recipe, **told}), "train")
    return {line.partition(":")[0] for line in lines} & recipe.keys() - told.keys()


def overruling(told: Values, recipe: Values, others: Values) -> dict[str, list[str]]:
    """Return each key of a recipe whose value would leave set values without effect, and those.

    Args:
        told: what was set.
        recipe: what may be left out.
        others: what is chosen beside it.
    """

    def idle(values: Values) -> set[str]:
        spec = read_spec({**others, **values, **told})
        return told.keys() & inactive_keys(spec).keys()

    free = {key: value for key, value in recipe.items() if key not in told}
    at_stake = idle(free) - idle({})
    kept: dict[str, Any] = {}
    found = {}
    for key, value in free.items() if at_stake else ():
        if stopped := at_stake & idle({**kept, key: value}):
            found[key] = sorted(stopped)
        else:
            kept[key] = value
    return found
