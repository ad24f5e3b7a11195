"""What a search takes over from earlier ones, against hand numbers and real runs."""

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from hpo.core.budget import Budget
from hpo.core.errors import SpecError
from hpo.core.trial import Measurement, Suggestion, TrialRecord, TrialStage, TrialState
from hpo.core.yaml_io import to_yaml
from hpo.run.ledger import Ledger
from hpo.run.run_dir import AUTOML_FACTS, RunDir
from hpo.searching.choose_network import plan_completed
from hpo.searching.session import start_search
from hpo.study.memory import best_of, by_numbers, is_same_kind, numbers_of, overlap, recall
from hpo.study.plan import build_space, read_plan
from hpo.study.provenance import describe_source
from hpo.study.sections import DataSources, SearchOptions
from hpo.study.spec import load_study
from tests.count_calls import count_calls
from tests.quick_runs import Ear, quick_space, quick_study
from tests.quick_trainer import TRAINER, QuickTrainer


def trial(number, *values, state=TrialState.COMPLETE, params=None):
    lines = [Measurement(epoch=epoch, value=value) for epoch, value in enumerate(values, 1)]
    return TrialRecord(
        number=number, state=state, params={"p": number} if params is None else params, latents={},
        until_epoch=2, measurements=lines, value=max(values),
    )  # fmt: skip


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A folder of its own for the list of runs."""
    return str(tmp_path_factory.mktemp("list"))


@pytest.fixture(scope="module")
def patch(kept):
    """With memory."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("HPO_MEMORY")
        patch.setenv("HPO_CACHE_DIR", kept)
        yield patch


@pytest.fixture(autouse=True)
def _same_list(kept, _own_places, monkeypatch):
    """In place of the folder that all tests of this package have."""
    monkeypatch.setenv("HPO_CACHE_DIR", kept)


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """Address of each of some sources, which differ."""
    folder = tmp_path_factory.mktemp("pictures")
    for name in ("t", "r", "q", "t2", "r2", "q2", "held out"):
        (folder / name).write_text(name * 5)
    return {path.name: str(path) for path in folder.iterdir()}


@pytest.fixture(scope="module")
def earlier(patch, places, tmp_path_factory):
    """A finished search of a dozen trials."""
    data = DataSources(train=places["t"], reference=places["r"], query=places["q"])
    options = SearchOptions(pruner="none", algorithm="random", seed=3)
    study = quick_study(budget=Budget(trials=12), search=options, data=data)
    return start_search(study, tmp_path_factory.mktemp("runs"), Ear().settings(probe=False)).run


def fresh(run):
    """The study of a run as its user gave it: nobody has looked for earlier searches."""
    study = load_study(run.study_file)
    return replace(study, search=replace(study.search, after=None, remembered={}))


def kept_anew(study, folder):
    """A study from the file that a run of it keeps."""
    (folder / "study.yaml").write_text(to_yaml(study.to_dict()))
    return load_study(folder / "study.yaml")


def planned(study, out):
    return plan_completed(study, TRAINER, Ear().settings(), out)


def recalled(run, *, study=None, sources=None, trainer=TRAINER):
    study, plan = study or load_study(run.study_file), read_plan(run.path)
    plan = replace(plan, sources=sources or plan.sources)
    space = build_space(study, trainer, plan.base_spec, num_trials=plan.planned_trials)
    return recall([run], study, plan, trainer, space).last


def others(places, **more):
    """Sources of which none is the earlier search's."""
    return {"train": places["t2"], "reference": places["r2"], "query": places["q2"], **more}


def test_only_whole_trials_ahead_of_the_default_are_taken():
    trials = [
        trial(0, 0.4, 0.5), trial(1, 0.1, 0.45), trial(2, 0.6, 0.7), trial(3, 0.8, state=TrialState.PRUNED),
        trial(4, 0.9, 0.6), trial(5, 0.5, 0.55, params={"p": 0}), trial(6, 0.2, 0.53), trial(7, 0.2, 0.6),
    ]  # fmt: skip
    assert [(t.number, value) for t, value in best_of(trials, "maximize")] == [
        (4, 0.9), (2, 0.7), (7, 0.6),
    ]  # fmt: skip
    assert [(t.number, value) for t, value in best_of(trials, "minimize")] == [
        (1, 0.1), (6, 0.2), (7, 0.2),
    ]  # fmt: skip


