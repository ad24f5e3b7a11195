"""Curves of trials to come, against what earlier ones have shown, by hand and by slow loops."""

import random
import statistics

import pytest

from hpo.core.trial import Measurement, Purpose, TrialRecord, TrialState
from hpo.searching.seen_curves import SeenCurves
from tests.count_calls import count_calls


def trained(*epochs, repeats=0):
    """Trials of so many epochs each, and repeats of the first."""
    lengths = [*epochs, *epochs[:1] * repeats]
    return [
        TrialRecord(
            number=number, state=TrialState.COMPLETE, params={}, latents={}, until_epoch=3,
            purpose=Purpose.SEARCH if number < len(epochs) else Purpose.CONFIRM,
            measurements=[Measurement(epoch=n, value=0.5) for n in range(1, length + 1)],
        )
        for number, length in enumerate(lengths)
    ]  # fmt: skip


def test_a_trial_to_come_is_like_those_seen():
    seen = SeenCurves(
        {0: {1: 0.2, 2: 0.3, 3: 0.5}, 1: {1: 0.1, 2: 0.25}, 2: {1: 0.3, 2: 0.5, 3: 0.9}}
    )
    # Trial 1 goes on as the others did: by 0.2 and 0.4.
    assert seen.draw(1, 3, random.Random(0)) == pytest.approx([0.1, 0.25, 0.55])
    rng = random.Random(1)
    drawn = [seen.draw(3, 3, rng) for _ in range(20_000)]
    for epoch, values in enumerate([(0.2, 0.1, 0.3), (0.3, 0.25, 0.5), (0.5, 0.55, 0.9)]):
        at_epoch = [curve[epoch] for curve in drawn]
        assert statistics.fmean(at_epoch) == pytest.approx(statistics.fmean(values), abs=0.005)
        assert min(values) < statistics.median(at_epoch) < max(values)
        # Of three values one is drawn: their spread divides by three, not by two.
        spread = statistics.pstdev(values)
        assert spread <= statistics.stdev(at_epoch) <= 1.1 * spread


def test_one_trial_does_not_tell_how_far_trials_lie_apart():
    assert not SeenCurves.of(trained(3)).is_enough
    assert not SeenCurves.of(trained(3, repeats=2)).is_enough
    assert SeenCurves.of(trained(3, 1)).is_enough


def value_by_hand(curves, source, epoch):
    """The value of a curve at an epoch, by all curves anew; see `SeenCurves`."""
    if epoch in source:
        return source[epoch]
    near = min(source, key=lambda known: abs(known - epoch))
    gains = [c[epoch] - c[near] for c in curves.values() if epoch in c and near in c]
    return source[near] + (statistics.fmean(gains) if gains else 0.0)


def cut_curves(count, epochs=27):
    """Curves that rise to levels of their own; most are cut at a rung or anywhere."""
    rng = random.Random(5)
    return {
        number: {
            epoch: rng.random() + epoch / 9
            for epoch in range(1, 1 + rng.choice([3, 9, epochs, rng.randint(1, epochs)]))
        }
        for number in range(count)
    }


def test_curves_go_on_as_they_do_by_a_loop_over_all_trials():
    curves = cut_curves(60)
    seen = SeenCurves(curves)
    for number, curve in curves.items():
        wanted = [value_by_hand(curves, curve, epoch) for epoch in range(1, 28)]
        assert seen.draw(number, 27, random.Random(0)) == wanted


def test_to_draw_a_trial_after_many_is_no_more_work_for_each_of_them():
    """Means are taken of all pairs of epochs, not of all trials at all epochs."""

    def means(count):
        seen = SeenCurves(cut_curves(count))
        return count_calls(seen.draw, count, 27, random.Random(0), of="fmean")

    assert means(400) <= 27 * 27 / 2 + 27
    assert means(800) <= 1.1 * means(400)
