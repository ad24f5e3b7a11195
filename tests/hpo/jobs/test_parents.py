import json
import shutil

import pytest
import yaml

from hpo.core.errors import RunError
from hpo.jobs.compose_spec import JobRequest
from hpo.jobs.job import Job, new_folder, read_job
from hpo.jobs.parents import find_parent, lineage, model_of
from hpo.jobs.platform import LocalJobs
from hpo.searching.session import start_search
from tests.hpo.jobs.conftest import run, spec_of
from tests.quick_runs import Ear, quick_study


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """A finished search of the quick trainer below `<root>/runs`."""
    from hpo.core.budget import parse_budget

    root = tmp_path_factory.mktemp("searched")
    study = quick_study({"train.num_epochs": 3}, budget=parse_budget("4"))
    result = start_search(study, root / "runs", Ear().settings())
    return root, result.run


def best_of(found):
    return json.loads((found.path / "state.json").read_text())["best"]["trial"]


def test_a_search_hands_on_the_best_epoch_of_its_best_trial(searched):
    root, found = searched
    folder = found.trial_dir(best_of(found))
    for name in (str(found), found.path.name, "quick"):
        parent = find_parent(root, name)
        assert model_of(parent).path == folder / "ckpt" / "best.ckpt"
    assert parent.spec["train"]["num_epochs"] == 3


def test_the_hand_off_stands_in_where_trials_were_tidied_away(searched):
    root, found = searched
    folder = found.trial_dir(best_of(found))
    (folder / "ckpt").rename(found.path / "gone")
    try:
        with pytest.raises(RunError, match="is the best, and .* holds no checkpoint"):
            found.best_dir.rename(found.path / "away")
            find_parent(root, str(found))
        (found.path / "away").rename(found.best_dir)
        assert model_of(find_parent(root, str(found))).path == found.best_dir / "model.ckpt"
    finally:
        (found.path / "gone").rename(folder / "ckpt")


@pytest.fixture
def workspace(searched, skill):
    """The same search with the files of an AutoML workspace."""
    root, found = searched
    folder = found.path / ".automl" / "controller"
    folder.mkdir(parents=True)
    facts = {"skill_dir": str(skill), "experiment_id": "exp-7", "session_id": "s-3", "metric": "m"}
    (folder / "facts.json").write_text(json.dumps(facts | {"platform": "Cluster"}))
    yield root, found
    shutil.rmtree(folder.parent)


def test_every_trial_of_a_search_is_a_parent_by_its_folder(searched):
    root, found = searched
    for number in (0, best_of(found)):
        parent = find_parent(root, f"{found}/trials/{number:04d}/")
        assert parent.folder == found.trial_dir(number)
        learned = yaml.safe_load((found.trial_dir(number) / "spec.yaml").read_text())
        assert parent.spec["train"]["lr"] == learned["train"]["lr"]
    with pytest.raises(RunError, match=r"/0001: trial 1: its checkpoints were removed"):
        find_parent(root, f"{found}/trials/0001")
    with pytest.raises(RunError, match=r"trials/0099 holds no checkpoint of trial 99"):
        find_parent(root, f"{found}/trials/0099")


def test_the_ids_of_an_automl_workspace_mean_its_best_trial(workspace, skill):
    root, found = workspace
    for name in ("exp-7", "s-3"):
        parent = find_parent(root, name)
        assert parent.folder == found.trial_dir(best_of(found))
        assert (parent.skill_dir, parent.monitored) == (skill, "m")


def test_a_job_of_a_platform_is_its_trial_where_its_results_are_here(workspace, tmp_path):
    root, found = workspace
    results = {n: str(tmp_path / f"results-{n}") for n in range(4)}
    jobs = {n: [f"job-{n}", place] for n, place in results.items()} | {2: ["job-2", "s3://b/c"]}
    (found.path / ".automl/controller/jobs.json").write_text(json.dumps(jobs))
    (tmp_path / "results-1").mkdir()
    (tmp_path / "results-1" / "net_epoch_003.pth").touch()
    parent = find_parent(root, "job-1")
    assert model_of(parent).path == tmp_path / "results-1" / "net_epoch_003.pth"
    rate = yaml.safe_load((found.trial_dir(1) / "spec.yaml").read_text())["train"]["lr"]
    assert parent.spec["train"]["lr"] == rate, "put together from what the search has stored"
    said = r"job-2: trial 2 was job job-2 of Cluster, and its results \(s3://b/c\) are not on this"
    with pytest.raises(RunError, match=said):
        find_parent(root, "job-2")


