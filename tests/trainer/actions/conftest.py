"""One small trained model that all actions are tested on."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.trainer.tiny import SIDE, TRUNK, make_splits, train_spec
from trainer.training import fit


@dataclass(frozen=True)
class Trained:
    """A run and the spec keys that every action on it needs."""

    splits: dict
    checkpoint: Path
    last_value: float

    def spec(self, folder, **changes):
        """Model and pictures of the run, with changes as dotted keys with `__` for the dot."""
        common = {
            "results_dir": str(folder),
            "dataset.val_dataset.reference": self.splits["reference"],
            "dataset.val_dataset.query": self.splits["query"],
            "dataset.cache": False,
            "model.backbone": TRUNK,
            "model.input_width": SIDE,
            "model.input_height": SIDE,
            "model.feat_dim": 16,
        }
        return common | {key.replace("__", "."): value for key, value in changes.items()}


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    splits = make_splits(folder / "pictures", classes=6)
    values = []
    fit(
        train_spec(splits, folder, train__num_epochs=3, train__optim__trunk__base_lr=2e-3),
        lambda report: values.append(report["value"]) or True,
    )
    return Trained(splits, folder / "ckpt" / "last.ckpt", values[-1])


@pytest.fixture(scope="session")
def exported(trained, tmp_path_factory):
    """The folder of an export of that model."""
    from trainer.actions.export import export
    from trainer.spec import parse_spec

    folder = tmp_path_factory.mktemp("exported")
    spec = trained.spec(
        folder,
        export__checkpoint=str(trained.checkpoint),
        export__onnx_file=str(folder / "model.onnx"),
        export__on_cpu=True,
    )
    export(parse_spec(spec, "export"))
    return folder
