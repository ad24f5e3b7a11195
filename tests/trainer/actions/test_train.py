import json
import logging

import pytest

from tests.trainer.tiny import make_splits, train_spec
from trainer.actions.train import train
from trainer.errors import SpecError
from trainer.spec import parse_spec


def test_a_run_of_its_own_folder_with_a_line_per_epoch(tmp_path, caplog):
    caplog.set_level(logging.INFO, "trainer.actions.train")
    splits = make_splits(tmp_path / "pictures")
    spec = parse_spec(train_spec(splits, tmp_path / "out"), "train")
    result = train(spec)
    folder = tmp_path / "out" / "train"
    assert result["folder"] == str(folder)
    assert result["best"] == str(folder / "ckpt" / "best.ckpt")
    lines = [r.message for r in caplog.records if r.message.startswith("epoch")]
    assert [line.split("  ")[0] for line in lines] == ["epoch 1/2", "epoch 2/2"]
    published = [json.loads(line) for line in (folder / "status.json").read_text().splitlines()]
    assert [line["status"] for line in published] == ["STARTED", "RUNNING", "RUNNING", "SUCCESS"]
    values = [line["kpi"]["val Precision at Rank 1"] for line in published if "kpi" in line]
    assert max(values) == result["best_value"]
    with pytest.raises(SpecError, match="already holds a run"):
        train(spec)
    resumed = train_spec(
        splits, tmp_path / "out", train__num_epochs=3,
        train__resume_training_checkpoint_path=str(folder / "ckpt" / "last.ckpt"),
    )  # fmt: skip
    assert train(parse_spec(resumed, "train"))["epochs"] == 3
