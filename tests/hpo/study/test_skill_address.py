"""Trainers of skill folders in study files and as names, there and back."""

import pytest

from hpo.core.errors import SpecError
from hpo.core.yaml_io import parse_yaml, to_yaml
from hpo.study.skill_address import TrainerFacts, from_file, read_address, to_file, trainer_name
from hpo.study.spec import load_study, parse_study

FACTS = TrainerFacts(
    metric="val loss & more", direction="minimize", samples=7, is_elsewhere=True,
    execution={"type": "python_script", "script": "a b.py"},
)  # fmt: skip
FOLDER = "/srv/skills/my net?#100%"


def test_a_name_is_read_back_as_it_was():
    name = trainer_name(FOLDER, FACTS)
    module, _, address = name.partition("@")
    assert module == "hpo.automl.skill_trainer:SkillTrainer"
    folder, facts = read_address(address)
    assert (str(folder), facts) == (FOLDER, FACTS)


def test_a_study_file_holds_a_mapping_and_gives_the_same_trainer(tmp_path):
    name = trainer_name(FOLDER, FACTS)
    study = parse_study({"schema_version": 1, "name": "s", "trainer": name})
    written = to_yaml(study.to_dict())
    assert parse_yaml(written, "s")["trainer"] == {
        "skill": FOLDER, "metric": "val loss & more", "direction": "minimize", "samples": 7,
        "is_elsewhere": True, "execution": {"type": "python_script", "script": "a b.py"},
    }  # fmt: skip
    (tmp_path / "study.yaml").write_text(written)
    assert load_study(tmp_path / "study.yaml").trainer == name


def test_another_trainers_name_stays_as_it_is():
    assert to_file("ml_recog") == "ml_recog"
    assert to_file("tests.quick_trainer:TRAINER") == "tests.quick_trainer:TRAINER"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"metric": "x"}, "t.skill: must be a skill folder, got nothing"),
        ({"skill": 5}, "t.skill: must be a skill folder, got 5"),
        ({"skill": "/s", "metrik": "x"}, "t.metrik: unknown key; did you mean 'metric'?"),
        ({"skill": "/s", "direction": 1}, "t.direction: must be text, got 1"),
    ],
)
def test_what_is_no_skill_is_one_line(given, said):
    with pytest.raises(SpecError) as caught:
        from_file(given, "t")
    assert str(caught.value) == said
