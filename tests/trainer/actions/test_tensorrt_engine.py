"""Every name of TensorRT's that our code uses, looked up in the bindings of both majors."""

import json

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
