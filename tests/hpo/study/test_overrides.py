"""Overrides: both forms, short names, typing errors, new keys."""

import pytest

from hpo.core.errors import SpecError
from hpo.core.yaml_io import read_yaml
from hpo.study.overrides import resolve_overrides
from hpo.study.skill import Skill
from search_spaces import load_schema
from tests.hpo.automl.foreign import make_foreign_skill
from trainer.session import TRAINER


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    """The recognition skill that comes with the trainer."""
    skill = Skill(path=TRAINER.skill_dir, info=read_yaml(
        TRAINER.skill_dir / "references/skill_info.yaml"))  # fmt: skip
    return skill, load_schema(skill.schema_file()), read_yaml(skill.template_file())


def resolve(known, given):
    skill, schema, template = known
    return resolve_overrides(given, skill, schema, template)


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("train.checkpoint_intervals", "train.checkpoint_interval"),
        ("train.num_epoch", "train.num_epochs"),
        ("train.batchsize", "train.batch_size"),
        ("train.optim.trunk.base_lrs", "train.optim.trunk.base_lr"),
        ("train.optim.trunc.base_lr", "train.optim.trunk.base_lr"),
        ("model.feat_dims", "model.feat_dim"),
        ("num_epoch", "train.num_epochs"),
        ("dataset.train_datasets", "dataset.train_dataset"),
    ],
)
def test_21_a_typing_error_names_the_right_key(known, wrong, right):
    with pytest.raises(SpecError, match="did you mean") as caught:
        resolve(known, {wrong: 1})
    assert f"spec_overrides.{wrong}" in str(caught.value)
    assert repr(right) in str(caught.value)


def test_21_every_typing_error_is_told_at_once(known):
    with pytest.raises(SpecError) as caught:
        resolve(known, {"train.num_epoch": 1, "model": {"feat_dims": 2}})
    assert str(caught.value).count("did you mean") == 2


def test_21_a_new_key_is_taken_with_one_warning(known):
    found = resolve(known, {"my_own_flag": 3, "train.my_other_thing": True})
    assert found.nested == {"my_own_flag": 3, "train": {"my_other_thing": True}}
    assert found.new == ("my_own_flag", "train.my_other_thing")
    assert found.warning(is_registered=False).count("my_own_flag") == 1
    assert "without effect" in found.warning(is_registered=True)
    assert resolve(known, {"train.num_epochs": 3}).warning(is_registered=True) == ""


def test_22_dotted_and_nested_overrides_are_the_same(known):
    dotted = {"train.num_epochs": 30, "train.optim.trunk.base_lr": 1e-4}
    nested = {"train": {"num_epochs": 30, "optim": {"trunk": {"base_lr": 1e-4}}}}
    mixed = {"train.num_epochs": 30, "train": {"optim.trunk": {"base_lr": 1e-4}}}
    assert resolve(known, dotted) == resolve(known, nested) == resolve(known, mixed)


def test_22_the_validation_sources_survive_whole(known):
    sources = {"reference": "/r", "query": "/q"}
    found = resolve(known, {"dataset.val_dataset": sources})
    assert found.nested["dataset"]["val_dataset"] == sources
    assert found.new == ()


def test_23_short_names_land_in_their_place(known):
    found = resolve(known, {"trunk_learning_rate": 1e-3, "num_epochs": 5})
    assert found.nested == {"train": {"optim": {"trunk": {"base_lr": 1e-3}}, "num_epochs": 5}}
    assert found.names == {"train.optim.trunk.base_lr", "train.num_epochs"}


def test_23_a_short_name_that_contradicts_the_long_one_is_an_error(known):
    given = {"train.num_epochs": 3, "num_epochs": 5}
    with pytest.raises(SpecError, match="num_epochs: stands for train.num_epochs, .* 3 already"):
        resolve(known, given)
    assert resolve(known, given | {"num_epochs": 3}).nested == {"train": {"num_epochs": 3}}


def test_inputs_that_only_the_metadata_name_are_known(tmp_path):
    folder = make_foreign_skill(tmp_path / "skill")
    info = read_yaml(folder / "references/skill_info.yaml")
    info["actions"]["train"]["inputs"] = {"extra.source": {"type": "folder"}}
    skill = Skill(path=folder, info=info)
    found = resolve_overrides(
        {"extra.source": "/x"}, skill, load_schema(skill.schema_file()),
        read_yaml(skill.template_file()),
    )  # fmt: skip
    assert found.new == ()
