from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import yaml
from PIL import Image

from trainer.data.decode import decode_image
from trainer.data.framing import framing_of, input_size
from trainer.errors import CheckpointError
from trainer.forms.exported import Exported, FormError
from trainer.forms.pixels import write_pixel_onnx
from trainer.onnx_model import OnnxModel


@pytest.mark.parametrize("name", ["squashed", "cut", "cut_wide"])
def test_pictures_of_all_sizes_give_what_predict_computes(name, request, tmp_path):
    folder = request.getfixturevalue(name)
    told = write_pixel_onnx(folder, tmp_path / "m_uint8.onnx")
    assert told["num_images_checked"] == 9
    assert told["min_cosine"] > 0.999
    pixels = onnxruntime.InferenceSession(str(tmp_path / "m_uint8.onnx"))
    plain = onnxruntime.InferenceSession(str(folder / "model.onnx"))
    exported = Exported(folder)
    spec = exported.spec
    mean, std = (
        np.array(v, dtype=np.float32)[:, None, None]
        for v in (spec.dataset.pixel_mean, spec.dataset.pixel_std)
    )
    for file in sorted(Path(spec.dataset.val_dataset.query).rglob("*.png")):
        raw = np.asarray(Image.open(file))[None]
        (own,) = pixels.run(["fc_pred"], {"image": raw})
        seen = decode_image(file, input_size(spec), framing_of(spec)).pixels
        height, width = spec.model.input_height, spec.model.input_width
        top, left = (round((seen.shape[i] - side) / 2) for i, side in enumerate((height, width)))
        seen = seen[top : top + height, left : left + width]
        normal = (seen.transpose(2, 0, 1).astype(np.float32) / 255 - mean) / std
        (by_hand,) = plain.run(["fc_pred"], {"input": normal[None]})
        assert np.abs(own - by_hand).max() < 0.02 * np.abs(by_hand).max()


def test_a_batch_gives_what_single_pictures_give(cut, tmp_path):
    write_pixel_onnx(cut, tmp_path / "m.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "m.onnx"))
    batch = np.random.default_rng(0).integers(0, 256, (3, 50, 70, 3), dtype=np.uint8)
    (whole,) = session.run(None, {"image": batch})
    single = np.concatenate([session.run(None, {"image": p[None]})[0] for p in batch])
    assert np.allclose(whole, single, atol=1e-4)
    with pytest.raises(CheckpointError, match=r"m\.onnx: takes uint8 pictures as they are, N x H"):
        OnnxModel(tmp_path / "m.onnx")


def with_spec(export, folder, section, **changes):
    """The files of an export in another folder, beside a spec that was changed."""
    folder.mkdir()
    for file in export.iterdir():
        (folder / file.name).symlink_to(file)
    spec = yaml.safe_load((export / "spec.yaml").read_text())
    spec[section] |= changes
    (folder / "spec.yaml").unlink()
    (folder / "spec.yaml").write_text(yaml.safe_dump(spec))
    return folder


def test_names_of_the_other_exporter_are_not_taken(squashed, tmp_path):
    """It calls values after what they do: `mean` is in this network, which pools by one."""
    folder = with_spec(squashed, tmp_path / "best", "export", opset_version=21)
    told = write_pixel_onnx(folder, tmp_path / "m.onnx")
    assert told["min_cosine"] > 0.999
    graph = onnx.load(tmp_path / "m.onnx").graph
    names = {name for node in graph.node for name in node.output}
    assert "pixels_normalised" in names
    assert "mean" in names


def test_a_filter_that_onnx_has_not_is_refused(squashed, tmp_path):
    folder = with_spec(squashed, tmp_path / "best", "dataset", interpolation="lanczos")
    with pytest.raises(FormError, match="must be one of bilinear, bicubic .* got lanczos"):
        write_pixel_onnx(folder, tmp_path / "m.onnx")
    assert not (tmp_path / "m.onnx").exists()
