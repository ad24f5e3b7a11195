"""Makes relative paths in a trainer's spec absolute, so that a search goes on from any folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from hpo.core.addresses import is_remote, without_file
from hpo.core.protocols import Trainer
from hpo.core.spec_dicts import flatten, merged, nest
from hpo.core.text import absolute_path
from hpo.core.trainer_extras import PathHolder
from hpo.study.sections import SearchOptions
from hpo.study.weights import anchored_weights


def anchored_path(text: str, folder: Path) -> str:
    """Make a relative path one below `folder`; `~` is the user's home, an address stays."""
    if not text or is_remote(text):
        return text
    return str(absolute_path(without_file(text), folder))


def anchored_spec(spec: Mapping[str, Any], trainer: Trainer, folder: Path) -> dict[str, Any]:
    """Return a nested spec with its files, by what the trainer says of its keys, below `folder`."""
    return merged(spec, nest(_anchored(flatten(spec), trainer, folder)))


def anchored_search(search: SearchOptions, trainer: Trainer, folder: Path) -> SearchOptions:
    """Do the same to what a search fixes and tries, in its earlier stages too."""

    def placed(stage: Any) -> Any:
        if not isinstance(stage, Mapping):
            return stage  # which is refused where stages are read
        own = {
            key: stage[key] for key in ("spec", "options") if isinstance(stage.get(key), Mapping)
        }
        flat = {key: flatten(values) for key, values in own.items()}
        return {**stage, **{k: v | _anchored(v, trainer, folder) for k, v in flat.items()}}

    return replace(
        search,
        fix={**search.fix, **_anchored(search.fix, trainer, folder)},
        options={**search.options, **_anchored(search.options, trainer, folder)},
        earlier_stages={name: placed(stage) for name, stage in search.earlier_stages.items()},
    )


def _anchored(values: Mapping[str, Any], trainer: Trainer, folder: Path) -> dict[str, Any]:
    """Return those of some dotted keys that hold files, with their values anchored."""
    if not isinstance(trainer, PathHolder):
        return {}
    how = dict.fromkeys(trainer.path_keys, anchored_path)
    how |= dict.fromkeys(trainer.weight_keys, anchored_weights)
    return {name: _placed(values[name], how[name], folder) for name in how if name in values}


def _placed(value: Any, how: Callable[[str, Path], str], folder: Path) -> Any:
    if isinstance(value, list | tuple):
        return [_placed(item, how, folder) for item in value]
    return how(value, folder) if isinstance(value, str) else value
