import json
import threading

import pytest

from hpo.core.errors import RunError
from hpo.jobs.job import Job, create_folder, find_job, list_jobs, read_job


def make(root, action="train", **facts):
    name, folder = create_folder(root, action)
    job = Job(id=name, action=action, skill_dir="skill", folder=folder, **facts)
    job.save()
    return job


def test_a_record_reads_back_as_it_was_written(tmp_path):
    job = make(tmp_path, status="success", result={"a": 0.5}, command=["x", "y"], created=1.0)
    assert read_job(job.folder) == job
    assert "folder" not in json.loads((job.folder / "job.json").read_text())


def test_numbers_go_up_for_each_action(tmp_path):
    names = [create_folder(tmp_path, action)[0] for action in ("train", "export", "train")]
    assert names == ["train-1", "export-1", "train-2"]
    (tmp_path / "results" / "train-9").mkdir()
    assert create_folder(tmp_path, "train")[0] == "train-10"


def test_folders_made_at_the_same_time_are_different(tmp_path):
    names = []
    threads = [
        threading.Thread(target=lambda: names.append(create_folder(tmp_path, "train")[0]))
        for _ in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(names)) == 20


@pytest.mark.parametrize("name", ["a/b", "../x", ".hidden", ".."])
def test_ids_that_are_no_folder_names_are_refused(tmp_path, name):
    with pytest.raises(RunError, match="must be usable as a folder name"):
        create_folder(tmp_path, "train", name)


def test_an_id_is_given_once(tmp_path):
    create_folder(tmp_path, "train", "mine")
    with pytest.raises(RunError, match="mine: there is such a job"):
        create_folder(tmp_path, "train", "mine")


def test_a_job_whose_worker_is_gone_is_a_failure(tmp_path):
    job = make(tmp_path, status="running")
    assert read_job(job.folder).status == "failure"
    assert "is gone without a result" in read_job(job.folder).message
    with job.lock():
        assert read_job(job.folder).status == "running"
        with pytest.raises(RunError, match="is running already"), job.lock():
            pass


def test_a_job_that_never_began_is_a_failure_after_a_while(tmp_path):
    import time

    assert read_job(make(tmp_path, created=time.time()).folder).status == "pending"
    late = read_job(make(tmp_path, created=time.time() - 1000).folder)
    assert (late.status, late.message) == ("failure", "its process never began")


def test_damaged_records_are_named_and_left_out_of_lists(tmp_path):
    job = make(tmp_path, status="success")
    broken = make(tmp_path)
    (broken.folder / "job.json").write_text('{"id": ')
    assert [found.id for found in list_jobs(tmp_path)] == [job.id]
    with pytest.raises(RunError, match=r"train-2/job.json: must be the record of a job"):
        find_job(tmp_path, broken.id)


def test_keys_of_later_versions_are_passed_over(tmp_path):
    job = make(tmp_path, status="success")
    file = job.folder / "job.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "colour": "red"}))
    assert read_job(job.folder) == job


def test_without_jobs_that_is_said(tmp_path):
    with pytest.raises(RunError, match=r"train-1: no such job in .*; there are none"):
        find_job(tmp_path, "train-1")
