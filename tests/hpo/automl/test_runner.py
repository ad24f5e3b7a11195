"""Whole searches of a skill folder in this process, and what the caller's functions see."""

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

import trainer
from hpo import AutoMLRunner, query_status
from hpo.automl.data_keys import eval_keys
from hpo.automl.errors import ReviewDeclinedError
from hpo.automl.request import Request
from hpo.core.errors import HpoError, RunError
from hpo.core.yaml_io import read_yaml
from hpo.run.ledger import Ledger
from hpo.run.run_dir import RunDir, list_runs
from hpo.study.skill import load_skill
from tests.hpo.automl.conftest import make_skill
from tests.quick_trainer import NAME, QuickTrainer, peak


def trials_of(result):
    ledger = Ledger.open(Path(result["workspace_path"]) / "ledger.db")
    rows = [(t.number, str(t.state), t.params, t.value, t.epochs) for t in ledger.trials()]
    ledger.close()
    return rows


def digest(folder):
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


# The result ------------------------------------------------------------------------------------


def test_the_result_has_the_published_shape(run, skill):
    before = digest(skill)
    result = run()
    assert digest(skill) == before, "18: the skill folder is only read"
    best = result["best"]
    values = {entry["rec_id"]: entry["metric"] for entry in result["history"]}
    assert list(values) == [0, 1, 2, 3]
    assert best["rec_id"] == max(values, key=values.get)
    assert best["metric_value"] == values[best["rec_id"]]
    assert set(best["specs"]) == {"train.lr", "train.margin", "train.width"}
    assert result["history"][0]["specs"]["train.lr"] == 0.001, "trial 0 is the default"
    assert result["progress"] == {
        "completed": 4, "total": 4, "best_metric": best["metric_value"],
        "best_rec_id": best["rec_id"], "algorithm": "random",
    }  # fmt: skip
    assert {entry["status"] for entry in result["history"]} == {"success"}
    assert best["full_spec"]["data"]["train"] == "/t"
    assert Path(best["checkpoint"]).is_file()
    assert json.loads(json.dumps(result)) == result, "plain data"


def test_the_workspace_is_an_ordinary_run_with_views(run, tmp_path):
    result = run()
    folder = Path(result["workspace_path"])
    assert folder.parent == tmp_path / "ws"
    assert folder.name.startswith("run_")
    assert [r.path for r in list_runs(tmp_path)] == [folder]
    assert RunDir(folder).read_state()["status"] == "finished"
    (file,) = (folder / ".automl/best_rec").iterdir()
    rows = json.loads((folder / ".automl/controller" / file.name).read_text())
    assert [row["status"] for row in rows] == ["success"] * 4
    assert json.loads(file.read_text())["rec_number"] == result["best"]["rec_id"]
    brain = json.loads((folder / ".automl/brain" / file.name).read_text())
    assert brain["algorithm"] == "random"
    assert (folder / "best/spec.yaml").is_file()
    table = (folder / "evaluations/comparison.md").read_text()
    assert table.count("\n| trial") == 4


def test_files_that_overrides_name_are_found_from_any_folder(run, tmp_path, monkeypatch):
    monkeypatch.setattr(QuickTrainer, "path_keys", ("data.train",), raising=False)
    monkeypatch.setattr(QuickTrainer, "weight_keys", (), raising=False)
    monkeypatch.chdir(tmp_path)
    result = run(overrides={"data.train": "t"}, settings={"automl_max_recommendations": 1})
    for file in ("study.yaml", "trials/0000/spec.yaml"):
        kept = read_yaml(Path(result["workspace_path"]) / file)
        assert kept.get("spec", kept)["data"]["train"] == str(tmp_path / "t")


def test_56_two_runs_in_one_second_get_two_workspaces(run):
    paths = {run(settings={"automl_max_recommendations": 1})["workspace_path"] for _ in range(2)}
    assert len(paths) == 2


def test_56_a_second_writer_is_refused(run):
    result = run(settings={"automl_max_recommendations": 1})
    held = RunDir(Path(result["workspace_path"]))
    with held.lock(), pytest.raises(RunError, match="another search is running in it"):
        run(workspace_path=held.path, resume=True)


