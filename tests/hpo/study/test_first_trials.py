"""Configurations learned elsewhere, fitted to spaces that differ from the one they were learned in."""

from dataclasses import replace

import pytest

from hpo.algorithms.for_study import build_algorithm
from hpo.cli.main import main
from hpo.core.budget import Budget
from hpo.core.errors import SpecError
from hpo.core.machine import Machine, Node
from hpo.core.trial import TrialRecord, TrialState
from hpo.core.yaml_io import to_yaml
from hpo.searching.make_plan import plan_study
from hpo.study.first_trials import fit_trials, learned_trials, most_first
from hpo.study.sections import SearchOptions
from hpo.study.spec import StudySpec, parse_study
from hpo.study.stages import planned_stages
from hpo.study.start import complete_study
from search_spaces import Overlay
from tests.quick_runs import quick_space, quick_study
from tests.quick_trainer import TRAINER
from tests.search_spaces.building import number, space_of
from tests.staged_trainer import NAME as STAGED
from tests.staged_trainer import TRAINER as STAGED_TRAINER

NODES = {
    "train.loss": {"type": "categorical", "enum": ["plain", "wide"], "default": "plain"},
    "train.lr": number(1e-4, 1.0, 0.01, "> 0.0"),
    "train.margin": number(0.0, 1.0, 0.5),
}
POINTS = {
    "a": {"train.loss": "wide", "train.lr": 0.1, "train.margin": 0.2},
    "b": {"train.loss": "plain", "train.lr": 0.01, "train.margin": 0.5},  # the default
    "c": {"train.loss": "plain", "train.lr": 0.03, "train.margin": 0.9, "train.epochs": 7},
    "d": {"train.loss": "plain", "train.lr": 0.03, "train.margin": 0.9},  # c again
}
SPEC = {"train": {"loss": "plain", "lr": 0.01, "margin": 0.5, "epochs": 5}}


def same(found, wanted):
    """Whether configurations are equal, numbers nearly so."""
    plain = [{k: v if isinstance(v, str) else round(v, 9) for k, v in p.items()} for p in found]
    return plain == wanted


def params_of(space, most=8, points=POINTS, spec=SPEC):
    found = fit_trials(space, points, spec, most)
    return [space.decode(latents) for latents in found.latents], found.left_out


def test_the_default_and_what_comes_twice_are_passed_over():
    found, left_out = params_of(space_of(NODES))
    assert same(found, [POINTS["a"], POINTS["d"]])
    assert left_out == ()
    assert same(params_of(space_of(NODES), most=1)[0], [POINTS["a"]])
    assert params_of(space_of(NODES), most=0)[0] == []


def test_numbers_that_are_not_searched_are_dropped():
    space = space_of(NODES, searched=["train.loss", "train.lr"])
    found, left_out = params_of(space)
    low = {"train.loss": "plain", "train.lr": 0.03}
    assert same(found, [{"train.loss": "wide", "train.lr": 0.1}, low])
    assert left_out == ()


def test_what_is_dropped_is_named():
    space = space_of(NODES, searched=["train.loss", "train.lr"])
    assert fit_trials(space, POINTS, SPEC, 8).note == (
        "first_trials: not searched, so as in all trials: train.margin, train.epochs"
    )
    of_spec = {"b": POINTS["b"], "e": {"train.lr": 0.03, "train.epochs": 5}}
    assert fit_trials(space, of_spec, SPEC, 8).note == "", "as in the spec"
    odd = {"o": {"train.loss": "odd", "train.epochs": 7}, "p": {"train.epochs": 8}}
    assert fit_trials(space, odd, SPEC, 8).note == (
        "first_trials: not allowed by this search, so left out: o; "
        "not searched, so as in all trials: train.epochs"
    )


def test_what_a_range_or_the_options_do_not_allow_is_left_out():
    narrow = Overlay(ranges={"train.lr": (0.001, 0.05, True)})
    assert params_of(space_of(NODES, overlay=narrow))[1] == ("a",)
    plain = Overlay(ranges={"train.margin": (0.1, 0.8, False)})
    assert params_of(space_of(NODES, overlay=plain))[1] == ("c", "d")
    misspelt = {"x": {"train.rl": 0.1}}
    assert params_of(space_of(NODES), points=misspelt) == ([], ("x",))


def test_a_choice_that_the_spec_has_made_otherwise_leaves_a_configuration_out():
    space = space_of(NODES, searched=["train.lr", "train.margin"])
    assert params_of(space)[1] == ("a",)
    wide = {"train": {**SPEC["train"], "loss": "wide"}}
    found, left_out = params_of(space, spec=wide)
    assert left_out == ("b", "c", "d")
    assert same(found, [{"train.lr": 0.1, "train.margin": 0.2}])