def test_the_ledger_tells_the_best_epoch_where_no_status_does(workspace, tmp_path):
    root, found = workspace
    jobs = {1: ["job-1", str(tmp_path)]}
    (found.path / ".automl/controller/jobs.json").write_text(json.dumps(jobs))
    for epoch in (1, 2, 3):
        (tmp_path / f"net_epoch_{epoch:03d}.pth").touch()
    rows = map(json.loads, found.events_file.read_text().splitlines())
    values = {e["epoch"]: e["value"] for e in rows if e["event"] == "epoch" and e["trial"] == 1}
    best = max(values, key=values.get)
    assert model_of(find_parent(root, "job-1")).path.name == f"net_epoch_{best:03d}.pth"


def test_a_search_without_a_result_has_no_model(tmp_path):
    run_dir = tmp_path / "runs" / "s" / "1"
    run_dir.mkdir(parents=True)
    (run_dir / "study.yaml").write_text("schema_version: 1\n")
    (run_dir / "ledger.db").touch()
    with pytest.raises(RunError, match="no trial of .* has a result yet"):
        find_parent(tmp_path, str(run_dir))


def test_a_job_can_be_named_by_its_folder(jobs, trained, tmp_path):
    elsewhere = LocalJobs(tmp_path / "elsewhere", jobs.skill_dir)
    child = run(elsewhere, "export", parent_job_id=str(trained.folder))
    assert spec_of(child)["export"]["checkpoint"].startswith(str(trained.folder))


def test_a_running_parent_is_waited_for(jobs, data):
    pending = jobs.prepare_job(JobRequest(action="train", roots={"train_dataset_uri": str(data)}))
    with pytest.raises(RunError, match="train-1: is pending; wait for it to end"):
        run(jobs, "export", parent_job_id=pending.id)


def test_an_unknown_parent_is_named_with_those_there_are(jobs, trained):
    with pytest.raises(
        RunError, match=r"train-9: no such search, nor a job .* did you mean 'train-1'"
    ):
        run(jobs, "export", parent_job_id="train-9")


def test_the_line_goes_back_to_the_first_job(jobs, trained):
    exported = run(jobs, "export", parent_job_id=trained.id)
    engine = run(jobs, "gen_trt_engine", parent_job_id=exported.id)
    line = list(lineage(find_parent(jobs.root, engine.id)))
    assert [parent.name for parent in line] == [engine.id, exported.id, trained.id]


def test_the_line_goes_on_where_the_parent_lies(jobs, trained, tmp_path):
    exported = run(jobs, "export", parent_job_id=trained.id)
    elsewhere = LocalJobs(tmp_path / "elsewhere", jobs.skill_dir)
    engine = run(elsewhere, "gen_trt_engine", parent_job_id=str(exported.folder))
    line = list(lineage(find_parent(elsewhere.root, engine.id)))
    assert [parent.place for parent in line] == [engine.folder, exported.folder, trained.folder]


