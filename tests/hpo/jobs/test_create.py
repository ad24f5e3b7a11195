from dataclasses import replace

import pytest

from hpo.core.errors import SpecError
from hpo.jobs.compose_spec import JobRequest
from hpo.jobs.platform import LocalJobs
from tests.hpo.jobs.conftest import OWN_SKILL, spec_of


def test_without_a_skill_folder_the_parents_is_taken(trained, jobs):
    child = LocalJobs(jobs.root).prepare_job(JobRequest(action="export"), parent_job_id=trained.id)
    assert child.skill_dir == trained.skill_dir


def test_without_either_it_is_the_registered_recognition_trainer(tmp_path, data):
    request = JobRequest(action="train", roots={"train_dataset_uri": str(data)})
    job = LocalJobs(tmp_path / "work").prepare_job(request)
    assert job.skill_dir == str(OWN_SKILL)
    assert job.network_arch == "ml_recog"


def test_a_folder_that_is_no_skill(tmp_path):
    with pytest.raises(SpecError, match=r"references/skill_info.yaml: no such file"):
        LocalJobs(tmp_path, tmp_path).prepare_job(JobRequest(action="train"))


def test_roots_are_kept_for_the_jobs_that_follow(jobs, data, monkeypatch):
    monkeypatch.chdir(data.parent)
    job = jobs.prepare_job(JobRequest(action="train", roots={"train_dataset_uri": "data"}))
    assert job.roots == {"train_dataset_uri": str(data)}


def test_the_trainer_judges_a_train_spec_before_there_is_a_job(jobs, data):
    request = JobRequest(
        action="train", roots={"train_dataset_uri": str(data)}, overrides={"batch_size": 6}
    )
    with pytest.raises(SpecError, match=r"^train.batch_size: must be a multiple of dataset.num_"):
        jobs.prepare_job(request)
    assert not list(jobs.root.glob("results/*"))


def test_a_job_that_left_no_checkpoint_is_resumed_from_what_it_was_begun_with(
    jobs, data, tmp_path, trained
):
    weights = tmp_path / "w.pth"
    weights.touch()
    latest = str(trained.folder / "train/ckpt/last.ckpt")
    for more, started_from in (
        ({"base_checkpoint": str(weights)}, str(weights)),
        ({"parent_job_id": trained.id, "checkpoint": "latest_model"}, latest),
    ):
        request = JobRequest(action="train", roots={"train_dataset_uri": str(data)})
        job = jobs.prepare_job(request, **more)
        for _ in range(2):
            replace(job, status="failure").save()
            job = jobs.prepare_resume(job.id)
            assert spec_of(job)["model"]["pretrained_model_path"] == started_from
