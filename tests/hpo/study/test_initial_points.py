import json
import math
import re
from pathlib import Path

import pytest

from hpo.core.budget import Budget
from hpo.core.errors import RunError, SpecError
from hpo.run.ledger import Ledger
from hpo.searching.session import start_search
from hpo.study.initial_points import PRIORS, earlier_points, starts_of
from hpo.study.sections import SearchOptions
from tests.quick_runs import Ear, quick_space, quick_study
from tests.quick_trainer import NAME, peak

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def earlier(tmp_path_factory):
    """A finished search of a dozen trials, and its records by value."""
    out = tmp_path_factory.mktemp("runs")
    study = quick_study(budget=Budget(trials=12), search=SearchOptions(pruner="none", seed=5))
    run = start_search(study, out, Ear().settings(probe=False)).run
    ledger = Ledger.open(run.ledger_file)
    trials = sorted(ledger.trials(), key=lambda t: -t.value)
    ledger.close()
    return run, trials


def starts(runs, space=None, most=None, **more):
    facts = {"remembered": {}, "use_priors": False, "trainer": NAME, "network": "quick"}
    rows = earlier_points(runs=[str(r) for r in runs], **(facts | more))
    return starts_of(space or quick_space(), rows)[:most]


def test_the_best_of_an_earlier_run_come_first(earlier):
    run, trials = earlier
    found = starts([run])
    assert [start.params for start in found] == [t.params for t in trials[:3]]
    assert found[0].source == (
        f"trial {trials[0].number} of quick/{run.path.name} ({trials[0].value:.4f})"
    )


def test_runs_take_turns_and_nothing_comes_twice(earlier):
    run, _ = earlier
    assert len(starts([run, run])) == 3
    assert len(starts([run], most=2)) == 2


def test_a_configuration_that_was_drawn_twice_takes_one_place(tmp_path):
    """Children of evolution may be the same; noise tells equal ones apart."""
    wishes = SearchOptions(
        over=("train.width",), ranges={"train.width": [62, 66]}, algorithm="dehb"
    )
    study = quick_study(budget=Budget(trials=16), search=wishes)
    run = start_search(study, tmp_path, Ear().settings(probe=False)).run
    trials = [t for t in Ledger.read_trials(run.ledger_file)[0] if t.epochs == 9]
    widths = [t.params["train.width"] for t in sorted(trials, key=lambda t: (-t.value, t.number))]
    best = list(dict.fromkeys(widths))[:3]
    assert len(set(widths[:3])) < 3
    found = starts([run], quick_space(study))
    assert [start.params["train.width"] for start in found] == [w for w in best if w != 64]


def test_members_of_a_population_count_that_kept_their_parameters(tmp_path):
    """What copied another one's weights with other rates is no recipe for a new training."""
    options = {"population_size": 4, "eval_interval": 3, "quantile": 0.5}
    search = SearchOptions(algorithm="pbt", algorithm_options=options, seed=5)
    run = start_search(
        quick_study(budget=Budget(trials=13), search=search), tmp_path, Ear().settings(probe=False)
    ).run
    trials, _ = Ledger.read_trials(run.ledger_file)
    first = [t.params for t in trials[1:5]]
    last = sorted((t for t in trials if t.epochs == 9), key=lambda t: -t.value)
    kept = [t for t in last if t.params in first or t.number == 0]
    assert 1 < len(kept) < len(last)
    assert [s.params for s in starts([run])] == [t.params for t in kept[:3] if t.number]


def test_a_narrower_space_takes_the_nearest_values(earlier):
    run, trials = earlier
    wishes = SearchOptions(ranges={"train.lr": [1e-5, 1e-4]}, fix={"train.width": 50})
    space = quick_space(quick_study(search=wishes))
    found = starts([run], space)
    assert found
    for start, trial in zip(found, trials, strict=False):
        assert set(start.params) == {"train.lr", "train.margin"}
        assert start.params["train.lr"] == pytest.approx(
            min(max(trial.params["train.lr"], 1e-5), 1e-4)
        )
        assert start.params["train.margin"] == pytest.approx(trial.params["train.margin"])


def test_what_was_not_searched_before_comes_from_the_spec_of_that_run(tmp_path):
    wishes = SearchOptions(over=("train.lr",), pruner="none")
    study = quick_study({"train.width": 300}, budget=Budget(trials=3), search=wishes)
    run = start_search(study, tmp_path, Ear().settings(probe=False)).run
    assert {start.params["train.width"] for start in starts([run])} == {300}


def test_a_search_begins_with_them_and_is_better_for_it(earlier, tmp_path):
    run, trials = earlier
    wishes = SearchOptions(pruner="none", seed=9, warm_start=(str(run),))
    ear = Ear()
    later = start_search(
        quick_study(budget=Budget(trials=9), search=wishes), tmp_path, ear.settings(probe=False)
    )
    ledger = Ledger.open(later.run.ledger_file)
    params = [t.params for t in ledger.trials()]
    ledger.close()
    assert params[1:4] == [t.params for t in trials[:3]]
    assert len(ear.named("review")[0]["first"]) == 3
    plain = start_search(
        quick_study(budget=Budget(trials=4), search=SearchOptions(pruner="none", seed=9)),
        tmp_path / "plain", Ear().settings(probe=False),
    )  # fmt: skip
    ledger = Ledger.open(plain.run.ledger_file)
    cold = [t.params for t in ledger.trials()]
    ledger.close()

    def best(of):
        return max(peak({k.removeprefix("train."): v for k, v in p.items()}) for p in of)

    assert best(params[:4]) > best(cold[:4])


def test_with_the_same_seed_nothing_is_trained_a_second_time(earlier, tmp_path):
    """But for the default and what it begins with, which are compared again."""
    run, trials = earlier
    wishes = SearchOptions(pruner="none", seed=5, warm_start=(str(run),))
    study = quick_study(budget=Budget(trials=9), search=wishes)
    later = start_search(study, tmp_path, Ear().settings(probe=False))
    ledger = Ledger.open(later.run.ledger_file)
    drawn = [t.params for t in ledger.trials()][4:]
    ledger.close()
    assert len(drawn) == 5
    assert not [params for params in drawn if params in [t.params for t in trials]]


@pytest.mark.parametrize(
    ("name", "said"), [("nowhere", "is not a run directory"), ("", "is not a run directory")]
)
def test_what_is_no_run_is_refused(tmp_path, name, said):
    with pytest.raises(RunError, match=said):
        starts([tmp_path / name])


def test_a_run_of_another_trainer_is_refused(earlier):
    run, _ = earlier
    with pytest.raises(SpecError, match=re.escape(f"was a search of {NAME}, this one is of other")):
        starts([run], trainer="other")


def test_a_network_without_published_settings_says_which_have_some():
    with pytest.raises(
        SpecError, match="none are published for quick; there are some for ml_recog"
    ):
        starts([], use_priors=True)


@pytest.mark.parametrize("path", sorted(PRIORS.glob("*.json")), ids=lambda path: path.stem)
def test_published_settings_have_sources_and_lie_within_the_schema(path):
    data = json.loads(path.read_text())
    tree = json.loads((ROOT / "trainer" / "skill" / "schemas" / "train.schema.json").read_text())
    for prior in data["priors"]:
        assert re.search(r"\d{4}, .+arXiv:\d{4}\.\d{5}", prior["source"]), prior["name"]
        for name, value in prior["values"].items():
            node = tree
            for part in name.split("."):
                node = node["properties"][part]
            assert node["minimum"] <= value <= node.get("maximum", math.inf), name
