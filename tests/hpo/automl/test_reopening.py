"""A workspace that is opened again with other arguments."""

import contextlib
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from hpo import AutoML, AutoMLRunner, api, query_status
from hpo.automl.asking import plan_opened
from hpo.automl.data_keys import anchored_roots
from hpo.automl.errors import AutoMLError
from hpo.automl.reopening import Changes, changes_of, extended_budget
from hpo.automl.request import Request
from hpo.automl.settings import KEYS
from hpo.automl.workspace import read_facts
from hpo.cli.main import main
from hpo.core.errors import RunError, SpecError
from hpo.core.yaml_io import to_yaml
from hpo.run.next_commands import BY_CALLER
from hpo.run.run_dir import RunDir
from hpo.study.skill import load_skill
from hpo.study.skill_address import skill_of
from hpo.study.spec import load_study
from tests.hpo.automl.contract.pretended import Cleaner, Sdk
from tests.hpo.automl.contract.pretended import make_skill as make_pretended
from tests.quick_trainer import NAME

BEGUN = {"algorithm": "random", "metric": "kpi", "automl_max_recommendations": 3, "seed": 7}
RANGES = {"train.lr": {"valid_min": 0.01, "valid_max": 0.1}}


@pytest.fixture
def open_again(skill, tmp_path):
    def go(settings=BEGUN, **more):
        return AutoML(
            workspace=tmp_path / "ws", network=str(skill), trainer=NAME, settings=settings, **more
        )

    with go() as automl:
        train(automl)
    return go


def train(automl):
    ids = []
    while not automl.is_complete():
        for rec in automl.next_recommendation():
            ids.append(rec.id)
            automl.report_result(rec.id, 0.5 - 0.01 * rec.id)
    return ids


@pytest.mark.parametrize("settings", [BEGUN, {}, None, {"metric": "kpi"}])
def test_what_is_not_given_is_as_it_was_begun(open_again, settings):
    with open_again(settings) as automl:
        assert automl.is_complete()
        assert [rec.id for rec in automl.get_history()] == [0, 1, 2]


def test_a_larger_number_extends_the_workspace(open_again, tmp_path, caplog):
    with open_again({"automl_max_recommendations": 5}) as automl:
        assert not automl.is_complete()
        assert train(automl) == [3, 4]
    progress = query_status(tmp_path / "ws")["progress"]
    assert (progress["completed"], progress["total"]) == (5, 5)
    assert load_study(tmp_path / "ws" / "study.yaml").budget.trials == 5
    with open_again({"automl_max_recommendations": 5}) as automl:
        assert automl.is_complete()
    assert not caplog.messages
    with open_again({"automl_max_recommendations": 4}) as automl:
        assert automl.is_complete()
    (told,) = caplog.messages
    assert "a budget of 4 trials is used up already (5 trials" in told
    assert told.endswith("write more than that, such as 8trials")


@pytest.mark.parametrize(
    ("settings", "more", "told"),
    [
        ({"algorithm": "bayesian"}, {}, "begun with random, got bayesian"),
        ({"metric": "loss"}, {}, "begun for 'val_precision_at_1', got 'loss'"),
        ({"seed": 8}, {}, "begun with seed 7, got 8"),
        ({"confirm": 2}, {}, "begun with confirm 0, got 2"),
        ({"force": True}, {}, "begun with force False, got True"),
        ({"direction": "minimize"}, {}, "begun to maximize 'val_precision_at_1', got minimize"),
        ({}, {"train_specs": {"train.num_epochs": 2}}, "spec has changed"),
        ({}, {"automl_hyperparameters": ["train.lr"]}, "search space has changed"),
        ({}, {"custom_param_ranges": RANGES}, "search space has changed"),
    ],
)
def test_what_would_be_another_search_is_refused_in_one_line(open_again, settings, more, told):
    with pytest.raises(AutoMLError, match=told) as caught:
        open_again(BEGUN | settings, **more)
    assert "\n" not in str(caught.value)
    with open_again() as automl:  # nothing is held or changed
        assert automl.is_complete()


