"""A search chooses among networks by the validation pictures, and charges the time."""

import time
from dataclasses import replace
from pathlib import Path

import pytest

from hpo.core.budget import Budget
from hpo.core.errors import SpecError
from hpo.run.ledger import Ledger
from hpo.searching.choose_network import MOST_PICTURES, plan_completed
from hpo.searching.session import start_search
from hpo.searching.settings import SearchSettings
from hpo.study.plan import read_plan
from hpo.study.sections import SearchOptions
from hpo.study.spec import load_study as read_study
from tests.quick_runs import Ear, quick_study
from tests.quick_trainer import QuickTrainer

NAME = "tests.hpo.searching.test_choose_network:COMPARING"
WIDTHS = (100, 300, 200)
VALUES = {"train.width": {100: 0.4, 300: 0.6, 200: 0.5}}


class Comparing(QuickTrainer):
    """Chooses the width that did best, among three that it names."""

    name = "comparing"

    def __init__(self):
        self.asked = []

    def choose_start(self, given, *, gpus, budget_s, screened=()):
        chosen = screened[0]["spec"]["train.width"] if screened else WIDTHS[0]
        how = "by screening" if screened else "unseen"
        return {
            "spec": {"train.width": chosen},
            "search": ("train.lr",),
            "ranges": {},
            "reasons": (f"width {chosen}: {how}",),
            "candidates": [
                {"name": f"w{w}", "weights": "none", "spec": {"train.width": w}} for w in WIDTHS
            ],
        }

    def find_candidates(self, given, *, weights=(), trunks=(), sizes=(), gpus=0):
        return {"candidates": [], "notes": []}

    def screen(self, spec, most=None, with_cost=True, progress=None):
        self.asked.append((spec, most, with_cost))
        time.sleep(0.05)
        progress("computing features", 1, 1)
        return {"value": VALUES["train.width"][spec["train"]["width"]]}


COMPARING = Comparing()


@pytest.fixture(autouse=True)
def fresh():
    COMPARING.asked.clear()


def study(**changes):
    return replace(quick_study(budget=Budget(trials=2)), trainer=NAME, **changes)


def test_the_best_of_the_candidates_is_what_the_study_then_names(tmp_path):
    told = []
    settings = SearchSettings(
        executor="inprocess", progress=lambda *words: told.append(words), completes=True
    )
    found, plan = plan_completed(study(), COMPARING, settings, Path())
    assert found.spec["train"]["width"] == 300
    assert plan.start == ["width 300: by screening"]
    assert plan.base_spec["train"]["width"] == 300
    assert plan.screened_s >= 0
    looking, screened = "looking at the pictures", [f"w{w}: computing features" for w in WIDTHS]
    assert [words[0] for words in told] == [looking, *screened, looking]


def test_only_validation_pictures_are_looked_at():
    plan_completed(study(), COMPARING, SearchSettings(executor="inprocess"), Path())
    assert len(COMPARING.asked) == 3
    for spec, most, with_cost in COMPARING.asked:
        assert {k: v for k, v in spec["data"].items() if v} == {"reference": "r", "query": "q"}
        assert (most, with_cost) == (MOST_PICTURES, False)


def test_what_is_wrong_is_said_before_anything_is_screened():
    wrong = study(search=SearchOptions(algorithm="nosuch"))
    with pytest.raises(SpecError, match="nosuch"):
        plan_completed(wrong, COMPARING, SearchSettings(executor="inprocess"), Path())
    assert COMPARING.asked == []


class Opening(Comparing):
    """Also keeps what was looked at, and when: before or after the candidates were screened."""

    candidates = True

    def choose_start(self, given, **how):
        chosen = super().choose_start(given, **how)
        return chosen if self.candidates else chosen | {"candidates": []}

    def inspect_data(self, spec, opens=True):
        self.asked.append((spec["train"]["width"], spec["data"]["query"], opens))
        return super().inspect_data(spec)

    def screen(self, spec, most=None, with_cost=True, progress=None):
        self.asked.append("screen")
        return {"value": VALUES["train.width"][spec["train"]["width"]]}


@pytest.mark.parametrize("screens", [True, False])
def test_pictures_are_opened_for_the_network_that_is_chosen(monkeypatch, screens):
    trainer = Opening()
    trainer.candidates = screens
    plan_completed(study(), trainer, SearchSettings(executor="inprocess"), Path())
    before = [(100, "q", False), (100, "tq", False), *["screen"] * 3] if screens else []
    width = 300 if screens else 100
    assert trainer.asked == [*before, (width, "q", True), (width, "tq", True)]


def test_a_stop_ends_the_screening():
    settings = SearchSettings(executor="inprocess", should_stop=lambda: True)
    with pytest.raises(KeyboardInterrupt):
        plan_completed(study(), COMPARING, settings, Path())
    assert len(COMPARING.asked) == 1


def test_the_run_keeps_the_choice_and_its_time(tmp_path):
    result = start_search(study(), tmp_path, Ear().settings(completes=True))
    kept = read_plan(result.run.path)
    assert read_study(result.run.study_file).spec["train"]["width"] == 300
    assert kept.start == ["width 300: by screening"]
    ledger = Ledger.open(result.run.ledger_file)
    assert ledger.active_seconds >= kept.screened_s > 0.1
    ledger.close()
