from pathlib import Path

import pytest

from hpo.jobs.pages import load_pages
from hpo.jobs.parent_data import carried_sections, inherited_data, is_known
from hpo.jobs.parents import Parent
from tests.hpo.jobs.conftest import OWN_SKILL

REFERENCE, QUERY = "dataset.val_dataset.reference", "dataset.val_dataset.query"
CALIBRATION = "gen_trt_engine.tensorrt.calibration.cal_image_dir"


def parent(action="train", spec=None, **more):
    facts = {"place": Path(), "folder": Path(), "skill_dir": OWN_SKILL, "status": "success"}
    return Parent(name="p", action=action, spec=spec or {}, **(facts | more))


@pytest.mark.parametrize(
    ("key", "known"),
    [
        ("train.lr", True),
        ("train.lrr", False),
        ("val.anything", True),
        ("val", True),
        ("train.lr.deeper", False),
        ("other", False),
    ],
)
def test_keys_are_known_by_the_tree_and_below_open_sections(key, known):
    assert is_known(key, {"train": {"lr": 1}, "val": {}}) is known


def test_only_what_the_model_was_built_from_is_carried():
    main, deploy = load_pages(OWN_SKILL)
    spec = {
        "train": {"num_epochs": 3},
        "model": {"feat_dim": 8, "pretrained_model_path": "w.pth", "nonsense": 1},
        "dataset": {"pixel_mean": [0, 0, 0], "train_dataset": "t", "val_dataset": {"query": "q"}},
        "results_dir": "r", "encryption_key": "k",
    }  # fmt: skip
    engine = carried_sections(
        deploy, "gen_trt_engine", deploy.known_spec("gen_trt_engine"), parent(spec=spec)
    )
    assert set(engine) == {"model", "dataset"}
    assert engine["model"] == {"feat_dim": 8}
    assert engine["dataset"]["val_dataset"] == {"query": "q"}
    evaluate = carried_sections(main, "evaluate", main.known_spec("evaluate"), parent(spec=spec))
    assert "val_dataset" not in evaluate["dataset"]
    assert carried_sections(main, "evaluate", {}, None) == {}


def test_a_training_from_a_training_takes_over_its_recipe():
    main = load_pages(OWN_SKILL)[0]
    train = {
        "num_epochs": 3, "optim": {"name": "AdamW"}, "loss": {"name": "normalized_softmax"},
        "head_checkpoint": "/runs/3/best.ckpt", "resume_training_checkpoint_path": "/a.ckpt",
        "gpu_ids": [3], "num_gpus": 2, "results_dir": "/runs/4", "nonsense": 1,
    }  # fmt: skip
    spec = {"train": train, "dataset": {"sampling": "random"}, "export": {"on_cpu": True}}
    carried = carried_sections(main, "train", main.known_spec("train"), parent(spec=spec))
    assert carried == {
        "train": {key: train[key] for key in ("num_epochs", "optim", "loss")},
        "dataset": {"sampling": "random"},
    }
    of_export = parent("export", spec=spec)
    again = carried_sections(main, "train", main.known_spec("train"), of_export)
    assert again == {"dataset": {"sampling": "random"}}


def test_held_out_data_come_before_those_that_chose_the_model():
    main = load_pages(OWN_SKILL)[0]
    spec = {"dataset": {"val_dataset": {"reference": "r", "query": "q"}}}
    searched = parent(spec=spec, held_out={QUERY: "test"})
    kept, notes = inherited_data(main, "evaluate", {}, {}, [searched])
    assert kept == {QUERY: "test", REFERENCE: "r"}
    assert notes == {QUERY: "held-out data of p", REFERENCE: "as in p"}


def test_roots_and_given_keys_leave_nothing_to_inherit():
    main = load_pages(OWN_SKILL)[0]
    spec = {"dataset": {"val_dataset": {"reference": "r", "query": "q"}}}
    line = [parent(spec=spec)]
    assert inherited_data(main, "evaluate", {}, {"train_dataset_uri": "/d"}, line)[0] == {}
    assert inherited_data(main, "evaluate", {QUERY: "own"}, {}, line)[0] == {REFERENCE: "r"}


def test_the_same_place_in_the_table_is_the_same_data():
    deploy = load_pages(OWN_SKILL)[1]
    line = [parent("export"), parent(spec={"dataset": {"train_dataset": "/photos"}})]
    kept, notes = inherited_data(deploy, "gen_trt_engine", {}, {}, line)
    assert kept == {CALIBRATION: "/photos"}
    assert notes == {CALIBRATION: "dataset.train_dataset of p"}
