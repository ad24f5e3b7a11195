"""Settings that were learned on other data, as the trainer offers them."""

import gzip
import json
import math
from pathlib import Path

from trainer.portfolio import FILE, first_trials
from trainer.stages import LOSSES, RANGES, offer_stages
from trainer.start import SEARCHED

LOSS = "train.loss.name"


def test_every_configuration_is_one_of_the_stage_that_it_is_for():
    (heads, _) = offer_stages({}, SEARCHED, {}, "normalized_softmax")
    assert heads["first_trials"] == first_trials("heads") != {}
    for values in heads["first_trials"].values():
        assert values.keys() <= {*heads["search"]}
        assert values[LOSS] in LOSSES
        for name in values.keys() - {LOSS}:
            low, high, _ = RANGES[name]
            assert low <= values[name] <= high
            if name in heads["carries"] and name not in ("model.feat_dim", LOSS):
                assert name.split(".")[2] in (values[LOSS], "label_smoothing")


def test_a_start_without_a_portfolio_has_none_and_nobody_can_change_the_others():
    assert first_trials("elsewhere") == {}
    first_trials("heads")["heads-1"].clear()
    assert first_trials("heads")["heads-1"]


def test_what_is_kept_was_recorded_with_three_digits():
    kept = json.loads(FILE.read_text(encoding="utf-8"))["portfolios"]["heads"]
    packed = Path(__file__).parents[2] / "studies" / "recorded" / kept["recording"]
    recorded = json.loads(gzip.decompress(packed.read_bytes()))
    assert kept["data"] == list(recorded["data"])
    known = [config["params"] for config in recorded["configs"]]
    for values in first_trials("heads").values():
        assert any(is_nearly(values, own) for own in known)


def is_nearly(values, own):
    """Whether two configurations are equal but for the fourth digit of numbers."""
    return values.keys() == own.keys() and all(
        math.isclose(value, own[name], rel_tol=0.005)
        if isinstance(value, float)
        else value == own[name]
        for name, value in values.items()
    )
