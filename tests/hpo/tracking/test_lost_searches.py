"""A search that was killed is shown as interrupted, and no other one is touched."""

import contextlib
import json
import sqlite3

import pytest

from hpo.run.run_dir import Holder
from hpo.tracking import rows
from hpo.tracking.lost_searches import end_lost_searches
from hpo.tracking.store import connect, ensure_experiment
from tests.hpo.tracking.scripted import UUID


def shown(client, run_id):
    run = client.get_run(run_id)
    return run.info.status, run.data.tags[rows.STATE_TAG]


@pytest.mark.parametrize(
    ("holder", "label", "uuid", "is_ended"),
    [
        (None, "", UUID, True),
        (Holder.CALIBRATION, "", UUID, True),
        (Holder.SEARCH, "", UUID, False),
        (Holder.CALLER, "", UUID, False),
        (None, "shelf/20200101-000000", UUID, False),
        (None, "", "another", False),
    ],
)
def test_only_a_search_that_no_process_holds_is_ended(script, holder, label, uuid, is_ended):
    client = connect(script.uri)
    tags = {rows.STUDY_TAG: uuid, rows.STATE_TAG: "running"}
    own = {rows.ROLE_TAG: rows.STUDY_ROLE, rows.RUN_TAG: label or script.run.label}
    experiment = ensure_experiment(client, script.uri, "shelf")
    search = client.create_run(experiment, tags=tags | own).info.run_id
    trial, done = (
        client.create_run(
            experiment, tags={**tags, rows.ROLE_TAG: rows.TRIAL_ROLE, rows.STATE_TAG: state}
        ).info.run_id
        for state in ("running", "complete")
    )
    with script.run.lock(holder) if holder else contextlib.nullcontext():
        end_lost_searches(script.run.store_dir / "mlflow.db")
    ended = ("KILLED", "interrupted"), ("RUNNING", "suspended")
    running = ("RUNNING", "running"), ("RUNNING", "running")
    assert (shown(client, search), shown(client, trial)) == (ended if is_ended else running)
    assert shown(client, done) == ("RUNNING", "complete")
    assert (client.get_run(search).info.end_time is not None) is is_ended


@pytest.mark.parametrize(
    ("status", "shown_as"),
    [
        ("finished", ("FINISHED", "finished")),
        ("failed", ("FAILED", "failed")),
        ("running", ("KILLED", "interrupted")),
    ],
)
def test_one_whose_end_did_not_arrive_has_ended_as_its_run_says(script, status, shown_as):
    """A run that lacks its study cannot be told the end of, and keeps no other from it."""
    client = connect(script.uri)
    tags = {rows.STATE_TAG: "running", rows.ROLE_TAG: rows.STUDY_ROLE}
    experiment = ensure_experiment(client, script.uri, "shelf")
    broken = script.run.path.with_name("20200101-000000")
    broken.mkdir()
    (broken / "plan.json").write_text(json.dumps({"study_uuid": "u"}))
    own = {rows.STUDY_TAG: "u", rows.RUN_TAG: f"shelf/{broken.name}"}
    lost = client.create_run(experiment, tags=tags | own).info.run_id
    own = {rows.STUDY_TAG: UUID, rows.RUN_TAG: script.run.label}
    search = client.create_run(experiment, tags=tags | own).info.run_id
    script.run.write_state({"status": status})
    end_lost_searches(script.run.store_dir / "mlflow.db")
    assert shown(client, search) == shown_as
    assert shown(client, lost) == ("RUNNING", "running")


def test_a_search_that_goes_on_is_the_same_run(script):
    client = connect(script.uri)
    tags = {rows.STUDY_TAG: UUID, rows.STATE_TAG: "running", rows.RUN_TAG: script.run.label}
    tags[rows.ROLE_TAG] = rows.STUDY_ROLE
    experiment = ensure_experiment(client, script.uri, "shelf")
    search = client.create_run(experiment, tags=tags).info.run_id
    end_lost_searches(script.run.store_dir / "mlflow.db")
    script.open().close()
    assert shown(client, search) == ("FINISHED", "finished")
    assert len(client.search_runs([experiment])) == 1


def test_a_workspace_that_its_user_named_is_found_beside_its_store(script, tmp_path):
    out = script.run.store_dir
    place = script.run.path.rename(out / "ws")
    (place / ".automl" / "controller").mkdir(parents=True)
    (place / ".automl" / "controller" / "facts.json").write_text(json.dumps({}))
    client = connect(script.uri)
    tags = {rows.STUDY_TAG: UUID, rows.STATE_TAG: "running", rows.RUN_TAG: f"{out.name}/ws"}
    experiment = ensure_experiment(client, script.uri, "shelf")
    search = client.create_run(experiment, tags=tags | {rows.ROLE_TAG: rows.STUDY_ROLE})
    end_lost_searches(out / "mlflow.db")
    assert shown(client, search.info.run_id) == ("KILLED", "interrupted")


def test_a_database_of_another_program_is_left_alone_and_one_that_is_none_is_told(tmp_path):
    file = tmp_path / "mlflow.db"
    sqlite3.connect(file).execute("CREATE TABLE songs (x)").connection.close()
    before = file.read_bytes()
    end_lost_searches(file)
    assert file.read_bytes() == before
    file.write_bytes(b"no database" * 200)
    with pytest.raises(OSError, match=r"mlflow\.db: file is not a database"):
        end_lost_searches(file)
