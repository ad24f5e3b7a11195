"""The real trainer, tiny: fixed values from every source in spec, receipt, report and ONNX file."""

import json

import onnx
import pytest

from hpo.core.budget import Budget
from hpo.core.spec_dicts import lookup
from hpo.core.yaml_io import read_yaml
from hpo.run.ledger import Ledger
from hpo.searching.session import start_search
from hpo.study.sections import DataSources, SearchOptions
from hpo.study.spec import StudySpec
from tests.quick_runs import Ear
from tests.trainer.tiny import make_splits

PINNED = {
    "train.optim.gamma": 0.37,
    "train.optim.embedder.base_lr": 0.01,
    "train.batch_size": 8,
    "train.num_epochs": 2,
    "dataset.re_prob": 0.25,
}


@pytest.mark.slow
def test_fixed_values_reach_the_optimizer_and_the_exported_file(tmp_path):
    splits = make_splits(tmp_path / "pictures", classes=4, images=8)
    study = StudySpec(
        name="tiny",
        data=DataSources(**{k: str(splits[k]) for k in ("train", "reference", "query")}),
        spec={
            "model.backbone": "timm/test_resnet", "model.input_width": 32,
            "model.input_height": 32, "dataset.workers": 0, "train.optim.steps": [1],
            "train.num_epochs": 3,
        },
        budget=Budget(trials=1),
        search=SearchOptions(
            over=("train.optim.trunk.weight_decay",),
            fix={k: PINNED[k] for k in ("train.optim.gamma", "train.num_epochs", "dataset.re_prob")},
            options={"train.optim.embedder.base_lr": [0.01]},
            ranges={"train.batch_size": [8, 11]},  # a multiple of 4 pictures a class
        ),
    )  # fmt: skip
    run = start_search(study, tmp_path / "runs", Ear().settings(probe=False)).run
    ledger = Ledger.open(run.ledger_file)
    (trial,) = ledger.trials()
    ledger.close()
    report = json.loads((run.best_dir / "report.json").read_text())
    props = onnx.load(run.best_dir / "model.onnx").metadata_props
    (told,) = [json.loads(p.value) for p in props if p.key == "trained_with"]
    for name, value in PINNED.items():
        assert lookup(read_yaml(run.trial_dir(0) / "spec.yaml"), name) == value
        assert lookup(read_yaml(run.best_dir / "spec.yaml"), name) == value
        assert trial.receipt["applied"][name] == pytest.approx(value)
        assert report["decided"][name] == value
        assert told[name] == value
    assert trial.epochs == 2
    assert "dataset.workers" in trial.receipt["unseen"]
