"""A folder of skills: what can be searched, what blocks the rest, and finding one by any name."""

import pytest

from hpo.automl.skill_bank import find_in_bank, list_bank
from tests.hpo.automl.conftest import make_skill
from tests.hpo.automl.foreign import make_foreign_skill


@pytest.fixture
def bank(tmp_path):
    models = tmp_path / "bank/models"
    make_skill(models / "train-quick", network_arch="quick", aliases=["speedy net"])
    make_foreign_skill(models / "train-foreign")
    blocked = make_foreign_skill(tmp_path / "bank/other/train-blocked")
    (blocked / "schemas/train.schema.json").unlink()
    make_foreign_skill(models / "train-off", enabled=False)
    broken = make_foreign_skill(models / "train-broken")
    (broken / "references/skill_info.yaml").write_text("[1, 2")
    return tmp_path / "bank"


def test_runnable_and_blocked_skills_are_listed_with_the_missing_file(bank):
    found = {entry.folder.name: entry for entry in list_bank(bank)}
    assert {name: entry.status for name, entry in found.items()} == {
        "train-quick": "runnable", "train-foreign": "runnable", "train-blocked": "blocked",
        "train-off": "off", "train-broken": "blocked",
    }  # fmt: skip
    assert found["train-blocked"].problem.endswith("train.schema.json is missing")
    assert "skill_info.yaml" in found["train-broken"].problem


@pytest.mark.parametrize("name", ["train-quick", "quick", "speedy net", "Speedy_Net"])
def test_a_model_is_named_by_folder_network_or_alias(bank, name):
    assert find_in_bank(bank, name) == bank / "models/train-quick"


def test_an_unknown_or_ambiguous_name_is_an_error(bank, tmp_path):
    with pytest.raises(FileNotFoundError, match="no such skill in .*did you mean 'quick'"):
        find_in_bank(bank, "quik")
    with pytest.raises(FileNotFoundError, match="stands for several skills"):
        find_in_bank(bank, "foreign_net")
    with pytest.raises(FileNotFoundError, match="holds no skill folder"):
        list_bank(tmp_path / "empty")
