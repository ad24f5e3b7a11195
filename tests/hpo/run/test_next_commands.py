"""What is named as the next command: it acts on its run, and as the start before it did."""

import pytest

from hpo.core.budget import Budget, parse_budget
from hpo.run.next_commands import (
    BY_CALLER,
    call_of,
    next_steps,
    no_model_error,
    resume_command,
    search_on,
)
from hpo.run.plain_files import write_json
from hpo.run.run_dir import AUTOML_FACTS, RunDir


@pytest.fixture
def run(tmp_path):
    return RunDir(tmp_path / "my runs" / "shop" / "20260101-101500")


def test_a_search_goes_on_as_it_was_started(run):
    assert resume_command(run) == f"hpo resume '{run}'"
    run.path.mkdir(parents=True)
    run.write_state({"status": "interrupted", "start": ["--ray-address", "h:1"]})
    later = RunDir(run.path)  # of `hpo status`, which starts nothing
    assert resume_command(later, "--force") == f"hpo resume '{run}' --ray-address h:1 --force"
    run.start_words = ("--in-process",)  # this start
    assert resume_command(run) == f"hpo resume '{run}' --in-process"


@pytest.mark.parametrize(
    ("facts", "call"),
    [
        ({}, ""),
        ({"platform": "", "has_eval_fn": False, "has_extractor": None}, ""),
        ({"platform": BY_CALLER}, "AutoML(...)"),
        (
            {"platform": "Slurm", "has_extractor": True},
            "AutoMLRunner(platform_sdk=...).run(workspace_path=..., resume=True, "
            "metric_extractor=...)",
        ),
        (
            {"platform": "", "has_eval_fn": True},
            "AutoMLRunner(...).run(workspace_path=..., resume=True, eval_fn=...)",
        ),
    ],
)
def test_what_a_program_has_started_a_program_goes_on_with(run, facts, call):
    assert call_of(facts) == call
    write_json(run.path / AUTOML_FACTS, facts)
    assert resume_command(run, "--budget +1") == call or not call
    assert bool(search_on(run, Budget(trials=8), "trials")) == (not call)


@pytest.mark.parametrize(
    ("budget", "because", "more"),
    [
        ("7", "trials", "+3"),
        ("1", "trials", "+1"),
        ("2h", "seconds", "+1h"),
        ("45m,300epochs", "epochs", "+22.5m,+150epochs"),
        ("100s", "seconds", "+50s"),
        ("3gpuh", "gpu_seconds", "+1.5gpuh"),
        ("20", "train: no images", "+10"),  # it gave up
        ("20", "algorithm", ""),
        ("2h", "converged: nothing gained", ""),
        ("unlimited", "", ""),
    ],
)
def test_a_finished_search_goes_on_by_what_its_budget_limits(run, budget, because, more):
    command = search_on(run, parse_budget(budget), because)
    assert command == (more and f"hpo resume '{run}' --budget {more}")


def test_pictures_are_labelled_once_there_is_a_model(run):
    assert [what for what, _ in next_steps(run, Budget(), "")] == ["compare the trials in MLflow"]
    assert str(no_model_error(run)).endswith(f"finish the search, or `hpo export '{run}'`")
    run.best_dir.mkdir(parents=True)
    (run.best_dir / "model.onnx").touch()
    commands = [command for _, command in next_steps(run, Budget(trials=2), "trials")]
    assert commands == [
        f"hpo resume '{run}' --budget +1", f"hpo predict '{run}' IMAGE...", f"hpo ui '{run}'",
    ]  # fmt: skip