def test_trials_may_share_a_gpu(run):
    result = run(trials_per_gpu="2", settings={"automl_max_recommendations": 1})
    study = read_yaml(Path(result["workspace_path"]) / "study.yaml")
    assert (study["trials_per_gpu"], study.get("concurrent")) == (2, None)
    with pytest.raises(ValueError, match=r"trials_per_gpu: cannot stand beside `concurrent` \(3\)"):
        run(trials_per_gpu="auto", settings={"automl_max_concurrent": 3})
    with pytest.raises(ValueError, match="trials_per_gpu: must be auto or a number from 1"):
        run(trials_per_gpu="many")


def test_a_cluster_that_does_not_answer_is_one_line(skill, data, tmp_path):
    runner = AutoMLRunner(skill_dir=skill, trainer=NAME)
    with pytest.raises(HpoError, match="--ray-address: nobody answers at 127.0.0.1:1"):
        runner.run(
            automl_settings={"algorithm": "random", "metric": "kpi"},
            spec_overrides=data,
            workspace_path=tmp_path / "ws",
            ray_address="127.0.0.1:1",
        )


# Wrong input -------------------------------------------------------------------------------------


def test_24_everything_wrong_with_custom_ranges_is_told_at_once(run, tmp_path):
    ranges = {
        "train.lr": {"valid_min": 0.5, "valid_max": 0.1},
        "train.margin": {"valid_max": 7.0},
        "train.width": {"valid_options": [8, 16], "option_weights": [1.0]},
        "train.wdth": {"valid_min": 1},
    }
    with pytest.raises(ValueError, match="train.lr") as caught:
        run(custom_param_ranges=ranges)
    for word in ("train.margin", "train.width", "train.wdth", "2 options"):
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "ws").exists()


def test_24_the_list_form_of_ranges_is_the_same(run):
    entries = [{"parameter": "train.lr", "valid_min": 1e-6, "valid_max": 1e-4}]
    result = run(custom_param_ranges=entries, settings={"automl_max_recommendations": 6})
    rates = [entry["specs"]["train.lr"] for entry in result["history"][1:]]
    assert all(1e-6 <= rate <= 1e-4 for rate in rates)
    with pytest.raises(ValueError, match="needs 'parameter'"):
        run(custom_param_ranges=[{"valid_min": 1}])


@pytest.mark.parametrize("names", [[], "train.lr"])
def test_an_empty_list_of_parameters_is_an_error(run, names):
    with pytest.raises(ValueError, match="must be None or a list of dotted names"):
        run(automl_hyperparameters=names)


def test_27_a_disabled_parameter_needs_the_override(run, skill):
    file = skill / "schemas/train.schema.json"
    schema = json.loads(file.read_text())
    schema["properties"]["train"]["properties"]["lr"]["automl_enabled"] = False
    file.write_text(json.dumps(schema))
    with pytest.raises(ValueError, match=r"train.lr: is disabled .* override_automl_disabled"):
        run(automl_hyperparameters=["train.lr"])
    result = run(
        automl_hyperparameters=["train.lr"],
        settings={"override_automl_disabled_params": True, "automl_max_recommendations": 1},
    )
    assert set(result["history"][0]["specs"]) == {"train.lr"}


def test_only_named_parameters_are_searched(run):
    result = run(automl_hyperparameters=["train.lr"])
    assert all(set(entry["specs"]) == {"train.lr"} for entry in result["history"])


def test_a_parameter_that_is_set_and_searched_is_the_first_trials_value(run):
    result = run(overrides={"train.lr": 0.02})
    assert result["history"][0]["specs"]["train.lr"] == 0.02
    assert any("searched too" in text for text in result["warnings"])


def test_an_unknown_argument_is_refused_where_no_platform_takes_it(run):
    with pytest.raises(ValueError, match="gpu_count: no such argument"):
        run(gpu_count=8)


def test_one_of_two_names_for_a_thing_is_enough(skill, tmp_path):
    with pytest.raises(ValueError, match="skill_dir: must be given"):
        AutoMLRunner()
    runner = AutoMLRunner(skill_dir=skill, trainer=NAME)
    with pytest.raises(ValueError, match="workspace_path"):
        runner.run(workspace_path=tmp_path / "a", workspace_dir=tmp_path / "b")


