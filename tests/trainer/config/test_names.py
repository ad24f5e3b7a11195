import pytest

from trainer.config.names import nearest
from trainer.config.shorthand import SHORTHANDS
from trainer.config.tree import leaves


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("train.num_epoch", "train.num_epochs"),
        ("train.optim.trunk.base_Ir", "train.optim.trunk.base_lr"),
        ("train.optimizer.name", "train.optim.name"),
        ("optim.name", "train.optim.name"),
        ("batchsize", "train.batch_size"),
        ("learning_rate", "train.optim.trunk.base_lr"),
        ("dataset.val_dataset.querry", "dataset.val_dataset.query"),
        ("model.backbone_name", "model.backbone"),
        ("TRAIN.SEED", "train.seed"),
    ],
)
def test_slip_leads_to_the_key_that_was_meant(wrong, right):
    assert nearest(wrong, leaves(), SHORTHANDS)[0] == right


def test_forgotten_prefix_names_every_key_it_fits():
    assert nearest("base_lr", leaves(), SHORTHANDS) == [
        "train.optim.embedder.base_lr",
        "train.optim.trunk.base_lr",
        "train.loss.base_lr",
    ]


def test_nothing_near_gives_nothing():
    assert nearest("zzz", leaves(), SHORTHANDS) == []
    assert nearest("a", [], {}) == []
