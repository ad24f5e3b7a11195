"""Any network: a skill folder without a registered trainer, by its own command."""

import json
from pathlib import Path

import pytest

from hpo import AutoMLRunner
from hpo.automl.command_trainer import CommandTrainer
from hpo.study.skill import load_skill
from tests.foreign_trainer import METRIC, value_at
from tests.hpo.automl.contract.pretended import Sdk
from tests.hpo.automl.foreign import make_foreign_skill
from tests.hpo.run.test_status_lines import Logger


@pytest.fixture
def search(tmp_path):
    folder = make_foreign_skill(tmp_path / "skill")

    def go(overrides=None, settings=None, **more):
        given = {"algorithm": "random", "metric": "kpi", "automl_max_recommendations": 2}
        return AutoMLRunner(skill_dir=folder).run(
            automl_settings=given | (settings or {}), spec_overrides=overrides or {},
            workspace_path=more.pop("workspace_path", tmp_path / "ws"), in_process=True, **more,
        )  # fmt: skip

    return go


@pytest.mark.parametrize("platform", [None, Sdk()])
def test_a_command_that_is_never_told_its_values_is_refused(tmp_path, platform):
    folder = make_foreign_skill(tmp_path / "skill")
    info = folder / "references/skill_info.yaml"
    info.write_text(info.read_text().replace(" train -e {config_path}", " train"))
    with pytest.raises(ValueError, match=r"skill: actions.train.command: must hold \{config_path"):
        AutoMLRunner(platform, folder).run(
            automl_settings={"algorithm": "random", "metric": "kpi"},
            workspace_path=tmp_path / "ws",
        )
    assert not (tmp_path / "ws").exists()


@pytest.mark.parametrize("where", ["status", "log"])
def test_the_metric_comes_from_the_status_file_then_the_log(search, where):
    result = search({"tell.where": where})
    for entry in result["history"]:
        expected = value_at(entry["specs"]["train.lr"], 4)
        assert entry["metric"] == pytest.approx(expected, abs=1e-6)
        assert entry["epochs"] == 4
    assert Path(result["best"]["checkpoint"]).name == "model_epoch_004.pth"
    final = result["final_evaluation"]
    assert final["metric_value"] == pytest.approx(result["best"]["metric_value"], abs=1e-6)


def test_a_trainer_that_tells_nothing_fails_with_that_reason(search):
    result = search({"tell.where": "nowhere"})
    assert {e["status"] for e in result["history"]} == {"failure"}
    assert "metric not found: 'val accuracy'" in result["cause"]


def test_the_callers_extractor_reads_its_own_format(search):
    def extract(logs, name):
        losses = [float(line.rpartition("=")[2]) for line in logs.splitlines() if "loss=" in line]
        return 1 - losses[-1] if losses else None

    result = search({"tell.where": "status"}, metric_extractor=extract)
    for entry in result["history"]:
        expected = value_at(entry["specs"]["train.lr"], 4)
        assert entry["metric"] == pytest.approx(expected, abs=1e-4)


def test_a_start_whose_evaluation_lacks_the_metric_says_so(search, tmp_path):
    info = tmp_path / "skill/references/skill_info.yaml"
    info.write_text(info.read_text().replace("resume_model", "ptm_if_no_resume_model"))
    start = tmp_path / "start.pth"
    start.write_text(json.dumps({"epoch": 0, "lr": 0.001}))
    more = {"metric": "loss", "automl_max_recommendations": 1}
    result = search({"tell.where": "log"}, more, base_checkpoint=str(start))
    for name in ("baseline", "final_evaluation"):
        found = result[name]
        assert (found["status"], found["metric_value"]) == ("metric_missing", None)
        assert "gives no 'loss'; it gives no metric" in found["failure_reason"]
    assert result["best"]["metric_value"] == pytest.approx(1 - value_at(0.001, 4), abs=1e-4)


@pytest.mark.parametrize("how", ["extractor", "eval_fn"])
@pytest.mark.parametrize("algorithm", ["random", "hyperband"])
def test_the_callers_functions_are_asked_where_nothing_tells_the_metric(search, how, algorithm):
    def extract(logs, name):
        return 1 - float(logs.rpartition("loss=")[2].split()[0])

    def evaluate(rec, job):
        return extract((Path(job) / "log.txt").read_text(), "")

    hooks = {"metric_extractor": extract} if how == "extractor" else {"eval_fn": evaluate}
    more = {"automl_max_epochs": 2, "automl_reduction_factor": 2, "automl_max_recommendations": 3}
    settings = {"algorithm": algorithm} | (more if algorithm == "hyperband" else {})
    result = search({"tell.where": "nowhere"}, settings, **hooks)
    for entry in result["history"]:
        expected = value_at(entry["specs"]["train.lr"], entry["epochs"])
        assert entry["metric"] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("fail", "cause", "ended"),
    [
        ("at start", "out_of_memory", "ended with exit code 1: RuntimeError: CUDA error"),
        ("killed", "infrastructure", "was killed by SIGKILL: epoch 2 loss="),
        ("by status", "out_of_memory", "ended as FAILURE by status.json: CUDA error: out of"),
    ],
)
def test_a_failing_command_is_a_failed_trial_with_its_cause(search, fail, cause, ended):
    result = search({"tell.fail": fail}, {"automl_max_recommendations": 1})
    (entry,) = result["history"]
    assert (entry["status"], entry["cause"]) == ("failure", cause)
    assert ended in entry["failure_reason"]


