import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from hpo.core.errors import RunError
from hpo.jobs.job import Job, _at, find_job, list_jobs, new_folder, read_job
from tests.processes import looked_at


def make(root, action="train", job_id="", **facts):
    with new_folder(root, action, job_id) as folder:
        job = Job(id=folder.name, action=action, skill_dir="skill", folder=folder, **facts)
        job.save()
    return job


def test_a_record_reads_back_as_it_was_written(tmp_path):
    job = make(tmp_path, status="success", result={"a": 0.5}, command=["x", "y"], created=1.0)
    assert read_job(job.folder) == job
    assert "folder" not in json.loads((job.folder / "job.json").read_text())


def test_a_command_may_name_another_spec_beside_the_jobs_own(tmp_path):
    words = ["train", "--base=/conf/spec.yaml", f"-e={tmp_path / 'results/train-1/spec.yaml'}"]
    job = make(tmp_path, status="success", command=words, cwd="/conf")
    assert read_job(job.folder) == job
    (tmp_path / "results").rename(tmp_path / "moved")
    found = read_job(tmp_path / "moved" / job.id)
    assert found.command == [*words[:2], f"-e={found.folder / 'spec.yaml'}"]
    assert found.cwd == "/conf"


def test_the_folder_of_a_job_may_be_one_at_the_top():
    assert (
        _at(Path("/train-1"), {"id": "train-1", "action": "train", "skill_dir": ""}).moved is None
    )


def test_numbers_go_up_for_each_action(tmp_path):
    names = [make(tmp_path, action).id for action in ("train", "export", "train")]
    assert names == ["train-1", "export-1", "train-2"]
    (tmp_path / "results" / "train-9").mkdir()
    assert make(tmp_path).id == "train-10"


def test_folders_made_at_the_same_time_are_different(tmp_path):
    names = []
    threads = [threading.Thread(target=lambda: names.append(make(tmp_path).id)) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(names)) == 20


@pytest.mark.parametrize("name", ["a/b", "../x", ".hidden", ".."])
def test_ids_that_are_no_folder_names_are_refused(tmp_path, name):
    with pytest.raises(RunError, match="must be usable as a folder name"):
        make(tmp_path, job_id=name)


def test_an_id_is_given_once(tmp_path):
    make(tmp_path, job_id="mine")
    with pytest.raises(RunError, match="mine: there is such a job"):
        make(tmp_path, job_id="mine")


def test_an_id_is_given_to_one_of_many_who_want_it_at_once(tmp_path):
    got, refused = [], []

    def want():
        try:
            got.append(make(tmp_path, job_id="mine").id)
        except RunError as error:
            refused.append(str(error))

    threads = [threading.Thread(target=want) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(got), len(refused)) == (1, 7)
    assert all("there is such a job" in words for words in refused)
    assert read_job(tmp_path / "results" / "mine").id == "mine"


MAKER = """
import os, signal, sys
from pathlib import Path
from hpo.jobs.job import new_folder
with new_folder(Path(sys.argv[1]), "train", "mine") as folder:
    (folder / "spec.yaml").write_text("a: 1")
    print("made", flush=True)
    sys.stdin.read()
"""


def test_a_folder_whose_maker_was_killed_is_free_again(tmp_path):
    """Before, the id was taken for ever by a job that there was none of."""
    words = [sys.executable, "-c", MAKER, str(tmp_path)]
    maker = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert maker.stdout.readline() == b"made\n"
    with pytest.raises(RunError, match="mine: there is such a job"):
        make(tmp_path, job_id="mine")
    maker.kill()
    maker.wait()
    assert make(tmp_path, job_id="mine", status="success").status == "success"


@pytest.mark.parametrize("name", ["notes.txt", ".git", ".spec.yaml", "spec.yaml/a", ""])
def test_a_folder_with_somebodys_files_is_not_taken(tmp_path, name):
    """Without a name a file stands where the folder would."""
    file = tmp_path / "results" / "mine" / name
    file.parent.mkdir(parents=True)
    file.write_text("keep me")
    with pytest.raises(RunError, match="mine: there is such a job"):
        make(tmp_path, job_id="mine")
    assert file.read_text() == "keep me"


def test_a_job_that_cannot_be_made_leaves_a_folder_that_was_there(tmp_path):
    folder = tmp_path / "results" / "mine"
    folder.mkdir(parents=True)
    (folder / "spec.yaml").write_text("a: 1")
    (folder / f".job.json-{'0a' * 8}").touch()  # as a maker that was killed leaves it
    with pytest.raises(ZeroDivisionError), new_folder(tmp_path, "train", "mine"):
        (folder / "more").mkdir()
        (folder / "job.json").touch()
        raise ZeroDivisionError
    assert (folder / "spec.yaml").read_text() == "a: 1"
    assert not [path for path in folder.iterdir() if path.name in {"more", "job.json"}]
    assert make(tmp_path, job_id="mine", status="success").status == "success"


def test_a_job_that_cannot_be_made_leaves_no_folder(tmp_path):
    with pytest.raises(ZeroDivisionError), new_folder(tmp_path, "train"):
        raise ZeroDivisionError
    assert list((tmp_path / "results").iterdir()) == []


def test_a_look_at_a_job_does_not_keep_its_worker_out(tmp_path):
    """A search polls a job all the time; a worker that starts just then began never."""
    job, held = make(tmp_path, created=time.time()), 0
    with looked_at(lambda: read_job(job.folder)):
        for _ in range(100):
            with job.lock():
                held += 1
    assert held == 100


def test_a_job_whose_worker_is_gone_is_a_failure(tmp_path):
    job = make(tmp_path, status="running")
    assert read_job(job.folder).status == "failure"
    assert "is gone without a result" in read_job(job.folder).message
    with job.lock():
        assert read_job(job.folder).status == "running"
        with pytest.raises(RunError, match="is running already"), job.lock():
            pass


def test_a_job_that_never_began_is_a_failure_after_a_while(tmp_path):
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
