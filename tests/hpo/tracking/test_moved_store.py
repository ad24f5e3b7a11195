"""A folder of runs that was moved or copied has its MLflow files with it."""

import shutil
import sqlite3
from pathlib import Path

import pytest

from hpo.tracking.moved_store import follow_database
from hpo.tracking.store import connect, default_tracking_uri, ensure_experiment
from tests.hpo.tracking.scripted import copy_store


def filled(out, name):
    """A store with a run, a file of it, and a registered model that consists of that file."""
    uri = default_tracking_uri(out)
    client = connect(uri)
    run_id = client.create_run(ensure_experiment(client, uri, name)).info.run_id
    file = out / ".mlflow" / name / run_id / "artifacts" / "model" / "log.txt"
    file.parent.mkdir(parents=True)  # by hand: within one process MLflow remembers a run's folder
    file.write_text("said")
    client.create_registered_model("m")
    source = f"{client.get_run(run_id).info.artifact_uri}/model"
    client.create_model_version("m", source=source, run_id=run_id)
    return run_id


@pytest.mark.parametrize("is_copy", [True, False])
@pytest.mark.parametrize("name", ["shelf", "a b#1%20"])
def test_files_and_models_are_found_at_the_new_place(template, tmp_path, is_copy, name):
    old, new = tmp_path / "old", tmp_path / name / ".mlflow" / "new"
    run_id = filled(copy_store(template, old), name)
    if is_copy:
        shutil.copytree(old, new)
    else:
        new.parent.mkdir(parents=True)
        old.rename(new)
    before = sorted(old.rglob("*"))
    uri = default_tracking_uri(new)
    client = connect(uri)
    kept = new / ".mlflow" / name / run_id / "artifacts" / "model"
    assert client.get_run(run_id).info.artifact_uri == kept.parent.as_uri()
    got = client.download_artifacts(run_id, "model/log.txt", str(tmp_path))
    assert Path(got).read_text() == "said"
    assert client.get_model_version_download_uri("m", "1") == kept.as_uri()
    client.log_text(run_id, "more", "more.txt")
    fresh = client.create_run(ensure_experiment(client, uri, name)).info.run_id
    client.log_text(fresh, "new", "new.txt")
    assert (kept.parent / "more.txt").read_text() == "more"
    assert (new / ".mlflow" / name / fresh / "artifacts" / "new.txt").read_text() == "new"
    assert sorted(old.rglob("*")) == before


def test_what_lies_elsewhere_stays_there(out, tmp_path):
    """Files that were not copied along, a place that its user chose, and a server's."""
    uri = default_tracking_uri(out)
    client = connect(uri)
    kept = tmp_path / "other" / ".mlflow" / "kept"
    kept.mkdir(parents=True)
    places = [kept.as_uri(), (tmp_path / "chosen" / "x").as_uri(), "s3://bucket/.mlflow/x"]
    made = [client.create_experiment(str(n), artifact_location=p) for n, p in enumerate(places)]
    client = connect(uri)
    assert [client.get_experiment(one).artifact_location for one in made] == places


def test_a_database_of_another_program_is_left_to_mlflow_and_one_that_is_none_is_told(tmp_path):
    file = tmp_path / "mlflow.db"
    sqlite3.connect(file).execute("CREATE TABLE experiments (x)").connection.close()
    before = file.read_bytes()
    follow_database(file)
    assert file.read_bytes() == before
    file.write_bytes(b"no database" * 200)
    with pytest.raises(OSError, match=r"mlflow\.db: file is not a database"):
        follow_database(file)
