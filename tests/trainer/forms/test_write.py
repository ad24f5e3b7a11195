import pytest

from trainer.errors import SpecError
from trainer.forms.write import write_form


def test_a_form_is_put_where_it_is_wanted_under_its_name(squashed, tmp_path):
    told = write_form(squashed, "triton", tmp_path, "shelf")
    assert told["config"] == str(tmp_path / "shelf_triton" / "shelf" / "config.pbtxt")
    told = write_form(squashed, "pixels", tmp_path, "shelf")
    assert told["onnx"] == str(tmp_path / "shelf_uint8.onnx")


def test_an_unknown_form_is_refused(squashed, tmp_path):
    with pytest.raises(SpecError, match="form: must be one of pixels, timm, triton, got 'coreml'"):
        write_form(squashed, "coreml", tmp_path, "shelf")
