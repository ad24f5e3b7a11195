"""Checks 1 to 6: importable names, the constructor, actions."""

import inspect
import json
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from tests.hpo.automl.contract.pretended import Sdk, make_skill


@pytest.mark.parametrize("module", ["tao_automl", "hpo"])
def test_1_top_level_names(module):
    package = __import__(module)
    assert all(callable(getattr(package, n)) for n in ("AutoML", "query_status", "format_result"))


def test_1_the_version_is_that_of_this_project():
    import tao_automl

    import hpo

    assert tao_automl.__version__ == hpo.__version__


def test_2_states_and_recommendations():
    from tao_automl.types import AutoMLContext, JobStates, Recommendation, ResumeRecommendation

    words = [JobStates.pending, JobStates.started, JobStates.running, JobStates.success,
             JobStates.failure, JobStates.error, JobStates.done, JobStates.canceled,
             JobStates.canceling]  # fmt: skip
    assert words == ["pending", "started", "running", "success", "failure", "error", "done",
                     "canceled", "canceling"]  # fmt: skip
    rec = Recommendation(identifier=3, specs={"a": 1}, metric="acc")
    assert (rec.id, rec.status, rec.result, rec.metric) == (3, "pending", 0.0, "acc")
    rec.update_result(np.float32(0.5))
    rec.update_status(JobStates.success)
    rec.assign_job_id("job-7")
    assert (rec.result, rec.objective_values, rec.job_id) == (0.5, {"acc": 0.5}, "job-7")
    assert type(rec.result) is float
    rec.update_objectives({"acc": 0.25, "latency": 9}, -0.65)
    assert (rec.primary_metric_value(), rec.result, rec.objective_score) == (0.25, -0.65, -0.65)
    assert ResumeRecommendation(1, {}, "j", "k", 2).resume_from_job_id == "k"
    context = AutoMLContext(id="t", network="n", metric="acc")
    assert (context.action, context.num_gpu) == ("train", -1)


@pytest.mark.parametrize("value", [True, np.bool_(True), [0.5], np.array([0.5]), "0.5", None])
def test_2_what_is_no_number_is_no_result(value):
    from tao_automl.types import Recommendation

    with pytest.raises(TypeError, match="finite numeric scalar"):
        Recommendation(0, {}, "acc").update_result(value)


@pytest.mark.parametrize("value", [float("nan"), float("-inf"), np.float64("nan"), 10**400])
def test_2_what_is_not_finite_is_no_result(value):
    from tao_automl.types import Recommendation

    with pytest.raises(ValueError, match="finite"):
        Recommendation(0, {}, "acc").update_result(value)


def test_2_identifier_and_specs_are_checked():
    from tao_automl.types import Recommendation

    for wrong in (lambda: Recommendation("0", {}, "m"), lambda: Recommendation(0, [], "m")):
        with pytest.raises(AssertionError):
            wrong()


def test_3_the_error_of_the_extractor():
    from tao_automl.runner import MetricExtractorError

    assert issubclass(MetricExtractorError, RuntimeError)


def test_3_settings_and_their_aliases():
    from tao_automl.runner import AUTOML_SETTING_ALIASES, KNOWN_AUTOML_SETTINGS

    assert AUTOML_SETTING_ALIASES["num_recommendations"] == "automl_max_recommendations"
    assert {"algorithm", "session_id", "automl_kde_samples"} <= set(KNOWN_AUTOML_SETTINGS)