def test_a_configuration_that_was_drawn_twice_is_taken_once_by_its_better_trial():
    trials = [
        trial(0, 0.4, 0.5), trial(1, 0.6, 0.7, params={"p": 9}), trial(2, 0.6, 0.8, params={"p": 9}),
        trial(3, 0.5, 0.65), trial(4, 0.5, 0.6),
    ]  # fmt: skip
    assert [t.number for t, _ in best_of(trials, "maximize")] == [2, 3, 4]


def test_a_trial_whose_parameters_changed_on_the_way_is_no_configuration_to_begin_with():
    trials = [trial(0, 0.4, 0.5), trial(1, 0.3, 0.55), trial(2, 0.8, 0.9), trial(3, 0.6, 0.7)]
    trials[2].start_from = trials[3].start_from = (1, 2)
    trials[3].params = trials[1].params
    assert [t.number for t, _ in best_of(trials, "maximize")] == [3]


def test_no_more_trials_are_compared_than_are_taken():
    trials = [trial(n, 0.0, n / 300) for n in range(300)]
    assert [t.number for t, _ in best_of(trials, "maximize")] == [299, 298, 297]
    assert count_calls(best_of, trials, "maximize", of="is_twin_of") < 400


def test_numbers_are_compared_by_their_ratios():
    told = {"splits": {"train": {"classes": 10, "images": 80}, "query": {"images": 5}}}
    assert numbers_of(told) == {"train classes": 10, "train pictures per class": 8.0}
    one, other = {"a": 10.0, "b": 8.0, "c": 1.0}, {"a": 40.0, "b": 8.0}
    assert by_numbers(one, other) == by_numbers(other, one) == pytest.approx(0.5)
    assert by_numbers(one, one) == 1.0
    assert by_numbers(one, {"d": 1.0}) == 0.0


def test_features_are_compared_by_means_and_variances():
    """3^2 + (2 - 1)^2 over half of (4 + 1) + (1 + 1)."""
    one = {"mean": [0.0, 1.0], "variance": [4.0, 1.0]}
    other = {"mean": [3.0, 1.0], "variance": [1.0, 1.0]}
    assert overlap(one, other) == overlap(other, one) == pytest.approx(math.exp(-10 / 3.5))
    assert overlap(one, one) == 1.0


def test_the_same_pictures_give_the_best_as_trial_1_and_the_study_keeps_it(earlier):
    out, before = earlier.path.parents[1], load_study(earlier.study_file)
    best = earlier.read_state()["best"]
    study, plan = planned(replace(before, search=replace(before.search, seed=8)), out)
    name = f"trial {best['trial']} of quick/{earlier.path.name} ({best['value']:.4f})"
    assert plan.first[0]["source"] == f"{name}: the same pictures"
    space = build_space(study, TRAINER, plan.base_spec, num_trials=12)
    assert space.decode(plan.first[0]["latents"]) == pytest.approx(best["params"])
    assert [start["source"] for start in plan.first] == list(study.search.remembered)
    assert len(plan.first) == 3
    assert any("--no-memory" in line for line in plan.start)


def test_a_copy_of_a_run_takes_no_places_of_its_own(earlier, tmp_path):
    """Three different configurations, also where the list and the folder hold the same run."""
    shutil.copytree(earlier.path, tmp_path / "quick" / earlier.path.name)
    study = load_study(earlier.study_file)
    assert planned(study, tmp_path)[1].first == planned(study, earlier.path.parents[1])[1].first


def test_a_kept_study_begins_in_the_same_way_whatever_runs_there_are(earlier, tmp_path):
    study, plan = planned(fresh(earlier), earlier.path.parents[1])
    kept = kept_anew(study, tmp_path)
    assert planned(kept, tmp_path)[1].first == plan.first
    without = replace(kept, search=replace(kept.search, memory=False))
    assert planned(without, tmp_path)[1].first == []


def test_a_study_that_found_nothing_keeps_that_too(earlier, patch, places, tmp_path):
    here = earlier.path.parents[1]
    none = replace(fresh(earlier), data=DataSources(**others(places)), spec={"fault.kind": "none"})
    study, plan = planned(none, here)
    assert (study.search.after, plan.first) == ("", [])
    kept = kept_anew(replace(study, data=fresh(earlier).data, spec={}), tmp_path)
    assert planned(kept, here)[0] == kept
    patch.setenv("HPO_MEMORY", "off")
    assert planned(fresh(earlier), here)[0].search.after == ""
    patch.delenv("HPO_MEMORY")


