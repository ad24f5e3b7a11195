import io
import json
import os
import tarfile

import pytest

from hpo.core.errors import DataError
from hpo.jobs.staging import stage_sources
from tests.quick_trainer import TRAINER
from tests.s3_server import serving

TRAIN, CALIBRATION = "dataset.train_dataset", "calibration.cal_image_dir"


@pytest.fixture
def bucket(monkeypatch, tmp_path):
    """A bucket with one archive of two classes, and the real trainer's staging with its own cache."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("HPO_CACHE_DIR", str(tmp_path / "cache"))
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name in ("a/0.png", "b/0.png"):
            tar.addfile(tarfile.TarInfo(f"train/{name}"))
    with serving() as server:
        server.objects["shop/known_classes/train.tar.gz"] = buffer.getvalue()
        yield server


@pytest.fixture
def trainer():
    session = pytest.importorskip("trainer.session")
    return session.TRAINER


def folders_of(workspace):
    record = json.loads((workspace / "evaluations/data_staging.json").read_text())
    return {key: [row["folder"] for row in rows] for key, rows in record["sources"].items()}


def test_a_bucket_is_staged_once_for_four_trials(bucket, trainer, tmp_path, monkeypatch):
    for name, value in bucket.environment().items():
        monkeypatch.setenv(name, value)
    source = "s3://shop/known_classes/train.tar.gz"
    for trial in range(4):
        workspace = tmp_path / f"run_{trial}"
        stage_sources({TRAIN: source, CALIBRATION: [source]}, trainer, workspace)
        folder = folders_of(workspace)[TRAIN][0]
        assert folders_of(workspace)[CALIBRATION] == [folder]
        assert {p.name for p in (tmp_path / folder).rglob("*.png")} == {"0.png"}
    assert bucket.fetched == ["shop/known_classes/train.tar.gz"]
    record = json.loads((workspace / "evaluations/data_staging.json").read_text())
    assert record["sources"][TRAIN][0]["source"] == source
    assert record["sources"][TRAIN][0]["folder"] == folder


def test_missing_credentials_are_one_line(bucket, trainer, tmp_path):
    with pytest.raises(DataError) as caught:
        stage_sources({TRAIN: "s3://shop/known_classes/train.tar.gz"}, trainer, tmp_path)
    text = str(caught.value)
    assert text.startswith(
        f"{TRAIN}: s3://shop/known_classes/train.tar.gz: no credentials; set AWS"
    )
    assert "\n" not in text


def test_folders_stay_where_they_are(tmp_path):
    stage_sources({TRAIN: str(tmp_path), "q": ""}, TRAINER, tmp_path / "run")
    assert folders_of(tmp_path / "run") == {TRAIN: [str(tmp_path)], "q": []}
