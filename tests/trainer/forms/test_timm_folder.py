from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from timm.data import create_transform, resolve_model_data_config

from tests.trainer.forms.conftest import make_export
from trainer.forms.exported import Exported, FormError
from trainer.forms.timm_folder import wilson, write_timm_folder


@pytest.mark.parametrize("name", ["squashed", "cut"])
def test_timm_loads_it_and_gives_the_same_embeddings(name, request, tmp_path):
    folder = request.getfixturevalue(name)
    told = write_timm_folder(folder, tmp_path / "m_timm", "shelf")
    model = timm.create_model(f"local-dir:{tmp_path / 'm_timm'}", pretrained=True).eval()
    config = resolve_model_data_config(model)
    spec = Exported(folder).spec
    assert tuple(config["mean"]) == tuple(spec.dataset.pixel_mean)
    assert config["interpolation"] == spec.dataset.interpolation
    transform = create_transform(**config, is_training=False)
    files = sorted(Path(spec.dataset.val_dataset.query).rglob("*.png"))
    with torch.no_grad():
        own = torch.stack([model(transform(Image.open(f))[None])[0] for f in files]).numpy()
    expected = Exported(folder).embed(files)
    assert own.shape == (9, 16)
    assert np.abs(own - expected).max() < 0.02 * np.abs(expected).max()
    card = (tmp_path / "m_timm" / "README.md").read_text()
    low, high = told["interval"]
    assert f"Precision@1 on 9 validation queries: {told['precision_at_1']:.3f}" in card
    assert f"(95 % interval {low:.3f} to {high:.3f})" in card


def test_a_model_that_timm_has_not_is_refused(tmp_path):
    folder = make_export(tmp_path, model__pooling="gem")
    with pytest.raises(FormError, match=r"--timm: .* own pooling, got timm/test_resnet .*gem"):
        write_timm_folder(folder, tmp_path / "out", "shelf")
    assert not (tmp_path / "out").exists()


def test_the_interval_is_wilsons():
    # Newcombe (1998), table I: 81 of 263, Wilson without correction.
    low, high = wilson(81, 263)
    assert (round(low, 4), round(high, 4)) == (0.2553, 0.3662)
