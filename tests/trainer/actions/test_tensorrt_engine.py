"""Every name of TensorRT's that our code uses, looked up in the bindings of both majors."""

import importlib
import json
import sys
import types

import pytest

from tests.trainer.actions.tensorrt_names import CODE, FOUND, strings_of, used_names

TABLE = json.loads(FOUND.read_text())
BOTH, TEN = used_names(CODE.read_text())


@pytest.mark.parametrize("version", TABLE)
def test_the_bindings_have_every_name_that_is_used(version):
    wanted = BOTH | TEN if version.startswith("10.") else BOTH
    absent = {
        name for name in wanted if TABLE[version].get(name, "not looked up") not in {"whole", "end"}
    }
    assert not absent, f"tests/trainer/actions/tensorrt_names.py looks names up: {absent}"


def test_both_majors_were_looked_at():
    assert {version.split(".")[0] for version in TABLE} == {"10", "11"}


def test_what_11_has_no_more_is_reached_on_10_alone():
    (eleven,) = (found for version, found in TABLE.items() if version.startswith("11."))
    assert {name for name in BOTH | TEN if eleven[name] == "absent"} == {"FP16"}
    assert {"FP16", "INT8", "set_flag"} == TEN


def test_names_are_read_from_the_code():
    code = """
def build(tensorrt, config):
    config.set_flag(tensorrt.BuilderFlag.OBEY)
    path.write_bytes(builder.create_network(0))
def _set_flags_of_10(config):
    config.only_ten()
"""
    names = {"set_flag", "BuilderFlag", "OBEY", "create_network"}
    assert used_names(code) == (names, {"only_ten"})
    binary = b"\0set_flag\0kBuilderFlag\0OBEYS\0create_network\0"
    stands = {
        "set_flag": "whole",
        "BuilderFlag": "end",
        "OBEY": "absent",
        "create_network": "whole",
    }
    assert strings_of(binary, names) == stands


@pytest.fixture
def engine_module(monkeypatch):
    """Our module over an empty `tensorrt`, which is not installed where there is no GPU."""
    name = "trainer.actions.tensorrt_engine"
    monkeypatch.setitem(sys.modules, "tensorrt", types.ModuleType("tensorrt"))
    monkeypatch.delitem(sys.modules, name, raising=False)
    yield importlib.import_module(name)
    sys.modules.pop(name, None)


class Config:
    """Takes timing caches as TensorRT says that it does: none of others, and no damaged bytes."""

    used = None

    def create_timing_cache(self, content):
        return None if content == b"damaged" else content

    def set_timing_cache(self, cache, *, ignore_mismatch):
        assert not ignore_mismatch
        if cache not in (b"", b"mine"):
            return False
        self.used = cache
        return True


@pytest.mark.parametrize(
    ("held", "used"),
    [(None, b""), (b"mine", b"mine"), (b"of another GPU", b""), (b"damaged", b"")],
)
def test_a_timing_cache_of_another_gpu_is_made_anew(engine_module, tmp_path, caplog, held, used):
    file, config = tmp_path / "t.bin", Config()
    if held is not None:
        file.write_bytes(held)
    assert engine_module._timing_cache(config, str(file)) == used
    assert config.used == used
    assert ("is made anew" in caplog.text) == (held not in (None, used))


def test_a_timing_cache_that_cannot_be_written_costs_no_engine(engine_module, tmp_path, caplog):
    file = tmp_path / "new" / "folder" / "t.bin"
    engine_module._keep_timing(file, b"mine")
    assert file.read_bytes() == b"mine"
    assert not caplog.text
    engine_module._keep_timing(file / "below", b"mine")
    assert "gen_trt_engine.timing_cache: " in caplog.text
