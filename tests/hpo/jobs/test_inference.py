"""All rows of the published inference table, on our own skill folder and on the published one."""

import json
import os
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from hpo.core.errors import RunError, SpecError
from hpo.core.spec_dicts import flatten
from hpo.jobs.compose_spec import JobRequest
from hpo.jobs.inference import FUNCTIONS, JobContext, infer_fields
from hpo.jobs.platform import LocalJobs
from tests.hpo.jobs.conftest import OWN_SKILL, SPLITS, run, spec_of

CACHE = "gen_trt_engine.tensorrt.calibration.cal_cache_file"
BASE = "metric_learning_recognition/retail-product-checkout-dataset_classification_demo"


def published_rows():
    """(action, field, function) of the table in the published page."""
    shared = os.environ.get("HPO_SHARED_DIR", "")
    page = Path(shared) / "reference" / "seed_skill_page.txt"
    if not shared or not page.is_file():
        pytest.skip("HPO_SHARED_DIR does not name a folder with reference/seed_skill_page.txt")
    rows = re.findall(r"^\| (\w+) \| `([\w.]+)` \| `(\w+)` \|", page.read_text(), re.MULTILINE)
    assert len(rows) == 16
    return rows


class Chain:
    """Jobs that were prepared and then said to have ended, with the files that they would leave."""

    def __init__(self, folder, skill):
        self.jobs = LocalJobs(folder / "work", skill)
        self.data = folder / "data"
        for split in SPLITS:
            for base in ("", BASE):
                (self.data / base / split).mkdir(parents=True, exist_ok=True)

    def prepare(self, action, **more):
        roots = {"train_dataset_uri": str(self.data)}
        return self.jobs.prepare_job(JobRequest(action=action, roots=roots), **more)

    def finish(self, job, *files):
        for name in files:
            (job.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (job.folder / name).touch()
        replace(job, status="success", exit_code=0).save()
        return job

    def build(self, weights):
        """Every action once; returns (action, field) -> (spec, wanted value)."""
        train = self.prepare("train", base_checkpoint=str(weights))
        cells = {("train", "model.pretrained_model_path"): (train, str(weights))}
        cells["train", "results_dir"] = (train, str(train.folder))
        first = spec_of(train)
        self.finish(train, "train/ckpt/best.ckpt", "train/ckpt/last.ckpt")
        best = str(train.folder / "train/ckpt/best.ckpt")
        for action in ("evaluate", "inference", "export"):
            job = self.prepare(action, parent_job_id=train.id)
            cells[action, f"{action}.checkpoint"] = (job, best)
            cells[action, "results_dir"] = (job, str(job.folder))
        onnx = str(job.folder / "model.onnx")
        cells["export", "export.onnx_file"] = (job, onnx)
        self.finish(job, "model.onnx")
        engine = self.prepare("gen_trt_engine", parent_job_id=job.id)
        cells["gen_trt_engine", "gen_trt_engine.onnx_file"] = (engine, onnx)
        cells["gen_trt_engine", "gen_trt_engine.trt_engine"] = (
            engine, str(engine.folder / "model.engine"),
        )  # fmt: skip
        cells["gen_trt_engine", CACHE] = (engine, str(engine.folder / "cal.bin"))
        cells["gen_trt_engine", "results_dir"] = (engine, str(engine.folder))
        self.finish(engine, "model.engine")
        for action in ("evaluate", "inference"):
            job = self.prepare(action, parent_job_id=engine.id)
            cells[action, f"{action}.trt_engine"] = (job, str(engine.folder / "model.engine"))
        found = {cell: (spec_of(job), wanted) for cell, (job, wanted) in cells.items()}
        found["train", "model.pretrained_model_path"] = (first, str(weights))
        resumed = spec_of(self.jobs.prepare_resume(train.id))
        last = str(train.folder / "train/ckpt/last.ckpt")
        found["train", "train.resume_training_checkpoint_path"] = (resumed, last)
        return found, resumed


@pytest.mark.parametrize("which", ["own", "published"])
def test_every_row_of_the_published_table(which, tmp_path, request):
    skill = OWN_SKILL if which == "own" else request.getfixturevalue("published")
    weights = tmp_path / "base.pth"
    weights.touch()
    before = {p: p.read_bytes() for p in skill.rglob("*") if p.is_file()}
    cells, resumed = Chain(tmp_path, skill).build(weights)
    assert set(cells) == {(action, field) for action, field, _ in published_rows()}
    for (action, field), (spec, wanted) in cells.items():
        assert flatten(spec).get(field) == wanted, (action, field)
    assert not flatten(resumed).get("model.pretrained_model_path")
    assert {p: p.read_bytes() for p in skill.rglob("*") if p.is_file()} == before


def test_every_published_function_is_known():
    assert {function for _, _, function in published_rows()} <= set(FUNCTIONS)


def test_a_new_training_has_nothing_to_resume_from(jobs, data):
    spec = flatten(spec_of(run(jobs, "train", data)))
    assert not spec.get("train.resume_training_checkpoint_path")
    assert not spec.get("model.pretrained_model_path")


def test_a_training_from_a_training_starts_from_its_weights(jobs, trained):
    spec = flatten(spec_of(run(jobs, "train", parent_job_id=trained.id)))
    best = trained.folder / "train/ckpt/best.ckpt"
    assert spec["model.pretrained_model_path"] == str(best)


def test_the_checkpoint_can_be_chosen(jobs, trained):
    for wanted, name in (("latest_model", "last.ckpt"), (2, "best.ckpt"), ("4", "last.ckpt")):
        job = run(jobs, "export", parent_job_id=trained.id, checkpoint=wanted)
        assert Path(spec_of(job)["export"]["checkpoint"]).name == name


def test_a_parent_without_a_fitting_model_is_an_error(jobs, trained):
    evaluated = run(jobs, "evaluate", parent_job_id=trained.id)
    with pytest.raises(RunError, match=r"evaluate leaves no model .* its own parent is train-1"):
        run(jobs, "export", parent_job_id=evaluated.id)
    said = r"gen_trt_engine.onnx_file: must be an ONNX file, and train-1 holds a checkpoint"
    with pytest.raises(RunError, match=said):
        run(jobs, "gen_trt_engine", parent_job_id=trained.id)
    exported = run(jobs, "export", parent_job_id=trained.id)
    said = rf"export.checkpoint: must be a checkpoint, and {exported.id} holds an ONNX file"
    with pytest.raises(RunError, match=said):
        run(jobs, "export", parent_job_id=exported.id)
    (trained.folder / "train/ckpt/best.ckpt").unlink()
    (trained.folder / "train/ckpt/last.ckpt").unlink()
    with pytest.raises(RunError, match="train-1: no checkpoint in"):
        run(jobs, "evaluate", parent_job_id=trained.id)


def test_without_a_parent_the_field_must_be_given(jobs, data, tmp_path):
    with pytest.raises(SpecError, match=r"^evaluate.checkpoint: must be given for evaluate"):
        run(jobs, "evaluate", data)
    model = tmp_path / "my.ckpt"
    model.touch()
    assert run(jobs, "evaluate", data, {"evaluate.checkpoint": str(model)}).status == "success"


def test_a_given_field_beats_the_parent(jobs, trained, tmp_path):
    model = tmp_path / "mine.ckpt"
    model.touch()
    job = run(jobs, "evaluate", None, {"evaluate.checkpoint": str(model)}, parent_job_id=trained.id)
    assert spec_of(job)["evaluate"]["checkpoint"] == str(model)


def test_an_unknown_function_is_named(tmp_path):
    with pytest.raises(SpecError, match=r"^a.b: the skill asks for 'guess_it'"):
        infer_fields({"a.b": "guess_it"}, JobContext(results_dir=tmp_path), [])
    assert infer_fields({"a.b": "guess_it"}, JobContext(results_dir=tmp_path), ["a.b"]) == {}


def test_the_commands_are_the_skills(jobs, trained):
    job = run(jobs, "export", parent_job_id=trained.id)
    assert job.command[0] == sys.executable
    assert job.command[-2:] == ["-e", str(job.spec_file)]
    assert json.loads((job.folder / "job.json").read_text())["status"] == "success"
