import os

import pytest

from hpo.core.errors import SpecError
from hpo.core.target_file import demand_target


@pytest.fixture
def there(tmp_path):
    """Names of what is there."""
    (tmp_path / "folder.onnx").mkdir()
    for name in ("photo.jpg", "model.onnx", "CAPITAL.ONNX", "bare"):
        (tmp_path / name).touch()
    os.mkfifo(tmp_path / "pipe.onnx")
    (tmp_path / "link.onnx").symlink_to("photo.jpg")
    return tmp_path


@pytest.mark.parametrize("name", ["model.onnx", "CAPITAL.ONNX", "new.onnx", "new", "deep/new.onnx"])
def test_a_new_file_and_an_earlier_one_may_be_written(there, name):
    assert demand_target(there / name, ".onnx", "--out") is None


@pytest.mark.parametrize("name", ["photo.jpg", "bare", "link.onnx", "pipe.onnx"])
def test_what_is_of_another_kind_is_not_replaced(there, name):
    with pytest.raises(SpecError) as caught:
        demand_target(there / name, ".onnx", "--out")
    assert str(caught.value) == (
        f"--out: must not replace what is there, and {there / name} is no .onnx file; "
        "name another file, or remove that"
    )


@pytest.mark.parametrize("name", ["folder.onnx", "photo.jpg/a.onnx"])
def test_a_folder_is_no_file(there, name):
    with pytest.raises(SpecError, match=r"--sheet: must be a file to write, and .* is a folder or"):
        demand_target(there / name, ".onnx", "--sheet")


def test_a_place_that_takes_no_file_is_refused(there, monkeypatch):
    refused = lambda folder: "Read-only file system" if folder == there else ""  # noqa: E731
    monkeypatch.setattr("hpo.core.target_file.why_not_writable", refused)
    file = there / "new.onnx"
    with pytest.raises(SpecError) as caught:
        demand_target(file, ".onnx", "--out")
    assert str(caught.value) == (
        f"--out: {file} cannot be written: Read-only file system; name another file"
    )


def test_a_stream_is_taken_where_one_makes_sense(there):
    assert demand_target(there / "pipe.onnx", ".csv", "--out", takes_streams=True) is None
    with pytest.raises(SpecError, match="photo"):
        demand_target(there / "photo.jpg", ".csv", "--out", takes_streams=True)