@pytest.mark.parametrize(
    ("settings", "more"),
    [
        (
            {"metric": "acc", "multi_objective": True, "metric_weight": 2.0, "latency_weight": 0.5},
            {},
        ),
        ({"objectives": ["acc", {"metric": "ms", "direction": "minimize", "scale": 10}]}, {}),
        ({"algorithm": "hyperband", "automl_max_epochs": 9, "reduction_factor": 4}, {}),
        ({"algorithm": "asha", "automl_max_epochs": 4, "automl_max_concurrent": 2}, {}),
        ({"dataset_size": 90, "session_id": "s", "experiment_id": "e", "force": "yes"}, {}),
        ({"allow_unsafe_effective_batch": True, "automl_delete_intermediate_ckpt": "no"}, {}),
        ({"final_evaluation": {"metric_value": np.float32(0.5)}, "run_baseline": False}, {}),
        ({"override_automl_disabled_params": True}, {"automl_hyperparameters": {"train.lr"}}),
        ({"automl_range_override": [{"parameter": "train.width", "valid_options": (64, 128)}]}, {}),
        ({}, {"custom_param_ranges": {"train.width": {"valid_options": (64, np.int64(128))}}}),
        ({}, {"custom_param_ranges": {"train.width": {"valid_options": range(64, 67)}}}),
        ({}, {"custom_param_ranges": {"train.lr": {"valid_min": np.float64(0.01)}}}),
        ({}, {"train_specs": {"train.num_epochs": np.int64(4), "train": {"margin": 0.25}}}),
    ],
)
def test_the_call_that_began_a_workspace_opens_it_again(skill, tmp_path, settings, more):
    given = {"algorithm": "random", "metric": "kpi", "automl_max_recommendations": 2} | settings
    if "objectives" in settings:
        del given["metric"]
    for again in (given, given, {"automl_max_recommendations": 3}, {}):
        with AutoML(
            tmp_path / "ws", str(skill), settings=again, trainer=NAME if again else "",
            **(more if again is given else {}),
        ) as automl:  # fmt: skip
            facts = automl.facts
    assert facts.total == 3
    text = (tmp_path / "ws/study.yaml").read_text()
    assert "numpy" not in text


def test_what_is_used_at_one_start_stays_at_the_next(skill, tmp_path):
    def opened(**settings):
        return AutoML(tmp_path / "ws", str(skill), trainer=NAME, settings=settings)

    begun = {"algorithm": "random", "metric": "kpi", "automl_max_recommendations": 8}
    for settings, expected in (
        (begun | {"automl_max_concurrent": 2}, [0, 1]),
        ({}, [0, 1]),
        ({"automl_max_concurrent": 3}, [0, 1, 2]),
        ({}, [0, 1, 2]),
    ):
        with opened(**settings) as automl:
            assert [rec.id for rec in automl.next_recommendation()] == expected


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"reduction_factor": 4}, "begun with reduction_factor 3, got 4"),
        ({"automl_reduction_factor": 4}, "begun with reduction_factor 3, got 4"),
        ({"automl_max_epochs": 5}, "max_epochs"),
        ({"session_id": "other"}, "begun with session_id [0-9a-f]{12}, got other"),
        ({"train_sample_count": 60}, "begun with train_sample_count 90, got 60"),
        ({"allow_unsafe_effective_batch": True}, "begun with train_sample_count 90, got None"),
        ({"multi_objective": True}, "other objectives"),
    ],
)
def test_a_setting_that_cannot_change_is_refused_by_name(skill, tmp_path, settings, told):
    begun = {"algorithm": "hyperband", "metric": "kpi", "automl_max_epochs": 9, "dataset_size": 90}
    AutoML(tmp_path / "ws", str(skill), trainer=NAME, settings=begun).finish()
    with pytest.raises(AutoMLError, match=told) as caught:
        AutoML(tmp_path / "ws", str(skill), trainer=NAME, settings=settings)
    assert "\n" not in str(caught.value)


