"""Features of a trunk that does not learn: computed once, then read by all trials and processes.

    data = build_feature_data(spec, device)            # labels and batches; opens no picture
    data.load(model.trunk)                             # finds the features, or computes them
    for feat_NF, labels_N in data.train_batches(epoch=0): ...
    for feat_NF in data.eval_batches("query", 256): ...

`FeatureSource.clean(folder)` and `.changed(folder)` give the features of any folder: of its
pictures as evaluation sees them, and of `dataset.feature_views` augmented views of each. Sets lie
in the cache folder beside the decoded images (`trainer.data.set_store`), keyed by the pictures, the
trunk's weights, the preprocessing, and for views the augmentation and its seed. With
`dataset.cache=false` they are computed anew in each run and kept in its memory.

`trainer.training.fit` trains on features wherever `trains_on_features(spec)` holds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer.config.loss import WEIGHTED_LOSSES

if TYPE_CHECKING:
    from trainer.config.root import Spec


def trains_on_features(spec: Spec) -> bool:
    """Whether a run needs no picture but those that its features are computed from.

    Several processes take pictures: they would share out what one of them does in seconds.
    """
    train = spec.train
    is_alone = train.num_gpus * train.num_nodes == 1
    return not train.train_trunk and spec.dataset.feature_views >= 0 and is_alone


def starts_from_means(spec: Spec) -> bool:
    """Whether a run's class vectors start from features of its training pictures."""
    loss = spec.train.loss
    return loss.start == "class_means" and loss.name in WEIGHTED_LOSSES


def begins_with_head(spec: Spec) -> bool:
    """Whether a run needs the features of its training pictures before its first epoch."""
    return starts_from_means(spec) or spec.train.head_epochs > 0
