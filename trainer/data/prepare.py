"""Stages sources and decodes images once, before the first trial."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer.data.splits import Split, decode_split, label_splits, scan_splits
from trainer.data.value_range import resolved
from trainer.features import begins_with_head, trains_on_features

if TYPE_CHECKING:
    from trainer.config.root import Spec
    from trainer.data.decoding import Progress


def prepare_data(spec: Spec, progress: Progress | None = None) -> dict[str, int]:
    """Stage and decode every split that the spec names.

    Args: spec: `dataset` and `model` are used; without a training set only reference and query are
        prepared. progress: called with (what, done, total).

    Returns:
        Images per split.

    Raises: SpecError, DataError, ImageError, CredentialError, InfrastructureError: the data cannot
        be used.
    """
    folders = scan_splits(spec, need_train=bool(spec.dataset.train_dataset))
    labelled = label_splits(spec, folders)
    spec = resolved(spec, folders, progress)
    held = {  # none of them is removed to make room for another
        (name, kept): decode_split(spec, kept, folder, progress=progress)
        for name, folder in folders.items()
        for kept in _stored_as(spec, name)
    }
    return {name: len(labelled[name].labels) for name, _ in held}


def _stored_as(spec: Spec, name: Split) -> list[Split]:
    """As which splits a run needs the pictures of one: changed ones, as they are, or both."""
    takes_clean = trains_on_features(spec) and spec.dataset.feature_views == 0
    if takes_clean:
        return ["query"]
    return [name, "query"] if name == "train" and begins_with_head(spec) else [name]