def test_rungs_are_jobs_of_their_own_that_go_on_from_the_one_before(search):
    settings = {
        "algorithm": "hyperband", "automl_max_epochs": 2, "automl_reduction_factor": 2,
        "automl_max_recommendations": None,
    }  # fmt: skip
    result = search({"tell.where": "log"}, settings)
    later = [e for e in result["history"] if "resumed_from" in e]
    assert later
    for entry in later:
        parent = result["history"][entry["resumed_from"]["rec_id"]]
        assert parent["specs"] == entry["specs"]
        assert (parent["epochs"], entry["epochs"]) == (1, 2)
        folder = Path(result["workspace_path"]) / "trials" / f"{entry['rec_id']:04d}"
        assert sorted(p.name for p in (folder / "train").iterdir()) == ["model_epoch_002.pth"]


def test_a_finished_command_is_read_again_not_run_again(tmp_path):
    trainer = CommandTrainer(load_skill(make_foreign_skill(tmp_path / "skill")), METRIC, "maximize")
    spec = trainer.validate({"results_dir": str(tmp_path / "0000")})
    for _ in range(2):
        told = []
        receipt = trainer.fit(spec, lambda line, told=told: told.append(line) or True)
        assert [line["epoch"] for line in told] == [1, 2, 3, 4]
        assert told[1]["checkpoint"] == "train/model_epoch_002.pth"
    assert (tmp_path / "0000/started.txt").read_text().count("\n") == 1
    assert receipt["applied"]["train.lr"] == 0.001


@pytest.mark.parametrize("start", [1, 2])
def test_a_known_command_is_read_as_it_began_whatever_is_known_of_it(tmp_path, start):
    """As a driver finds it that was started again; its own lines begin with 2, as from the start."""
    trainer = CommandTrainer(load_skill(make_foreign_skill(tmp_path / "skill")), METRIC, "maximize")
    spec = trainer.validate({"results_dir": str(tmp_path / "0000")})
    trainer.fit(spec, lambda line: True)
    log = Logger()
    for value in (0.1, 0.2, 0.3, 0.4):
        log.epoch(value, is_loop_first=True)
    text = "".join(json.dumps(line).replace('"acc"', f'"{METRIC}"') + "\n" for line in log.lines)
    (tmp_path / "0000/train/status.json").unlink(missing_ok=True)
    (tmp_path / "0000/status.json").write_text(text)
    told = []
    trainer.fit(spec, lambda line: told.append((line["epoch"], line["value"])) or True,
                start_epoch=start)  # fmt: skip
    assert told == [(n, n / 10) for n in range(start + 1, 5)]


def test_the_last_epoch_is_told_with_its_checkpoint_also_where_that_comes_after_its_status(
    tmp_path,
):
    trainer = CommandTrainer(load_skill(make_foreign_skill(tmp_path / "skill")), METRIC, "maximize")
    given = {"results_dir": str(tmp_path / "0000"), "train.num_epochs": 2}
    told = []
    trainer.fit(
        trainer.validate(given | {"tell.where": "status first"}),
        lambda line: told.append(line) or True,
    )
    assert [line["epoch"] for line in told] == [1, 2]
    assert told[1]["checkpoint"] == "train/model_epoch_002.pth"


def test_a_trial_that_is_stopped_ends_its_command(tmp_path):
    trainer = CommandTrainer(load_skill(make_foreign_skill(tmp_path / "skill")), METRIC, "maximize")
    given = {"results_dir": str(tmp_path / "0000"), "train.num_epochs": 200, "tell.sleep": 0.1}
    told = []
    trainer.fit(trainer.validate(given), lambda line: told.append(line) or len(told) < 2)
    written = len(list((tmp_path / "0000/train").glob("*.pth")))
    assert 2 <= written < 100


@pytest.mark.parametrize(
    ("given", "said"),
    [("", "is mandatory and not set"), ("/missing", "/missing is not there"),
     ("file:///missing", "file:///missing is not there")],
)  # fmt: skip
def test_a_missing_input_is_named_before_anything_starts(tmp_path, given, said):
    folder = make_foreign_skill(tmp_path / "skill")
    info = folder / "references/skill_info.yaml"
    info.write_text(info.read_text().replace(
        "  train:\n    command", "  train:\n    inputs:\n      dataset.train_dataset: {type: folder}\n    command"))  # fmt: skip
    with pytest.raises(ValueError, match=f"dataset.train_dataset: {said}"):
        AutoMLRunner(skill_dir=folder).run(
            automl_settings={"algorithm": "random", "metric": "kpi"}, in_process=True,
            workspace_path=tmp_path / "ws", spec_overrides={"dataset.train_dataset": given},
        )  # fmt: skip


def test_who_waits_for_the_command_of_an_earlier_start_is_told_so(tmp_path):
    trainer = CommandTrainer(load_skill(make_foreign_skill(tmp_path / "skill")), METRIC, "maximize")
    spec = trainer.validate({"results_dir": str(tmp_path / "0000"), "tell.sleep": 0.5})
    shown, values = [], []

    def wait_for_it(line):
        if not values:  # as a driver that was started again finds it
            trainer.fit(
                spec,
                lambda line: values.append(line["value"]) or True,
                progress=lambda *words: shown.append(words),
            )
        return True

    trainer.fit(spec, wait_for_it, progress=lambda *words: shown.append(words))
    ((text, *_),) = shown
    assert text.startswith("command of an earlier start, process ")
    assert int(text.split()[-1]) > 1
    assert len(values) == 4
