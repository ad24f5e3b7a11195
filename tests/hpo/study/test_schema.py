"""The JSON Schema of study files: sound by the standard, and as strict as our reader."""

from dataclasses import fields
from pathlib import Path

import jsonschema
import pytest
import yaml

from hpo.core.errors import SpecError
from hpo.study.schema import check_shape, schema_of
from hpo.study.sections import DataSources, SearchOptions
from hpo.study.spec import StudySpec

STUDIES = sorted((Path(__file__).parents[3] / "studies").glob("*.yaml"))


def test_the_schema_is_one_by_the_standard_and_has_every_field():
    schema = schema_of(StudySpec)
    jsonschema.Draft202012Validator.check_schema(schema)
    assert set(schema["properties"]) == {item.name for item in fields(StudySpec)}
    for section, kind in (("data", DataSources), ("search", SearchOptions)):
        below = schema["properties"][section]["properties"]
        assert set(below) == {item.name for item in fields(kind)}


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_packaged_studies_fit_it_under_a_validator_of_the_library(path):
    data = yaml.safe_load(path.read_text(encoding="utf-8"))
    found = jsonschema.Draft202012Validator(schema_of(StudySpec)).iter_errors(data)
    assert [error.message for error in found] == []


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ({"concurrent": 2.0}, "x: concurrent: must be a whole number, got 2.0"),
        ({"concurrent": True}, "x: concurrent: must be a whole number, got true"),
        ({"search": {"over": ["a", 7]}}, "x: search.over: must be a list of names, got 7 in it"),
        ({"search": {"sede": 1}}, "x: search: unknown key 'sede'; did you mean 'seed'?"),
        ({"search": {"sede": 1}, "naem": "y"}, "x: unknown key 'naem'; did you mean 'name'?"),
    ],
)
def test_the_first_problem_nearest_the_top_is_named_with_its_path(data, says):
    with pytest.raises(SpecError) as caught:
        check_shape(StudySpec, data, "x")
    assert str(caught.value) == says


def test_an_empty_section_and_an_unset_number_are_fine():
    check_shape(StudySpec, {"search": None, "data": None, "spec": None, "concurrent": None}, "x")
