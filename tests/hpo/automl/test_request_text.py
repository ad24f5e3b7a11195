"""Requests in one way of writing, sign by sign."""

import pytest

from hpo.automl.request_text import normalize


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("Turn-OFF \u201cAuto_ML\u201d", "turn off  auto ml "),
        ("don\u2019t 'use' it", "don't  use  it"),
        ("關閉\uff21\uff35\uff34\uff2f", "关闭auto"),
        ("no\u2011HPO\n\tnow", "no hpo  now"),
        ("leave it out of", "leave it out of"),
        ("leave AutoML out", "leave automl off"),
        ("AutoML on/off", "automl on/off"),
        ("see runs/plain_training", "see " + "\u00a4" * 19),
        ("set lr=0.1 \u2014 yes", "set " + "\u00a4" * 6 + " ; yes"),
        ("lr=1, use_automl=no", "\u00a4" * 4 + ", use automl=no"),
        ("named no-automl", "\u00a4" * 15),
    ],
)
def test_every_sign_keeps_its_place(written, read):
    assert normalize(written) == read
    assert len(read) == len(written)
