"""Whole searches in this process: what stands in the run directory at every end."""

import contextlib
import json
import math
import os
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

from hpo.automl.skill_trainer import SkillTrainer
from hpo.core.budget import MOST, RAN_DRY, Budget, parse_budget
from hpo.core.errors import RunError, SpecError
from hpo.core.event_json import data_of, to_dict
from hpo.core.events import Epoch
from hpo.core.yaml_io import parse_yaml
from hpo.executors.division import Slots
from hpo.results.handoff import HandoffError
from hpo.run.ledger import Ledger
from hpo.run.run_dir import RunDir, list_runs
from hpo.searching.engine import ReceiptError
from hpo.searching.make_plan import plan_study
from hpo.searching.reviewing import (
    MOST_COUNTED,
    few_configurations,
    look_at_data,
    too_short_to_confirm,
)
from hpo.searching.session import Session, resume_search, start_search
from hpo.study.plan import read_plan
from hpo.study.sections import DataSources, SearchOptions
from hpo.study.spec import StudySpec, load_study
from tests import staged_trainer
from tests.quick_runs import Ear, quick_study
from tests.quick_trainer import TRAINER as QUICK
from tests.quick_trainer import QuickTrainer
from trainer.session import TRAINER

STUDY = quick_study(budget=Budget(trials=6))
QUIET = ("epoch", "trial_started", "trial_finished", "checkpoints_removed")
"""What happens once for each trial, or once for each that lost."""


def test_the_review_counts_the_test_pictures_too(tmp_path):
    counts = {"train": 3, "reference": 1, "val": 2, "test": 4}
    for split, count in counts.items():
        for label in ("a", "b"):
            (tmp_path / split / label).mkdir(parents=True)
            for number in range(count):
                color = (40 * number, 90 * (label == "a"), 10 * len(split))
                Image.new("RGB", (32, 32), color).save(tmp_path / split / label / f"{number}.png")
    places = {name: str(tmp_path / name) for name in counts}
    sources = {"train": places["train"], "reference": places["reference"], "query": places["val"]}
    plan = SimpleNamespace(
        base_spec=TRAINER.validate(TRAINER.data_overrides(sources)),
        sources={**sources, "test_query": places["test"]},
    )
    splits = look_at_data(TRAINER, plan)["splits"]
    assert {name: split["images"] for name, split in splits.items()} == {
        "train": 6, "reference": 2, "query": 4, "test": 8,
    }  # fmt: skip
    copied = tmp_path / "test" / "a" / "learned.png"
    copied.write_bytes((tmp_path / "train" / "a" / "0.png").read_bytes())
    for trainer in (TRAINER, SkillTrainer(str(TRAINER.skill_dir))):  # of both routes
        plan.base_spec = trainer.validate(trainer.data_overrides(sources))
        told = [finding["message"] for finding in look_at_data(trainer, plan)["findings"]]
        assert "2 files with the same content in test and train" in told
    plan.sources = sources
    assert "test" not in look_at_data(TRAINER, plan)["splits"]


def search(out, study=STUDY, **settings):
    ear = Ear(settings.pop("stop_after", None))
    result = start_search(study, out, ear.settings(**settings))
    return result, ear


def resume(run, budget=None, **settings):
    ear = Ear(settings.pop("stop_after", None))
    return resume_search(run, ear.settings(**settings), budget=budget), ear


def rows(run):
    ledger = Ledger.open(run.ledger_file)
    trials = [(t.number, str(t.state), t.params, t.value, t.epochs) for t in ledger.trials()]
    ledger.close()
    return trials


