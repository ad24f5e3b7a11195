import pytest

from hpo.core.errors import SpecError
from hpo.study.skill import load_skill
from tests.quick_trainer import TRAINER


def test_a_skill_folder_names_its_files_and_fields():
    skill = load_skill(TRAINER.skill_dir)
    assert skill.network_arch == "quick"
    assert skill.schema_file("train").is_file()
    assert skill.schema_file("export").name == "export.schema.json"
    assert skill.template_file("train").name == "spec_template_train.yaml"
    assert skill.fields("export", "parent_model") == ["export.checkpoint"]
    assert skill.fields("evaluate", "output_dir") == ["results_dir"]
    assert skill.fields("prune", "parent_model") == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "no such file"),
        ("- a\n", "must be a mapping of keys, got a list"),
        ("a: [", "not valid YAML"),
    ],
)
def test_a_folder_that_is_no_skill(tmp_path, text, said):
    (tmp_path / "references").mkdir()
    if text is not None:
        (tmp_path / "references/skill_info.yaml").write_text(text)
    with pytest.raises(SpecError, match=said) as caught:
        load_skill(tmp_path)
    assert "references/skill_info.yaml" in str(caught.value)


def test_a_skill_without_parameters_has_no_fields(tmp_path):
    (tmp_path / "references").mkdir()
    (tmp_path / "references/skill_info.yaml").write_text("name: bare\n")
    skill = load_skill(tmp_path)
    assert (skill.network_arch, skill.fields("train", "output_dir")) == ("", [])


def test_names_of_a_skill_stay_as_they_are_written(tmp_path):
    (tmp_path / "references").mkdir()
    (tmp_path / "references/skill_info.yaml").write_text(
        "network_arch: 001\nname: 1e3\naliases: [yes, 12:30:00, x]\nautoml_enabled: true\n"
    )
    skill = load_skill(tmp_path)
    assert skill.network_arch == "001"
    assert skill.info["name"] == "1e3"
    assert skill.info["aliases"] == ["yes", "12:30:00", "x"]
    assert skill.info["automl_enabled"] is True
