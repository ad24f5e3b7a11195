"""Batches: capped by the samples, raised from a single class, refused where none is legal."""

import pytest

from hpo.automl.skill_trainer import SkillTrainer
from hpo.core.errors import SpecError
from hpo.core.spec_dicts import nest
from hpo.study.batches import adjust_batch
from hpo.study.skill_address import TrainerFacts, trainer_name
from trainer.session import TRAINER

KEY = "train.batch_size"


def adjust(spec, *, samples=None, explicit=None, force=False):
    name = trainer_name(TRAINER.skill_dir, TrainerFacts(direction="maximize", samples=samples))
    trainer = SkillTrainer(name.partition("@")[2])
    full = trainer.validate(nest(spec))
    return adjust_batch(
        full, KEY, multiple_of=trainer.multiple_of, limit=trainer.own_limits(full).get(KEY, (None, None)), cap=trainer.batch_cap(full),
        explicit=set(spec) if explicit is None else explicit, force=force,
    )  # fmt: skip


def test_46_a_batch_of_more_than_all_samples_is_capped_and_recorded():
    spec = {KEY: 16, "train.num_gpus": 2, "train.gpu_ids": [0, 1], "dataset.num_instance": 4}
    found = adjust(spec, samples=10)
    assert found.values == {KEY: 4}  # 10 samples on 2 devices: 5 each, a multiple of 4
    (record,) = found.records
    assert (record["param"], record["from"], record["to"]) == (KEY, 16, 4)
    assert "train_sample_count" in record["reason"]


def test_46_without_a_legal_batch_nothing_is_made_up():
    with pytest.raises(SpecError, match="no batch is legal: each device has 3 .* multiple of 4"):
        adjust({KEY: 16, "dataset.num_instance": 4}, samples=3)


def test_46_a_batch_that_fits_is_left_alone():
    assert adjust({KEY: 16, "dataset.num_instance": 4}, samples=16).records == ()


def test_a_batch_of_one_class_that_nobody_chose_is_raised():
    found = adjust({KEY: 4, "dataset.num_instance": 4}, explicit=())
    assert found.values == {KEY: 32}
    assert "1 class" in found.records[0]["reason"]


def test_an_explicit_batch_of_one_class_is_refused_or_forced():
    spec = {KEY: 4, "dataset.num_instance": 4}
    with pytest.raises(SpecError, match="give at least 8"):
        adjust(spec)
    found = adjust(spec, force=True)
    assert (found.values, found.records) == ({}, ())
    assert "single class" in found.warnings[0]


def test_a_loss_that_mines_nothing_may_have_any_batch():
    spec = {KEY: 4, "dataset.num_instance": 4, "train.loss.name": "arcface"}
    assert adjust(spec).records == ()
