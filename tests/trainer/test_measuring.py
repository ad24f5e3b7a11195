import timm

from tests.trainer.tiny import TRUNK
from trainer.session import TRAINER


def spec(**model):
    return {"model": {"backbone": TRUNK, "input_width": 32, "input_height": 32, **model}}


def test_a_model_is_measured_without_pictures_or_weights():
    small, large = (TRAINER.measure(spec(feat_dim=dim)) for dim in (16, 48))
    trunk = timm.create_model(TRUNK.removeprefix("timm/"), num_classes=0)
    # The head is linear: a weight per feature and a bias for each of 32 more numbers.
    assert large["params"] - small["params"] == 32 * (trunk.num_features + 1)
    assert small["params"] > sum(weight.numel() for weight in trunk.parameters())
    assert 0 < small["latency_ms"] < 1000
    assert small["device"]
