import pytest

from hpo.searching.receipts import check_receipt

SPEC = {
    "train": {
        "lr": 1e-4,
        "batch": 32,
        "flag": True,
        "steps": [4, 6],
        "loss": "triplet",
        "none": None,
    }
}


def check(applied, params=None, decided=None):
    receipt = {"applied": applied}
    return check_receipt(receipt, spec=SPEC, params=params or {}, decided=decided or {})


def test_a_receipt_that_agrees():
    applied = {
        "train.lr": 1e-4 * (1 + 1e-8),  # through single precision
        "train.batch": 32.0,
        "train.flag": True,
        "train.steps": (4, 6),
        "train.loss": "triplet",
        "train.none": None,
        "live.device": "cpu",
    }
    assert check(applied, {"train.lr": 1e-4}).mismatch == ""


@pytest.mark.parametrize(
    "applied",
    [
        {"train.lr": 1.1e-4},
        {"train.lr": 0.0},
        {"train.lr": float("nan")},
        {"train.lr": "1e-4"},
        {"train.batch": 16},
        {"train.flag": False},
        {"train.batch": True},
        {"train.steps": [4]},
        {"train.steps": [6, 4]},
        {"train.steps": 4},
        {"train.loss": "contrastive"},
        {"train.none": 0},
    ],
)
def test_each_difference_is_named(applied):
    (name,) = applied
    assert check(applied).mismatch.startswith(f"{name}: ")
    assert "was sent, but the trainer applied" in check(applied).mismatch


@pytest.mark.parametrize("receipt", [{}, {"applied": None}, {"applied": {"train.lr": 1e-4}}])
def test_a_parameter_that_the_receipt_leaves_out_is_a_difference(receipt):
    found = check_receipt(receipt, spec=SPEC, params={"train.batch": 32}, decided={})
    assert found.mismatch == "train.batch: was suggested 32, but the receipt does not mention it"


def test_a_decided_value_is_compared_although_it_is_not_searched_and_was_not_sent():
    """The spec that was sent may lack it: that is the fault which this finds."""
    found = check({"train.batch": 32}, decided={"train.batch": 20})
    assert found.mismatch == "train.batch: was decided to be 20, but the trainer applied 32"
    assert check({"train.batch": 20.0}, decided={"train.batch": 20}).mismatch.startswith(
        "train.batch: 32 was sent"
    )


def test_a_parameter_beats_what_was_decided_of_every_trial():
    assert check({"train.lr": 1e-4}, {"train.lr": 1e-4}, {"train.lr": 0.5}).mismatch == ""
    assert check({"train.lr": 1e-4}, {"train.lr": 1e-3}).mismatch == (
        "train.lr: was suggested to be 0.001, but the trainer applied 0.0001"
    )


def test_what_no_live_object_shows_is_said():
    decided = {"train.flag": True, "data.train": "/x", "wandb.enable": False}
    found = check({"train.flag": True}, decided=decided)
    assert (found.mismatch, found.unseen) == ("", ("data.train", "wandb.enable"))