def test_a_missing_data_source_is_named_and_nothing_is_made(run, tmp_path):
    with pytest.raises(ValueError, match="data.query: mandatory data source not given"):
        run(overrides={"data.query": ""})
    assert not (tmp_path / "ws").exists()


# The caller's functions --------------------------------------------------------------------------


def test_44_the_value_of_eval_fn_beats_the_log(run):
    seen = []

    def evaluate(rec, job_id):
        seen.append((rec.id, Path(job_id).name))
        return 100.0 - rec.id

    result = run(eval_fn=evaluate)
    assert seen == [(0, "0000"), (1, "0001"), (2, "0002"), (3, "0003")]
    assert [entry["metric"] for entry in result["history"]] == [100.0, 99.0, 98.0, 97.0]
    assert result["best"]["rec_id"] == 0


@pytest.mark.parametrize("kind", ["raises", "none"])
def test_44_where_eval_fn_has_no_value_the_log_counts(run, kind):
    def evaluate(rec, job_id):
        if kind == "raises":
            raise RuntimeError("no evaluation today")

    plain, fallen_back = run(), run(eval_fn=evaluate)
    values = [entry["metric"] for entry in fallen_back["history"]]
    assert values == [entry["metric"] for entry in plain["history"]]


def test_44_an_extractors_value_is_taken_and_its_failure_passed_over(run):
    calls = []

    def extract(logs, name):
        calls.append(name)
        if len(calls) % 2:
            raise ValueError("cannot read this")
        return 0.123

    result = run(metric_extractor=extract, settings={"automl_max_recommendations": 2})
    assert set(calls) == {"val_precision_at_1"}
    assert len(calls) == 6
    assert {entry["status"] for entry in result["history"]} == {"success"}
    assert result["history"][1]["metric"] == 0.123


def test_35_a_value_that_is_no_number_fails_the_trial_and_the_run_goes_on(run):
    result = run(eval_fn=lambda rec, job: float("nan") if rec.id == 1 else None)
    assert [e["status"] for e in result["history"]] == ["success", "failure", "success", "success"]
    assert result["history"][1]["metric"] is None
    assert "not a number" in result["history"][1]["failure_reason"]


def test_50_callbacks_see_every_trial_once_and_their_failures_stop_nothing(run):
    started, ended = [], []

    def on_recommendation(rec):
        started.append(rec.id)
        raise RuntimeError("the callback is broken")

    def on_result(rec, metric, status):
        ended.append((rec.id, metric, status))
        raise RuntimeError("this one too")

    result = run(on_recommendation=on_recommendation, on_result=on_result)
    assert started == [0, 1, 2, 3]
    assert ended == [(e["rec_id"], e["metric"], e["status"]) for e in result["history"]]


# The final evaluation ----------------------------------------------------------------------------


def test_45_the_trainer_evaluates_the_best_itself(run):
    result = run()
    final = result["final_evaluation"]
    assert (final["status"], final["metric_value"]) == ("measured", 0.5)
    assert final["reason"]
    report = json.loads(Path(result["workspace_path"], "best", "report.json").read_text())
    assert final["data"] == "validation"
    assert report["test"] is None  # pictures that chose the trial are no test of it
    assert Path(final["record_path"]).is_file()


def test_45_final_eval_fn_is_told_the_trial_and_wins(run):
    """What else it may answer is `contract/test_result.py`'s."""
    seen = []

    def evaluate(best, job_id):
        seen.append((best.id, Path(job_id).name))
        return 0.71

    result = run(final_eval_fn=evaluate)
    final = result["final_evaluation"]
    assert (final["status"], final["metric_value"]) == ("measured", 0.71)
    assert seen == [(result["best"]["rec_id"], f"{result['best']['rec_id']:04d}")]


def test_an_evaluation_that_lacks_the_metric_says_so(run):
    result = run(settings={"metric": "loss"}, eval_fn=lambda rec, job: 0.25 + rec.id)
    found = result["final_evaluation"]
    assert (found["status"], found["metric_value"]) == ("metric_missing", None)
    assert "gives no 'loss'; it gives val_precision_at_1" in found["failure_reason"]
    assert result["best"]["metric_value"] == 0.25


