"""Stages of a study: which are had, what they are made of, and the specs of their trials."""

from dataclasses import replace
from pathlib import Path

import pytest

from hpo.core.errors import RunError, SpecError
from hpo.core.machine import Machine, Node
from hpo.core.trial import TrialRecord, TrialStage, TrialState
from hpo.run.run_dir import RunDir
from hpo.searching.make_plan import plan_study
from hpo.study.sections import SearchOptions
from hpo.study.spec import StudySpec, parse_study
from hpo.study.stages import StageSpec, chosen_stages, make_specs, planned_stages, read_stages
from hpo.study.start import complete_study
from tests.quick_trainer import TRAINER as WITHOUT_STAGES
from tests.staged_trainer import EARLIER, NAME, SEARCH, TRAINER

OFFERED = ("heads", "full")


def study(**changes):
    return StudySpec(name="staged", trainer=NAME, search=SearchOptions(**(SEARCH | changes)))


@pytest.mark.parametrize(
    ("asked", "recommended", "had"),
    [
        ((), False, ()),
        ((), True, ("heads",)),
        (("none",), True, ()),
        (("full",), True, ()),
        (("heads", "full"), False, ("heads",)),
    ],
)
def test_stages_are_those_that_were_asked_for_or_recommended(asked, recommended, had):
    assert chosen_stages(asked, OFFERED, recommended=recommended) == had


@pytest.mark.parametrize(
    ("asked", "offered", "words"),
    [
        (("head", "full"), OFFERED, r"must be heads, full or none, got 'head'; .*heads"),
        (("full", "heads"), OFFERED, r"must keep the order heads, full and end with full, got"),
        (("heads",), OFFERED, r"must keep the order heads, full and end with full, got heads"),
        (("heads", "full"), (), r"this start has no stages, got heads, full; leave it out"),
    ],
)
def test_other_names_are_refused(asked, offered, words):
    with pytest.raises(SpecError, match=rf"^search\.stages \(--stages\): {words}"):
        chosen_stages(asked, offered, recommended=False)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"share": 1.5}, "share must lie between 0 and 1"),
        ({"trials": 0}, "at least 1, got share 0.4, trials 0, batch 3"),
        ({"rounds": 3}, "unknown key 'rounds'"),
    ],
)
def test_a_wrong_definition_is_refused(change, words):
    wrong = {"heads": EARLIER["heads"] | change}
    with pytest.raises(SpecError, match=rf"^search\.earlier_stages\.heads.*{words}"):
        read_stages(SearchOptions(earlier_stages=wrong))


def test_a_trainer_that_begins_no_trial_with_another_one_has_no_stages():
    with pytest.raises(SpecError, match=r"^search\.earlier_stages: quick cannot begin a trial"):
        plan_study(study(), WITHOUT_STAGES)


def test_more_than_one_stage_before_the_last_is_refused():
    """The last one's trials begin with those of one stage, so all before that were for nothing."""
    two = {"edges": EARLIER["heads"], **EARLIER}
    with pytest.raises(
        SpecError, match=r"^search\.earlier_stages: must be one stage, got edges, h"
    ):
        plan_study(study(earlier_stages=two), TRAINER)


def test_stages_that_nobody_defines_are_refused():
    asked = StudySpec(trainer=NAME, search=SearchOptions(stages=OFFERED))
    with pytest.raises(SpecError, match="this start has no stages"):
        plan_study(asked, TRAINER)
    asked = StudySpec(trainer=WITHOUT_STAGES.name, search=SearchOptions(stages=("heads",)))
    with pytest.raises(SpecError, match="this start has no stages, got heads; leave it out"):
        plan_study(asked, WITHOUT_STAGES)


def test_the_users_values_and_ranges_win_in_every_stage():
    options = SearchOptions(
        stages=OFFERED, ranges={"train.margin": [0.2, 0.4]}, fix={"train.width": 32}
    )
    given = StudySpec(trainer=NAME, search=options)
    machine = Machine(nodes=(Node(cpus=2, gpus=0),))
    start = complete_study(given, TRAINER, machine)
    search = start.study.search
    assert start.reasons == ("stages: heads first",)
    assert search.over == ("train.lr",)
    assert search.earlier_stages["heads"]["ranges"] == {"train.margin": [0.2, 0.4]}
    kept = parse_study(start.study.to_dict())
    assert kept.search.earlier_stages == search.earlier_stages
    assert kept.search.stages == OFFERED
    plan = plan_study(kept, TRAINER)
    (heads,) = planned_stages(kept, plan, TRAINER)
    assert heads.space.parameters[0].distribution["high"] == 0.4
    assert complete_study(replace(given, search=SearchOptions()), TRAINER, machine).reasons == ()


HALVES, CHOICES = {"train.margin": [0.2, 0.4]}, {"train.margin": [0.25, 0.75]}


