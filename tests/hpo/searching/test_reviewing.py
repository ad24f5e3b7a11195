from dataclasses import replace

import pytest

from hpo.core.budget import Budget, Spent
from hpo.core.forecast import Forecast
from hpo.results.average import NEAR
from hpo.searching.make_plan import plan_study
from hpo.searching.reviewing import count_staying, seed_warning
from hpo.study.sections import SearchOptions
from tests.quick_runs import quick_study
from tests.quick_trainer import TRAINER


@pytest.mark.parametrize(
    ("seed", "slots", "style", "is_told"),
    [
        (0, 3, None, True),
        (4, 2, None, True),
        (4, 1, None, False),
        (None, 3, None, False),
        (4, 3, "running", False),
    ],
)
def test_several_trials_at_a_time_are_told_who_names_a_seed(seed, slots, style, is_told):
    study = quick_study(search=SearchOptions(seed=seed))
    plan = replace(plan_study(study, TRAINER), route_style=style)
    said = seed_warning(study, plan, slots)
    assert said.startswith(f"seed: {slots} trials run at a time, ") is is_told
    assert bool(said) is is_told


@pytest.mark.parametrize(
    ("keep", "budget", "facts", "expected", "stay"),
    [
        # The winner and the default.
        ("best", Budget(seconds=9), {}, None, 2),
        ("best", Budget(seconds=9), {}, {"trials": 50}, 2),
        ("best", Budget(trials=9), {"confirm": 3}, {"trials": 9}, 2 + 2 + 8),
        ("best", Budget(trials=9), {"average": True}, {"trials": 9}, 2 + NEAR),
        # Those that others may start from.
        ("best", Budget(trials=90), {}, {"trials": 90, "start_points": 13}, 2 + 13),
        # The default's parent and the winner's, and the best of 16 heads.
        ("best", Budget(seconds=9), {}, {"trials": 4, "earlier": 48, "start_points": 16}, 4 + 16),
        ("all", Budget(seconds=9), {}, {"trials": 50, "earlier": 48}, 98),
        ("all", Budget(trials=90, seconds=9), {"confirm": 1}, {"trials": 50}, 50 + 4),
        ("all", Budget(trials=90), {}, None, 86),
        ("all", Budget(trials=2), {}, {"trials": 0}, 1),
    ],
)
def test_what_stays_on_the_disk_is_counted_before_the_start(keep, budget, facts, expected, stay):
    study = quick_study(keep=keep, budget=budget, search=SearchOptions(**facts))
    times = {"seconds": 9.0, "low_s": 9.0, "high_s": 9.0, "epochs": 9, "pruned": 0}
    foreseen = None if expected is None else Forecast(**times, **expected)
    assert count_staying(study, Spent(trials=4), foreseen) == stay
    shapes = [{"architecture": {"model.backbone": name}} for name in "abc"]
    more = {"best": 2, "all": 0}[keep]  # the best of each, and their parents
    more *= 2 if foreseen and foreseen.earlier else 1
    assert count_staying(study, Spent(trials=4), foreseen, shapes) == stay + more