def test_without_settings_bayesian_optimizes_the_loss(skill, data, tmp_path):
    result = AutoMLRunner(skill_dir=skill, trainer=NAME).run(
        spec_overrides=data | {"train.num_epochs": 3}, workspace_path=tmp_path / "ws",
        eval_fn=lambda rec, job: 0.25 + rec.id, in_process=True,
        should_stop=lambda: len(list((tmp_path / "ws").glob("*/trials/*"))) > 1,
    )  # fmt: skip
    assert result["progress"]["algorithm"] == "bayesian"
    assert (result["baseline"]["metric_name"], result["best"]["metric_value"]) == ("loss", 0.25)


# All failed ----------------------------------------------------------------------------------------


def test_47_when_all_trials_fail_the_run_returns_with_the_cause(run):
    result = run(
        overrides={"fault.kind": "always_raise"}, settings={"automl_max_recommendations": 50}
    )
    assert result["best"] is None
    assert result["progress"]["best_metric"] is None
    assert len(result["history"]) == 3, "three of a kind are enough"
    assert {e["status"] for e in result["history"]} == {"failure"}
    assert all(e["metric"] is None for e in result["history"])
    assert "nothing works on purpose" in result["cause"]
    assert "3 of 3" in result["cause"]
    assert result["final_evaluation"]["status"] == "not_run"
    assert query_status(result["workspace_path"])["progress"]["failed"] == 3


def test_33_a_failed_trial_is_never_the_best(run):
    plain = run()
    winner = plain["best"]["rec_id"]
    fault = {"fault.kind": "raise", "fault.trial": winner, "fault.epoch": 3}
    result = run(overrides=fault)
    assert result["history"][winner]["status"] == "failure"
    assert result["best"]["rec_id"] != winner


def test_30_a_loss_is_minimized_and_told_in_its_own_scale(run):
    result = run(
        settings={"metric": "my_loss", "automl_max_recommendations": 5},
        eval_fn=lambda rec, job: (
            1000.0 * (1 - peak({k.split(".")[1]: v for k, v in rec.specs.items()}))
        ),
    )
    values = [entry["metric"] for entry in result["history"]]
    assert result["direction"] == "minimize"
    assert result["best"]["metric_value"] == min(values)
    assert all(value > 0 for value in values)


# Review ----------------------------------------------------------------------------------------------


def test_49_the_first_batch_of_the_review_is_what_then_runs(run):
    seen = {}

    def confirm(review):
        seen.update(review)
        folder = Path(review["workspace"])
        assert not (folder / "trials").exists(), "nothing has been started"
        return True

    result = run(confirm=confirm)
    (first,) = seen["first_batch"]
    assert first["specs"] == result["history"][0]["specs"]
    assert seen["metric"] == "val_precision_at_1"
    assert {p["name"] for p in seen["parameters"]} == {"train.lr", "train.margin", "train.width"}
    assert all(p["default"] is not None for p in seen["parameters"])
    low, high = seen["expected"]["interval_s"]
    assert 0 < low <= seen["expected"]["total_s"] <= high
    assert seen["baseline"]["label"] == "untrained start"


def test_49_a_resumed_search_has_a_review_of_its_own(run):
    reviews = []
    first = run()
    extended = run(
        workspace_path=first["workspace_path"], resume=True,
        settings={"automl_max_recommendations": 6},
        confirm=lambda review: reviews.append(review) or True,
    )  # fmt: skip
    (batch,) = (review["first_batch"] for review in reviews)
    assert [entry["rec_id"] for entry in batch] == [4]
    assert batch[0]["specs"] == extended["history"][4]["specs"]
    assert len(extended["history"]) == 6


def test_a_review_alone_trains_nothing(skill, data, tmp_path):
    runner = AutoMLRunner(skill_dir=skill, trainer=NAME, workspace_dir=tmp_path / "ws")
    review = runner.review(
        automl_settings={"algorithm": "random", "metric": "kpi"}, spec_overrides=data,
        in_process=True,
    )  # fmt: skip
    assert review["recommendations"] == 20
    assert not (Path(review["workspace"]) / "trials").exists()


