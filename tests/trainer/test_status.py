"""How runs end: exit code, the last line at the terminal, and the last line of status.json."""

import json
import logging
import os
import signal

import pytest
import yaml

from tests.trainer.tiny import make_splits, train_spec
from trainer import cli
from trainer.errors import DeviceMemoryError
from trainer.status import StatusFiles, reason


@pytest.fixture(scope="module")
def splits(tmp_path_factory):
    return make_splits(tmp_path_factory.mktemp("pictures"))


@pytest.fixture
def ended(splits, tmp_path, capsys):
    """Train from the command line and say how it ended."""

    def run(**changes):
        path = tmp_path / "spec.yaml"
        path.write_text(yaml.safe_dump(train_spec(splits, tmp_path / "out", **changes)))
        code = cli.main(["train", "-e", str(path)])
        lines = capsys.readouterr().err.splitlines()
        file = tmp_path / "out" / "train" / "status.json"
        last = json.loads(file.read_text().splitlines()[-1]) if file.is_file() else {}
        return code, lines, (last.get("status"), last.get("message"))

    return run


def test_completed(ended, tmp_path):
    code, lines, status = ended(train__num_epochs=1)
    assert code == 0
    assert lines[-1].startswith("ml_recog train: done in ")
    assert lines[-1].endswith(f"; results in {tmp_path}/out/train")
    assert status == ("SUCCESS", "Training finished successfully.")


@pytest.mark.parametrize("signals", [[signal.SIGTERM], [signal.SIGHUP] * 2])
def test_interrupted(signals, ended, sighup_as_in_a_terminal):
    class AtTheFirstEpoch(logging.Handler):
        def emit(self, record):
            if record.getMessage().startswith("epoch 1/"):
                for number in signals:
                    os.kill(os.getpid(), number)

    handler = AtTheFirstEpoch()
    logger = logging.getLogger("trainer.actions.train")
    logger.addHandler(handler)
    try:
        code, lines, status = ended(train__num_epochs=9)
    finally:
        logger.removeHandler(handler)
        signal.raise_signal(signal.SIGHUP)  # a late one does not kill what is ending
    assert code == 130
    assert lines[-1] == "ml_recog train: interrupted"
    assert lines[-2].startswith("to go on: add train.resume_training_checkpoint_path=")
    assert status == ("FAILURE", "Interrupted.")
    key, _, place = lines[-2].removeprefix("to go on: add ").partition("=")
    code, lines, status = ended(**{key.replace(".", "__"): place, "train__num_epochs": 2})
    assert code == 0
    assert status[0] == "SUCCESS"


def test_bad_pictures(ended, tmp_path):
    code, lines, _ = ended(dataset__train_dataset=str(tmp_path / "nowhere"))
    assert code == 2
    assert lines[-1].startswith("ml_recog train: error: dataset.train_dataset: ")


def test_diverged(ended):
    code, lines, status = ended(
        train__optim__name="SGD", train__loss__name="normalized_softmax", train__loss__base_lr=10.0,
        train__loss__normalized_softmax__temperature=1e-30, train__optim__warmup_iters=1,
        train__optim__trunk__base_lr=1.0, train__num_epochs=5,
    )  # fmt: skip
    assert code == 2
    assert "ml_recog train: error: epoch " in lines[-1]
    assert "must be finite" in lines[-1]
    assert status[0] == "FAILURE"
    assert status[1].startswith("diverged: DivergedError: epoch ")


def test_lack_of_memory_is_named():
    error = DeviceMemoryError("train.batch_size 64 of resnet_50: not enough\nmemory")
    said = "train.batch_size 64 of resnet_50: not enough memory"
    assert reason(error) == f"out of memory: DeviceMemoryError: {said}"


@pytest.mark.parametrize(
    ("areas", "epoch", "left"),
    [
        ((), 2, "0:00:30"),
        ((0.25, 0.5, 1.0, 1.0, 1.0), 2, "0:01:00"),
        ((0.25, 0.5, 1.0, 1.0, 1.0), 5, "0:00:00"),
        ((0.25, 0.5, 1.0, 1.0, 1.0), 7, "0:00:00"),  # resumed for fewer than it had
    ],
)
def test_what_is_left_grows_with_the_pictures(tmp_path, areas, epoch, left):
    """Three epochs are, of ten seconds each, or of twenty where they took ten for half the area."""
    files = StatusFiles(tmp_path, 5, areas)
    files.begin([])
    files.add({"epoch": epoch, "value": 0.5, "seconds": 10.0})
    line = json.loads((tmp_path / "status.json").read_text().splitlines()[-1])
    assert line["eta"] == left
