import numpy as np
import pytest

from trainer.errors import CheckpointError
from trainer.forms.exported import Exported, FormError, demand_likeness, likeness


def test_likeness_is_the_cosine_of_each_picture():
    first = np.array([[3.0, 4.0], [1.0, 0.0]], dtype=np.float32)
    second = np.array([[6.0, 8.0], [1.0, 1.0]], dtype=np.float32)
    found = likeness(first, second)
    assert found["min_cosine"] == pytest.approx(2**-0.5)
    assert found["mean_cosine"] == pytest.approx((1 + 2**-0.5) / 2)


@pytest.mark.parametrize("cosine", [0.5, float("nan")])
def test_what_is_not_alike_is_refused(cosine):
    demand_likeness({"min_cosine": 0.995}, 0.99, "--timm")
    with pytest.raises(FormError, match=r"--timm: .* cosine of 0.99 or more .* got"):
        demand_likeness({"min_cosine": cosine}, 0.99, "--timm")


def test_a_folder_without_a_checkpoint_is_told(tmp_path):
    with pytest.raises(CheckpointError, match=r"model.ckpt: no such checkpoint"):
        _ = Exported(tmp_path).weights