def test_a_batch_of_one_class_that_was_kept_by_force_can_be_extended(tmp_path):
    begun = {"algorithm": "random", "metric": "kpi", "automl_max_recommendations": 2, "force": True}
    spec = {"train.batch_size": 4, "dataset.num_instance": 4}
    AutoML(tmp_path / "ws", "ml_recog", train_specs=spec, settings=begun).finish()
    with AutoML(tmp_path / "ws", "ml_recog", settings={"automl_max_recommendations": 3}) as automl:
        assert automl.facts.total == 3


def test_what_has_no_effect_is_told_at_a_resume_as_at_the_start(open_again, skill, tmp_path):
    of_no_use = {"automl_population_size": 5, "latency_scale": 2.0, "metric_weight": 3.0}
    told = [
        "automl_settings.automl_population_size: a setting of pbt, not used by random",
        "latency_scale: has no effect without multi_objective",
        "metric_weight: has no effect with a single objective",
    ]
    with open_again() as automl:
        before = automl.result()["warnings"]
    for _ in range(2):
        with open_again(of_no_use) as automl:
            assert automl.result()["warnings"] == [*before, *told]
    with AutoML(tmp_path / "new", str(skill), trainer=NAME, settings=BEGUN | of_no_use) as automl:
        assert automl.result()["warnings"] == [*before, *told]


def test_how_a_language_model_is_reached_may_change(skill, tmp_path):
    begun = {"algorithm": "llm", "metric": "kpi", "llm_endpoint": "http://127.0.0.1:1/v1",
             "llm_model": "small"}  # fmt: skip
    new = "http://127.0.0.1:2/v1"
    AutoML(tmp_path / "ws", str(skill), trainer=NAME, settings=begun).finish()
    for settings in ({"base_url": new}, {}):
        AutoML(tmp_path / "ws", str(skill), trainer=NAME, settings=settings).finish()
    options = load_study(tmp_path / "ws/study.yaml").search.algorithm_options
    assert options["llm_endpoint"] == new


def test_another_skill_folder_is_refused_and_a_copy_is_the_same(open_again, skill, tmp_path):
    shutil.copytree(skill, tmp_path / "copy")
    AutoML(tmp_path / "ws", str(tmp_path / "copy"), trainer=NAME, settings={}).finish()
    file = tmp_path / "copy/schemas/train.schema.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"title": "another"}))
    with pytest.raises(AutoMLError, match="was begun with the skill folder .*/skill, got .*/copy"):
        AutoML(tmp_path / "ws", str(tmp_path / "copy"), trainer=NAME, settings={})


def test_a_copy_is_taken_where_the_skill_folder_is_gone(open_again, skill, tmp_path):
    place = shutil.move(skill, tmp_path / "moved")
    for _ in range(2):
        AutoML(tmp_path / "ws", str(place), trainer=NAME, settings={}).finish()
    study = load_study(tmp_path / "ws/study.yaml")
    assert read_facts(tmp_path / "ws").skill_dir == str(skill_of(study.trainer)[0]) == str(place)
    schema = json.loads((place / "schemas/train.schema.json").read_text())
    place = shutil.move(place, tmp_path / "other")
    schema["properties"]["train"]["properties"]["lr"]["maximum"] = 0.005
    (place / "schemas/train.schema.json").write_text(json.dumps(schema))
    with pytest.raises(RunError, match="the search space has changed"):
        AutoML(tmp_path / "ws", str(place), trainer=NAME, settings={})


# A search that is resumed ---------------------------------------------------------------------------


@pytest.fixture
def jobs(tmp_path):
    """Search on a pretended platform; returns the result."""
    folder = make_pretended(tmp_path / "net")

    def go(sdk, *, settings=None, **more):
        begun = {"algorithm": "random", "metric": "accuracy", "automl_max_recommendations": 2}
        given = begun if settings is None else settings
        return AutoMLRunner(sdk, str(folder), poll_interval=0.001).run(
            automl_settings=given, workspace_path=more.pop("workspace_path", tmp_path / "runs"),
            **more,
        )  # fmt: skip

    return go


