"""GeM against loops over single places, and the trunks that it is put into."""

import numpy as np
import pytest
import torch
from torch import nn

from trainer.actions.export import write_onnx
from trainer.errors import CheckpointError, SpecError
from trainer.models.pooling import GeM, gem_parameters
from trainer.models.recognizer import build_recognizer
from trainer.models.trunk import create_trunk
from trainer.models.weights import load_into
from trainer.onnx_model import OnnxModel
from trainer.optim import build_optimizer
from trainer.spec import parse_spec


def slow_mean(map_NCHW, p):
    out = np.empty(map_NCHW.shape[:2])
    for n, c in np.ndindex(out.shape):
        values = [max(float(v), 1e-6) ** p for v in map_NCHW[n, c].flatten()]
        out[n, c] = (sum(values) / len(values)) ** (1 / p)
    return out


def some_map(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(4))


def test_a_trunk_that_asks_its_pooling_something_runs_with_gem():
    with torch.device("meta"):
        trunk = create_trunk("timm/lowformer_b0", image_size=(64, 64), pooling="gem").eval()
        assert trunk(torch.empty(2, 3, 64, 64)).shape[0] == 2


@pytest.mark.parametrize("p", [1.0, 2.2, 3.0, 8.0])
@pytest.mark.parametrize("flat", [True, False])
def test_gem_is_the_mean_of_powers(p, flat):
    pool = GeM(flat=flat)
    assert pool.p.item() == 3.0
    pool.p.data.fill_(p)
    found = pool(some_map(2, 3, 4, 5))
    assert found.shape == ((2, 3) if flat else (2, 3, 1, 1))
    np.testing.assert_allclose(
        found.detach().reshape(2, 3), slow_mean(some_map(2, 3, 4, 5), p), rtol=1e-5
    )


def test_large_values_and_powers_stay_finite():
    pool = GeM(flat=True)
    pool.p.data.fill_(60.0)
    found = pool(torch.tensor([[[[900.0, 1.0], [2.0, 3.0]]]]))
    assert found.item() == pytest.approx(900 * 0.25 ** (1 / 60), rel=1e-4)


def test_the_power_learns_along_its_slope():
    pool, given = GeM(flat=True), some_map(1, 1, 4, 4)
    pool(given).sum().backward()
    slope = (slow_mean(given, 3.001) - slow_mean(given, 2.999)).sum() / 0.002
    assert pool.p.grad.item() == pytest.approx(slope, rel=1e-3)


@pytest.mark.parametrize(
    "name", ["timm/test_resnet", "timm/test_efficientnet", "timm/test_byobnet"]
)
def test_a_trunk_pools_its_map_by_it(name):
    trunk = create_trunk(name, image_size=(64, 64), pooling="gem").eval()
    assert len(gem_parameters(trunk)) == 1
    with torch.no_grad():
        found = trunk(some_map(2, 3, 64, 64))
        features = trunk.forward_features(some_map(2, 3, 64, 64))
    assert features.shape[2:] != (1, 1)
    np.testing.assert_allclose(found, slow_mean(features, 3.0), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["timm/test_vit", "fan_tiny", "timm/swin_tiny_patch4_window7_224"])
def test_trunks_without_a_map_of_channels_are_refused(name):
    with (
        torch.device("meta"),
        pytest.raises(SpecError, match=rf"model\.pooling: must be default for {name}"),
    ):
        create_trunk(name, image_size=(224, 224), pooling="gem")


def spec_of(**changes):
    nested = {
        "model.backbone": "timm/test_resnet", "model.input_width": 32, "model.input_height": 32,
        "model.feat_dim": 8, "model.pooling": "gem",
    }  # fmt: skip
    return parse_spec(nested | changes, "train", is_complete=False)


def test_weights_of_the_plain_trunk_fit_and_leave_the_power_alone(tmp_path):
    plain = build_recognizer(spec_of(**{"model.pooling": "default"}))
    torch.save(plain.trunk.state_dict(), tmp_path / "trunk.pth")
    model = build_recognizer(
        spec_of(**{"model.pretrained_trunk_path": str(tmp_path / "trunk.pth")})
    )
    assert torch.equal(model.trunk.conv1[0].weight, plain.trunk.conv1[0].weight)
    assert model.trunk.global_pool.p.item() == 3.0
    with pytest.raises(CheckpointError, match=r"1 missing in the file \(trunk\.global_pool\.p\)"):
        load_into(model, plain.state_dict(), what="a finished model")


def test_the_power_belongs_to_the_top_layer():
    model = build_recognizer(spec_of())
    spec = spec_of(**{"train.optim.layer_decay": 0.5, "train.optim.trunk.base_lr": 0.4})
    optimizer = build_optimizer(spec, model.trunk, model.embedder, nn.Identity())
    rates = {id(p): g["lr"] for g in optimizer.param_groups for p in g["params"]}
    assert rates[id(model.trunk.global_pool.p)] == 0.4
    assert rates[id(model.trunk.layer4[0].conv1.weight)] == 0.4
    assert rates[id(model.trunk.conv1[0].weight)] == 0.4 * 0.5**4


def test_the_exported_file_pools_the_same(tmp_path):
    spec = spec_of()
    model = build_recognizer(spec).eval()
    model.trunk.global_pool.p.data.fill_(2.2)
    write_onnx(model, spec, tmp_path / "model.onnx")
    given = some_map(3, 3, 32, 32)
    with torch.no_grad():
        features = slow_mean(model.trunk.forward_features(given), 2.2)
        expected = model.embedder(torch.tensor(features, dtype=torch.float32))
    found = OnnxModel(tmp_path / "model.onnx").run(given.numpy())
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)
