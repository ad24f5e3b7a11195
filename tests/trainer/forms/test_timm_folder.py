import shutil
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import yaml
from PIL import Image
from timm.data import create_transform, resolve_model_data_config

from tests.trainer.forms.conftest import make_export
from trainer.actions.change_gallery import remove_classes
from trainer.actions.evaluate import evaluate
from trainer.forms.exported import Exported, FormError
from trainer.forms.timm_folder import write_timm_folder
from trainer.spec import parse_spec


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
    (tmp_path / "m_timm" / "labels.txt").write_text("mine")
    with pytest.raises(FormError, match="m_timm: must hold nothing but .*, got labels.txt; move"):
        write_timm_folder(folder, tmp_path / "m_timm", "shelf")
    low, high = told["interval"]
    value = f"{told['precision_at_1']:.3f}"
    assert f"Precision@1 on 9 validation queries, mean over classes: {value}" in card
    assert f"(95 % interval {low:.3f} to {high:.3f})" in card


def test_a_network_of_patches_that_takes_any_size(tmp_path):
    """It is built without `img_size`."""
    sides = {"model__input_height": 64, "model__input_width": 64}
    folder = make_export(tmp_path, model__backbone="timm/pvt_v2_b0", **sides)
    told = write_timm_folder(folder, tmp_path / "m_timm", "shelf")
    assert told["min_cosine"] > 0.99


def test_a_model_of_grey_pictures(tmp_path):
    """Three values of mean and deviation are mixed as colours are."""
    folder = make_export(tmp_path, model__input_channels=1, dataset__pixel_std=[0.2, 0.3, 0.4])
    write_timm_folder(folder, tmp_path / "m_timm", "shelf")
    model = timm.create_model(f"local-dir:{tmp_path / 'm_timm'}", pretrained=True).eval()
    config = resolve_model_data_config(model)
    assert config["input_size"] == (1, 32, 32)
    assert config["std"] == pytest.approx((0.299 * 0.2 + 0.587 * 0.3 + 0.114 * 0.4,))
    transform = create_transform(**config, is_training=False)
    spec = Exported(folder).spec
    files = sorted(Path(spec.dataset.val_dataset.query).rglob("*.png"))
    with torch.no_grad():
        pictures = [transform(Image.open(f).convert("L")) for f in files]
        own = model(torch.stack(pictures)).numpy()
    expected = Exported(folder).embed(files)
    assert np.abs(own - expected).max() < 0.02 * np.abs(expected).max()
    assert 'picture.convert("L")' in (tmp_path / "m_timm" / "README.md").read_text()


def test_a_model_that_timm_has_not_is_refused(tmp_path):
    folder = make_export(tmp_path, model__pooling="gem")
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "README.md").write_text("---\nlibrary_name: timm\n---\n")
    with pytest.raises(FormError, match=r"--timm: .*/theirs: must hold nothing but .* README.md"):
        write_timm_folder(folder, tmp_path / "theirs", "shelf")
    with pytest.raises(FormError, match=r"--timm: .* own pooling, got timm/test_resnet .*gem"):
        write_timm_folder(folder, tmp_path / "out", "shelf")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("matched", [{}, {"matching": "prototypes", "flip_average": True}])
def test_the_card_says_what_an_evaluation_of_the_search_says(matched, tmp_path):
    """Not what the gallery gives that was edited since, nor the mean over queries."""
    changes = {f"dataset__{key}": value for key, value in matched.items()}
    folder = make_export(tmp_path, **changes)
    spec = yaml.safe_load((folder / "spec.yaml").read_text())
    for number in range(2, 6):  # of one class there are more queries
        first = sorted(Path(spec["dataset"]["val_dataset"]["query"], "class_00").iterdir())[0]
        shutil.copy(first, first.with_name(f"more{number}.png"))
    remove_classes(folder, ["class_01"])
    told = write_timm_folder(folder, tmp_path / "m_timm", "shelf")
    asked = {**spec, "evaluate": {"checkpoint": str(folder / "model.ckpt")}}
    result = evaluate(parse_spec(asked, "evaluate"))["metrics"]
    assert result["val_precision_at_1_class_mean"] != result["val_precision_at_1_query_mean"]
    assert told["precision_at_1"] == pytest.approx(result["val_precision_at_1_class_mean"])
    low, high = told["interval"]
    assert 0 <= low <= told["precision_at_1"] <= high <= 1
    card = (tmp_path / "m_timm" / "README.md").read_text()
    assert ("averaged with its mirror image" in card) is bool(matched)
