import pytest

from hpo.core.errors import RunError, SpecError
from hpo.jobs import LocalJobs, create_job
from tests.hpo.jobs.conftest import spec_of

ROOTS = "train_dataset_uri"


def test_a_chain_by_job_id_alone(jobs, data):
    job = jobs.create_job("train", data_roots={ROOTS: str(data)})
    for action in ("export", "gen_trt_engine", "evaluate"):
        assert jobs.wait(job.id, 30).status == "success", jobs.get_failure_analysis(job.id)
        job = jobs.create_job(action, parent_job_id=job.id)
    assert jobs.wait(job.id, 30).result == {"metrics.val_precision_at_1": 0.5}
    assert "metrics.val_precision_at_1: 0.5" in jobs.get_job_logs(job.id)
    assert jobs.get_job_status(job.id).status == "success"


def test_the_module_makes_one_job(tmp_path, skill, data):
    job = create_job(
        "train", root=tmp_path, skill_dir=skill, data_roots={ROOTS: str(data)}, job_id="first"
    )
    assert LocalJobs(tmp_path).wait("first", 30).status == "success"
    assert job.results_dir == tmp_path / "results" / "first"


def test_why_a_job_failed(jobs, data, monkeypatch):
    monkeypatch.setenv("FAKE_FAULT", "user")
    job = jobs.create_job("train", data_roots={ROOTS: str(data)})
    jobs.wait(job.id, 30)
    why = jobs.get_failure_analysis(job.id)
    assert (why["status"], why["exit_code"]) == ("failure", 2)
    assert why["message"].endswith("dataset: no such pictures")
    assert why["tail"][0] == "ready"


def test_a_running_job_can_be_canceled(jobs, data, monkeypatch):
    monkeypatch.setenv("FAKE_FAULT", "hang")
    job = jobs.create_job("train", data_roots={ROOTS: str(data)})
    with pytest.raises(RunError, match="train-1: is still .* after 0 s"):
        jobs.wait(job.id, 0.01)
    assert jobs.cancel_job(job.id).status == "canceled"
    assert jobs.cancel_job(job.id).status == "canceled"


def test_what_is_wrong_is_said_before_anything_is_made(jobs, data):
    with pytest.raises(SpecError):
        jobs.create_job("train")
    with pytest.raises(SpecError, match=r"data_roots.train: no such root; they are train_dataset"):
        jobs.create_job("train", data_roots={"train": str(data)})
    with pytest.raises(SpecError, match="base checkpoint: .* does not exist; name a file"):
        jobs.create_job("train", data_roots={ROOTS: str(data)}, base_checkpoint="none.pth")
    assert not list(jobs.root.glob("results/*"))


def test_a_training_goes_on_from_its_own_newest_state(jobs, data, trained):
    resumed = jobs.run(jobs.prepare_resume(trained.id, {"num_epochs": 6}))
    assert resumed.id == trained.id
    assert resumed.result["started_from"].endswith("train-1/train/ckpt/last.ckpt")
    assert spec_of(resumed)["train"]["num_epochs"] == 6
    log = resumed.log_file.read_text().splitlines()
    assert [line for line in log if line.startswith("epoch")] == [f"epoch {n}" for n in range(1, 7)]


def test_only_ended_trainings_are_resumed(jobs, data):
    from hpo.jobs.compose_spec import JobRequest

    pending = jobs.prepare_job(JobRequest(action="train", roots={ROOTS: str(data)}))
    with pytest.raises(RunError, match="is pending; only a job that has ended can be resumed"):
        jobs.prepare_resume(pending.id)