def resumed(jobs, sdk, begun, settings=None, **more):
    place = begun["workspace_path"]
    return jobs(sdk, settings=settings or {}, workspace_path=place, resume=True, **more)


MORE = {"automl_max_recommendations": 5}


def test_a_resume_refuses_what_no_job_could_be_made_of(jobs):
    begun, sdk = jobs(Sdk()), Sdk()
    with pytest.raises(ValueError, match="gpu_cuont: no such argument, of this call or of Sdk"):
        resumed(jobs, sdk, begun, MORE, gpu_cuont=2)
    with pytest.raises(ValueError, match="Sdk cannot delete what jobs have left"):
        resumed(jobs, sdk, begun, MORE | {"automl_delete_intermediate_ckpt": True})
    refusing = Cleaner(refuses="no route to its storage")
    with pytest.raises(NotImplementedError, match="no route"):
        resumed(jobs, refusing, begun, MORE)
    assert sdk.jobs == refusing.jobs == []
    assert len(resumed(jobs, sdk, begun, MORE, gpu_count=2)["history"]) == 5
    assert {job.gpu_count for job in sdk.jobs} == {2}


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"image": "mine:2"}, "begun with image mine:1, got mine:2"),
        ({"base_checkpoint": "s3://b/w.pth"}, "begun with base_checkpoint none, got s3://b/w.pth"),
        ({"train_dataset_uri": "s3://b/two"}, "begun with train_dataset_uri s3://b/one, got s3"),
        ({"eval_dataset_uri": "s3://b/two"}, "begun with eval_dataset_uri none, got s3://b/two"),
        ({"num_train_samples": 60}, "begun with train_sample_count 90, got 60"),
    ],
)
def test_an_argument_that_would_be_another_search_is_refused(jobs, more, told):
    given = {"image": "mine:1", "train_dataset_uri": "s3://b/one", "num_train_samples": 90}
    begun, sdk = jobs(Sdk(), **given), Sdk()
    with pytest.raises(ValueError, match=told) as caught:
        resumed(jobs, sdk, begun, MORE, **more)
    assert "\n" not in str(caught.value)
    assert sdk.jobs == []
    result = resumed(jobs, sdk, begun, MORE, **given)
    assert (len(sdk.jobs), sdk.jobs[0].image) == (3, "mine:1")
    assert len(result["history"]) == 5


def test_what_may_change_of_a_search_is_used_from_then_on(jobs):
    begun, sdk = jobs(Cleaner()), Cleaner()
    result = resumed(
        jobs, sdk, begun,
        MORE | {"automl_delete_intermediate_ckpt": False, "automl_max_concurrent": 3,
                "final_evaluation_metric": 0.75, "baseline_metric": 0.25},
    )  # fmt: skip
    assert sdk.deleted == []
    assert sdk.order[:3] == ["create"] * 3
    assert result["final_evaluation"]["metric_value"] == 0.75
    assert (result["baseline"]["status"], result["baseline"]["metric_value"]) == ("provided", 0.25)
    folder = Path(result["workspace_path"])
    assert read_facts(folder).delete_intermediate is False
    assert load_study(folder / "study.yaml").concurrent == 3
    again = resumed(
        jobs, Cleaner(), begun, {"automl_max_recommendations": 6, "baseline_metric": 0.5}
    )
    assert again["baseline"]["metric_value"] == 0.5
    assert again["final_evaluation"]["metric_value"] == 0.75


