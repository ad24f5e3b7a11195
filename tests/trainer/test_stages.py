"""The stages that a search from pretrained weights can have."""

import pytest

from trainer.config.loss import WEIGHTED_LOSSES
from trainer.config.shape import flatten
from trainer.models.weight_sources import installed_file
from trainer.session import TRAINER
from trainer.stages import HEAD_SPEC, LOSSES, RANGES, offer_stages
from trainer.start import SEARCHED, choose_start

LR, TEMPERATURE = "train.optim.trunk.base_lr", "train.loss.normalized_softmax.temperature"
needs_weights = pytest.mark.skipif(
    installed_file("lite0") is None, reason="the extra `weights` is not installed"
)


def offered(told=None, loss="normalized_softmax"):
    return offer_stages(told or {}, SEARCHED, {LR: (1e-5, 1e-2, True)}, loss)


def test_heads_search_losses_and_whole_networks_what_heads_have_no_part_in():
    heads, full = offered()
    assert (heads["name"], full["name"]) == ("heads", "full")
    assert heads["options"] == {"train.loss.name": list(LOSSES)}
    assert set(LOSSES) <= set(WEIGHTED_LOSSES)
    assert TEMPERATURE in heads["carries"]
    assert not set(full["search"]) & set(heads["carries"])
    assert LR in full["search"]
    assert full["ranges"] == {LR: (1e-5, 1e-2, True)}
    assert heads["ranges"] == dict(RANGES)


def test_a_loss_of_the_user_is_kept_with_what_belongs_to_it():
    heads, full = offered({"train.loss.name": "arcface"}, "arcface")
    assert "train.loss.name" not in heads["search"]
    assert heads["options"] == {}
    margins = {name for name in heads["search"] if name.startswith("train.loss.a")}
    assert margins == {"train.loss.arcface.margin", "train.loss.arcface.scale"}
    assert "train.loss.label_smoothing" in heads["search"]
    assert "model.feat_dim" in heads["carries"]
    assert (
        "train.loss.label_smoothing"
        not in offered({"train.loss.name": "proxy_anchor"}, "proxy_anchor")[0]["search"]
    )
    assert LR in full["search"]


def test_what_the_user_set_is_neither_searched_nor_changed():
    told = {"model.feat_dim": 128, "train.loss.base_lr": 0.3}
    heads, _ = offered(told)
    assert "model.feat_dim" not in heads["search"]
    assert "train.loss.base_lr" not in heads["spec"]
    assert heads["spec"].items() >= HEAD_SPEC.items()


def test_every_key_is_one_of_the_trainers_and_every_range_within_its_schema():
    heads, full = offered()
    known = flatten(TRAINER.validate({"results_dir": "r"}))
    keys = {*heads["spec"], *heads["search"], *heads["with_parent"], *full["search"]}
    assert sorted(key for key in keys if key not in known) == []
    assert TRAINER.parent_key in known


@needs_weights
def test_stages_are_offered_for_a_pretrained_trunk_that_learns():
    given = {"model.pretrained_trunk_path": "lite0"}
    names = [row["name"] for row in choose_start(given, gpus=0, budget_s=900.0)["stages"]]
    assert names == ["heads", "full"]
    for more in ({"train.train_trunk": False}, {"train.loss.name": "triplet"}):
        assert choose_start(given | more, gpus=0, budget_s=900.0)["stages"] == []
    assert choose_start({"model.backbone": "x"}, gpus=0, budget_s=None)["stages"] == []
