"""Parts of a plan that stand alone: the number of samples, records of caps, custom ranges."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hpo.automl.errors import AutoMLError
from hpo.automl.settings import SAMPLE_COUNT, SAMPLE_COUNT_NAMES, UNSAFE_BATCH
from hpo.automl.skill_trainer import SkillTrainer
from hpo.core.spec_dicts import flatten, plain


def count_samples(
    settings: Mapping[str, Any], arguments: Mapping[str, Any], spec: Mapping[str, Any]
) -> int | None:
    """How many training samples there are, by whichever name it was said; None where it was not.

    Args:
        settings: complete.
        arguments: what the caller passes on to a platform.
        spec: nested.
    """
    if settings[UNSAFE_BATCH] or arguments.get(UNSAFE_BATCH):
        return None
    if settings[SAMPLE_COUNT] is not None:
        return int(settings[SAMPLE_COUNT])
    for place in (arguments, flatten(spec)):
        for name in SAMPLE_COUNT_NAMES:
            count = place.get(name)
            if isinstance(count, int) and not isinstance(count, bool) and count > 0:
                return count
    return None


def described_cap(
    record: Mapping[str, Any], trainer: SkillTrainer, spec: Mapping[str, Any]
) -> dict[str, Any]:
    """A record of a changed batch in the published words, where all samples are too few."""
    cap = trainer.batch_cap(spec)
    if cap is None or record["from"] <= cap:
        return dict(record)
    return {
        **record,
        "type": "effective_batch_cap",
        "key": record["param"],
        "sample_count": trainer.facts.samples,
        "dp_shard_size": trainer.num_shards(spec),
    }


def all_ranges(given: Any, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Custom ranges by name; `automl_range_override` is another way to give them.

    Raises:
        AutoMLError: for another form, or two ranges of one parameter.
    """
    own = _by_name(given, "custom_param_ranges")
    if empty := sorted(name for name, entry in own.items() if entry in ({}, None)):
        raise AutoMLError(
            f"custom_param_ranges: {', '.join(empty)}: must say valid_min, valid_max, "
            "valid_options or another key, got nothing"
        )
    more = _by_name(settings["automl_range_override"], "automl_range_override")
    twice = sorted(name for name in own.keys() & more.keys() if own[name] != more[name])
    if twice:
        raise AutoMLError(
            f"automl_range_override: {', '.join(twice)}: custom_param_ranges has another range; "
            "give one of them"
        )
    return own | more


def _by_name(ranges: Any, where: str) -> dict[str, Any]:
    """Custom ranges by name, from either published form, as a file holds them."""
    ranges = plain(ranges)
    if ranges is None:
        return {}
    if isinstance(ranges, Mapping):
        return {str(name): entry for name, entry in ranges.items()}
    if not isinstance(ranges, list):
        raise AutoMLError(f"{where}: must be a mapping or a list, got {ranges!r}")
    found: dict[str, Any] = {}
    for entry in ranges:
        if not isinstance(entry, Mapping) or "parameter" not in entry:
            raise AutoMLError(f"{where}: each entry of a list needs 'parameter', got {entry!r}")
        name = str(entry["parameter"])
        own = {key: value for key, value in entry.items() if key != "parameter"}
        if found.setdefault(name, own) != own:
            raise AutoMLError(f"{where}: {name}: has two ranges; leave one out")
    return found


def altered_keys(tree: Mapping[Any, Any], above: str = "") -> list[str]:
    """Lines on keys that do not reach a trainer as its template writes them.

    Values are addressed by dotted names everywhere, and kept as JSON.
    """
    lines = []
    for key, value in tree.items():
        name = f"{above}{key}"
        if not isinstance(key, str):
            lines.append(f"{name}: the key {key!r} of the template reaches the trainer as text")
        elif above and "." in key:
            lines.append(f"{name}: the key {key!r} of the template reaches the trainer split")
        if isinstance(value, Mapping):
            lines += altered_keys(value, f"{name}.")
    return lines
