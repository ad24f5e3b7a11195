"""Trunks against published parameter counts, sizes and refusals."""

import pytest
import timm
import torch

from trainer.errors import SpecError
from trainer.models.trunk import TRUNKS, create_trunk

# Parameters without classifier, keys of the state_dict, feature size at 224 px.
PUBLISHED = {
    "resnet_50": (23_508_032, 318, 2048),
    "resnet_101": (42_500_160, 624, 2048),
    "fan_tiny": (7_274_240, 353, 192),
    "fan_small": (25_732_944, 415, 384),
    "fan_base": (50_026_048, 601, 448),
    "fan_large": (76_374_140, 805, 480),
    "nvdinov2_vit_large_legacy": (303_654_144, 342, 1024),
}


def on_meta(name, side=224, **options):
    with torch.device("meta"):
        return create_trunk(name, image_size=(side, side), **options)


def parameters(module):
    return sum(p.numel() for p in module.parameters())


def test_every_published_backbone_is_there():
    assert set(TRUNKS) == set(PUBLISHED)


@pytest.mark.parametrize("name", PUBLISHED)
def test_counts_and_feature_size_are_the_published_ones(name):
    trunk = on_meta(name)
    assert (parameters(trunk), len(trunk.state_dict()), trunk.num_features) == PUBLISHED[name]


@pytest.mark.parametrize(("side", "count"), [(112, 303_457_536), (518, 304_793_856)])
def test_vit_count_depends_on_the_image_size_through_its_position_table(side, count):
    assert parameters(on_meta("nvdinov2_vit_large_legacy", side)) == count


def test_resnet_keys_are_those_of_torchvision():
    torchvision = pytest.importorskip("torchvision")
    with torch.device("meta"):
        theirs = torchvision.models.resnet50().state_dict()
    ours = on_meta("resnet_50").state_dict()
    assert {k: v.shape for k, v in ours.items()} == {
        k: v.shape for k, v in theirs.items() if not k.startswith("fc.")
    }


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("resnet_50", (33, 47)),
        ("fan_tiny", (32, 48)),
        ("timm/test_vit", (32, 64)),
        ("timm/resnet10t", (32, 48)),
        # These return more channels than timm's own num_features says.
        ("timm/mobilenetv3_small_050", (32, 48)),
        ("timm/efficientvit_b0", (64, 32)),
    ],
)
def test_forward_gives_one_feature_vector_per_image(name, size):
    trunk = create_trunk(name, image_size=size)
    out = trunk(torch.randn(2, 3, *size))
    assert out.shape == (2, trunk.num_features)
    assert out.isfinite().all()


@pytest.mark.parametrize("name", ["resnet_50", "fan_tiny", "timm/resnet10t", "timm/test_vit"])
def test_one_channel_images(name):
    trunk = create_trunk(name, image_size=(32, 32), in_channels=1)
    assert trunk(torch.randn(2, 1, 32, 32)).shape == (2, trunk.num_features)


def test_timm_keys_are_timms_own():
    ours = on_meta("timm/resnet18").state_dict()
    with torch.device("meta"):
        theirs = timm.create_model("resnet18", num_classes=0).state_dict()
    assert list(ours) == list(theirs)


def test_building_draws_the_same_numbers_whether_or_not_the_model_was_probed_before():
    draws = []
    for _ in range(2):
        torch.manual_seed(3)
        create_trunk("timm/test_vit", image_size=(48, 32))
        draws.append(torch.rand(1).item())
    assert draws[0] == draws[1]


@pytest.mark.parametrize(
    ("name", "size", "expected"),
    [
        ("fan_tiny", (30, 100), "multiples of 16, got 30 x 100; the nearest legal size is 32 x 96"),
        ("fan_base", (5, 32), "nearest legal size is 16 x 32"),
        ("nvdinov2_vit_large_legacy", (224, 225), "multiples of 14, got 224 x 225"),
        ("timm/vit_tiny_patch16_224", (60, 64), "multiples of 16, got 60 x 64"),
        ("resnet50", (64, 64), "got 'resnet50'; did you mean resnet_50?"),
        ("convnext_tiny", (64, 64), "did you mean timm/convnext_tiny?"),
        ("timm/resnet10x", (64, 64), "is not a model of timm .* nearest names: resnet10t"),
        ("timm/hf-hub:someone/something", (64, 64), "is not a model of timm"),
        ("timm/resnet10t", (0, 64), "timm/resnet10t needs multiples of 1, got 0 x 64"),
    ],
)
def test_refusals_are_one_line_that_names_the_way_out(name, size, expected):
    with pytest.raises(SpecError, match=expected) as caught:
        create_trunk(name, image_size=size)
    assert "\n" not in str(caught.value)


def test_a_size_the_model_cannot_run_is_refused_by_its_own_reason():
    # Four stages of stride 2 and a 4 x 4 pooling of what is left.
    with pytest.raises(SpecError, match="timm/inception_v4 does not run at 16 x 16"):
        create_trunk("timm/inception_v4", image_size=(16, 16))