def paths(finished):
    return [finished["run_dir"], *(finished["best"][k] for k in ("spec", "checkpoint", "onnx"))]


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A finished search; tests must not change its run directory."""
    return search(tmp_path_factory.mktemp("runs"))


@pytest.mark.parametrize(("told", "kept"), [({}, None), ({"share_of": "many"}, None),
    ({"share_of": 0}, None), ({"share_of": 2.5}, 2.5)])  # fmt: skip
def test_what_the_metric_is_a_share_of_is_told_by_the_trainer_alone(
    tmp_path, monkeypatch, told, kept
):
    """How many queries there are says nothing of what is measured."""
    data = {"splits": {"query": {"images": 25, "classes": 5}}, "findings": [], **told}
    monkeypatch.setattr(type(QUICK), "inspect_data", lambda *_: data)
    sessions = []
    search(
        tmp_path, confirm_start=lambda _: False,
        make_session=lambda *facts: sessions.append(Session(*facts)) or sessions[0],
    )  # fmt: skip
    assert sessions[0].share_of == kept


# One search ------------------------------------------------------------------------------------


def test_everything_of_a_search_is_in_its_run_directory(done):
    run = done[0].run
    names = {p.name for p in run.path.iterdir() if not p.name.endswith(("-wal", "-shm", ".lock"))}
    assert names == {
        "study.yaml", "plan.json", "origin.json", "ledger.db", "state.json", "events.ndjson", "trials", "best",
        "evaluations",
    }  # fmt: skip
    assert sorted(p.name for p in run.best_dir.iterdir()) == [
        ".made.json", "model.ckpt", "model.onnx", "report.json", "spec.yaml",
    ]  # fmt: skip
    assert load_study(run.study_file).budget == Budget(trials=6)


def test_the_last_event_says_it_all(done):
    result, ear = done
    finished = ear.events[-1]
    assert finished["event"] == "finished"
    assert finished == to_dict(result.finished)
    assert set(finished["trials"]) == {"complete", "pruned", "failed"}
    assert sum(finished["trials"].values()) == 6
    assert (finished["suspended"], finished["confirmations"]) == (0, 0)
    assert (finished["budget"], finished["ended_because"]) == ("6trials", "trials")
    assert all(Path(p).is_absolute() and Path(p).exists() for p in paths(finished))
    best = max((r for r in rows(result.run) if r[4] == 9), key=lambda r: r[3])
    assert (finished["best"]["trial"], finished["best"]["value"]) == (best[0], best[3])
    assert finished["best"]["params"] == best[2]
    assert finished["best"]["default_value"] == rows(result.run)[0][3]


def test_events_come_in_their_order(done):
    names = done[1].names()
    assert names[0] == "started"
    assert [n for n in names if n not in QUIET] == [
        "started", *["preparing"] * 3, "review",
        "preparing", "exported", "preparing", "evaluated", "finished",
    ]  # fmt: skip
    phases = [event["what"] for event in done[1].named("preparing")]
    assert phases == ["workers", "images", "probe", "export", "held_out"]
    assert names.index("review") < names.index("trial_started")
    assert names.count("trial_started") == names.count("trial_finished") == 6


def test_the_file_of_events_holds_what_was_told(done):
    result, ear = done
    kept = [json.loads(line) for line in result.run.events_file.read_text().splitlines()]
    assert kept == json.loads(json.dumps(ear.events))


def test_the_review_comes_before_anything_is_trained(done):
    (review,) = done[1].named("review")
    assert review["searched"] == ["train.lr", "train.margin", "train.width"]
    assert review["probe"]["seconds_per_epoch"] == 0.001
    assert (review["algorithm"], review["pruner"]) == ("tpe", "successive_halving")
    assert review["forecast"]["trials"] == 6
    assert 6 <= review["forecast"]["epochs"] <= 54
    assert review["estimate_s"] == pytest.approx(review["forecast"]["seconds"], abs=0.05)
    assert review["concurrent"] == 1


def test_who_declines_the_review_has_a_run_without_trials(tmp_path):
    result, ear = search(tmp_path, confirm_start=lambda review: False)
    assert result.finished is None
    assert rows(result.run) == []
    assert result.run.read_state()["status"] == "declined"
    again, _ = resume(result.run)
    assert sum(again.finished.trials.values()) == 6


@pytest.mark.parametrize(("trials", "is_told"), [(4, True), (5, False)])
def test_a_budget_that_ends_below_the_last_rung_is_warned_of(tmp_path, trials, is_told):
    """Of nine epochs three trials are trained until 3, and the best of these until 9."""
    study = quick_study(
        budget=Budget(trials=trials), search=SearchOptions(algorithm="dehb"), concurrent=1
    )
    _, ear = search(tmp_path, study, confirm_start=lambda review: False)
    warnings = ear.named("review")[0]["warnings"]
    assert [text.startswith("budget: it ends before dehb") for text in warnings] == [True] * is_told


def test_a_budget_beyond_a_space_that_can_be_counted_is_told_and_not_used_up(tmp_path):
    wishes = SearchOptions(over=("train.width",), ranges={"train.width": [62, 66]}, pruner="none")
    result, ear = search(tmp_path, quick_study(budget=Budget(trials=9), search=wishes))
    (warning,) = ear.named("review")[0]["warnings"]
    assert warning.startswith("budget: there are no more than 5 configurations in the search space")
    assert sorted(params["train.width"] for _, _, params, *_ in rows(result.run)) == [
        *range(62, 67)
    ]
    assert result.finished.ended_because == RAN_DRY


def test_a_space_is_counted_up_to_a_bound_whatever_the_budget():
    points = iter(range(10**6))
    review = SimpleNamespace(
        study=quick_study(budget=Budget(trials=MOST)),
        space=SimpleNamespace(points=lambda rng: points),
        stages=[],
    )
    assert not list(few_configurations(review))
    assert next(points) == MOST_COUNTED


@pytest.mark.parametrize(
    ("budget", "confirm", "larger"),
    [
        ("20epochs", 3, "67epochs"),  # two at a time, so one more epoch may be under way
        ("66epochs,7", 1, "7trials,67epochs"),
        ("67epochs", 3, None),
        ("20epochs", 0, None),
        ("500s", 1, "667s"),
        ("667s", 1, None),
        ("200gpus", 1, "367gpus"),
        ("900s,200gpus,1trials", 1, "1trials,900s,367gpus"),
        ("3trials", 3, None),
    ],
)
def test_a_budget_too_short_to_confirm_is_told_with_one_that_is_not(budget, confirm, larger):
    study = quick_study(budget=parse_budget(budget), search=SearchOptions(confirm=confirm))
    slots = Slots(count=2, cpus=1, gpus=0.5, total_cpus=2, total_gpus=1)
    told = list(too_short_to_confirm(study, 9, slots, {"seconds_per_epoch": 10.0}))
    assert len(told) == (larger is not None)
    assert larger is None or f"give --budget {larger} or more" in told[0]


@pytest.mark.parametrize("told", [math.inf, math.nan, None])
def test_a_probe_that_tells_no_time_asks_for_no_longer_budget(told):
    study = quick_study(budget=parse_budget("500s"), search=SearchOptions(confirm=1))
    slots = Slots(count=2, cpus=1, gpus=0.5, total_cpus=2, total_gpus=1)
    assert not list(too_short_to_confirm(study, 9, slots, {"seconds_per_epoch": told}))


@pytest.mark.parametrize(
    ("budget", "confirm", "larger"),
    [
        ("2", 0, "3trials"),
        ("3", 0, None),
        ("15epochs", 0, "20epochs"),
        ("20epochs", 0, None),
        ("1h,2trials", 0, "3trials,3600s"),
        ("18epochs", 1, "24epochs"),
    ],
)
def test_a_budget_too_short_for_stages_is_told_with_one_that_is_not(
    tmp_path, budget, confirm, larger
):
    wishes = SearchOptions(**staged_trainer.SEARCH, confirm=confirm, pruner="none")
    study = StudySpec(
        trainer=staged_trainer.NAME, budget=parse_budget(budget), search=wishes, concurrent=1
    )
    _, ear = search(tmp_path, study, confirm_start=lambda review: False)
    told = [t for t in ear.named("review")[0]["warnings"] if t.startswith("stages: ")]
    assert len(told) == (larger is not None)
    if larger:
        assert "what they search (train.margin) keeps its default" in told[0]
        assert f"give --budget {larger} or more, or --stages none" in told[0]


def test_a_fault_in_a_listener_is_no_fault_of_the_search(tmp_path, caplog):
    class Broken:
        def handle(self, event):
            raise RuntimeError("on purpose")

        def close(self):
            raise RuntimeError("on purpose")

    result, ear = search(tmp_path, listeners=(lambda *_: Broken(),))
    assert sum(result.finished.trials.values()) == 6
    assert "Broken no longer listens" in caplog.text


def test_what_is_wrong_with_a_study_is_told_before_a_run_appears(tmp_path):
    for study, said in [
        (replace(STUDY, spec={"train": {"nothing": 1}}), "train.nothing: unknown key"),
        (replace(STUDY, search=SearchOptions(algorithm="magic")), "search.algorithm"),
        (replace(STUDY, search=SearchOptions(ranges={"train.x": [0, 1]})), "train.x"),
        (replace(STUDY, trainer="nobody"), "no trainer is registered as 'nobody'"),
    ]:
        with pytest.raises(SpecError, match=said):
            search(tmp_path, study)
    assert list_runs(tmp_path) == []


def test_gpu_hours_need_a_gpu(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(SpecError, match="GPU hours need a GPU"):
        search(tmp_path, replace(STUDY, budget=parse_budget("3gpuh")))
    assert list_runs(tmp_path) == []


def test_a_budget_of_epochs_leaves_a_trial_suspended(tmp_path):
    result, _ = search(tmp_path, quick_study(budget=Budget(epochs=13), search=NO_PRUNER))
    assert result.finished.trials == {"complete": 1, "pruned": 0, "failed": 0}
    assert (result.finished.suspended, result.finished.spent.epochs) == (1, 13)
    assert result.finished.ended_because == "epochs"


NO_PRUNER = SearchOptions(pruner="none")


def test_confirmations_are_counted_beside_the_trials(tmp_path):
    study = quick_study(budget=Budget(trials=3), search=SearchOptions(pruner="none", confirm=1))
    result, ear = search(tmp_path, study)
    assert sum(result.finished.trials.values()) == 3
    assert result.finished.confirmations == len(ear.named("confirmed")) >= 1


# Failures --------------------------------------------------------------------------------------


def test_a_search_whose_trials_all_fail_alike_ends_with_their_cause(tmp_path):
    """The fault is in a data path, as a wrong mount would be: every trial meets it."""
    study = quick_study({"fault.kind": "always_raise"}, budget=Budget(trials=10))
    ear = Ear()
    with pytest.raises(HandoffError, match="none of 3 trials has a result; .* by code: Runtime"):
        start_search(study, tmp_path, ear.settings())
    (run,) = list_runs(tmp_path)
    assert [row[1] for row in rows(run)] == ["failed"] * 3
    assert ear.names()[-1] == "error"
    assert ear.names().count("error") == 1
    assert run.read_state()["status"] == "failed"


def test_broken_plumbing_ends_the_search(tmp_path):
    study = quick_study({"fault.kind": "wrong_receipt", "fault.trial": 1}, budget=Budget(trials=4))
    ear = Ear()
    with pytest.raises(
        ReceiptError, match=r"trial 1: train.lr: was suggested to be .*, but .* 0.5"
    ):
        start_search(study, tmp_path, ear.settings())
    assert ear.names()[-1] == "error"
    assert "ReceiptError" in ear.events[-1]["message"]


def test_without_an_onnx_file_a_search_has_failed(tmp_path):
    study = quick_study({"fault.kind": "no_onnx"}, budget=Budget(trials=2))
    ear = Ear()
    with pytest.raises(HandoffError, match="the export wrote no ONNX file"):
        start_search(study, tmp_path, ear.settings())
    assert "finished" not in ear.names()
    (run,) = list_runs(tmp_path)
    assert not run.best_dir.exists()
    assert [row[1] for row in rows(run)][0] == "complete"


class WithoutExport(QuickTrainer):
    """Its skill folder is of a network that is only trained."""


WITHOUT_EXPORT = WithoutExport()


@pytest.mark.parametrize(
    ("gone", "confirm", "told"),
    [
        ('  export: {command: ""}\n', 0, "lacks actions.export: "),
        (
            "    export.onnx_file: create_onnx_file\n",
            0,
            "for create_onnx_file in spec_params.export",
        ),
        (
            "    evaluate.checkpoint: parent_model\n",
            2,
            "for parent_model in spec_params.evaluate: ",
        ),
        ("    evaluate.checkpoint: parent_model\n", 0, ""),
    ],
)
def test_what_could_not_be_handed_on_is_not_searched(tmp_path, gone, confirm, told):
    shutil.copytree(QuickTrainer.skill_dir, tmp_path / "skill")
    info = tmp_path / "skill/references/skill_info.yaml"
    info.write_text(info.read_text().replace(gone, ""))
    WITHOUT_EXPORT.skill_dir = tmp_path / "skill"
    data = DataSources(train="/t", reference="/r", query="/q")
    study = quick_study(budget=Budget(trials=1), search=SearchOptions(confirm=confirm))
    study = replace(study, data=data, trainer=f"{__name__}:WITHOUT_EXPORT")
    with pytest.raises(SpecError, match=told) if told else contextlib.nullcontext():
        start_search(study, tmp_path / "runs", Ear().settings())
    assert (tmp_path / "runs").exists() == (not told)


# Resume ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("stop_after", [(0, 1), (1, 1), (2, 5), (5, 1)])
def test_a_paused_search_ends_like_an_unbroken_one(tmp_path, done, stop_after):
    first, ear = search(tmp_path, stop_after=stop_after)
    assert first.finished is None
    assert first.finished is None
    assert ear.names()[-1] == "interrupted"
    assert ear.events[-1]["resume"] == f"hpo resume {first.run} --in-process"
    assert first.run.read_state()["status"] == "interrupted"
    second, later = resume(first.run)
    assert rows(first.run) == rows(done[0].run)
    assert later.events[0]["event"] == "started"
    assert later.events[0]["trials_so_far"] == stop_after[0]
    assert later.named("trial_started")[0]["resumed_from_epoch"] == stop_after[1]
    assert [e["trial"] for e in ear.named("trial_finished") + later.named("trial_finished")] == [
        0, 1, 2, 3, 4, 5,
    ]  # fmt: skip
    trained = (first.run.trial_dir(stop_after[0]) / "trained.txt").read_text().split()
    assert trained == [str(e) for e in range(1, len(trained) + 1)]
    assert second.finished.trials == done[0].finished.trials


def test_a_finished_search_only_tells_its_result_again(tmp_path):
    first, _ = search(tmp_path)
    before = {p: p.stat().st_mtime_ns for p in first.run.best_dir.iterdir()}
    for _ in range(3):
        again, ear = resume(first.run)
        assert ear.names() == ["finished"]
        assert again.finished == first.finished
        assert first.run.read_state()["status"] == "finished"
    assert {p: p.stat().st_mtime_ns for p in first.run.best_dir.iterdir()} == before


def test_a_search_that_its_algorithm_ended_is_told_again_and_not_made_again(tmp_path, caplog):
    study = quick_study(budget=Budget(trials=20), search=SearchOptions(algorithm="pbt"))
    first, _ = search(tmp_path, study)
    trials = rows(first.run)
    assert first.finished.ended_because == "algorithm"
    assert len(trials) < 20
    again, ear = resume(first.run)
    assert ear.names() == ["finished"]
    assert data_of(again.finished) == data_of(first.finished)
    assert not caplog.text
    longer, _ = resume(first.run, budget=Budget(trials=40))
    assert "has not used its budget up (the algorithm has no more trials to propose)" in caplog.text
    assert rows(first.run) == trials
    assert longer.finished.budget == Budget(trials=40)
    again, ear = resume(first.run)
    assert ear.names() == ["finished"]
    assert data_of(again.finished) == data_of(longer.finished)


def test_twenty_more_trials(tmp_path, done):
    first, _ = search(tmp_path, replace(STUDY, budget=Budget(trials=3)))
    second, ear = resume(first.run, budget=Budget(trials=6))
    assert len(ear.named("trial_finished")) == 3
    assert [row[0] for row in rows(first.run)] == list(range(6))
    assert load_study(first.run.study_file).budget == Budget(trials=6)
    assert second.finished.budget == Budget(trials=6)
    once_more, ear = resume(first.run)
    assert ear.names() == ["finished"]
    assert once_more.finished == second.finished


def test_a_moved_run_is_the_same_run(tmp_path):
    first, _ = search(tmp_path / "here")
    uuid = read_plan(first.run.path).study_uuid
    there = tmp_path / "there" / "quick" / first.run.path.name
    there.parent.mkdir(parents=True)
    shutil.move(first.run.path, there)
    (run,) = list_runs(tmp_path / "there")
    again, ear = resume(run)
    assert ear.names() == ["finished"]
    assert all(
        Path(p).exists() and Path(p).is_relative_to(there) for p in paths(data_of(again.finished))
    )
    more, _ = resume(run, budget=Budget(trials=8))
    assert all(
        Path(p).exists() and Path(p).is_relative_to(there) for p in paths(data_of(more.finished))
    )
    assert str(tmp_path / "here") not in (run.best_dir / "report.json").read_text()
    copy = RunDir(shutil.copytree(run.path, run.path.with_name("copy")))
    resume(copy)
    uuids = [read_plan(path).study_uuid for path in (run.path, copy.path)]
    assert uuids[0] == uuid != uuids[1]


def test_a_run_that_was_moved_while_paused_goes_on(tmp_path):
    first, _ = search(tmp_path / "here", stop_after=(1, 1))
    there = tmp_path / "there" / "quick" / first.run.path.name
    there.parent.mkdir(parents=True)
    shutil.move(first.run.path, there)
    (run,) = list_runs(tmp_path / "there")
    again, ear = resume(run)
    assert ear.named("trial_started")[0]["resumed_from_epoch"] == 1
    assert sum(again.finished.trials.values()) == 6
    assert not (tmp_path / "here" / "quick" / first.run.path.name).exists()


@pytest.mark.parametrize(
    ("moment", "goes_on"),
    [
        ({"event": "epoch", "trial": 0}, {"trial": 0, "resumed_from_epoch": 1}),
        ({"event": "trial_started", "trial": 1}, {"trial": 1, "resumed_from_epoch": None}),
        ({"event": "preparing", "what": "export"}, {}),
    ],
)
def test_a_run_that_is_moved_while_it_is_searched_ends_in_one_line(tmp_path, moment, goes_on):
    """What came after would lie beside no ledger."""
    there = tmp_path / "baseline"

    class Mover(Ear):
        def handle(self, event):
            super().handle(event)
            if moment.items() <= self.events[-1].items():
                list_runs(tmp_path)[0].path.rename(there)

    with pytest.raises(RunError, match="was moved or removed .* while its search went on; `hpo "):
        search(tmp_path, listeners=(lambda *_: Mover(),))
    assert list((tmp_path / "quick").iterdir()) == []
    again, ear = resume(RunDir(there))
    assert goes_on.items() <= next(iter(ear.named("trial_started")), {}).items()
    assert sum(again.finished.trials.values()) == 6
    assert again.finished.best["onnx"] == str(there / "best" / "model.onnx")


def test_the_second_driver_changes_nothing(tmp_path):
    first, _ = search(tmp_path, replace(STUDY, budget=Budget(trials=2)))
    with first.run.lock(), pytest.raises(RunError, match="another search is running in it"):
        resume(first.run, budget=Budget(trials=9))
    assert load_study(first.run.study_file).budget == Budget(trials=2)


def test_a_budget_that_cannot_be_used_is_not_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    first, _ = search(tmp_path, replace(STUDY, budget=Budget(trials=2)))
    with pytest.raises(SpecError, match="GPU hours need a GPU"):
        resume(first.run, budget=parse_budget("3gpuh"))
    assert load_study(first.run.study_file).budget == Budget(trials=2)
    assert resume(first.run)[1].names() == ["finished"]


def test_a_search_space_that_has_changed_is_refused(tmp_path):
    first, _ = search(tmp_path, replace(STUDY, budget=Budget(trials=2)))
    study = parse_yaml(first.run.study_file.read_text(), "x")
    study["search"]["ranges"] = {"train.lr": [1e-5, 1e-4]}
    first.run.study_file.write_text(json.dumps(study))
    with pytest.raises(RunError, match=r"the search space has changed .*start a new search"):
        resume(first.run, budget=Budget(trials=5))


@pytest.mark.parametrize("name", ["study.yaml", "plan.json", "ledger.db"])
def test_a_run_that_lost_a_file_is_one_line(tmp_path, name):
    first, _ = search(tmp_path, replace(STUDY, budget=Budget(trials=2)))
    (first.run.path / name).unlink()
    with pytest.raises((RunError, SpecError), match=name):
        resume(first.run)


def test_a_stop_file_pauses_and_is_gone_at_the_next_start(tmp_path):
    class Stopper(Ear):
        def handle(self, event):
            super().handle(event)
            if isinstance(event, Epoch) and event.trial == 1:
                (run,) = list_runs(tmp_path)
                run.stop_file.touch()

    ear = Stopper()
    result = start_search(STUDY, tmp_path, ear.settings())
    assert result.finished is None
    again, _ = resume(result.run)
    assert again.finished is not None
    assert not result.run.stop_file.exists()


def test_a_stop_is_heard_while_a_resumed_run_is_looked_over(tmp_path, monkeypatch):
    first = start_search(STUDY, tmp_path, Ear(stop_after=(1, 1)).settings())

    asked = []

    def stop_it(_spec):  # asked first while it is checked whether anything has changed since
        if not asked:
            assert first.run.is_running()
            first.run.stop_file.touch()
        asked.append(1)
        return {}

    first.run.stop_file.touch()  # an old one
    with monkeypatch.context() as patch:
        patch.setattr(QUICK, "inactive", stop_it)
        paused, ear = resume(first.run)
    assert paused.finished is None
    assert "interrupted" in ear.names()
    assert "epoch" not in ear.names()
    assert resume(first.run)[0].finished is not None


def test_a_stop_of_a_finished_run_that_is_extended_leaves_work_to_do(tmp_path, monkeypatch):
    """It was told as finished, with trials of the new budget left."""
    first = start_search(STUDY, tmp_path, Ear().settings())
    assert first.finished is not None

    def stop_it(_spec):
        first.run.stop_file.touch()
        return {}

    with monkeypatch.context() as patch:
        patch.setattr(QUICK, "inactive", stop_it)
        paused, ear = resume(first.run, budget=Budget(trials=9))
    assert paused.finished is None
    assert "interrupted" in ear.names()
    assert first.run.read_state()["status"] == "interrupted"
    again, _ = resume(first.run)
    assert again.finished.spent.trials == 9


@pytest.mark.parametrize("asked", ["auto", 4])
def test_trials_in_process_share_no_gpu_whatever_was_asked_for(tmp_path, monkeypatch, asked):
    tools = Path(__file__).parents[2] / "fake_tools"
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    told = {"seconds_per_epoch": 0.5, "peak_memory_mib": 10.0, "total_memory_mib": 24_000.0}
    monkeypatch.setattr(QUICK, "probe", lambda _spec: told)
    budget = Budget(gpu_seconds=20.0)
    result, ear = search(tmp_path, replace(STUDY, budget=budget, trials_per_gpu=asked))
    trials, _ = Ledger.read_trials(result.run.ledger_file)
    assert {m.gpus for t in trials for m in t.measurements} == {1.0}
    assert 20.0 <= sum(m.seconds for t in trials for m in t.measurements) < 21.0
    assert result.finished.spent.gpu_seconds < 21.0
    (review,) = ear.named("review")
    told_of = [review[name] for name in ("concurrent", "gpus_per_trial", "packing")]
    assert told_of == [1, 1.0, None]


def test_a_search_that_is_stopped_at_once_can_be_resumed(tmp_path):
    class Impatient(Ear):
        def handle(self, event):
            super().handle(event)
            if isinstance(event, Epoch) and event.trial == 2:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        start_search(STUDY, tmp_path, Impatient().settings())
    (run,) = list_runs(tmp_path)
    assert run.read_state()["status"] == "interrupted"
    assert not run.is_running()
    assert sum(resume(run)[0].finished.trials.values()) == 6


def test_a_search_is_the_same_for_the_same_seed(tmp_path, done):
    same, _ = search(tmp_path / "same")
    other, _ = search(tmp_path / "other", replace(STUDY, search=SearchOptions(seed=1)))
    assert rows(same.run) == rows(done[0].run)
    default, other_default = (rows(run)[0] for run in (same.run, other.run))
    assert default[:3] == other_default[:3]
    assert default != other_default  # by the trainings' seed alone
    assert rows(other.run)[1:] != rows(same.run)[1:]


@pytest.mark.parametrize(
    ("search", "says"),
    [
        ({"warm_start": ("/nowhere/run",)}, "/nowhere/run is not a run directory"),
        ({"first_trials": {"mine": 5}}, "search.first_trials.mine: must be a mapping"),
        ({"remembered": {"it": [1]}}, "search.remembered.it: must be a mapping"),
        ({"priors": True}, "--priors: none are published"),
    ],
)
def test_what_needs_no_pictures_is_refused_before_any_are_made(search, says):
    class Undrawn(type(QUICK)):
        def demo_data(self, folder, seed):
            raise AssertionError("pictures were drawn")

    with pytest.raises((RunError, SpecError), match=says):
        plan_study(quick_study(search=SearchOptions(**search)), Undrawn())


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (None, ["train.margin is set and does nothing: it is frozen"]),
        ({"train": {"lr": 0.02}}, []),
    ],
)
def test_what_was_set_and_does_nothing_is_told_with_the_plan(monkeypatch, given, told):
    """Only what the user has set: `given`, where a trainer has completed the study."""
    monkeypatch.setattr(QUICK, "inactive", lambda _spec: {"train.margin": "it is frozen"})
    study = quick_study(spec={"train.margin": 0.45, "train.lr": 0.02})
    study = replace(study, search=SearchOptions(over=("train.lr",)))
    assert plan_study(study, QUICK, given=given).idle == told
