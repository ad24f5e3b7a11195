"""What every registered algorithm keeps, whatever it does inside.

Each is driven by hand with one, three or eight slots on a known surface; `route=True` gives it the AutoML
route's limits, so that it ends by itself.
"""

import functools
import json
import os
import subprocess
import sys

import pytest

from hpo.algorithms import ALGORITHMS
from hpo.algorithms.brackets import Length
from hpo.algorithms.options import resolve_options
from hpo.core.selection import best_trial
from hpo.core.trial import TrialState
from hpo.study.sections import SearchOptions
from tests.contracts.searching import EPOCHS, HALVING, Search, curve
from tests.quick_runs import quick_space, quick_study

NAMES = tuple(ALGORITHMS)
STYLES = ("running", "rungs")
SLOW = {"bayesian"}
"""Proposals of these take a second; they get fewer."""
SMALL = {"pbt": {"population_size": 8, "eval_interval": 3}}
DEFAULT = {"train.lr": 0.001, "train.margin": 0.3, "train.width": 64}


def search(name, **changes):
    facts = {"options": SMALL.get(name, {}), "most": 6 if name in SLOW else 30, "slots": 3}
    return Search(name, **(facts | changes))


@functools.cache
def made(name, style, direction, seed):
    return search(name, direction=direction, seed=seed, context={"style": style}).run()


def finished(name, style="running", direction="maximize", seed=0):
    """A usual search, made once."""
    return made(name, style, direction, seed)


def told(name, style="running", direction="maximize", seed=0):
    return finished(name, style, direction, seed).story()


# Suggestions -----------------------------------------------------------------------------------


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("name", NAMES)
def test_suggestions_are_points_of_the_space(name, style):
    space = quick_space()
    records = finished(name, style).records
    assert len(records) >= 6
    for record in records:
        space.validate(record.params)
        assert space.decode(record.latents) == record.params


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("name", NAMES)
def test_no_trial_goes_past_its_last_epoch_or_starts_from_nothing(name, style):
    records = finished(name, style).records
    for record in records:
        assert 1 <= record.until_epoch <= EPOCHS
        assert record.measurements[-1].epoch <= record.until_epoch
        if record.start_from is None:
            assert record.measurements[0].epoch == 1
            continue
        number, epoch = record.start_from
        source = records[number]
        assert number < record.number
        assert source.state is TrialState.COMPLETE
        assert source.until_epoch == source.epochs == epoch < record.until_epoch


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("name", NAMES)
def test_the_first_trial_is_the_default_and_is_trained_in_full(name, style):
    first = finished(name, style).records[0]
    assert first.params == DEFAULT
    assert (first.state, first.epochs) == (TrialState.COMPLETE, EPOCHS)


@pytest.mark.parametrize("name", NAMES)
def test_eight_free_slots_get_eight_different_trials(name):
    for style in STYLES:
        made = search(name, slots=8, most=8, context={"style": style})
        made.fill()
        assert len(made.live) == 8
        others = {json.dumps(record.params) for record in made.records[1:]}
        assert len(others) == 7


@pytest.mark.parametrize("name", sorted(HALVING))
def test_trials_of_one_moment_have_budgets_of_their_own(name):
    """A mixed batch: what runs at the same time is stopped each at its own epoch."""
    made = search(name, slots=4, context={"style": "rungs"}).run()
    lengths = {record.until_epoch for record in made.records}
    assert len(lengths) > 1
    assert all(
        record.epochs == record.until_epoch
        for record in made.records
        if record.state is TrialState.COMPLETE
    )


# The same again --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_same_seed_and_reports_same_suggestions_other_seed_others(name):
    assert search(name, context={"style": "running"}).run().story() == told(name)
    here, there = told(name), told(name, seed=1)
    assert here[0][1] == there[0][1]
    assert sum(a[1] != b[1] for a, b in zip(here[1:], there[1:], strict=False)) >= 4


