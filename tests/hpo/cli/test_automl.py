"""`hpo automl`: flags, events, exit codes, lists, plain training."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from hpo import api
from hpo.automl.errors import ReviewDeclinedError
from hpo.cli.automl import _settings
from hpo.cli.main import main
from hpo.core.errors import SpecError
from tests.hpo.automl.foreign import make_foreign_skill
from tests.hpo.automl.watching import skill_folders_are_only_read  # noqa: F401 - for every test below
from tests.quick_cli import call, events_of


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a foreign skill, without MLflow."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "mlflow", None)
    monkeypatch.setattr("hpo.tracking.mirror.CLOSE_ATTEMPTS", 1)
    make_foreign_skill(tmp_path / "skill")
    return tmp_path


QUICK = ["automl", "--skill-dir", "skill", "--in-process"]
TWO = ["--settings", "automl_max_recommendations=2", "algorithm=random"]


def files_of(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_search_prints_events_alone_and_its_workspace_is_a_run(here, capfd):
    skill = files_of(here / "skill")
    assert main([*QUICK, *TWO, "--request", "train it", "--yes", "--json"]) == 0
    out, err = capfd.readouterr()
    events = events_of(out)
    names = [event["event"] for event in events]
    assert names[:2] == ["routed", "started"]
    assert names[-1] == "finished"
    assert names.index("review") < names.index("trial_started")
    assert events[0]["automl_policy"] == "on"
    (review,) = [e for e in events if e["event"] == "review"]
    (compared,) = [e for e in events if e["event"] == "compared"]
    assert review["first_batch"][0]["rec_id"] == 0
    assert [row["what"] for row in compared["rows"]][1:3] == ["trial 0 (default)", "trial 1"]
    run_dir = Path(events[-1]["run_dir"])
    assert run_dir.parent == here / "runs/automl-foreign_net"
    assert "route     a search" in err
    assert "| best: trial" in err
    assert main(["status", "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["run_dir"] == str(run_dir)
    assert main(["resume", "--budget", "+1", "--in-process", "--json", "--yes"]) == 0
    finished = events_of(capfd.readouterr().out)[-1]
    assert finished["trials"]["complete"] == 3
    facts = json.loads((run_dir / ".automl/controller/facts.json").read_text())
    assert facts["total"] == 3
    handed = json.loads((run_dir / "best_rec.json").read_text())
    assert (handed["metric_name"], handed["direction"]) == ("val accuracy", "maximize")
    assert [row["rec_id"] for row in handed["all_recs"]] == ["0", "1", "2"]
    assert handed["best"]["score"] == max(row["score"] for row in handed["all_recs"])
    assert handed["best"]["checkpoint_uri"].startswith("file:///")
    best = handed["best"]
    assert main(["best", str(run_dir), "--json"]) == 0
    shown = json.loads(capfd.readouterr().out)
    assert (str(shown["trial"]), shown["metric"]) == (best["rec_id"], "val accuracy")
    assert (shown["checkpoint"], shown["onnx"]) == (str(run_dir / "best/model.pth"), None)
    assert main(["export", str(run_dir)]) == 0
    capfd.readouterr()
    assert main(["best", str(run_dir), "--json"]) == 0
    onnx = json.loads(capfd.readouterr().out)["onnx"]
    assert json.loads(Path(onnx).read_text())["lr"] == best["specs"]["train"]["lr"]
    assert main(["space", str(run_dir)]) == 0
    assert "train.lr" in capfd.readouterr().out
    assert files_of(here / "skill") == skill, "a skill folder is never written to"
    info = here / "skill/references/skill_info.yaml"
    info.write_text(info.read_text().replace("  export:\n    command", "  exporting:\n    command"))
    assert main(["export", str(run_dir)]) == 2
    assert "skill_info.yaml has no action `export`" in capfd.readouterr().err


def test_a_search_without_a_baseline_goes_on_without_one(here, capfd):
    info = here / "skill/references/skill_info.yaml"
    text = info.read_text().replace("resume_model", "ptm_if_no_resume_model")
    info.write_text(text.replace(" evaluate -e", " no-such-action -e"))
    (here / "start.pth").write_text('{"epoch": 0}')
    one = ["--settings", "automl_max_recommendations=1", "algorithm=random"]
    words = [*one, "--weights", "start.pth", "--set", "num_epochs=1", "--yes"]
    assert main([*QUICK, *words]) == 2
    (run_dir,) = here.glob("runs/*/*")
    said = capfd.readouterr().err.rstrip().splitlines()[-1]
    way = f"hpo automl --skill-dir {here / 'skill'} --resume {run_dir} --no-baseline"
    assert said.startswith("hpo automl: the baseline (base checkpoint) could not be evaluated: ")
    assert f"go on without one: `{way}`" in said
    assert main(["resume", str(run_dir), "--in-process"]) == 2, "nothing was accepted so far"
    assert capfd.readouterr().err.rstrip().splitlines()[-1] == said.replace("automl", "resume", 1)
    with pytest.raises(ReviewDeclinedError, match="could not be evaluated"):
        api.load(run_dir).resume(executor="inprocess", quiet=True)
    assert main([*shlex.split(way)[1:], "--in-process", "--yes"]) == 0
    assert main(["resume", str(run_dir), "--budget", "+1", "--in-process"]) == 0
    assert len(list(run_dir.glob("trials/*"))) == 2


def test_the_defaults_are_ten_bayesian_trials_of_the_models_metric(here, capfd):
    assert main([*QUICK, "--review-only", "--json"]) == 0
    (review,) = [e for e in events_of(capfd.readouterr().out) if e["event"] == "review"]
    assert (review["algorithm"], review["recommendations"]) == ("bayesian", 10)
    assert (review["metric"], review["direction"]) == ("val accuracy", "maximize")
    assert not list(here.glob("runs/*/*/trials"))


@pytest.mark.parametrize(
    "words",
    [
        ["--policy", "off"],
        ["--request", "just a plain training please"],
        ["--request", "use AutoML", "--set", "automl_policy=off"],
        ["--settings", "automl_policy=off"],
    ],
)
def test_19_plain_training_runs_once(here, capfd, words):
    assert main([*QUICK, *words, "--set", "num_epochs=2", "--json"]) == 0
    events = events_of(capfd.readouterr().out)
    assert [event["event"] for event in events] == ["routed", "finished"]
    assert events[0]["route"] == "direct"
    job = events[-1]["job"]
    assert (job["action"], job["status"]) == ("train", "success")
    assert len(list(Path(job["folder"]).glob("train/*.pth"))) == 2
    assert not list(here.glob("runs/*/*/study.yaml"))


def test_a_policy_among_the_settings_beats_the_request_and_is_no_key_of_the_spec(here, capfd):
    Path("settings.yaml").write_text("automl_policy: on\nalgorithm: random\n")
    words = ["--settings", "settings.yaml", "--request", "plain training, no HPO"]
    assert main([*QUICK, *words, "--review-only", "--json"]) == 0
    events = events_of(capfd.readouterr().out)
    assert (events[0]["route"], events[0]["decided_by"]) == ("automl", "value")
    assert "automl_policy" not in json.dumps([e for e in events if e["event"] == "review"])


def test_20_a_missing_schema_means_plain_training_that_says_why(here, capfd):
    (here / "skill/schemas/train.schema.json").unlink()
    assert main([*QUICK, "--set", "num_epochs=1"]) == 0
    out, err = capfd.readouterr()
    assert out == ""
    assert "AutoML is enabled but not runnable" in err
    assert "train.schema.json is missing" in err


@pytest.mark.parametrize("words", [[], ["--policy", "off"]])
def test_20_a_damaged_template_means_plain_training_with_the_schemas_defaults(
    here, capfd, caplog, words
):
    (here / "skill/references/spec_template_train.yaml").write_text("{: [")
    assert main([*QUICK, *words, "--set", "num_epochs=1", "--json"]) == 0
    job = events_of(capfd.readouterr().out)[-1]["job"]
    assert job["status"] == "success"
    assert yaml.safe_load((Path(job["folder"]) / "spec.yaml").read_text())["train"]["lr"] == 0.001
    (said,) = caplog.messages
    assert "spec_template_train.yaml (line 1): is not valid YAML" in said
    assert said.endswith("the job goes on without it")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["automl"], "--skill-dir: give a skill folder"),
        (["automl", "--skill-dir", "nowhere"], "skill_info.yaml not found at"),
        ([*QUICK, "--policy", "maybe"], "must be on or off, got 'maybe'"),
        ([*QUICK, "--set", "automl_policy="], "must be on or off, got ''"),
        (
            [*QUICK, "--policy", "on", "--set", "automl_policy=off"],
            "--policy on and --set automl_policy off contradict each other",
        ),
        ([*QUICK, "--set", "train.num_epoch=3"], "did you mean 'train.num_epochs'"),
        ([*QUICK, "--settings", "algoritm=tpe"], "did you mean 'algorithm'"),
        ([*QUICK, "--settings", "no_such_file"], "no such file"),
        ([*QUICK, "--max-hours", "0"], "--max-hours: must be above 0"),
        ([*QUICK, "--resume", "runs"], "is not an AutoML workspace"),
        (
            [*QUICK, "--resume", "r", "--workspace", "w", "--policy", "off"],
            "--workspace: not used with --resume",
        ),
        ([*QUICK, "--resume", "r", "--policy", "off"], "--resume: goes on with a search, and Auto"),
        (
            [*QUICK, "--resume", "r", "--request", "plain training, no HPO"],
            "the request says 'no HPO'; leave one out",
        ),
        ([*QUICK, "--weights", "w.pth", "--parent", "p"], "--parent: not used with --weights"),
        ([*QUICK, "--policy", "off", "--max-hours", "1"], "--max-hours: does not limit a plain"),
        (["automl", "list"], "--skill-bank: must be given"),
        (
            shlex.split("automl list --skill-bank b --skill-dir x --resume y --max-hours=-3 --yes"),
            "--skill-dir, --max-hours, --resume, --yes: not used by `hpo automl list`; leave it",
        ),
    ],
)
def test_wrong_input_is_one_line_and_code_2(here, capfd, words, message):
    assert main([*words, "--json"]) == 2
    out, err = capfd.readouterr()
    err = err.strip().splitlines()
    assert len([line for line in err if not line.startswith("route ")]) == 1
    assert message in err[-1]
    ends = [event["message"] for event in events_of(out) if event["event"] == "error"]
    assert len(ends) == ("list" not in words)
    assert all(message in end for end in ends)


def test_47_no_result_is_code_1_with_the_shared_cause(here, capfd):
    assert main([*QUICK, *TWO, "--set", "tell.fail=at start", "--yes", "--json"]) == 1
    out, err = capfd.readouterr()
    assert "hpo: no trial has a result: 2 of 2 trials failed" in err
    last = events_of(out)[-1]
    assert last["event"] == "error"
    assert last["message"] in err


def test_settings_that_are_names_stay_as_they_are_written(here, capfd):
    Path("settings.yaml").write_text("session_id: 001\nseed: 010\n")
    assert _settings(["settings.yaml"]) == {"session_id": "001", "seed": "010"}
    assert main([*QUICK, "--settings", "settings.yaml"]) == 2
    assert "seed: must be a whole number" in capfd.readouterr().err
    assert _settings(["session_id=1e3", "seed=3"]) == {"session_id": "1e3", "seed": 3}
    assert _settings(["settings.yaml", "seed=3", "seed=3"])["seed"] == 3
    with pytest.raises(SpecError, match="--settings seed: is given twice, as 3 and 4; leave one"):
        _settings(["seed=3", "settings.yaml", "seed=4"])


def test_settings_come_from_files_and_words_the_later_ones_win(here, capfd):
    Path("settings.yaml").write_text("algorithm: random\nautoml_max_recommendations: 7\n")
    words = ["--settings", "settings.yaml", "automl_max_recommendations=3"]
    assert main([*QUICK, *words, "--review-only", "--json"]) == 0
    (review,) = [e for e in events_of(capfd.readouterr().out) if e["event"] == "review"]
    assert (review["algorithm"], review["recommendations"]) == ("random", 3)


def test_skills_of_a_bank_are_listed_and_found_by_name(here, capfd):
    blocked = make_foreign_skill(here / "bank/blocked")
    (blocked / "references/spec_template_train.yaml").unlink()
    make_foreign_skill(here / "bank/runnable")
    assert main(["automl", "list", "--skill-bank", "bank", "--json"]) == 0
    rows = {row["skill"]: row for row in json.loads(capfd.readouterr().out)}
    assert (rows["runnable"]["status"], rows["blocked"]["status"]) == ("runnable", "blocked")
    assert "spec_template_train.yaml is missing" in rows["blocked"]["problem"]
    assert main(["automl", "list", "--skill-bank", "bank"]) == 0
    assert "blocked" in capfd.readouterr().out
    words = ["automl", "--skill-bank", "bank", "--skill", "runnable", "--review-only"]
    assert main([*words, "--in-process"]) == 0


def test_without_a_terminal_nothing_is_asked(here):
    code, out, err = call(here, *QUICK, *TWO, "--json")
    assert code == 0, err
    assert events_of(out)[-1]["event"] == "finished"


def test_help_imports_little():
    code = (
        "import sys\nfrom hpo.cli.main import build_parser\nbuild_parser('automl')\n"
        "print(*{'yaml', 'optuna', 'hpo.automl.runner', 'numpy'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=True, cwd=Path(__file__).parents[3], capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout.split() == []


def test_another_action_goes_straight_to_the_trainer_from_its_parent(here, capfd):
    assert main([*QUICK, "--policy", "off", "--set", "num_epochs=2", "--json"]) == 0
    trained = events_of(capfd.readouterr().out)[-1]["job"]["id"]
    words = ["--action", "evaluate", "--parent", trained, "--policy", "on"]
    words += ["--set", "evaluate.checkpoint=results/train-1/train/model_epoch_002.pth"]
    assert main([*QUICK, *words, "--json"]) == 0
    routed, finished = events_of(capfd.readouterr().out)
    assert routed["route"] == "direct"
    assert finished["job"]["action"] == "evaluate"
    assert finished["job"]["parent_job_id"] == trained


def test_a_plain_job_has_its_parent_where_one_stands_and_lies_where_out_says(here, capfd):
    assert main([*QUICK, "--policy", "off", "--set", "num_epochs=2"]) == 0
    words = ["--action", "evaluate", "--parent", "train-1", "--out", "lab", "--json"]
    words += ["--set", "evaluate.checkpoint=results/train-1/train/model_epoch_002.pth"]
    capfd.readouterr()
    assert main([*QUICK, *words]) == 0
    job = events_of(capfd.readouterr().out)[-1]["job"]
    assert job["folder"] == str(here / "lab/results/evaluate-1")
    assert job["parent_job_id"] == str(here / "results/train-1")


def test_a_plain_training_lies_where_out_says_and_tells_what_it_does_not_use(here, capfd):
    words = ["--policy", "off", "--out", "exp", "--no-baseline", "--trials-per-gpu", "2"]
    words += ["--eval-set", "dataset.val=x", "--set", "num_epochs=1"]
    assert main([*QUICK, *words]) == 0
    assert (here / "exp/results/train-1/job.json").is_file()
    assert (
        "a plain training does not use --eval-set, --no-baseline, --in-process, --trials-per-gpu"
    ) in capfd.readouterr().err
    for parent, said in (("train-1", "names no field that takes start"), ("train-7", "no such s")):
        assert main([*QUICK, "--out", "exp", "--parent", parent]) == 2
        assert said in capfd.readouterr().err
