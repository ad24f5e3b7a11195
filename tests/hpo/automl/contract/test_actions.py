"""Checks 30 to 35, 76 and 77: scripts, actions, networks without epochs."""

import inspect
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from hpo.jobs.processes import ProcessPlatform
from hpo.jobs.spec_formats import whole_command
from tests.hpo.automl.contract.pretended import Builder, Scripts, Sdk, make_skill, number

FOREST = """
import json, sys
from pathlib import Path
spec = json.loads(Path(sys.argv[2]).read_text())["model"]
score = 1 - abs(spec["n_estimators"] - 60) / 100 - abs(spec["max_depth"] - 5) / 100
Path(sys.argv[4], "metrics.json").write_text(json.dumps({"accuracy": score}))
"""


def make_forest(folder, **execution):
    """A skill whose training is a script over two numbers, without epochs."""
    (folder / "references").mkdir(parents=True)
    (folder / "schemas").mkdir()
    (folder / "scripts").mkdir()
    (folder / "scripts/train.py").write_text(FOREST)
    properties = {
        "n_estimators": number("integer", 10, 200, 40, automl_enabled=True),
        "max_depth": number("integer", 1, 20, 3, automl_enabled=True),
    }
    schema = {
        "type": "object",
        "default": {"model": {"n_estimators": 40, "max_depth": 3}},
        "properties": {"model": {"type": "object", "properties": properties}},
    }
    (folder / "schemas/train.schema.json").write_text(json.dumps(schema))
    own = {"type": "python_script", "script": "scripts/train.py", "config_format": "json",
           "args": ["--config", "{config_path}", "--out", "{results_dir}"]}  # fmt: skip
    info = {"network_arch": "forest", "automl_enabled": True,
            "actions": {"train": {"execution": own | execution}}}  # fmt: skip
    (folder / "references/skill_info.yaml").write_text(yaml.safe_dump(info))
    return folder


