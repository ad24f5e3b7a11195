import os

import pytest

from trainer.errors import SpecError
from trainer.target_file import demand_target


@pytest.fixture
def there(tmp_path):
    """Names of what is there."""
    for name in ("photo.jpg", "model.onnx", "a.ENGINE", "bare"):
        (tmp_path / name).touch()
    os.mkfifo(tmp_path / "pipe.onnx")
    (tmp_path / "folder.plan").mkdir()
    (tmp_path / "link.onnx").symlink_to("photo.jpg")
    return tmp_path


@pytest.mark.parametrize("name", ["model.onnx", "a.ENGINE", "new.trt", "new", "deep/new.onnx"])
def test_a_new_file_and_an_earlier_model_may_be_written(there, name):
    assert demand_target(there / name, "export.onnx_file") is None


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("photo.jpg", "must not replace what is there, and .*/photo.jpg is no model "),
        ("bare", "must not replace what is there, and .*/bare is no model "),
        ("link.onnx", "must not replace what is there, and .*/link.onnx is no model "),
        ("pipe.onnx", "must not replace what is there, and .*/pipe.onnx is no model "),
        ("folder.plan", "must be a file to write, and .*/folder.plan is a folder"),
        ("photo.jpg/new.onnx", "must be a file to write"),
        ("model.onnx", "must not replace what it is made from, got .*/model.onnx"),
    ],
)
def test_what_is_of_another_kind_is_not_replaced(there, name, says):
    with pytest.raises(SpecError, match=f"^export.onnx_file: {says}"):
        demand_target(there / name, "export.onnx_file", sources=(there / "model.onnx",))
