"""Each study file that comes with the project plans on small images of the same layout."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hpo.core.machine import this_machine
from hpo.core.spec_dicts import flatten
from hpo.searching.make_plan import plan_study
from hpo.study.plan import build_space
from hpo.study.sections import DataSources
from hpo.study.spec import load_study
from hpo.study.start import complete_study
from hpo.study.trainers import find_trainer

STUDIES = Path(__file__).resolve().parents[2] / "studies"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Ten classes of twelve pictures each."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for label in range(10):
        (folder / f"class-{label}").mkdir()
        for number in range(12):
            pixels = rng.integers(0, 255, (24, 24, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"class-{label}" / f"{number}.png")
    return folder


def plan(name, pictures, monkeypatch, **sources):
    monkeypatch.setenv("HPO_CACHE_DIR", str(pictures.parent / "cache"))
    study = load_study(STUDIES / f"{name}.yaml")
    data = DataSources(**sources) if sources else DataSources(folder=str(pictures))
    study = replace(study, data=data)
    trainer = find_trainer(study.trainer)
    study = complete_study(study, trainer, this_machine()).study  # as a search does
    made = plan_study(study, trainer)
    space = build_space(study, trainer, made.base_spec, num_trials=study.budget.trials)
    return study, made, {parameter.name for parameter in space.parameters}


def test_quickstart_plans_on_the_embedded_pictures_layout(pictures, monkeypatch):
    study, made, searched = plan("quickstart", pictures, monkeypatch)
    assert study.data.is_default is False
    assert load_study(STUDIES / "quickstart.yaml").data.is_default
    assert made.base_spec["model"]["backbone"] == "timm/tf_efficientnet_lite0"
    assert "train.optim.embedder.base_lr" in searched
    assert "train.optim.trunk.base_lr" not in searched  # the trunk is frozen
    assert made.algorithm == "mfbo"


def test_retail_follows_the_skill_page(pictures, monkeypatch):
    paths = {name: str(pictures) for name in ("train", "reference", "query")}
    study, made, searched = plan("retail_resnet50", pictures, monkeypatch, **paths)
    train = made.base_spec["train"]
    assert (train["num_epochs"], train["checkpoint_interval"], train["validation_interval"]) == (
        30, 10, 10,
    )  # fmt: skip
    assert made.base_spec["model"]["backbone"] == "resnet_50"
    assert "train.optim.gamma" not in searched  # its first milestone lies beyond epoch 30
    original = load_study(STUDIES / "retail_resnet50.yaml").data
    assert original.train.endswith("known_classes/train.tar.gz")
    assert original.test_query.endswith("unknown_classes/test.tar.gz")


def test_defects_searches_loss_and_batch_too(pictures, monkeypatch):
    study, made, searched = plan("defects", pictures, monkeypatch)
    assert {"train.batch_size", "train.loss.name"} <= searched
    assert study.budget.trials == 30
    assert study.budget.seconds == 8 * 3600
    assert study.search.confirm == 2
    assert made.base_spec["model"]["pretrained_trunk_path"] == "lite0"
    trainer = find_trainer(study.trainer)
    for loss in study.search.options["train.loss.name"]:
        asked = flatten(made.base_spec) | {"train.loss.name": loss, "train.batch_size": 16}
        assert trainer.validate(asked)["dataset"]["sampling"] == "classes"
