"""What a trainer recommends to start from, laid under what the user set."""

from dataclasses import replace

import pytest

from hpo.core.budget import Budget, parse_budget
from hpo.core.machine import Machine, Node
from hpo.study.sections import SearchOptions
from hpo.study.spec import StudySpec
from hpo.study.start import complete_study
from tests.quick_trainer import TRAINER

CPU = Machine(nodes=(Node(cpus=2, gpus=0),))


class Recommending:
    """A trainer that recommends a rate and a width, and keeps what it was told."""

    def __init__(self):
        self.told = None

    def data_overrides(self, sources):
        return {"model.weights": sources["weights"]}

    def choose_start(self, given, *, gpus, budget_s, screened=()):
        self.told = (given, gpus, budget_s)
        self.screened = screened
        return {
            "spec": {"train.width": 64, "train.lr": 0.02},
            "search": ("train.lr", "train.margin"),
            "ranges": {"train.lr": (0.001, 0.1, True), "train.margin": (0.1, 0.4, False)},
            "reasons": ("width 64: because",),
        }


def complete(study, trainer=None):
    return complete_study(study, trainer or Recommending(), CPU)


def test_what_the_user_set_stays_and_the_rest_is_filled_in():
    start = complete(StudySpec(spec={"train": {"lr": 0.5}}))
    assert start.study.spec == {"train": {"width": 64, "lr": 0.5}}
    assert start.reasons == ("width 64: because",)


def test_the_trainer_is_told_of_spec_weights_and_fixed_values():
    trainer = Recommending()
    study = StudySpec(
        spec={"train": {"lr": 0.5}},
        weights="/w.pth",
        budget=Budget(seconds=90.0),
        search=SearchOptions(fix={"train.width": 3}),
    )
    complete(study, trainer)
    given = {"train": {"lr": 0.5, "width": 3}, "model": {"weights": "/w.pth"}}
    assert trainer.told == (given, 0, 90.0)


@pytest.mark.parametrize(
    ("budget", "gpus", "concurrent", "seconds"),
    [
        ("100gpuh", 1, None, 360000),
        ("100gpuh", 8, None, 45000),
        ("100gpuh", 8, 2, 180000),
        ("100gpuh", 2, 8, 180000),
        ("100gpuh,20m", 8, None, 1200),
        ("1gpuh,20m", 8, None, 450),
        ("1gpuh", 0, None, None),  # refused where trials are placed
        ("20trials,500epochs", 8, None, None),
    ],
)
def test_the_trainer_is_told_of_the_time_that_gpu_hours_are(budget, gpus, concurrent, seconds):
    trainer, machine = Recommending(), Machine(nodes=(Node(cpus=2, gpus=gpus),))
    complete_study(StudySpec(budget=parse_budget(budget), concurrent=concurrent), trainer, machine)
    assert trainer.told == ({}, gpus, seconds)


def test_what_was_screened_reaches_the_trainer_and_its_candidates_come_back():
    class Asking(Recommending):
        def choose_start(self, given, **told):
            return super().choose_start(given, **told) | {"candidates": [{"name": "w1"}]}

    trainer, rows = Asking(), [{"name": "w1", "value": 0.5}]
    start = complete_study(StudySpec(), trainer, CPU, rows)
    assert trainer.screened == rows
    assert start.candidates == ({"name": "w1"},)
    assert complete(StudySpec()).candidates == ()


def test_a_users_own_list_of_parameters_stays():
    start = complete(StudySpec(search=SearchOptions(over=("train.margin",))))
    assert start.study.search.over == ("train.margin",)
    assert start.study.search.ranges == {}


@pytest.mark.parametrize(
    ("options", "over", "ranges"),
    [
        ({}, {"train.lr", "train.margin"}, {"train.lr": 0.001, "train.margin": 0.1}),
        (
            {"over": ("+train.width",)},
            {"train.lr", "train.margin", "+train.width"},
            {"train.lr": 0.001, "train.margin": 0.1},
        ),
        ({"fix": {"train.lr": 0.3}}, {"train.margin"}, {"train.margin": 0.1}),
        (
            {"ranges": {"train.lr": {"low": 0.2, "high": 0.3}}},
            {"train.lr", "train.margin"},
            {"train.lr": 0.2, "train.margin": 0.1},
        ),
        (
            {"options": {"train.margin": [0.2, 0.9]}},
            {"train.lr", "train.margin"},
            {"train.lr": 0.001},
        ),
        (
            {"custom_param_ranges": {"train.lr": {"valid_min": 0.2}}},
            {"train.lr", "train.margin"},
            {"train.margin": 0.1},
        ),
    ],
)
def test_the_users_ranges_options_and_fixed_values_beat_the_recommended_ones(options, over, ranges):
    search = complete(StudySpec(search=SearchOptions(**options))).study.search
    assert set(search.over) == over
    assert {name: value["low"] for name, value in search.ranges.items()} == ranges


def test_a_trainer_that_recommends_nothing_leaves_a_study_as_it_is():
    study = StudySpec(name="x", trainer="tests.quick_trainer:TRAINER")
    assert complete(study, TRAINER).study is study


def test_a_completed_study_is_not_completed_otherwise_a_second_time():
    once = complete(StudySpec()).study
    twice = complete(once).study
    assert replace(twice, search=once.search) == once
    assert (set(twice.search.over), twice.search.ranges) == (
        set(once.search.over), once.search.ranges,
    )  # fmt: skip
