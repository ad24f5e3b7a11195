"""Files to begin with: what is commented out is the default, and everything can be taken up."""

import json
import re

import pytest
import yaml

from hpo.core.spec_dicts import flatten
from hpo.core.yaml_io import parse_texts, parse_yaml
from hpo.study.sections import DataSources, SearchOptions
from hpo.study.spec import StudySpec, parse_study
from hpo.study.starter import spec_text, study_text
from trainer.session import TRAINER
from trainer.spec import parse_spec

KEY = re.compile(r"^( *)# ([a-z_]+: .*)$")


def parsed(text):
    return parse_study(parse_yaml(text, "s"), "s", texts=parse_texts(text, "s"))


def test_what_is_given_stands_in_it_and_the_rest_is_the_default():
    given = {
        "name": "my shop: 2",
        "data.folder": "a b/#1",
        "data.class_disjoint": True,
        "budget": "90m",
    }
    study = parsed(study_text({**given, "search.over": ["+train.batch_size"], "search.seed": 7}))
    assert study.data == DataSources(folder="a b/#1", class_disjoint=True)
    assert (study.name, study.budget.seconds) == ("my shop: 2", 5400)
    assert study.search == SearchOptions(over=("+train.batch_size",), seed=7, memory=False)


def test_every_key_stands_in_it_with_its_default():
    text = study_text({"name": "x"})
    taken_up = "\n".join(KEY.sub(r"\1\2", line) for line in text.splitlines())
    assert parsed(taken_up) == parsed("schema_version: 1\nname: x\n") == StudySpec(name="x")
    plain = yaml.safe_load(taken_up)
    assert set(plain) == set(StudySpec.__dataclass_fields__)
    assert set(plain["data"]) == set(DataSources.__dataclass_fields__)
    assert set(plain["search"]) == set(SearchOptions.__dataclass_fields__)
    comments = [line for line in text.splitlines() if line.lstrip().startswith("# ")]
    assert max(map(len, comments)) <= 100


@pytest.mark.parametrize("text", ["1e3", "yes", "null", "a: b", "# no", "é", "", " lead"])
def test_names_come_back_as_they_were_given(text):
    assert parsed(study_text({"name": "n", "data.folder": text})).data.folder == text


def test_the_spec_of_the_trainer_is_its_template_with_comments():
    folder = TRAINER.skill_dir
    template = yaml.safe_load((folder / "references/spec_template_train.yaml").read_text())
    schema = json.loads((folder / "schemas/train.schema.json").read_text())
    text = spec_text(template, schema)
    assert yaml.safe_load(text) == template
    assert "# Training epochs" in text or "num_epochs: 10" in text
    lines = [line.strip() for line in text.splitlines()]
    above = lines[lines.index("num_epochs: 10") - 1]
    assert above.startswith("# ")
    assert "[at least 1]" in above
    data = {"dataset.train_dataset": "t", "dataset.val_dataset.query": "q"}
    flat = flatten(yaml.safe_load(text)) | data | {"dataset.val_dataset.reference": "g"}
    assert parse_spec(flat, "train").train.num_epochs == 10
