import pytest

from hpo.algorithms.extrapolation import ExtrapolationPruner, extrapolate
from hpo.core.trial import TrialState


@pytest.mark.parametrize(("level", "drop", "rate"), [(0.9, 0.6, 1.0), (0.7, 0.3, 0.4)])
def test_a_power_law_is_continued_exactly(level, drop, rate):
    epochs = [1, 2, 4, 8]
    values = [level - drop * epoch**-rate for epoch in epochs]
    assert extrapolate(epochs, values, 64) == pytest.approx(level - drop * 64**-rate)


def test_a_curve_never_leads_below_its_last_point():
    assert extrapolate([1, 2, 3], [0.5, 0.5, 0.5], 9) == 0.5


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_a_curve_that_leads_far_below_the_best_full_trial_is_stopped(direction):
    sign = 1.0 if direction == "maximize" else -1.0
    pruner = ExtrapolationPruner(num_epochs=9, direction=direction, threshold=0.2, min_epochs=3)

    def report(number, curve):
        decision = None
        for epoch, value in enumerate(curve, start=1):
            shown = sign * value
            decision = pruner.report(number, epoch, best=shown, value=shown)
        return decision

    pruner.start(0)
    assert not report(0, [0.2, 0.5, 0.6, 0.7]).stop  # nothing was trained in full before it
    pruner.end(0, TrialState.COMPLETE, sign * 0.8)
    pruner.start(1)
    assert not report(1, [0.1, 0.1]).stop  # too short to be judged
    pruner.start(2)
    flat = report(2, [0.1, 0.1, 0.1])
    assert flat.stop
    assert "leads to" in flat.reason
    pruner.start(3)
    assert not report(3, [0.3, 0.5, 0.6]).stop