def test_a_short_search_begins_with_few():
    assert [most_first(n) for n in (None, 1, 9, 100)] == [8, 1, 3, 8]


FIRST = {
    "wide": {"train.lr": 0.02, "train.margin": 0.25, "train.width": 300},
    "steep": {"train.lr": 0.1, "train.margin": 0.75, "train.width": 40},
    "off": {"train.lr": 0.02, "train.margin": 55.0, "train.width": 300},
}


def begun(study, count):
    """The first proposals of a planned search, and its plan."""
    plan = plan_study(study, TRAINER)
    algorithm = build_algorithm(study, plan, TRAINER, quick_space(study))
    return [algorithm.ask(number).params for number in range(count)], plan


@pytest.mark.parametrize(
    ("algorithm", "defaults"),
    [("tpe", 1), ("mfbo", 1), ("random", 1), ("hyperband", 1), ("dehb", 2), ("pbt", 2)],
)
def test_every_algorithm_tries_them_right_after_the_default(algorithm, defaults):
    """A population has the default as its first member too, beside the one trained in full."""
    study = quick_study(search=SearchOptions(algorithm=algorithm, first_trials=FIRST))
    found, plan = begun(study, defaults + 2)
    assert found[:defaults] == [quick_space().default()] * defaults
    assert found[defaults:] == [pytest.approx(FIRST["wide"]), pytest.approx(FIRST["steep"])]
    assert plan.start == ["first_trials: not allowed by this search, so left out: off"]


def test_without_the_portfolio_a_search_begins_as_ever():
    off = quick_study(search=SearchOptions(algorithm="tpe", first_trials=FIRST, portfolio=False))
    plain = quick_study(search=SearchOptions(algorithm="tpe"))
    (found, plan), (expected, _) = begun(off, 4), begun(plain, 4)
    assert found == expected
    assert plan.learned == plan.start == []


def test_a_resumed_search_proposes_what_an_unbroken_one_would():
    study = quick_study(search=SearchOptions(algorithm="tpe", first_trials=FIRST))
    plan = plan_study(study, TRAINER)
    unbroken, resumed = (
        build_algorithm(study, plan, TRAINER, quick_space(study)) for _ in range(2)
    )
    asked = [unbroken.ask(number) for number in range(5)]
    for one in asked[:2]:
        facts = {"number": one.number, "params": one.params, "latents": one.latents}
        resumed.restore(TrialRecord(state=TrialState.RUNNING, until_epoch=one.until_epoch, **facts))
    assert [resumed.ask(number).params for number in range(2, 5)] == [a.params for a in asked[2:]]


class Learned:
    """A trainer that has learned configurations, for the whole search and for a stage."""

    def __init__(self, trainer, first=None, of_heads=None):
        self._trainer, self._first, self._of_heads = trainer, first, of_heads

    def __getattr__(self, name):
        return getattr(self._trainer, name)

    def choose_start(self, given, *, gpus, budget_s, screened=()):
        chosen = {"spec": {}, "search": (), "ranges": {}, "reasons": ()}
        if self._of_heads:
            chosen = self._trainer.choose_start(given, gpus=gpus, budget_s=budget_s)
            chosen["stages"][0]["first_trials"] = self._of_heads
        return chosen | {"first_trials": self._first or {}}


CPU = Machine(nodes=(Node(cpus=2, gpus=0),))


def test_a_completed_study_holds_what_the_trainer_has_learned():
    trainer = Learned(TRAINER, FIRST)
    study = complete_study(quick_study(), trainer, CPU).study
    assert study.search.first_trials == FIRST
    assert parse_study(study.to_dict()).search.first_trials == FIRST
    own = quick_study(search=SearchOptions(first_trials={"mine": {"train.lr": 0.5}}))
    assert complete_study(own, trainer, CPU).study.search == own.search
    off = quick_study(search=SearchOptions(portfolio=False))
    assert complete_study(off, trainer, CPU).study.search.first_trials == {}


def test_a_search_whose_study_is_not_completed_has_none():
    """As on the AutoML route, which keeps what was published."""
    trainer = Learned(TRAINER, FIRST)
    assert plan_study(quick_study(), trainer, route_style="running").learned == []


