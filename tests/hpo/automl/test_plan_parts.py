"""Custom ranges by name, and keys of a template that no dotted name can hold."""

import pytest

from hpo.automl.errors import AutoMLError
from hpo.automl.plan_parts import all_ranges, altered_keys

NARROW, WIDE = {"valid_min": 0.25, "valid_max": 0.5}, {"valid_min": 0.25, "valid_max": 0.75}


def test_one_parameter_has_one_range():
    listed = [{"parameter": "a.b", **NARROW}, {"parameter": "a.b", **NARROW}]
    assert all_ranges(listed, {"automl_range_override": None}) == {"a.b": NARROW}
    for wrong, more in (([listed[0], {"parameter": "a.b", **WIDE}], None), (listed, {"a.b": WIDE})):
        with pytest.raises(AutoMLError, match=r"a\.b: "):
            all_ranges(wrong, {"automl_range_override": more})


def test_keys_that_reach_a_trainer_as_others_are_told():
    tree = {"train.lr": 1, "map": {3: "cat", "v1.0": {"x": 1}, "plain": {True: 2}}}
    assert altered_keys(tree) == [
        "map.3: the key 3 of the template reaches the trainer as text",
        "map.v1.0: the key 'v1.0' of the template reaches the trainer split",
        "map.plain.True: the key True of the template reaches the trainer as text",
    ]
