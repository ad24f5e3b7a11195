"""Batches: capped by the samples and by the data, raised from a single class, refused where none is legal."""

import pytest

from hpo.automl.skill_trainer import SkillTrainer
from hpo.core.errors import SpecError
from hpo.core.spec_dicts import nest
from hpo.study.batches import adjust_batch, with_fitting_batch
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


@pytest.mark.parametrize(
    ("classes", "spec", "lowered"),
    [
        (4, {}, 16),
        (8, {}, None),
        (4, {"train.loss.name": "normalized_softmax"}, 16),
        (2, {"dataset.num_instance": 8}, 16),
        (3, {"dataset.sampling": "random", "train.loss.name": "normalized_softmax"}, 28),
    ],
)
def test_a_batch_of_more_classes_than_there_are_is_lowered_unless_it_was_chosen(
    tmp_path, classes, spec, lowered
):
    for name in range(classes):
        (tmp_path / str(name)).mkdir()
        for picture in range(10):
            (tmp_path / str(name) / f"{picture}.png").touch()
    full = TRAINER.validate(nest({"dataset.train_dataset": str(tmp_path), **spec}))
    fitted, lines = with_fitting_batch(TRAINER, full, nest(spec))
    assert fitted["train"]["batch_size"] == (lowered or 32)
    assert lines == [
        f"{KEY}: 32 is lowered to {n}: the training data fill no batch of 32"
        for n in [lowered] if n
    ]  # fmt: skip
    chosen = TRAINER.validate(nest({"dataset.train_dataset": str(tmp_path), **spec, KEY: 64}))
    assert with_fitting_batch(TRAINER, chosen, nest({KEY: 64})) == (chosen, [])


def test_the_tighter_of_samples_and_data_holds():
    limits = {"multiple_of": {}, "explicit": (), "cap": 20}
    for high, new, words in ((16, 16, "training data"), (24, 20, "train_sample_count")):
        found = adjust_batch(nest({KEY: 32}), KEY, limit=(None, high), **limits)
        assert found.values == {KEY: new}
        assert words in found.records[0]["reason"]