@pytest.mark.parametrize("status", ["finished", "interrupted", "running"])
def test_a_search_on_the_same_pictures_is_one_behind_the_newest_also_where_that_taught_nothing(
    earlier, places, tmp_path, status
):
    newer = RunDir(shutil.copytree(earlier.path, tmp_path / "quick" / "20990101-000000"))
    newer.state_file.write_text(json.dumps(newer.read_state() | {"status": status}))
    for given in ({}, {"warm_start": (str(earlier),)}):
        study = replace(fresh(earlier), search=SearchOptions(**given))
        found = planned(study, tmp_path)[0].search
        assert found.after == "quick/20990101-000000"
        assert planned(study, earlier.path.parents[1])[0].search.after == earlier.label
        assert not (given and found.remembered)
    elsewhere = replace(fresh(earlier), data=DataSources(**others(places)))
    assert planned(elsewhere, tmp_path)[0].search.after == ""
    (newer.path / AUTOML_FACTS).parent.mkdir(parents=True)
    (newer.path / AUTOML_FACTS).write_text("{}")
    assert planned(fresh(earlier), tmp_path)[0].search.after == earlier.label


def test_runs_of_other_folders_are_found_unless_that_is_switched_off(earlier, patch, tmp_path):
    study = load_study(earlier.study_file)
    assert planned(study, tmp_path)[1].first
    for given in ({"memory": False}, {"warm_start": (str(earlier),)}):
        found, _ = planned(replace(study, search=replace(study.search, **given)), tmp_path)
        assert found.search.remembered == {}
    patch.setenv("HPO_MEMORY", "off")
    assert planned(study, tmp_path)[1].first == []
    patch.delenv("HPO_MEMORY")


def test_the_less_alike_pictures_are_the_fewer_are_taken(earlier, places):
    class Described(type(TRAINER)):
        """Has features of everything, whose means are `far` apart."""

        def feature_statistics(self, address):
            mean = self.far if address in others(places).values() else 0.0
            return {"k": {"mean": [mean], "variance": [1.0]}}

    trainer, counts = Described(), []
    for trainer.far in (0.0, 0.9, 1.2, 3.0):
        found = recalled(earlier, sources=others(places), trainer=trainer)
        counts.append(len(found))
        assert all(": similar pictures (" in name for name in found)
    assert counts == [3, 2, 1, 0]


def test_numbers_alone_give_one(earlier, places):
    (name,) = recalled(earlier, sources=others(places))
    assert name.endswith(": about as many pictures (0.50)")


def test_pictures_that_are_held_out_now_must_have_chosen_nothing(earlier, places):
    assert recalled(earlier, sources=others(places, test_query=places["held out"]))
    assert recalled(earlier, sources=others(places, test_query=places["q"])) == {}
    study, kept = load_study(earlier.study_file), earlier.study_file.read_bytes()
    folder = replace(study, data=DataSources(folder="/all"))
    earlier.study_file.write_text(to_yaml(folder.to_dict()))
    split = others(places, test_query=places["held out"])
    assert recalled(earlier, study=folder, sources=split) == {}
    assert recalled(earlier, study=study, sources=split)
    earlier.study_file.write_bytes(kept)


@pytest.mark.parametrize("is_earlier", [True, False])
def test_runs_of_earlier_releases_have_kept_all_files_of_a_folder(earlier, tmp_path, is_earlier):
    class Lister(type(TRAINER)):
        """Reads no `Thumbs.db`."""

        def listed_files(self, source):
            return {path.name: str(path) for path in Path(source).glob("*.png")}

    now = {name: tmp_path / name for name in ("train", "reference", "query")}
    for name, folder in now.items():
        folder.mkdir()
        (folder / "a.png").write_text(name)
        (folder / "Thumbs.db").write_text("small")
    run = RunDir(shutil.copytree(earlier.path, tmp_path / "earlier"))
    read_by = None if is_earlier else Lister()
    kept = {"data": {name: describe_source(str(folder), read_by) for name, folder in now.items()}}
    (run.path / "origin.json").write_text(json.dumps(kept if is_earlier else kept | {"files": {}}))
    sources = {name: str(folder) for name, folder in now.items()}
    found = recalled(run, sources=sources, trainer=Lister())
    assert found
    assert all(": the same pictures" in name for name in found)
    (tmp_path / "other").mkdir()
    held_out = {**sources, "query": str(tmp_path / "other"), "test_query": sources["query"]}
    assert recalled(run, sources=held_out, trainer=Lister()) == {}


