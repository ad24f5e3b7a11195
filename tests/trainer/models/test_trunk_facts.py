"""Facts of trunks: those that are written down, against the networks; others are asked of timm."""

import json
import subprocess
import sys

import pytest
import timm
import torch
from torch import nn

from trainer.config.model import BACKBONES
from trainer.errors import SpecError
from trainer.models import weight_facts
from trainer.models.trunk import batch_norms, create_trunk
from trainer.models.trunk_facts import TrunkFacts, trunk_facts
from trainer.models.weight_sources import INSTALLED

LITES = [f"timm/{known.timm_model}" for known in INSTALLED.values()]


@pytest.mark.parametrize("name", [*BACKBONES, *LITES])
def test_what_is_written_down_is_so(name):
    facts = trunk_facts(name, (224, 224), 3)
    with torch.device("meta"):
        trunk = create_trunk(name, image_size=(224, 224)).eval()
        has_layer_norm = any(isinstance(layer, nn.LayerNorm) for layer in trunk.modules())
        assert facts.needs_small_steps is has_layer_norm
        assert facts.has_batch_norm is bool(batch_norms(trunk))
        assert facts.has_layers is hasattr(trunk, "group_matcher")
        grown = torch.empty(1, 3, 112, 128)  # sides in steps of 16, as pictures grow
        if facts.grows:
            assert trunk(grown).shape[0] == 1
        else:
            with pytest.raises((AssertionError, RuntimeError)):
                trunk(grown)


@pytest.mark.parametrize(
    ("name", "grows", "small_steps", "batch_norm", "layers"),
    [
        ("timm/test_vit", False, True, False, True),
        ("timm/test_convnext", True, True, False, True),
        ("timm/mobilevit_xxs", False, True, True, True),
        ("timm/poolformer_s12", True, True, False, False),
        ("timm/resnet18", True, False, True, True),
        ("timm/dla34", False, False, True, True),
        ("timm/tf_efficientnet_lite1", True, False, True, True),
    ],
)
def test_networks_of_timm(name, grows, small_steps, batch_norm, layers):
    found = trunk_facts(name, (160, 160), 1)
    assert found == TrunkFacts(
        grows=grows, needs_small_steps=small_steps, has_batch_norm=batch_norm, has_layers=layers
    )


@pytest.mark.parametrize(
    ("name", "size", "said"),
    [
        ("timm/resnt18", (96, 96), r"^model\.backbone: timm/resnt18 is not a model .*: resnet18"),
        ("timm/test_vit", (150, 160), "multiples of 16, got 150 x 160.*nearest legal size is 144"),
    ],
)
def test_a_network_that_cannot_be_built_is_refused(name, size, said):
    with pytest.raises(SpecError, match=said):
        trunk_facts(name, size, 3)


def test_a_process_answers_as_this_one(capsys):
    weight_facts.main(["trunk", "timm/test_vit 160 160 3"])
    assert json.loads(capsys.readouterr().out) == {
        "grows": False,
        "needs_small_steps": True,
        "has_batch_norm": False,
        "has_layers": True,
    }
    weight_facts.main(["trunk", "timm/nothing_so 160 160 3"])
    said = json.loads(capsys.readouterr().out)["error"]
    assert f"model.backbone: timm/nothing_so is not a model of timm {timm.__version__}" in said


def test_a_start_from_installed_weights_is_chosen_without_torch():
    """A harness holds neither torch nor timm: they take seconds, and hundreds of megabytes."""
    code = (
        "import sys; from trainer.start import choose_start;"
        "start = choose_start({'model.pretrained_trunk_path': 'lite1'}, gpus=0, budget_s=600.0);"
        "print(start['spec']['dataset.first_size'], 'torch' in sys.modules, 'timm' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["0.5", "False", "False"]
