"""Where the trials of a study run."""

import dataclasses
import os
from pathlib import Path

import pytest

from hpo.core.budget import Budget
from hpo.core.errors import SpecError
from hpo.executors.placement import count_devices, place_trials
from hpo.searching.settings import SearchSettings
from hpo.study.sections import SearchOptions
from hpo.study.skill_address import TrainerFacts, trainer_name
from hpo.study.spec import StudySpec
from hpo.study.trainers import find_trainer
from tests.hpo.automl.foreign import METRIC, make_foreign_skill
from tests.quick_trainer import TRAINER

RAY = SearchSettings()
TOOLS = Path(__file__).parents[2] / "fake_tools"


def place(monkeypatch, gpus, trainer=TRAINER, start=RAY, **study):
    monkeypatch.setenv("PATH", f"{TOOLS}:{os.environ['PATH']}")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", ",".join(map(str, range(gpus))))
    return place_trials(StudySpec(**study), trainer, start)


def test_the_wish_to_share_cards(monkeypatch):
    assert place(monkeypatch, 2).count == 2
    assert place(monkeypatch, 2, trials_per_gpu=3).count == 6
    assert place(monkeypatch, 2, trials_per_gpu="auto").count == 2  # before anything is measured
    assert place(monkeypatch, 0, trials_per_gpu=3).gpus == 0.0


@pytest.mark.parametrize(
    ("gpus", "trials", "confirm", "wish", "count", "cpus", "share"),
    [
        (0, 1, 0, {}, 1, 8, 0.0),
        (0, 2, 0, {}, 2, 4, 0.0),
        (0, 3, 0, {}, 3, 2, 0.0),
        (0, 20, 0, {}, 4, 2, 0.0),
        (0, None, 0, {}, 4, 2, 0.0),
        (0, 1, 3, {}, 2, 4, 0.0),  # one configuration, trained again twice
        (0, 2, 1, {}, 4, 2, 0.0),
        (0, 2, 0, {"concurrent": 8}, 2, 4, 0.0),
        (4, 2, 0, {}, 2, 4, 1.0),
        (4, 2, 0, {"concurrent": 8}, 2, 4, 1.0),  # no card is shared for nothing
        (4, 6, 0, {"concurrent": 8}, 6, 1, 0.5),
    ],
)
def test_there_are_no_more_places_than_trials(
    monkeypatch, gpus, trials, confirm, wish, count, cpus, share
):
    monkeypatch.setattr("hpo.core.machine.count_cpus", lambda: 8)
    search, budget = SearchOptions(confirm=confirm), Budget(trials=trials)
    slots = place(monkeypatch, gpus, budget=budget, search=search, **wish)
    assert (slots.count, slots.cpus, slots.gpus) == (count, cpus, share)


def test_devices_of_a_trial_are_the_spec_s(monkeypatch):
    trainer = find_trainer("ml_recog")
    assert count_devices({}, trainer) == 1
    spec = {"train": {"num_gpus": 2, "gpu_ids": [0, 1]}}
    assert count_devices(spec, trainer) == 2
    slots = place(monkeypatch, 4, trainer, spec=spec)
    assert (slots.count, slots.gpus, slots.devices) == (2, 2.0, 2)
    with pytest.raises(SpecError, match="a trial asks for 2 GPUs, available here: 1"):
        place(monkeypatch, 1, trainer, spec=spec)
    with pytest.raises(SpecError, match="trials_per_gpu: must be 1 or auto where a trial has 2"):
        place(monkeypatch, 4, trainer, spec=spec, trials_per_gpu=2)


def test_a_trainer_that_names_no_devices_has_one():
    assert count_devices({}, TRAINER) == 1


def test_a_network_without_trainer_has_the_devices_of_its_spec(monkeypatch, tmp_path):
    folder = make_foreign_skill(tmp_path / "skill")
    info = folder / "references/skill_info.yaml"
    info.write_text(f"{info.read_text()}\ngpu_spec_key: run.cards\n")
    trainer = find_trainer(trainer_name(folder, TrainerFacts(metric=METRIC)))
    slots = place(monkeypatch, 8, trainer, spec={"run": {"cards": 4}})
    assert (slots.count, slots.gpus, slots.devices) == (2, 4.0, 4)
    for untold in ({}, {"run": {"cards": None}}, {"run": {"cards": -1}}):
        assert place(monkeypatch, 8, trainer, spec=untold).devices == 1