@pytest.mark.parametrize(
    ("algorithm", "begun", "given", "told"),
    [
        ("random", "median", "median", ""),
        ("random", "auto", "auto", ""),
        ("random", "auto", "patient", ""),
        ("random", "none", "mediam", "pruner none, got mediam"),
        ("hyperband", "none", "auto", ""),
        ("hyperband", "auto", "none", ""),
        ("hyperband", "none", "median", "pruner none, got median"),
    ],
)
def test_a_word_for_a_pruner_without_effect_is_no_other_search(
    skill, tmp_path, algorithm, begun, given, told
):
    """An earlier release kept the word that was given; here, values are known at the end alone."""
    settings = {"algorithm": algorithm, "metric": "kpi"}

    def opened(**more):
        return AutoML(tmp_path / "ws", str(skill), {}, settings | more, trainer=NAME)

    opened(pruner="none").finish()
    file = tmp_path / "ws/study.yaml"
    study = load_study(file)
    search = replace(study.search, pruner=begun)
    file.write_text(to_yaml(replace(study, search=search).to_dict()))
    assert load_study(file).search.pruner == begun
    if not told:
        opened(pruner=given).finish()
        return
    with pytest.raises(AutoMLError, match=told):
        opened(pruner=given)


def test_a_pruner_with_an_effect_is_another_search(run):
    begun = run(settings={"pruner": "median", "automl_max_recommendations": 1})
    for given, told in (("median", ""), ("none", "begun with pruner median, got none")):
        with pytest.raises(AutoMLError, match=told) if told else contextlib.nullcontext():
            run(settings={"pruner": given, "automl_max_recommendations": 1},
                workspace_path=begun["workspace_path"], resume=True)  # fmt: skip


def test_a_search_goes_on_with_a_copy_where_the_skill_folder_is_gone(run, skill, tmp_path):
    begun = run(settings={"automl_max_recommendations": 1})
    place = shutil.move(skill, tmp_path / "moved")
    for _ in range(2):
        AutoMLRunner(None, str(place), trainer=NAME).run(
            workspace_path=begun["workspace_path"], resume=True, in_process=True
        )
        facts = read_facts(Path(begun["workspace_path"]))
        assert facts.skill_dir == str(place)
        study = load_study(Path(begun["workspace_path"]) / "study.yaml")
        assert skill_of(study.trainer)[0] == place


@pytest.mark.parametrize("uri", ["/my data", "file:///my data", "file:///my%20data"])
def test_a_place_of_this_machine_is_one_however_it_is_spelt(uri):
    roots = {"train_dataset_uri": uri}
    assert anchored_roots(roots, "") == {"train_dataset_uri": "/my data"}
    assert anchored_roots(roots, "Sdk") == roots


def test_a_search_here_does_not_go_on_elsewhere(run, jobs, skill):
    begun, sdk = run(), Sdk()
    with pytest.raises(ValueError, match="begun with trials on this machine, got Sdk"):
        AutoMLRunner(sdk, str(skill), trainer=NAME).run(
            workspace_path=begun["workspace_path"], resume=True
        )
    with pytest.raises(ValueError, match="begun with trials on this machine, got the caller"):
        AutoML(begun["workspace_path"], str(skill), trainer=NAME, settings={})
    assert sdk.jobs == []


def test_trials_that_are_started_elsewhere_are_not_resumed_here(jobs, skill, tmp_path, capsys):
    AutoML(tmp_path / "asked", str(skill), {}, BEGUN, trainer=NAME).finish()
    places = (
        (jobs(Sdk())["workspace_path"], "jobs of Sdk; go on with AutoMLRunner(platform_sdk="),
        (tmp_path / "asked", "jobs of the caller; go on with AutoML(...)"),
    )
    for place, told in places:
        files = {name: (Path(place) / name).read_bytes() for name in ("study.yaml", "ledger.db")}
        asked = RunDir(Path(place)).stop_file
        asked.touch()
        assert main(["resume", str(place), "--yes", "--budget", "+3"]) == 2
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert told in line
        with pytest.raises(RunError, match=re.escape(told)):
            api.load(place).resume()
        assert asked.exists(), "nothing was changed"
        for name, held in files.items():
            assert (Path(place) / name).read_bytes() == held


