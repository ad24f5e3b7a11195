"""The usage examples of the published workflow, word for word but for the skill, under both names."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hpo.automl.conftest import make_skill
from tests.quick_trainer import NAME

ROOT = Path(__file__).parents[3]

RUNNER = """
def my_eval(rec, train_job_id):
    return None if rec.id else 0.71

runner = AutoMLRunner(skill_dir=SKILL, trainer=TRAINER, action="train")
launched, results = [], []
result = runner.run(
    base_checkpoint="",
    automl_settings={
        "algorithm": "bayesian", "metric": "kpi", "direction": "maximize",
        "automl_max_recommendations": 2, "session_id": "abc",
    },
    automl_hyperparameters=["train.lr", "train.margin"],
    custom_param_ranges={"train.lr": {"valid_min": 1e-4, "valid_max": 1e-2}},
    spec_overrides=DATA,
    workspace_path="./my_experiment/20260101_000000",
    resume=False,
    metric_extractor=None,
    eval_fn=my_eval,
    on_recommendation=lambda r: launched.append((r.id, r.specs)),
    on_result=lambda r, metric, status: results.append((r.id, metric, status)),
    in_process=True,
)
assert result["best"]["metric_value"] == max(m for _, m, _ in results), results
assert [r for r, _ in launched] == [0, 1]
assert result["history"][0]["metric"] == 0.71

result = runner.run(workspace_path=result["workspace_path"], resume=True, in_process=True,
    automl_settings={"algorithm": "bayesian", "metric": "kpi", "automl_max_recommendations": 3})
assert len(result["history"]) == 3

status = query_status(result["workspace_path"])
assert status["progress"]["completed"] == 3
assert [rec["rec_id"] for rec in status["recommendations"]] == [0, 1, 2]
print(result["workspace_path"])
"""

ASK = """
automl = AutoML(
    workspace="asked", network=SKILL, train_specs={"train": {"num_epochs": 3}}, trainer=TRAINER,
    settings={"algorithm": "bayesian", "metric": "loss", "automl_max_recommendations": 3},
    wandb_config={"enabled": False, "project": "my-project"},
)
while not automl.is_complete():
    recs = automl.next_recommendation()
    for rec in recs:
        metric_value = 1.0 + rec.specs["train.margin"]
        automl.report_result(rec.id, metric_value)
automl.finish()
assert automl.get_best().result == min(r.result for r in automl.get_history())
assert automl.wandb_group.startswith("automl_")
print("Best:", automl.get_best().specs)
"""

OURS = "from hpo import AutoML, AutoMLRunner, query_status\n"
THEIRS = (
    "import tao_automl\nfrom tao_automl.runner import AutoMLRunner\n"
    "from tao_automl import AutoML, query_status\n"
)


@pytest.mark.parametrize("names", ["hpo", "tao_automl"])
def test_the_examples_run_as_they_are_written(tmp_path, names):
    skill = make_skill(tmp_path / "skill")
    head = (
        f"SKILL, TRAINER = {str(skill)!r}, {NAME!r}\n"
        "DATA = {'data.train': '/t', 'data.reference': '/r', 'data.query': '/q'}\n"
    )
    script = tmp_path / "script.py"
    script.write_text((OURS if names == "hpo" else THEIRS) + head + RUNNER + ASK)
    start = [str(script)] if names == "hpo" else ["-m", "hpo.automl.alias", str(script)]
    done = subprocess.run(
        [sys.executable, *start], cwd=tmp_path, capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Best: {" in done.stdout
    (folder,) = (tmp_path / "my_experiment/20260101_000000").iterdir()
    code = "import sys; from hpo import query_status; print(query_status(sys.argv[1])['progress'])"
    seen = subprocess.run(
        [sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert "'completed': 3" in seen.stdout
