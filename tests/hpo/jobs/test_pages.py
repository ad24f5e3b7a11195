import pytest
import yaml

from hpo.core.errors import SpecError
from hpo.jobs.pages import load_pages, pages_with
from tests.hpo.jobs.conftest import OWN_SKILL

CACHE = "gen_trt_engine.tensorrt.calibration.cal_cache_file"


def test_the_training_page_comes_first():
    main, deploy = load_pages(OWN_SKILL)
    assert "train" in main.info["actions"]
    assert "gen_trt_engine" in deploy.info["actions"]


def test_templates_of_both_pages():
    main, deploy = load_pages(OWN_SKILL)
    assert "checkpoint" in main.template("evaluate")["evaluate"]
    assert "trt_engine" in deploy.template("evaluate")["evaluate"]
    assert main.template("gen_trt_engine")["gen_trt_engine"]["onnx_file"] == "???"


def test_the_published_page_lacks_one_row_that_its_table_has(published):
    deploy = load_pages(published)[1]
    assert CACHE not in deploy.info["spec_params"]["gen_trt_engine"]
    assert deploy.spec_params("gen_trt_engine")[CACHE] == "create_cal_cache"


def test_shorthands_stand_for_dotted_keys():
    main, deploy = load_pages(OWN_SKILL)
    assert main.expand({"trunk_learning_rate": 1, "x.y": 2}) == {
        "train": {"optim": {"trunk": {"base_lr": 1}}}, "x": {"y": 2},
    }  # fmt: skip
    assert deploy.expand({"batch_size": 1}) == {"evaluate": {"batch_size": 1}}


def test_actions_are_found_on_their_pages():
    pages = load_pages(OWN_SKILL)
    assert pages_with(pages, "gen_trt_engine") == [pages[1]]
    assert pages_with(pages, "evaluate") == pages
    with pytest.raises(SpecError, match=r"evaluat: no such action in .*did you mean 'evaluate'"):
        pages_with(pages, "evaluat")


def test_a_skill_without_schema_or_template_knows_nothing(tmp_path):
    (tmp_path / "references").mkdir()
    (tmp_path / "references/skill_info.yaml").write_text(yaml.safe_dump({"actions": {"train": {}}}))
    page = load_pages(tmp_path)[0]
    assert (page.template("train"), page.known_spec("train")) == ({}, {})


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("references/x.skill_info.yaml", "- a", "must be a mapping of keys, got a list"),
        ("references/spec_template_train.yaml", "7", "must be a mapping of keys, got 7"),
        ("schemas/train.schema.json", "{", "cannot be read"),
    ],
)
def test_damaged_files_are_named(tmp_path, file, text, said):
    for folder in ("references", "schemas"):
        (tmp_path / folder).mkdir()
    (tmp_path / "references/skill_info.yaml").write_text("actions: {train: {}}")
    (tmp_path / file).write_text(text)
    with pytest.raises(SpecError, match=said) as caught:
        page = load_pages(tmp_path)[0]
        page.template("train")
        page.known_spec("train")
    assert file in str(caught.value)
