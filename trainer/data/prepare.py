"""Stages sources and decodes images once, before the first trial."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer.data.splits import load_splits

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
    splits = load_splits(spec, need_train=bool(spec.dataset.train_dataset), progress=progress)
    return {name: len(split.labels) for name, split in splits.items()}