def test_a_review_of_a_search_that_is_over_changes_nothing(run, skill):
    """Before, the best trial was evaluated anew, and checkpoints were deleted."""
    place = Path(run()["workspace_path"])
    (facts,), folders = place.glob(".automl/*/facts.json"), ("trials", "evaluations", "best")
    before, calls = [digest(facts.parent), *(digest(place / name) for name in folders)], []
    review = AutoMLRunner(skill_dir=skill, trainer=NAME).review(
        automl_settings={"automl_delete_intermediate_ckpt": True, "baseline_metric": 0.25},
        workspace_path=place, resume=True, in_process=True,
        final_eval_fn=lambda rec, job: calls.append(rec) or 0.5,
    )  # fmt: skip
    assert (review, calls) == ({}, [])
    assert [digest(facts.parent), *(digest(place / name) for name in folders)] == before


def test_a_search_that_is_not_confirmed_says_so(run):
    with pytest.raises(ReviewDeclinedError, match="not confirmed"):
        run(confirm=lambda review: False)


def test_a_search_above_the_allowed_hours_stops_with_ways_to_shorten(run):
    with pytest.raises(ReviewDeclinedError, match="automl_max_recommendations=") as caught:
        run(max_hours=0.0001)
    assert "train.num_epochs" in str(caught.value)


# Resume ---------------------------------------------------------------------------------------------


def test_resuming_with_the_full_path_extends_and_repeats_nothing(run):
    first = run()
    again = run(workspace_path=first["workspace_path"], resume=True)
    assert again["history"] == first["history"]
    more = run(
        workspace_path=first["workspace_path"], resume=True,
        settings={"automl_max_recommendations": 6},
    )  # fmt: skip
    assert more["history"][:4] == first["history"]
    assert len(more["history"]) == 6
    assert more["progress"]["total"] == 6
    assert more["workspace_path"] == first["workspace_path"]


def test_resuming_a_folder_that_is_no_workspace_is_an_error(run, tmp_path):
    with pytest.raises(RunError, match="is not an AutoML workspace; give the full path"):
        run(workspace_path=tmp_path / "ws", resume=True)


def test_resuming_with_another_algorithm_or_space_is_refused(run):
    path = run()["workspace_path"]
    with pytest.raises(ValueError, match="was begun with random, got tpe"):
        run(workspace_path=path, resume=True, settings={"algorithm": "tpe"})
    with pytest.raises(ValueError, match="search space has changed"):
        run(workspace_path=path, resume=True, automl_hyperparameters=["train.lr"])
    with pytest.raises(ValueError, match=r"spec has changed \(train.num_epochs\)"):
        run(workspace_path=path, resume=True, overrides={"train.num_epochs": 5})
    with pytest.raises(ValueError, match="was begun for 'val_precision_at_1'"):
        run(workspace_path=path, resume=True, settings={"metric": "loss"})


def test_42_what_an_algorithm_was_made_with_survives_a_pause(run):
    settings = {
        "algorithm": "hyperband", "automl_max_epochs": 9, "automl_reduction_factor": 3,
        "automl_max_recommendations": None,
    }  # fmt: skip
    ended = []
    paused = run(
        settings=settings, on_result=lambda rec, *_: ended.append(rec.id),
        should_stop=lambda: len(ended) >= 5,
    )  # fmt: skip
    assert len([e for e in paused["history"] if e["status"] == "success"]) in (5, 6)
    done = run(workspace_path=paused["workspace_path"], resume=True)
    straight = run(settings=settings)
    assert [e["specs"] for e in done["history"]] == [e["specs"] for e in straight["history"]]
    assert [e["epochs"] for e in done["history"]] == [e["epochs"] for e in straight["history"]]


# Language models ------------------------------------------------------------------------------------

DEAD = {
    "algorithm": "llm", "automl_max_recommendations": 3, "llm_endpoint": "http://127.0.0.1:9",
    "llm_model": "m", "llm_api_key": "sk-very-secret-123",
}  # fmt: skip


