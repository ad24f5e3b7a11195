"""Stages sources and decodes images once, before the first trial."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer.data.splits import decode_split, label_splits, scan_splits
from trainer.data.value_range import resolved
from trainer.features import trains_on_features

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
    takes_clean = trains_on_features(spec) and spec.dataset.feature_views == 0
    held = {  # none of them is removed to make room for another
        name: decode_split(spec, "query" if takes_clean else name, folder, progress=progress)
        for name, folder in folders.items()
    }
    return {name: len(labelled[name].labels) for name in held}