@pytest.mark.parametrize("begun", [{"stages": OFFERED}, SEARCH])
@pytest.mark.parametrize(
    ("given", "ranges", "options"),
    [
        ({"ranges": HALVES}, HALVES, {}),
        ({"options": CHOICES}, {}, CHOICES),
        ({"over": ("+train.margin",)}, None, {}),
        ({"over": ("+train.margin",), "options": CHOICES}, {}, CHOICES),
    ],
)
def test_what_heads_carry_is_searched_by_them_alone(begun, given, ranges, options):
    """A network that drew a value of its own would not fit the head that it begins with."""
    over = (*begun.get("over", ()), *given.get("over", ()))
    asked = StudySpec(trainer=NAME, search=SearchOptions(**{**begun, **given, "over": over}))
    machine = Machine(nodes=(Node(cpus=2, gpus=0),))
    search = complete_study(asked, TRAINER, machine).study.search
    heads = search.earlier_stages["heads"]
    assert (heads["over"], heads["carries"]) == (["train.margin"], ["train.margin"])
    assert heads["options"] == options
    if ranges is not None:
        assert heads["ranges"] == ranges
    assert set(search.over) == {"train.lr", "train.width"}
    assert "train.margin" not in {*search.ranges, *search.options}
    kept = StudySpec(trainer=NAME, search=search)
    (stage,) = planned_stages(kept, plan_study(kept, TRAINER), TRAINER)
    assert [p.name for p in stage.space.parameters] == ["train.margin"]


def test_a_value_fixed_beside_a_file_with_stages_is_searched_in_none():
    asked = StudySpec(trainer=NAME, search=SearchOptions(**SEARCH, fix={"train.margin": 0.3}))
    start = complete_study(asked, TRAINER, Machine(nodes=(Node(cpus=2, gpus=0),)))
    heads = start.study.search.earlier_stages["heads"]
    assert (heads["over"], heads["ranges"], heads["carries"]) == ([], {}, [])


class Recommending(type(TRAINER)):
    """Recommends its stages where nobody asked."""

    def choose_start(self, given, **facts):
        return super().choose_start(given, **facts) | {"staged": True}


@pytest.mark.parametrize(
    ("chosen", "has_stages"),
    [
        ({}, True),
        ({"over": ("+train.margin",), "fix": {"train.width": 32}}, True),
        ({"stages": ("none",)}, False),
        ({"algorithm": "tpe"}, False),
        ({"over": ("train.lr",)}, False),
        ({"average": True}, False),
        ({"algorithm": "tpe", "stages": OFFERED}, True),
    ],
)
def test_recommended_stages_give_way_to_what_is_about_a_single_one(chosen, has_stages):
    given = StudySpec(trainer=NAME, search=SearchOptions(**chosen))
    start = complete_study(given, Recommending(), Machine(nodes=(Node(cpus=2, gpus=0),)))
    assert bool(start.study.search.earlier_stages) is has_stages


def test_a_stage_is_the_study_with_its_own_spec_space_and_length():
    plan = plan_study(study(), TRAINER)
    (heads,) = planned_stages(study(after="shop/3", seed=7), plan, TRAINER)
    assert (heads.left, heads.plan.num_epochs, plan.num_epochs) == (1, 2, 9)
    assert (heads.study.search.after, heads.study.search.seed) == ("shop/3", 7)
    assert [p.name for p in heads.space.parameters] == ["train.margin"]
    assert heads.plan.base_spec["train"]["frozen"] is True
    assert plan.base_spec["train"]["frozen"] is False
    run = RunDir(Path("run"))
    with pytest.raises(RunError, match=f"stage heads has changed .*`hpo resume {run} --force`$"):
        planned_stages(study(), replace(plan, earlier={"heads": "other"}), TRAINER, run)


def test_specs_are_those_of_the_trials_stage_and_name_the_parents_checkpoint(tmp_path):
    plan = plan_study(study(), TRAINER)
    stages = planned_stages(study(), plan, TRAINER)
    from hpo.study.plan import build_space

    space = build_space(study(), TRAINER, plan.base_spec, num_trials=None)
    specs = make_specs(study(), plan, TRAINER, space, stages, run=RunDir(tmp_path))

    def spec_of(number, params, **stage):
        record = TrialRecord(
            number=number, state=TrialState.RUNNING, params=params, latents={}, until_epoch=2,
            seed=3, stage=TrialStage(**stage),
        )  # fmt: skip
        return specs.spec_of(record)["train"]

    head = spec_of(4, {"train.margin": 0.7}, name="heads", left=1)
    assert (head["frozen"], head["num_epochs"], head["margin"]) == (True, 2, 0.7)
    child = spec_of(9, {"train.margin": 0.7, "train.lr": 0.1}, name="full", parent=4)
    best = str(tmp_path / "trials/0004/ckpt/best.ckpt")
    assert (child["begin_with"], child["warm"], child["frozen"]) == (best, True, False)
    alone = spec_of(0, {"train.lr": 0.1}, name="full")
    assert (alone["begin_with"], alone["warm"]) == ("", False)


def test_a_stage_and_its_sections_may_be_left_empty():
    search = SearchOptions(earlier_stages={"heads": None, "more": {"spec": None, "trials": 7}})
    heads, more = read_stages(search).values()
    assert heads == StageSpec()
    assert more == StageSpec(trials=7)