def test_an_earlier_stage_begins_with_the_parents_of_the_best(earlier, tmp_path):
    run = RunDir(tmp_path / "staged" / "20260101-000000")
    shutil.copytree(earlier.path, run.path, ignore=shutil.ignore_patterns("trials", "ledger*"))
    ledger = Ledger.create(run.ledger_file, "maximize")
    heads, default = TrialStage(name="heads", left=1), quick_space().default()
    rows = [
        (default, TrialStage(name="full"), 0.5),
        ({"train.lr": 0.02, "train.width": 64}, heads, 0.3),
        ({"train.lr": 0.03, "train.width": 80}, heads, 0.4),
        ({**default, "train.width": 80}, TrialStage(name="full", parent=2), 0.6),
        (default | {"train.width": 64}, TrialStage(name="full", parent=1), 0.45),
    ]
    for number, (params, stage, value) in enumerate(rows):
        suggestion = Suggestion(
            number=number, params=params, latents={}, until_epoch=1, stage=stage
        )
        ledger.start(suggestion, now=1.0, clock=1.0)
        ledger.record(number, Measurement(epoch=1, value=value), clock=2.0)
        ledger.finish(number, TrialState.COMPLETE, now=2.0, clock=2.0)
    ledger.close()
    study, plan, space = load_study(run.study_file), read_plan(run.path), quick_space()
    found = recall([run], study, plan, TRAINER, space, {"heads": space})
    ((source, values),) = found.earlier["heads"].items()
    assert source.startswith("trial 3 of staged/20260101-000000 (0.6000)")
    assert values == {"train.lr": 0.03, "train.width": 80}
    assert found.last[source]["train.width"] == 80
    assert recall([run], study, plan, TRAINER, space, {"others": space}).earlier == {}


def test_what_cannot_be_read_or_has_not_ended_is_passed_over(earlier):
    assert recalled(earlier)
    for file, text in (
        (earlier.ledger_file, b"no database"),
        (earlier.state_file, json.dumps(earlier.read_state() | {"status": "interrupted"}).encode()),
        (earlier.path / "plan.json", b"{"),
    ):
        kept = file.read_bytes()
        study, plan = load_study(earlier.study_file), read_plan(earlier.path)
        space = build_space(study, TRAINER, plan.base_spec, num_trials=12)
        file.write_bytes(text)
        assert not recall([earlier], study, plan, TRAINER, space)
        file.write_bytes(kept)


@pytest.mark.parametrize("text", ["[]", "3", '{"data": [3]}', '{"data": {"train": 3}}'])
def test_a_damaged_description_of_the_pictures_ends_no_search(earlier, text):
    (earlier.path / "origin.json").write_text(text)
    found = recalled(earlier)
    # By numbers of pictures at most: that they are the same can no longer be seen.
    assert all("about as many pictures" in source for source in found)


def test_a_switch_or_an_option_with_another_value_makes_another_kind(earlier):
    plan, train = read_plan(earlier.path), {"lr": 0.1, "mode": "a", "epochs": 3}
    spec = {"train": train, "tracking": {"name": "x"}}
    before = replace(plan, base_spec=spec)

    def is_same(*names, **changes):
        now = replace(plan, base_spec={**spec, **changes})
        return is_same_kind(before, now, TRAINER, {"train.lr", *names})

    assert is_same()
    assert is_same(train=train | {"lr": 9, "epochs": 5})
    assert is_same(tracking={"name": "y"})
    assert not is_same(train=train | {"mode": "b"})
    assert is_same("train.mode", train=train | {"mode": "b"})


@pytest.mark.parametrize(
    ("by_itself", "now", "same"),
    [(False, False, True), (False, True, False), (True, True, True), (None, False, False)],
)
def test_a_key_of_a_later_release_is_in_earlier_runs_as_it_is_by_itself(
    earlier, by_itself, now, same
):
    class Later(QuickTrainer):
        def validate(self, spec):
            if by_itself is None:
                raise SpecError("train.mode: is gone")
            return {"train": {"mirror": by_itself, **spec["train"]}}

    plan, train = read_plan(earlier.path), {"lr": 0.1, "mode": "a"}
    before = replace(plan, base_spec={"train": train})
    after = replace(plan, base_spec={"train": train | {"mirror": now}})
    assert is_same_kind(before, after, Later(), set()) is same