@pytest.mark.parametrize("gpus", [0, 1])
def test_jobs_of_a_platform_are_not_measured_by_this_machine(monkeypatch, gpus):
    """Before, eight GPUs a job were refused here, or one job at a time was counted."""
    facts = TrainerFacts(is_elsewhere=True)
    trainer = find_trainer(trainer_name(find_trainer("ml_recog").skill_dir, facts))
    spec = {"train": {"num_gpus": 8, "gpu_ids": list(range(8))}}
    for start in (RAY, dataclasses.replace(RAY, executor="inprocess")):
        slots = place(monkeypatch, gpus, trainer, start, spec=spec, concurrent=6, trials_per_gpu=2)
        assert (slots.count, slots.gpus, slots.devices) == (6, 0.0, 1)
        assert place(monkeypatch, gpus, trainer, start, spec=spec).count == 1
    unreachable = dataclasses.replace(RAY, ray_address="127.0.0.1:1")
    assert place(monkeypatch, gpus, trainer, unreachable, concurrent=3).count == 3


def test_gpu_hours_need_a_gpu(monkeypatch):
    with pytest.raises(SpecError, match="GPU hours need a GPU"):
        place(monkeypatch, 0, budget=Budget(gpu_seconds=60.0))


def test_in_process_is_one_at_a_time(monkeypatch):
    here = dataclasses.replace(RAY, executor="inprocess")
    assert place(monkeypatch, 4, start=here).count == 1
    with pytest.raises(SpecError, match="--ray-address: cannot stand beside --in-process"):
        place(monkeypatch, 0, start=dataclasses.replace(here, ray_address="auto"))


@pytest.mark.parametrize("asked", [None, "auto", 3])
def test_a_trial_in_process_has_its_devices_and_shares_none(monkeypatch, asked):
    here, trainer = dataclasses.replace(RAY, executor="inprocess"), find_trainer("ml_recog")
    one = place(monkeypatch, 4, trainer, here, trials_per_gpu=asked)
    assert (one.count, one.gpus, one.devices) == (1, 1.0, 1)
    spec = {"train": {"num_gpus": 2, "gpu_ids": [0, 1]}}
    two = place(monkeypatch, 4, trainer, here, trials_per_gpu=asked, spec=spec)
    assert (two.count, two.gpus, two.devices) == (1, 2.0, 2)
    assert place(monkeypatch, 0, trainer, here, trials_per_gpu=asked, spec=spec).gpus == 0.0


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("127.0.0.1:1", "nobody answers at 127.0.0.1:1: Connection refused; start Ray there"),
        (
            "ray://head:10001",
            "must be auto or host:port, got 'ray://head:10001'; run hpo on a node",
        ),
        ("head", "must be auto or host:port, got 'head'"),
        ("head:99999", "must be auto or host:port"),
    ],
)
def test_an_address_that_leads_nowhere_is_one_line(address, words):
    from hpo.core.errors import HpoError

    with pytest.raises(HpoError, match="^--ray-address: ") as caught:
        place_trials(StudySpec(), TRAINER, dataclasses.replace(RAY, ray_address=address))
    assert words in str(caught.value)


def test_a_fixed_number_of_devices_is_reserved_as_a_set_one(monkeypatch):
    """Fixed, one option, or in the plan: a trial on two cards is never given one."""
    trainer, key = find_trainer("ml_recog"), "train.num_gpus"
    fixed = place(monkeypatch, 4, trainer, search=SearchOptions(fix={key: 2}))
    assert (fixed.count, fixed.devices) == (2, 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2,3")
    planned = place_trials(StudySpec(), trainer, RAY, {"train": {"num_gpus": 2}})
    assert (planned.count, planned.devices) == (2, 2)