def test_51_secrets_are_in_no_file_log_or_result(run, tmp_path, caplog, capfd):
    caplog.set_level("DEBUG")
    result = run(settings=DEAD, workspace_path=tmp_path / "ws", confirm=lambda review: (
        "sk-very-secret" not in json.dumps(review, default=str)))  # fmt: skip
    told = json.dumps(result, default=str) + caplog.text + "".join(capfd.readouterr())
    assert "sk-very-secret" not in told
    files = [p for p in (tmp_path / "ws").rglob("*") if p.is_file()]
    assert len(files) > 10
    assert not [p for p in files if b"sk-very-secret" in p.read_bytes()]


def test_52_a_dead_endpoint_is_told_not_called_a_success(run):
    result = run(settings=DEAD)
    assert result["fallbacks"] == 2, "all but the default configuration"
    assert any("another sampler proposed 2 of 3 configurations" in w for w in result["warnings"])


# Adjustments and metadata --------------------------------------------------------------------------


def test_a_model_without_a_metric_of_its_own_refuses_kpi(tmp_path, data):
    command = {"train": {"command": "python train.py -e {config_path}"}}
    folder = make_skill(tmp_path / "other", metrics={}, actions=command)
    runner = AutoMLRunner(skill_dir=folder)
    with pytest.raises(ValueError, match="defines none; name the metric itself"):
        runner.run(
            automl_settings={"algorithm": "random", "metric": "kpi"}, spec_overrides=data,
            workspace_path=tmp_path / "ws",
        )  # fmt: skip


def test_the_published_default_metric_is_warned_about(run):
    result = run(settings={"metric": None}, eval_fn=lambda rec, job: 1.0)
    assert result["direction"] == "minimize"
    assert any("pass metric='kpi'" in text for text in result["warnings"])


@pytest.mark.parametrize("is_asked_later", [False, True])
def test_intermediate_checkpoints_are_deleted_where_that_is_asked(run, is_asked_later):
    asked = {"automl_delete_intermediate_ckpt": True}
    result = run(settings={} if is_asked_later else asked)
    trials = Path(result["workspace_path"], "trials")
    linked = ""
    if is_asked_later:  # once the search is over
        ours = sorted(trials.glob("*/ckpt"))
        folder = next(path for path in ours if int(path.parent.name) != result["best"]["rec_id"])
        linked = folder.parent.name  # to another disk, whose files are left alone
        shutil.move(folder, trials.parent / "elsewhere")
        folder.symlink_to(trials.parent / "elsewhere")
        result = run(workspace_path=result["workspace_path"], resume=True, settings=asked)
    kept = sorted(p.parent.name for p in trials.glob("*/ckpt") if not (p / "removed.txt").is_file())
    assert kept == sorted(filter(None, [f"{result['best']['rec_id']:04d}", linked]))


LENGTHS = {"algorithm": "hyperband", "automl_max_epochs": 4, "automl_reduction_factor": 2}
GENERATIONS = {"algorithm": "pbt", "automl_population_size": 4, "automl_max_generations": 3,
               "automl_eval_interval": 1}  # fmt: skip


@pytest.mark.parametrize("settings", [LENGTHS, LENGTHS | {"algorithm": "asha"}, GENERATIONS])
def test_what_a_search_may_go_on_from_stays_after_its_budget(run, settings):
    settings = settings | {"automl_delete_intermediate_ckpt": True}
    more = {"eval_fn": lambda rec, job: 0.5 - rec.id / 1000}
    place = run(settings=settings | {"automl_max_recommendations": 5}, **more)["workspace_path"]
    again = run(workspace_path=place, resume=True, **more,
                settings=settings | {"automl_max_recommendations": 11})  # fmt: skip
    later = [entry for entry in again["history"][5:] if "resumed_from" in entry]
    assert [entry for entry in later if entry["resumed_from"]["rec_id"] < 5]
    assert {entry["status"] for entry in again["history"]} == {"success"}