def bytes_of(folder):
    return {str(p): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_30_31_32_a_script_is_a_job_with_all_its_arguments(go, tmp_path):
    skill = make_forest(tmp_path / "forest")
    sdk = Scripts(lambda n: ("Complete", f"accuracy: {0.5 + n / 10}"))
    result = go(sdk, skill=skill, gpu_ids=[1])
    (job, *_) = sdk.jobs
    assert vars(job) == {
        "id": "job-0", "script": str(skill / "scripts/train.py"), "config_format": "json",
        "specs": {"model": {"n_estimators": 40, "max_depth": 3}},
        "script_args": ["--config", "{config_path}", "--out", "{results_dir}"],
        "inputs": {}, "outputs": {}, "upload_excludes": [], "cwd": str(skill),
        "network_arch": "forest", "action": "train", "gpu_ids": [1],
    }  # fmt: skip
    assert [e["metric"] for e in result["history"]] == [0.5, 0.6, 0.7]
    assert set(result["best"]["specs"]) == {"model.n_estimators", "model.max_depth"}


class Pulled(BaseException):
    """Ends the search as a kill does."""


class CutOff(ProcessPlatform):
    """Ends the search when a job was made, once."""

    is_on = True

    def create_python_job(self, **facts):
        job = super().create_python_job(**facts)
        if self.is_on:
            raise Pulled
        return job


CutOff.create_python_job.__signature__ = inspect.signature(ProcessPlatform.create_python_job)


def test_40_a_script_that_was_started_as_the_search_ended_is_not_started_again(go, tmp_path):
    skill, sdk = make_forest(tmp_path / "forest"), CutOff(tmp_path / "jobs")
    with pytest.raises(Pulled):
        go(sdk, skill=skill, trials=1)
    (folder,) = (tmp_path / "ws").iterdir()
    CutOff.is_on = False
    (entry,) = go(sdk, skill=skill, workspace_path=folder, resume=True)["history"]
    assert [place.name for place in (tmp_path / "jobs").iterdir()] == [entry["job_id"]]
    assert entry["metric"] == pytest.approx(1 - 20 / 100 - 2 / 100)


def test_40_where_no_job_can_be_found_by_name_a_second_one_is_told(go, tmp_path, caplog):
    def die(**facts):
        raise Pulled

    skill, sdk = make_forest(tmp_path / "forest"), Scripts()
    sdk.create_python_job = die
    with pytest.raises(Pulled):
        go(sdk, skill=skill, trials=1)
    (folder,) = (tmp_path / "ws").iterdir()
    del sdk.create_python_job
    go(sdk, skill=skill, workspace_path=folder, resume=True)
    assert "trial 0: job_creation_interrupted" in caplog.text
    assert "Scripts takes no name" in caplog.text


def test_30_a_platform_without_scripts_makes_no_job(go, tmp_path):
    entry = go(Sdk(), skill=make_forest(tmp_path / "forest"), trials=1)["history"][0]
    assert entry["failure_reason"].startswith("job_creation_failed: TypeError: Sdk has no create")


def test_31_without_epochs_brackets_are_refused(go, tmp_path):
    with pytest.raises(ValueError, match="several numbers of epochs, and forest has none"):
        go(Scripts(), skill=make_forest(tmp_path / "f"), settings={"algorithm": "hyperband"})


def test_33_an_image_beside_a_script_is_refused_and_execution_wins(go, tmp_path):
    skill = make_forest(tmp_path / "forest")
    with pytest.raises(ValueError, match="image: must be left out"):
        go(Scripts(), skill=skill, image="registry/x:1")
    (skill / "scripts/other.py").write_text("")
    sdk = Scripts()
    go(sdk, skill=skill, trials=1,
       execution={"type": "python_script", "script": "scripts/other.py"})  # fmt: skip
    assert sdk.jobs[0].script.endswith("scripts/other.py")
    assert (sdk.jobs[0].config_format, sdk.jobs[0].script_args) == (
        "yaml", ["--config", "{config_path}"]
    )  # fmt: skip


@pytest.mark.parametrize(
    ("execution", "words"),
    [
        ({"script": "scripts/none.py"}, "scripts/none.py: no such file"),
        ({"cwd": "nowhere"}, "nowhere: no such folder"),
        ({"script": "../train.py"}, "must lie below"),
        ({"args": "--config"}, "a list of words"),
        ({"args": ["--out", "{results_dir}"]}, r"execution.args: must hold \{config_path\}"),
        ({"config_format": "ini"}, "one of json, yaml, toml"),
        ({"type": "binary"}, "must be python_script"),
        ({"skript": "x"}, "did you mean 'script'"),
    ],
)
def test_34_a_wrong_script_is_named_at_construction(tmp_path, execution, words):
    from tao_automl.runner import AutoMLRunner

    from hpo.core.errors import HpoError

    skill = make_forest(tmp_path / "forest", **execution)
    with pytest.raises(HpoError, match=words):
        AutoMLRunner(Scripts(), skill)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"maximum": None}, "maximum: must be a finite number"),
        ({"type": "triangle"}, "type 'triangle' is not known"),
        ({"default": 900}, "must lie between 10 and 200"),
        ({"enum": [10, 40], "option_weights": [1]}, "for each of 2 options"),
    ],
)
def test_30_a_scripts_schema_is_checked_strictly(go, tmp_path, change, words):
    skill = make_forest(tmp_path / "forest")
    file = skill / "schemas/train.schema.json"
    schema = json.loads(file.read_text())
    schema["properties"]["model"]["properties"]["n_estimators"] |= change
    file.write_text(json.dumps(schema))
    with pytest.raises((ValueError, FileNotFoundError), match=words):
        go(Scripts(), skill=skill)


def test_30_a_scripts_schema_may_hold_references(go, tmp_path):
    skill = make_forest(tmp_path / "forest")
    file = skill / "schemas/train.schema.json"
    schema = json.loads(file.read_text())
    depth = {"type": "integer", "exclusiveMinimum": 1, "maximum": 20, "automl_enabled": True}
    schema["$defs"] = {"Depth": depth, "Model": schema["properties"]["model"]}
    schema["properties"]["model"]["properties"]["max_depth"] = {"$ref": "#/$defs/Depth"}
    schema["properties"] = {"model": {"$ref": "#/$defs/Model"}}
    file.write_text(json.dumps(schema))
    best = go(Scripts(), skill=skill)["best"]["specs"]
    assert set(best) == {"model.n_estimators", "model.max_depth"}
    with pytest.raises(ValueError, match=r"model.max_depth: .*99"):
        go(Scripts(), skill=skill, spec_overrides={"model.max_depth": 99})


