"""Trials on GPUs: Ray is told of two, so that their places can be tested where there is none."""

import os
from collections import Counter

import pytest

from hpo.core.budget import Budget
from hpo.core.spec_dicts import flatten
from hpo.executors.division import divide_machine
from tests.quick_runs import Listed, make_engine, quick_study
from tests.sharing_trainer import NAME

pytest.importorskip("ray")
pytestmark = pytest.mark.ray

CPUS, GPUS = 2, 2


@pytest.fixture(scope="module")
def executor():
    from hpo.executors.ray import RayExecutor

    before = dict(os.environ)
    os.environ["HPO_TRAINER_MODULES"] = "tests"
    made = RayExecutor(NAME, divide_machine(None, cpus=CPUS, gpus=GPUS))
    yield made
    made.close()
    os.environ.clear()
    os.environ.update(before)


def search(executor, folder, trials, **fault):
    """Run trials of nine epochs; the engine and the trials."""
    study = quick_study({f"fault.{name}": value for name, value in fault.items()})
    engine = make_engine(folder, Listed([0.01] * trials), study=study, budget=Budget(trials=trials))
    executor.run(engine)
    records = engine.ledger.trials()
    assert len(records) == trials
    return engine, records


def test_two_trials_a_card_fill_both_cards(executor, tmp_path):
    slots = divide_machine(None, cpus=CPUS, gpus=GPUS, per_card=2)
    assert (slots.count, slots.gpus, slots.cpus, slots.threads) == (4, 0.5, 0.5, 1)
    executor.divide(slots)
    _, records = search(executor, tmp_path, 4, kind="gather", trial=4)  # four at the same time
    assert Counter(t.receipt["visible_devices"] for t in records) == {"0": 2, "1": 2}
    assert {t.receipt["memory_share"] for t in records} == {0.5}
    assert len({t.receipt["pid"] for t in records}) == 4


def test_one_trial_a_card_has_its_memory_to_itself(executor, tmp_path):
    executor.divide(divide_machine(None, cpus=CPUS, gpus=GPUS))
    _, records = search(executor, tmp_path, 2, kind="gather", trial=2)
    assert {t.receipt["visible_devices"] for t in records} == {"0", "1"}
    assert {t.receipt["memory_share"] for t in records} == {None}


def test_trials_of_two_devices_get_both_cards_and_a_worker_without_memory_is_not_used_again(
    executor, tmp_path
):
    slots = divide_machine(None, cpus=CPUS, gpus=GPUS, devices=2)
    assert (slots.count, slots.gpus, slots.threads) == (1, 2.0, 1)
    executor.divide(slots)
    engine, records = search(executor, tmp_path, 4, kind="oom@1:2")
    assert {t.receipt["visible_devices"] for t in records} == {"0,1"}
    assert [str(t.state) for t in records] == ["complete", "failed", "complete", "complete"]
    assert records[1].error["kind"] == "out_of_memory"
    first, second, third, fourth = (t.receipt["pid"] for t in records)
    assert first == second  # warm until then
    assert third != second
    assert third == fourth
    assert [t.retries for t in records] == [0, 0, 0, 0]
    assert flatten(engine.specs.spec_of(records[2]))["train.lr"] == 0.01