@pytest.mark.parametrize(("is_copy", "whole"), [(True, True), (False, False)])
def test_a_job_that_was_moved_or_copied_hands_on_its_own_files(
    jobs, trained, tmp_path, is_copy, whole
):
    """The root as a whole, or the folder of one job."""
    exported = run(jobs, "export", parent_job_id=trained.id)
    old, new = (jobs.root, tmp_path / "new") if whole else (exported.folder, tmp_path / "kept")
    if is_copy:
        shutil.copytree(old, new)
    else:
        old.rename(new)
    folder = new / "results" / exported.id if whole else new
    again = LocalJobs(new if whole else tmp_path / "other", jobs.skill_dir)
    parent = find_parent(again.root, exported.id if whole else str(folder))
    assert model_of(parent).path == folder / "model.onnx"
    if whole:
        assert [one.folder for one in lineage(parent)] == [folder, folder.with_name(trained.id)]
        resumed = again.prepare_resume(trained.id, {"train.num_epochs": 6})
        assert resumed.moved is None
        place = spec_of(resumed)["train"]["resume_training_checkpoint_path"]
        assert place.startswith(f"{resumed.folder}/")
        assert str(old) not in " ".join([*resumed.command, resumed.spec_file.read_text()])


@pytest.mark.parametrize("by_place", [True, False])
def test_a_parent_is_found_from_any_working_folder_and_is_the_same_after_more_searches(
    searched, skill, tmp_path, monkeypatch, by_place
):
    root, found = shutil.copytree(searched[0], tmp_path / "lab"), searched[1]
    found = root / found.path.relative_to(searched[0])
    monkeypatch.chdir(root)
    jobs = LocalJobs(root, skill)
    name = str(found.relative_to(root)) if by_place else "quick"
    job = jobs.prepare_job(JobRequest(action="export"), parent_job_id=name)
    later = found.with_name("20990101-000000")
    shutil.copytree(found, later)
    (later / "events.ndjson").unlink()
    monkeypatch.chdir(tmp_path)
    assert find_parent(root, job.parent_job_id).place == found
    moved = root.rename(tmp_path / "moved")
    job = read_job(moved / job.folder.relative_to(root))
    assert find_parent(moved, job.parent_job_id).place == moved / found.relative_to(root)


def test_a_parent_that_an_earlier_release_kept_as_typed_is_looked_for_in_the_root(tmp_path):
    with new_folder(tmp_path, "export") as folder:
        Job(id=folder.name, action="export", skill_dir="", folder=folder,
            parent_job_id="runs/a").save()  # fmt: skip
    assert read_job(folder).parent_job_id == "runs/a"
    (tmp_path / "runs" / "a").mkdir(parents=True)
    assert read_job(folder).parent_job_id == str(tmp_path / "runs" / "a")


def test_a_parent_of_a_further_root_that_runs_is_told_so(jobs, data, tmp_path):
    pending = jobs.prepare_job(JobRequest(action="train", roots={"train_dataset_uri": str(data)}))
    with pytest.raises(RunError, match="train-1: is pending; wait for it to end"):
        find_parent(tmp_path / "here", pending.id, jobs.root)


def test_a_search_without_a_result_is_told_so_by_its_name(tmp_path):
    run_dir = tmp_path / "lab" / "runs" / "shop" / "20260101-101500"
    run_dir.mkdir(parents=True)
    for name in ("study.yaml", "ledger.db"):
        (run_dir / name).touch()
    for roots in ((tmp_path / "lab",), (tmp_path, tmp_path / "lab")):
        with pytest.raises(RunError, match="shop: no trial of .* has a result yet"):
            find_parent(roots[0], "shop", *roots[1:])


def test_a_job_that_lost_its_file_hands_on_nothing(jobs, trained):
    exported = run(jobs, "export", parent_job_id=trained.id)
    (exported.folder / "model.onnx").unlink()
    with pytest.raises(RunError, match=r"export-1: its export.onnx_file .* is missing"):
        run(jobs, "gen_trt_engine", parent_job_id=exported.id)


def test_a_search_by_the_automl_route_names_its_skill_and_its_held_out_data(searched, skill, data):
    root, found = searched
    query = "dataset.val_dataset.query"
    facts = {"skill_dir": str(skill), "eval_keys": {query: str(data / "unknown_classes/test")}}
    file = found.path / ".automl" / "controller" / "facts.json"
    file.parent.mkdir(parents=True)
    try:
        file.write_text(json.dumps(facts))
        parent = find_parent(root, str(found))
        assert (parent.skill_dir, parent.held_out) == (skill, facts["eval_keys"])
    finally:
        file.unlink()
