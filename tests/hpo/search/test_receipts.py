import pytest

from hpo.search.receipts import find_mismatch

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


def check(applied, params=None):
    return find_mismatch(SPEC, params or {}, {"applied": applied})


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
    assert check(applied, {"train.lr": 1e-4}) == ""


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
    assert check(applied).startswith(f"{name}: ")
    assert "was sent, but the trainer applied" in check(applied)


@pytest.mark.parametrize("receipt", [{}, {"applied": None}, {"applied": {"train.lr": 1e-4}}])
def test_a_parameter_that_the_receipt_leaves_out_is_a_difference(receipt):
    said = find_mismatch(SPEC, {"train.batch": 32}, receipt)
    assert said == "train.batch: was suggested 32, but the receipt does not mention it"