def test_30_a_scripts_spec_is_checked_against_its_schema(go, tmp_path):
    skill = make_forest(tmp_path / "forest")
    for wrong in ({"model.trees": 4}, {"model.max_depth": "deep"}, {"model.max_depth": 99}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            go(Scripts(), skill=skill, spec_overrides=wrong)


@pytest.mark.parametrize("action", ["evaluate", "inference", "prune", "quantize", "tune_it"])
def test_35_every_action_has_its_own_schema_command_and_space(go, tmp_path, action):
    skill = make_skill(tmp_path / "s", actions=("train", action))
    sdk = Builder()
    result = go(sdk, skill=skill, action=action, trials=2)
    assert set(result["best"]["specs"]) == {f"{action}.lr"}
    (built, _) = sdk.built
    assert built.command == f"net {action} -e {{config_path}}"
    assert set(built.specs) == {action}
    assert "num_epochs" not in built.specs[action]


def test_76_77_a_script_without_an_sdk_runs_here_and_leaves_the_folder_alone(tmp_path):
    from tao_automl.runner import AutoMLRunner

    skill = make_forest(tmp_path / "forest")
    before = bytes_of(skill)
    result = AutoMLRunner(None, skill).run(
        automl_settings={"algorithm": "random", "metric": "accuracy",
                         "automl_max_recommendations": 2},
        workspace_path=tmp_path / "ws", in_process=True,
    )  # fmt: skip
    assert bytes_of(skill) == before
    for entry in result["history"]:
        model = {k.partition(".")[2]: v for k, v in entry["specs"].items()}
        score = 1 - abs(model["n_estimators"] - 60) / 100 - abs(model["max_depth"] - 5) / 100
        assert entry["metric"] == pytest.approx(score)
    (file,) = (tmp_path / "ws").glob("run_*/trials/0000/job_spec.json")
    assert json.loads(file.read_text())["model"] == {"n_estimators": 40, "max_depth": 3}


def test_77_the_same_on_local_processes_by_execution(go, tmp_path):
    skill = make_forest(tmp_path / "forest")
    info = yaml.safe_load((skill / "references/skill_info.yaml").read_text())
    execution = info["actions"]["train"].pop("execution")
    (skill / "references/skill_info.yaml").write_text(yaml.safe_dump(info))
    before = bytes_of(skill)
    result = go(ProcessPlatform(tmp_path / "jobs"), skill=skill, trials=2, execution=execution)
    assert bytes_of(skill) == before
    assert [e["status"] for e in result["history"]] == ["success", "success"]
    assert result["history"][0]["metric"] == pytest.approx(1 - 0.2 - 0.02)


def test_a_command_writes_its_spec_into_a_folder_of_its_own_users_alone(tmp_path):
    """On this machine the place lies among temporary files, and its name can be guessed."""
    folder = Path("/tmp", f"hpo-{tmp_path.name}-{os.getpid()}")  # noqa: S108 - made and removed here
    command = whole_command("cat {config_path}", {"a": 7}, "yaml", folder.name[4:])

    def started():
        words = ["/bin/sh", "-c", command]
        return subprocess.run(words, capture_output=True, text=True, check=False)

    folder.symlink_to(tmp_path)
    refused = started()
    folder.unlink()
    assert (refused.returncode, refused.stdout) == (1, "")
    assert f"{folder}: must be a folder of yours, and is a link" in refused.stderr
    assert not list(tmp_path.iterdir())
    try:
        for _ in range(2):
            assert started().stdout == "a: 7\n"
        assert folder.stat().st_mode & 0o077 == 0
    finally:
        shutil.rmtree(folder)
