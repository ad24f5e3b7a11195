from dataclasses import replace

from hpo.core.held_out import HeldOut


def test_words():
    whole = HeldOut(
        value=0.75, interval=(0.7, 0.8), default=0.7, default_interval=(0.65, 0.75), gain=0.05,
        gain_interval=(-0.01, 0.11),
    )  # fmt: skip
    assert whole.words("P@1") == (
        "P@1 0.7500 (0.7000 to 0.8000); the default 0.7000 (0.6500 to 0.7500): +0.0500 "
        "(-0.0100 to +0.1100), which may be chance"
    )
    assert HeldOut(value=0.5).words("loss") == "loss 0.5000"


def test_of_a_loss_the_difference_is_told_as_it_is():
    less = HeldOut(
        value=0.25, default=0.375, gain=0.125, gain_interval=(0.0625, 0.25), direction="minimize"
    )
    assert less.beside("it") == "; it 0.3750: -0.1250 (-0.2500 to -0.0625) (less is better)"
    assert replace(less, gain_interval=None).beside("it") == "; it 0.3750: -0.1250 (less is better)"


def test_a_difference_of_nothing_has_no_minus():
    same = HeldOut(value=0.5, default=0.5, gain=-0.0, gain_interval=(-0.00004, -0.0))
    assert same.beside("it") == "; it 0.5000: +0.0000 (+0.0000 to +0.0000), which may be chance"