def test_3_importing_installs_no_signal_handlers():
    code = (
        "import signal; before = [signal.getsignal(s) for s in (2, 15)]\n"
        "from hpo.automl import alias; alias.install()\n"
        "from tao_automl.runner import AutoMLRunner\n"
        "assert before == [signal.getsignal(s) for s in (2, 15)]; print('same')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "same\n", done.stderr


def test_4_the_constructor(folder):
    from tao_automl.runner import AutoMLRunner

    runner = AutoMLRunner(sdk=Sdk(), skill_dir=folder, poll_interval=7)
    assert (runner.poll_interval, runner.action) == (7.0, "train")
    assert AutoMLRunner(None, folder).poll_interval == 30.0
    for wrong in (0, -1, True, "soon"):
        with pytest.raises(ValueError, match="poll_interval"):
            AutoMLRunner(Sdk(), folder, poll_interval=wrong)


def test_5_an_undeclared_action_is_refused_at_once(folder):
    from tao_automl.runner import AutoMLRunner

    with pytest.raises(KeyError, match="prune: no such action") as caught:
        AutoMLRunner(Sdk(), folder, "prune")
    assert "train" in str(caught.value)
    assert str(caught.value)[0] != "'"


def test_6_the_runtime_is_validated(tmp_path, folder):
    from tao_automl.runner import SkillContext, validate_skill_runtime

    found = validate_skill_runtime(folder)
    assert (found["network_arch"], found["action"]) == ("pretended_net", "train")
    assert found["parameter_count"] == 4
    with pytest.raises(KeyError, match="evaluate"):
        validate_skill_runtime(folder, "evaluate")
    (folder / "schemas/train.schema.json").write_text("{")
    with pytest.raises(FileNotFoundError, match="train.schema.json"):
        validate_skill_runtime(folder)
    bare = make_skill(tmp_path / "bare", template=False)
    context = SkillContext(skill_dir=bare)
    assert context.default_specs["train"]["lr"] == 0.01
    assert (context.container_image, context.config_format) == ("registry/skill:1", "yaml")


def test_75_run_by_position(folder, tmp_path):
    from tao_automl.runner import AutoMLRunner

    names = list(inspect.signature(AutoMLRunner.run).parameters)[1:16]
    assert names == [
        "train_dataset_uri", "eval_dataset_uri", "base_checkpoint", "image", "automl_settings",
        "automl_hyperparameters", "custom_param_ranges", "workspace_path", "spec_overrides",
        "resume", "metric_extractor", "eval_fn", "final_eval_fn", "on_recommendation", "on_result",
    ]  # fmt: skip
    sdk, seen = Sdk(), []
    settings = {"algorithm": "random", "metric": "accuracy", "automl_max_recommendations": 1}
    result = AutoMLRunner(sdk, folder, "train", 0.001).run(
        "", "", "", "other:2", settings, ["train.lr"], None, str(tmp_path / "ws"),
        {"train.size": 16}, False, None, lambda rec, job: 0.75, None, seen.append,
    )  # fmt: skip
    assert result["best"]["metric_value"] == 0.75
    assert sdk.jobs[0].image == "other:2"
    assert "size: 16" in sdk.jobs[0].command
    assert seen[0].specs == {"train.lr": 0.01}


def test_3_a_plan_file_is_carried_out(tmp_path, monkeypatch, capsys):
    from tao_automl.runner import run_automl_plan

    from hpo.automl.plan_file import main

    monkeypatch.chdir(tmp_path)
    skill = make_skill(tmp_path / "skill")
    file = skill / "references/skill_info.yaml"
    file.write_text(
        file.read_text().replace("net train -e {config_path}", "echo {config_path} accuracy=0.75")
    )
    params = {"skill_dir": str(skill), "workspace_path": str(tmp_path / "ws"),
              "platform_kwargs": {"poll_interval": 0.01}}  # fmt: skip
    settings = {"algorithm": "random", "metric": "accuracy", "automl_max_recommendations": 1}
    plan = {"ready": True, "steps": [{"params": params}], "automl_settings": settings}
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    assert main([str(tmp_path / "plan.json"), "--platform", "local"]) == 0
    assert "accuracy=0.75" in capsys.readouterr().out
    with pytest.raises(ValueError, match="not ready to run: no data"):
        run_automl_plan({"ready": False, "blocking_issues": ["no data"]}, "local")
    with pytest.raises(ValueError, match="SDK is not installed"):
        run_automl_plan(plan, "slurm")
    assert main([str(tmp_path / "none.json"), "--platform", "local"]) == 2


class Locked:
    """An SDK whose constructor wants more than it is given."""

    def __init__(self):
        raise ConnectionError("no credentials\nlog in first")


@pytest.mark.parametrize(
    ("more", "platform", "told"),
    [
        ({"image": "a", "platform_kwargs": {"image": "b"}}, "local", "image: is given twice"),
        ({"platform_kwargs": ["image"]}, "local", "platform_kwargs: must be a mapping of keys"),
        ({"platform_kwargs": "image"}, "local", "platform_kwargs: must be a mapping of keys"),
        ({}, "slurm", "--platform slurm: its SDK cannot be made: ConnectionError: no credentials"),
    ],
)
def test_3_a_plan_that_cannot_be_carried_out_is_one_line(
    folder, tmp_path, monkeypatch, capsys, more, platform, told
):
    from hpo.automl.plan_file import main

    name = "tao_sdk.platforms.slurm"
    monkeypatch.setitem(sys.modules, name, SimpleNamespace(SlurmSDK=Locked))
    params = {"skill_dir": str(folder), "workspace_path": str(tmp_path / "ws")} | more
    (tmp_path / "plan.json").write_text(json.dumps({"ready": True, "steps": [{"params": params}]}))
    assert main([str(tmp_path / "plan.json"), "--platform", platform]) == 2
    said = capsys.readouterr().err
    assert told in said
    assert said.count("\n") == 1
