import pytest

from search_spaces import Overlay, RangeError, compile_space, load_schema
from tests.search_spaces.building import number, schema_of

NODES = {
    "a.one": number(0.1, 1.0, 0.5),
    "a.two": number(0.1, 1.0, 0.5),
    "a.off": {**number(0.1, 1.0, 0.5), "automl_enabled": False},
    "a.text": {"type": "string", "default": "x"},
}


def names_of(searched=("a.one",), **overlay):
    schema = schema_of(NODES, searched) | {"automl_disabled_parameters": ["a.off"]}
    space = compile_space(load_schema(schema), overlay=Overlay(**overlay))
    return [parameter.name for parameter in space.parameters]


def test_the_schemas_list_is_taken_and_the_users_in_its_place():
    assert names_of() == ["a.one"]
    assert names_of(extra=("a.two",)) == ["a.one", "a.two"]
    assert names_of(hyperparameters=("a.two",)) == ["a.two"]
    assert names_of(ranges={"a.two": (0.2, 0.4, None)}) == ["a.one", "a.two"]
    assert names_of(extra=("a.two",), fixed={"a.one": 0.3}) == ["a.two"]


def test_a_disabled_parameter_is_searched_on_demand_alone():
    with pytest.raises(RangeError, match=r"a\.off: is disabled for search"):
        names_of(extra=("a.off",))
    found = names_of(extra=("a.off",), override_automl_disabled_params=True)
    assert found == ["a.one", "a.off"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("a", "is a group of parameters"),
        ("a.tow", "no such parameter in the schema, did you mean a.two?"),
        ("a.text", "without options is not searchable"),
    ],
)
def test_what_cannot_be_searched_is_refused_to_the_user_and_left_out_of_the_schemas_list(
    name, said
):
    with pytest.raises(RangeError, match=said.replace("?", r"\?")):
        names_of(extra=(name,))
    if name == "a.text":
        assert names_of(searched=("a.one", name)) == ["a.one"]
        assert names_of(options={name: ["x", "y"]}) == ["a.one", name]


def test_an_empty_list_leaves_nothing():
    with pytest.raises(RangeError, match="an empty list leaves nothing to search"):
        names_of(hyperparameters=())
