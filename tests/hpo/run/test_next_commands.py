"""What is named as the next command: it acts on its run, and as the start before it did."""

import ast
import re

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
from tests.list_messages import ROOT, texts_of

VERBS = "best|export|gallery|logs|predict|report|resume|serve|status|stop|ui|why"
OF_NO_RUN = {
    ("hpo/cli/gallery.py", "predict"),  # help: what a flag is for
    ("hpo/cli/stop.py", "stop"),  # who hears it
    ("hpo/core/budget.py", "resume"),  # of a new search
    ("hpo/serving/app.py", "serve"),  # where the token was printed
    ("hpo/study/owned_keys.py", "resume"),  # of a study
    ("hpo/study/trainers.py", "gallery"),  # which verb asks it of a trainer
}


@pytest.fixture
def run(tmp_path):
    return RunDir(tmp_path / "my runs" / "shop" / "20260101-101500")


def test_messages_name_the_run_of_a_command(monkeypatch):
    """A command without RUN, copied from a message about one run, acts on the newest."""
    found = set()
    for file in sorted((ROOT / "hpo").rglob("*.py")):
        text = file.read_text()
        if not re.search(rf"hpo ({VERBS})\b", text):
            continue
        name = str(file.relative_to(ROOT))
        for _, told in texts_of(ast.parse(text)):
            assert "hpo resume {" not in told, f"{name}: compose it by hpo.run.next_commands"
            if "\n" not in told:  # help with examples
                alone = re.findall(rf"hpo ({VERBS})\b(?! (?:[{{\[]|[A-Z]))", told)
                found |= {(name, verb) for verb in alone}
    assert found == OF_NO_RUN


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