def test_another_process_with_another_salt_suggests_the_same():
    code = (
        "import json; from tests.contracts.test_algorithms import NAMES, told;"
        "print(json.dumps({name: told(name) for name in NAMES}))"
    )
    env = {"PYTHONHASHSEED": "77", "PYTHONPATH": ":".join(sys.path), "PATH": "/usr/bin:/bin"}
    said = subprocess.run(
        [sys.executable, "-c", code],
        env=env | {n: v for n, v in os.environ.items() if n.startswith(("OMP_", "AUTOML_LLM_"))}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert json.loads(said.stdout) == json.loads(json.dumps({name: told(name) for name in NAMES}))


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("name", NAMES)
def test_a_restarted_search_goes_on_as_an_unbroken_one(name, style):
    whole = told(name, style)
    total = len(finished(name, style).calls)
    for cut in (total // 2,) if name in SLOW else (total // 3, 2 * total // 3):
        broken = search(name, context={"style": style}, stop_after=cut).run()
        assert len(broken.calls) < total
        assert broken.replayed().run().story() == whole


@pytest.mark.parametrize(
    ("name", "style"),
    [
        pytest.param(
            name, style, marks=[pytest.mark.slow] if name in SLOW and style == "rungs" else []
        )
        for name in NAMES
        for style in STYLES
    ],
)
def test_minimizing_the_negative_mirrors_maximizing(name, style):
    assert told(name, style, "minimize") == told(name, style)


# Trouble ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("name", NAMES)
def test_failed_trials_are_survived_and_never_best(name, style):
    """Every third trial fails after an epoch, also where values are negative."""
    made = search(
        name, context={"style": style}, fails=lambda number: number % 3 == 1, most=18,
        values=lambda params, epoch: curve(params, epoch) - 2.0,
    ) if name not in SLOW else search(name, fails=lambda number: number == 1)  # fmt: skip
    made.run()
    failed = {r.number for r in made.records if r.state is TrialState.FAILED}
    assert failed
    assert len(made.records) > len(failed)
    assert best_trial(made.records, "maximize").number not in failed
    for record in made.records:
        assert record.start_from is None or record.start_from[0] not in failed


@pytest.mark.parametrize("name", [n for n in NAMES if n not in SLOW])
def test_when_everything_fails_the_search_still_ends_or_goes_on(name):
    made = search(name, fails=lambda number: True, most=25).run()
    assert not any(
        record.state is TrialState.COMPLETE and record.epochs > 1 for record in made.records
    )
    assert len(made.records) <= 25


@pytest.mark.parametrize("slots", [1, 2])
def test_the_weaker_of_two_copies_the_stronger(slots):
    options = {"population_size": 2, "eval_interval": 3}
    records = search("pbt", options=options, slots=slots).run().records
    assert len(records) == 1 + 2 * EPOCHS / 3  # the default beside two members
    ends = {record.number: record.measurements[-1].value for record in records}
    copies = 0
    for record in records:
        before = [
            r
            for r in records
            if r.number < record.number and r.until_epoch == record.until_epoch - 3
        ]
        if (
            record.start_from
            and len(before) == 2
            and record.params not in [r.params for r in before]
        ):
            assert record.start_from[0] == max((r.number for r in before), key=ends.get)
            copies += 1
    assert copies


@pytest.mark.parametrize("name", ["tpe", "bfbo", "bohb", "dehb", "pbt"])
def test_what_a_failed_trial_had_reported_does_not_move_the_search(name):
    """A model does not look where a trial broke, whatever it showed before."""

    def story(shown):
        def values(params, epoch):
            return shown if params == broken[0] else curve(params, epoch)

        made = search(
            name, fails=lambda number: number == 2, values=values, most=20, pruner="auto",
            options=SMALL.get(name, {}) | ({"epoch_multiplier": 2} if name in ("bohb", "dehb") else {}),
        )  # fmt: skip
        return [record.params for record in made.run().records]

    broken = [None]
    broken[0] = story(0.5)[2]
    assert story(0.1) == story(0.9)


@pytest.mark.parametrize("name", ["random", "asha", "hyperband"])
def test_a_trial_that_failed_after_a_rung_takes_no_place_there(name):
    """The third is behind one that broke after its rung, and the best of all others: it goes on."""
    seen = {}

    def values(params, epoch):
        return (0.4, 0.9, 0.5)[seen.setdefault(json.dumps(params), len(seen))]

    options = {} if name == "random" else {"epoch_multiplier": 2}
    made = search(
        name, slots=1, most=3, values=values, options=options, fails=lambda n: 3 * (n == 1)
    ).run()
    assert [str(r.state) for r in made.records] == ["complete", "failed", "complete"]


# The end ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("name", NAMES)
def test_it_ends_by_itself(name, style):
    most = {"max_recommendations": 6 if name in SLOW else 20}
    options = SMALL.get(name, {}) | (
        most if any(o.name == "max_recommendations" for o in ALGORITHMS[name].options) else {}
    )
    made = search(name, most=400, context={"style": style}, options=options).run()
    assert not made.live
    assert len(made.records) < 400
    assert made.algorithm.ask(len(made.records)) is None
    assert best_trial(made.records, "maximize").epochs == EPOCHS


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("name", sorted(set(HALVING) - {"asha"}))
def test_it_takes_as_many_trials_as_it_says(name, style):
    options = SMALL.get(name, {}) | {"max_epochs": EPOCHS}
    complete = resolve_options(name, ALGORITHMS[name].options, options, route=True)
    told = ALGORITHMS[name].num_trials(complete, Length(EPOCHS), style)
    assert len(finished(name, style).records) == told


@pytest.mark.parametrize(
    ("name", "ends"),
    [
        # Validated at 4, 8 and 9. A ninth of a trial would be an epoch, a third three.
        ("pbt", {4, 8, 9}),
        ("dehb", {4, 9}),
        ("hyperband", {4, 9}),
        ("asha", {4, 9}),
    ],
)
def test_trials_end_where_they_are_validated(name, ends):
    """One that was to end before would go on to there, and the next begin beyond its own end."""
    style = {} if name in ("pbt", "dehb") else {"style": "rungs"}
    options = {"pbt": {"population_size": 4}, "asha": {"max_trials": 9}}.get(name, {})
    made = search(name, context={"validated_every": 4, **style}, options=options, route=False)
    records = made.run().records
    assert {record.until_epoch for record in records} == ends
    assert {record.start_from[1] for record in records if record.start_from} == ends - {9}


def test_a_population_that_ends_early_is_compared_with_a_default_that_ends_with_it():
    """Two generations of two epochs: what the default shows at its ninth epoch counts no more."""
    options = {"population_size": 4, "eval_interval": 2, "max_generations": 2}
    better = Search("pbt", options=options, values=lambda params, epoch: params != DEFAULT).run()
    assert [r.until_epoch for r in better.records] == [4, 2, 2, 2, 2, 4, 4, 4, 4]
    assert best_trial(better.records, "maximize").number != 0


@pytest.mark.parametrize("style", STYLES)
def test_asha_with_too_few_trials_for_its_top_ends(style):
    options = {"max_trials": 4, "min_top_configs": 5}
    made = search("asha", options=options, context={"style": style}).run()
    assert not made.live
    # The default comes on top.
    assert len({json.dumps(record.params) for record in made.records}) == 1 + 4


@pytest.mark.parametrize("style", STYLES)
def test_asha_has_enough_when_its_top_is_full(style):
    options = {"min_top_configs": 2}
    made = search("asha", options=options, slots=1, most=400, context={"style": style}).run()
    full = [r for r in made.records[1:] if r.state is TrialState.COMPLETE and r.epochs == EPOCHS]
    assert len(full) == 2


def test_promoted_configurations_are_the_best_of_their_rung():
    """Hyperband against a slow recount: of nine after an epoch the best three go on, of three one."""
    made = search("hyperband", slots=1, context={"style": "rungs"}).run()
    bracket = [r for r in made.records[1:] if r.start_from is None and r.until_epoch == 1]
    assert len(bracket) == 9
    by_value = sorted(bracket, key=lambda r: -r.value)
    second = [r for r in made.records if r.start_from and r.start_from[1] == 1]
    assert sorted(r.start_from[0] for r in second) == sorted(r.number for r in by_value[:3])
    third = [
        r for r in made.records if r.start_from and r.start_from[0] in {s.number for s in second}
    ]
    best = max(second, key=lambda r: max(r.value, made.records[r.start_from[0]].value))
    assert [r.start_from for r in third] == [(best.number, 3)]


# Learning --------------------------------------------------------------------------------------


def test_a_model_learns_from_configurations_that_wait_at_a_rung():
    """Of bohb's first bracket the design gives ten; the others go by what was told, in either order."""

    def widths(sign):
        made = search(
            "bohb", slots=1, most=28, epochs=27, options={"rounds": 1}, context={"style": "rungs"},
            values=lambda params, epoch: sign * params["train.margin"],
        ).run()  # fmt: skip
        bracket = [r for r in made.records[1:] if r.start_from is None and r.until_epoch == 1]
        assert len(bracket) == 27
        return [record.params["train.margin"] for record in bracket]

    up, down = widths(1.0), widths(-1.0)
    assert up[:9] == down[:9]
    assert sum(up[9:]) / 18 > sum(down[9:]) / 18 + 0.3


def line_space():
    return quick_space(quick_study(search=SearchOptions(over=("train.margin",))))


def parabola(scale, offset):
    return lambda params, epoch: offset - scale * (params["train.margin"] - 1.4) ** 2


@functools.cache
def climb(name, most, scale=1.0, offset=0.0):
    """Margins that were proposed on a parabola, every trial in full."""
    options = {"rounds": 9} if name == "bohb" else {"max_recommendations": most}
    made = search(
        name, slots=1, values=parabola(scale, offset), space=line_space(), most=most,
        options=options, pruner="auto" if name == "bohb" else "none",
    ).run()  # fmt: skip
    assert len(made.records) == most
    return [record.params["train.margin"] for record in made.records]


@pytest.mark.parametrize(("name", "most"), [("tpe", 200), ("mfbo", 60), ("bfbo", 20), ("bohb", 60)])
def test_a_model_finds_the_top_of_a_parabola(name, most):
    """The last five proposals lie within 0.1 of the width around the optimum; TPE explores long."""
    last = climb(name, most)[-5:]
    assert all(abs(margin - 1.4) <= 0.2 for margin in last), last


@pytest.mark.parametrize(("scale", "offset"), [(128, 0), (1 / 128, 0), (1, 64)])
@pytest.mark.parametrize(("name", "most"), [("tpe", 30), ("mfbo", 30), ("bfbo", 14), ("bohb", 30)])
def test_neither_scale_nor_offset_of_the_metric_matter(name, most, scale, offset):
    """The proposals are the same to the last digit that rounding leaves."""
    assert climb(name, most, scale, offset) == pytest.approx(climb(name, most), rel=0, abs=0.02)


@pytest.mark.parametrize(("scale", "offset"), [(100, -7), (0.01, 3)])
def test_bayesian_finds_the_top_of_a_parabola_at_any_scale(scale, offset):
    made = search(
        "bayesian", slots=1, values=parabola(scale, offset), space=line_space(), most=12,
        pruner="none",
    ).run()  # fmt: skip
    last = [record.params["train.margin"] for record in made.records[-5:]]
    assert all(abs(margin - 1.4) <= 0.2 for margin in last), last