@pytest.mark.parametrize("settings", [LENGTHS, LENGTHS | {"algorithm": "asha"}, GENERATIONS])
def test_a_rung_is_trained_to_its_own_end_where_eval_fn_values_it(run, settings):
    result = run(eval_fn=lambda rec, job: 0.5 - rec.id / 1000,
                 settings=settings | {"automl_max_recommendations": 11})  # fmt: skip
    folder = Path(result["workspace_path"]) / "trials"
    lengths = set()
    for entry in result["history"]:
        first = (entry.get("resumed_from") or {"epoch": 0})["epoch"]
        told = (folder / f"{entry['rec_id']:04d}" / "trained.txt").read_text().split()
        assert [int(epoch) for epoch in told] == [*range(first + 1, entry["epochs"] + 1)]
        lengths.add((first, entry["epochs"]))
    assert {(0, 1), (1, 2)} <= lengths


def test_the_study_file_holds_what_was_asked(run, skill):
    study = read_yaml(Path(run()["workspace_path"]) / "study.yaml")
    assert study["trainer"] == {
        "skill": str(skill), "metric": "val_precision_at_1", "direction": "maximize",
        "trainer": "tests.quick_trainer:TRAINER",
    }  # fmt: skip
    assert study["search"]["algorithm"] == "random"


# Where a workspace is made -----------------------------------------------------------------------


@pytest.mark.parametrize("spelt", ["absolute", "relative"])
def test_results_dir_alone_says_where_workspaces_are_made(
    skill, data, tmp_path, spelt, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    place = str(tmp_path / "mine") if spelt == "absolute" else "mine"
    result = AutoMLRunner(skill_dir=skill, trainer=NAME).run(
        automl_settings={"algorithm": "random", "metric": "kpi", "automl_max_recommendations": 1},
        spec_overrides=data | {"train.num_epochs": 2, "results_dir": place},
        in_process=True,
    )
    folder = Path(result["workspace_path"])
    assert folder.parent == tmp_path / "mine"
    assert result["best"]["full_spec"]["results_dir"] == str(folder / "trials" / "0000")
    assert "results_dir" not in read_yaml(folder / "study.yaml")["spec"]


def test_results_dir_beside_another_workspace_is_refused(run, tmp_path):
    with pytest.raises(ValueError, match=r"results_dir: is .*other, and the workspace is to be "):
        run(overrides={"results_dir": str(tmp_path / "other")})
    same = run(overrides={"results_dir": str(tmp_path / "ws")})
    assert Path(same["workspace_path"]).parent == tmp_path / "ws"


@pytest.mark.parametrize("key", ["train.results_dir"])
def test_a_folder_for_one_section_is_refused(skill, data, tmp_path, key):
    """The quick trainer has no such key, so the published one is asked."""
    from trainer.session import TRAINER

    with pytest.raises(ValueError, match=rf"{key}: must be left out.*--workspace"):
        AutoMLRunner(skill_dir=TRAINER.skill_dir).run(
            automl_settings={"algorithm": "random", "metric": "kpi"},
            spec_overrides={
                "dataset.train_dataset": str(tmp_path), "dataset.val_dataset.query": str(tmp_path),
                "dataset.val_dataset.reference": str(tmp_path), key: "/x", "train.batch_size": 32,
            },
            workspace_path=tmp_path / "ws", in_process=True,
        )  # fmt: skip


def test_keys_of_the_final_evaluation_are_its_data_keys(tmp_path):
    skill = load_skill(Path(trainer.__file__).parent / "skill")
    query = "dataset.val_dataset.query"
    given = {"dataset.val_dataset.reference": str(tmp_path), query: str(tmp_path)}
    request = Request(skill=skill, workspace=tmp_path, eval_overrides=given)
    assert eval_keys(request) == (given, "")
    unknown = {"evaluate": {"topk": 7}, "dataset.queries": "x"}
    with pytest.raises(
        ValueError,
        match=r"^eval_overrides: dataset\.queries, evaluate\.topk: no data of the final evaluation; "
        rf"must be one of .*{query}",
    ):
        eval_keys(replace(request, eval_overrides=given | unknown))


def test_an_image_that_no_trial_uses_is_told(run, caplog):
    assert run(image="trainer:7")["progress"]["completed"] == 4
    assert "image trainer:7: not used, as trials run on this machine" in caplog.messages