def test_values_of_eval_fn_and_of_logs_are_not_mixed_without_a_word(run, caplog):
    def evaluate(rec, job):
        return 0.5 + rec.id / 100

    place = Path(run(eval_fn=evaluate)["workspace_path"])
    said = json.loads((place / "best/report.json").read_text())["next"]
    assert not [line for line in said if "resume" in line]
    settings = {"automl_max_recommendations": 6}
    result = run(workspace_path=place, resume=True, settings=settings, eval_fn=evaluate)
    assert [e["metric"] for e in result["history"]] == [evaluate(SimpleNamespace(id=n), 0)
                                                        for n in range(6)]  # fmt: skip
    assert "eval_fn" not in caplog.text
    for go_on in (
        lambda: run(workspace_path=place, resume=True),
        lambda: api.load(place).resume("7", executor="inprocess"),
    ):
        caplog.clear()
        go_on()
        assert "its trials have the values of eval_fn, and this start passes none" in caplog.text


def test_values_of_an_extractor_and_of_logs_are_not_mixed_without_a_word(run, caplog):
    def extract(log, name):
        return 0.5

    one = {"automl_max_recommendations": 1}
    begun, other = run(settings=one, metric_extractor=extract), run(settings=one)
    report = json.loads((Path(begun["workspace_path"]) / "best/report.json").read_text())
    assert not [line for line in report["next"] if "resume" in line]
    for result, more, told in (
        (begun, {}, "its trials have the values of metric_extractor, and this start passes none"),
        (other, {"metric_extractor": extract}, "what metric_extractor says; leave it out"),
        (begun, {"metric_extractor": extract}, ""),
        (other, {}, ""),
    ):
        caplog.clear()
        run(workspace_path=result["workspace_path"], resume=True, **more)
        assert told in caplog.text
        assert bool(told) == ("metric_extractor" in caplog.text)


def test_a_search_without_eval_fn_that_is_given_one_later_says_so(run, caplog):
    place = run()["workspace_path"]
    run(workspace_path=place, resume=True, eval_fn=lambda rec, job: 0.5)
    assert "new ones are ranked against them by what eval_fn says" in caplog.text
    caplog.clear()
    file = Path(place) / ".automl/controller/facts.json"
    facts = {k: v for k, v in json.loads(file.read_text()).items() if k != "has_eval_fn"}
    file.write_text(json.dumps(facts))  # as an earlier release wrote it
    run(workspace_path=place, resume=True, eval_fn=lambda rec, job: 0.5)
    assert "eval_fn" not in caplog.text


OTHERS = {
    bool: True,
    int: 9,
    float: 0.3,
    str: "other",
    list: ["other"],
    dict: {"metric_value": 0.3},
}
NEW = {
    "algorithm": "pbt", "direction": "minimize", "seed": 8, "pruner": "median",
    "latency_direction": "maximize", "automl_checkpoint_retention_strategy": "best",
    "algorithm_specific_params": {"max_epochs": 3}, "run_baseline": False,
    "run_final_evaluation": False, "objectives": ["kpi", "ms"],
    "automl_range_override": [{"parameter": "train.lr", "valid_max": 0.01}],
}  # fmt: skip


def test_every_setting_of_a_resume_is_used_or_refused_or_told(open_again, skill, tmp_path):
    folder, without_effect = tmp_path / "ws", []
    study, facts = load_study(folder / "study.yaml"), read_facts(folder)
    for key in KEYS:
        request = Request(
            skill=load_skill(skill), workspace=folder, trainer=NAME, platform=BY_CALLER,
            settings={key.name: NEW.get(key.name, OTHERS[key.kind])}, needs_data=False,
        )  # fmt: skip
        with contextlib.suppress(SpecError):
            planned = plan_opened(request)
            if changes_of(study, facts, planned) == Changes() and (
                extended_budget(study, planned) is None
            ):
                without_effect.append(key.name)
    assert without_effect == ["allow_unsafe_effective_batch"], "no samples were counted"
