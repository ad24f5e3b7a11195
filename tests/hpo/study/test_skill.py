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


TEMPLATE, SCHEMA = "references/spec_template_train.yaml", "schemas/train.schema.json"


@pytest.mark.parametrize(
    ("files", "starter", "known", "said"),
    [
        ({TEMPLATE: "a: {b: 2}", SCHEMA: '{"default": {"a": {"b": 1, "c": 3}}}'},
         {"a": {"b": 2}}, {"a": {"b": 2, "c": 3}}, []),
        ({SCHEMA: '{"default": {"a": 1}}'}, {"a": 1}, {"a": 1}, []),
        ({TEMPLATE: "{: [", SCHEMA: '{"default": {"a": 1}}'}, {"a": 1}, {"a": 1}, ["not valid"]),
        ({TEMPLATE: "- a", SCHEMA: "{"}, {}, {}, ["cannot be read", "must be a mapping"]),
        ({TEMPLATE: "a: 2", SCHEMA: "[]"}, {"a": 2}, {"a": 2}, ["must be a JSON object"]),
        ({TEMPLATE: "a: 2", SCHEMA: '{"default": 7}'}, {"a": 2}, {"a": 2}, ["must be a JSON"]),
        ({}, {}, {}, []),
    ],
)  # fmt: skip
def test_what_can_be_read_of_template_and_schema_is_the_starter_spec(
    tmp_path, files, starter, known, said
):
    for name, text in {"references/skill_info.yaml": "name: bare\n", **files}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    found = load_skill(tmp_path).starter_spec("train")
    assert found[:2] == (starter, known)
    assert len(found[2]) == len(said)
    assert all(word in line for word, line in zip(said, found[2], strict=True))


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


INFO = """\
network_arch: toy
name: Toy network
aliases: tiny
automl_enabled: yes please
metrics: {monitoring_metric: [acc, loss]}
gpu_spec_key: run.cards
actions:
  train:
    command: toy train
    inputs: {run.start: {type: file, optional: true}, run.pictures: {type: folder}}
    outputs: {run.weights: {type: file}, run.log: null}
  quantize:
spec_params: {train: {run.folder: output_dir}, other: null}
data_sources: {train: {run.data: {path: a}}}
spec_shorthand_keys: {lr: run.optim.lr}
"""


def skill_of(tmp_path, text):
    (tmp_path / "references").mkdir()
    (tmp_path / "references/skill_info.yaml").write_text(text)
    return load_skill(tmp_path)


def test_metadata_by_name(tmp_path):
    skill = skill_of(tmp_path, INFO)
    assert skill.names == (tmp_path.name, "toy", "Toy network", "tiny")
    assert (skill.title, skill.monitored, skill.gpu_key) == ("toy", ["acc", "loss"], "run.cards")
    assert not skill.is_automl_enabled  # only `true` enables a search
    assert (skill.command("train"), skill.command("quantize")) == ("toy train", "")
    assert (skill.file_inputs(), skill.file_outputs("train")) == ({"run.start"}, ["run.weights"])
    assert skill.is_optional_input("train", "run.start")
    assert skill.is_optional_input("train", "run.unknown")
    assert not skill.is_optional_input("train", "run.pictures")
    assert skill.keys() == {
        *("run.start", "run.pictures", "run.weights", "run.log", "run.folder", "run.data"),
    }  # fmt: skip


def test_what_a_metadata_file_leaves_out_is_empty(tmp_path):
    skill = skill_of(tmp_path, "description: bare\n")
    assert (skill.actions, skill.shorthands, skill.monitored, skill.image) == ({}, {}, [], "")
    assert (skill.inputs("train"), skill.data_entries("train"), skill.keys()) == ({}, {}, set())
    assert (skill.title, skill.data_format, skill.gpu_key) == (tmp_path.name, "default", "")


def test_short_names_are_spelt_out_and_must_agree_with_long_ones(tmp_path):
    skill = skill_of(tmp_path, INFO)
    assert skill.expand({"lr": 0.1, "run": {"epochs": 3}, "run.seed": 4}) == {
        "run": {"optim": {"lr": 0.1}, "epochs": 3, "seed": 4}
    }
    assert skill.expand({"run.optim.lr": 0.2, "lr": 0.2}) == {"run": {"optim": {"lr": 0.2}}}
    with pytest.raises(SpecError, match=r"^here\.lr: stands for run\.optim\.lr, .* 0\.2 already"):
        skill.expand({"run.optim.lr": 0.2, "lr": 0.3}, "here.")
    with pytest.raises(SpecError, match=r"^here\.run\.optim\.lr: is given twice, as 0\.3 and 0\.2"):
        skill.expand({"run": {"optim": {"lr": 0.3}}, "run.optim.lr": 0.2}, "here.")


def test_a_file_is_read_again_once_it_has_changed(tmp_path):
    file = tmp_path / "references/skill_info.yaml"
    file.parent.mkdir()
    for name in ("one", "two", "six"):
        file.write_text(f"network_arch: {name}\nactions:\n  train: {{command: {name}}}\n")
        skill = load_skill(tmp_path)
        assert (skill.network_arch, skill.command("train")) == (name, name)
        skill.info["actions"]["train"]["command"] = "changed by a caller"
        assert load_skill(tmp_path).command("train") == name
    file.unlink()
    with pytest.raises(SpecError, match="no such file"):
        load_skill(tmp_path)
