"""Ray's memory monitor kills workers: lost ones with their cause, not the end of the search."""

import os

import pytest

from hpo.core.budget import Budget
from hpo.executors.division import divide_machine
from tests.quick_runs import Listed, make_engine, quick_study
from tests.quick_trainer import NAME

pytest.importorskip("ray")
pytestmark = [pytest.mark.ray, pytest.mark.slow]


def test_workers_killed_for_memory_are_lost_workers(tmp_path):
    from hpo.executors.ray import RayExecutor

    before = dict(os.environ)
    # With any memory in use at all, the monitor kills whatever it may.
    os.environ |= {"RAY_memory_usage_threshold": "0.001", "HPO_TRAINER_MODULES": "tests"}
    executor = RayExecutor(NAME, divide_machine(2, cpus=2, gpus=0))
    try:
        study = quick_study({"fault.sleep": 3.0})
        engine = make_engine(tmp_path, Listed([0.01] * 2), study=study, budget=Budget(trials=2))
        executor.run(engine)
    finally:
        executor.close()
        os.environ.clear()
        os.environ.update(before)
    for trial in engine.ledger.trials():
        assert (str(trial.state), trial.retries) == ("failed", 2)
        assert trial.error["kind"] == "infrastructure"
        assert "memory ran low; run fewer trials at a time" in trial.error["message"]