def test_a_stage_begins_with_its_own_and_the_last_one_with_none():
    heads = {"low": {"train.margin": 0.4}, "outside": {"train.margin": 0.95}}
    trainer = Learned(STAGED_TRAINER, FIRST, heads)
    asked = StudySpec(trainer=STAGED, search=SearchOptions(stages=("heads", "full")))
    study = complete_study(asked, trainer, CPU).study
    plan = plan_study(study, STAGED_TRAINER)
    (stage,) = planned_stages(study, plan, STAGED_TRAINER)
    assert plan.learned == []
    assert plan.start[-1].startswith("stage heads: first_trials: not allowed by this search")
    algorithm = build_algorithm(stage.study, stage.plan, STAGED_TRAINER, stage.space)
    assert [algorithm.ask(n).params for n in (0, 1)] == [
        {"train.margin": 0.3},
        {"train.margin": 0.4},
    ]
    off = replace(study, search=replace(study.search, portfolio=False))
    assert planned_stages(off, plan, STAGED_TRAINER)[0].plan.learned == []


def test_a_short_search_takes_the_first_of_them():
    study = quick_study(budget=Budget(trials=4), search=SearchOptions(first_trials=FIRST))
    spec = TRAINER.validate({})
    found = learned_trials(study, spec, quick_space(), 4)
    assert [quick_space().decode(p) for p in found.latents] == [pytest.approx(FIRST["wide"])]
    tried = [{**quick_space().encode(quick_space().default() | {"train.margin": 0.6})}]
    assert learned_trials(study, spec, quick_space(), 4, before=tried).latents == ()


def test_what_is_tried_before_them_is_not_tried_again():
    space = space_of(NODES)
    before = [space.encode(POINTS["a"])]
    found = fit_trials(space, POINTS, SPEC, 8, before)
    assert same([space.decode(latents) for latents in found.latents], [POINTS["d"]])
    assert fit_trials(space, POINTS, SPEC, 1, before).latents == ()


def test_a_configuration_that_is_no_mapping_is_refused():
    study = quick_study(search=SearchOptions(first_trials={"a": 0.5}))
    with pytest.raises(SpecError, match=r"^search\.first_trials\.a: must be a mapping .* got 0\.5"):
        plan_study(study, TRAINER)


@pytest.mark.parametrize("values", [{"train.margn": 0.4}, {"train": {"lr": 0.02, "margn": 0.4}}])
def test_a_parameter_that_the_trainer_does_not_have_is_refused(values, tmp_path, capsys):
    """By the space of the study too, which tries nothing."""
    search = SearchOptions(first_trials={"a": {"train.lr": 0.02}, "b": values})
    told = "search.first_trials.b: train.margn: no such parameter; did you mean 'train.margin'?"
    study = quick_study(search=search)
    with pytest.raises(SpecError) as caught:
        plan_study(study, TRAINER)
    assert str(caught.value) == told
    file = tmp_path / "study.yaml"
    file.write_text(to_yaml(study.to_dict()), encoding="utf-8")
    assert main(["space", str(file)]) == 2
    assert capsys.readouterr().err == f"hpo space: {told}\n"
    heads = {"heads": {"first_trials": {"c": values}}}
    staged = StudySpec(trainer=STAGED, search=SearchOptions(earlier_stages=heads))
    with pytest.raises(SpecError, match=r"^search\.earlier_stages\.heads\.first_trials\.c: "):
        plan_study(staged, STAGED_TRAINER)


@pytest.mark.parametrize(("stage", "code"), [(None, 0), ({"ranges": None}, 0), (3, 2), (["a"], 2)])
def test_a_stage_that_is_empty_or_no_mapping_is_no_fault_of_ours(stage, code, tmp_path, capsys):
    file = tmp_path / "study.yaml"
    study = StudySpec(trainer=STAGED, search=SearchOptions(earlier_stages={"heads": stage}))
    file.write_text(to_yaml(study.to_dict()), encoding="utf-8")
    assert main(["space", str(file)]) == code
    told = capsys.readouterr().err
    assert ("search.earlier_stages.heads: must be a mapping" in told) is bool(code), told


@pytest.mark.parametrize("key", ["first_trials", "remembered"])
def test_sections_and_names_that_are_numbers_are_read(key):
    search = SearchOptions(**{key: {1: {"train": {"lr": 0.02}}}})
    plan = plan_study(quick_study(search=search), TRAINER)
    (latents,) = plan.learned or [start["latents"] for start in plan.first]
    space = quick_space()
    assert space.decode(latents)["train.lr"] == pytest.approx(0.02)


def test_a_remembered_configuration_that_is_no_mapping_is_refused():
    study = quick_study(search=SearchOptions(remembered={"a": 5}))
    with pytest.raises(SpecError, match=r"^search\.remembered\.a: must be a mapping .* got 5"):
        plan_study(study, TRAINER)
