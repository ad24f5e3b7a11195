from dataclasses import replace

import pytest

from hpo.searching.make_plan import plan_study
from hpo.searching.reviewing import seed_warning
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
