import logging
import shutil

import pytest

from hpo.core.errors import SpecError
from hpo.core.yaml_io import read_yaml
from hpo.jobs.compose_spec import JobRequest
from hpo.jobs.platform import LocalJobs
from tests.hpo.jobs.conftest import run, spec_of

TEMPLATE, SCHEMA = "references/spec_template_train.yaml", "schemas/train.schema.json"
MODEL = {"model.backbone": "timm/test_resnet", "model.feat_dim": 32, "input_width": 64}


def test_what_a_model_was_built_from_goes_down_the_chain(jobs, data):
    job = run(jobs, "train", data, MODEL)
    parent = job.id
    for action in ("export", "gen_trt_engine", "evaluate"):
        job = run(jobs, action, parent_job_id=parent)
        model = spec_of(job)["model"]
        found = (model["backbone"], model["feat_dim"], model["input_width"])
        assert found == ("timm/test_resnet", 32, 64), action
        parent = job.id


def test_sections_of_the_parents_own_action_stay_behind(jobs, trained):
    spec = spec_of(run(jobs, "evaluate", None, {"evaluate.topk": 3}, parent_job_id=trained.id))
    template = spec_of(run(jobs, "evaluate", parent_job_id=trained.id))
    assert spec["evaluate"]["topk"] == 3
    assert spec["train"]["num_epochs"] == template["train"]["num_epochs"] != 4


def test_data_follow_from_the_roots_of_the_first_job(jobs, data, trained):
    exported = run(jobs, "export", parent_job_id=trained.id)
    known = spec_of(exported)["dataset"]["val_dataset"]
    assert known["query"] == str(data / "known_classes/val")
    engine = run(jobs, "gen_trt_engine", parent_job_id=exported.id)
    calibration = spec_of(engine)["gen_trt_engine"]["tensorrt"]["calibration"]
    assert calibration["cal_image_dir"] == [str(data / "known_classes/train")]
    evaluated = spec_of(run(jobs, "evaluate", parent_job_id=engine.id))
    assert evaluated["dataset"]["val_dataset"]["query"] == str(data / "unknown_classes/test")


def test_data_given_by_exact_keys_follow_too_and_that_is_told(jobs, data):
    known = data / "known_classes"
    keys = {
        "dataset.train_dataset": str(known / "train"),
        "dataset.val_dataset": {"reference": str(known / "reference"), "query": str(known / "val")},
    }
    job = run(jobs, "train", None, keys)
    evaluated = run(jobs, "evaluate", parent_job_id=job.id)
    assert spec_of(evaluated)["dataset"]["val_dataset"]["query"] == str(known / "val")
    assert evaluated.inferred["dataset.val_dataset.query"] == "as in train-1"
    engine = run(jobs, "gen_trt_engine", parent_job_id=run(jobs, "export", parent_job_id=job.id).id)
    calibration = "gen_trt_engine.tensorrt.calibration.cal_image_dir"
    assert engine.inferred[calibration] == "dataset.train_dataset of train-1"
    with pytest.raises(SpecError, match=r"inference.input_path \(unknown_classes/test"):
        run(jobs, "inference", parent_job_id=job.id)


def test_a_fitting_page_is_chosen_by_what_is_given(jobs, trained, data, tmp_path):
    engine = tmp_path / "own.engine"
    engine.touch()
    job = run(jobs, "evaluate", data, {"evaluate.trt_engine": str(engine)})
    assert job.page == 1
    assert run(jobs, "evaluate", parent_job_id=trained.id).page == 0
    exported = run(jobs, "export", parent_job_id=trained.id)
    onnx = spec_of(run(jobs, "evaluate", parent_job_id=exported.id))
    assert onnx["evaluate"]["checkpoint"].endswith("model.onnx")


def test_examples_of_templates_do_not_reach_a_spec(jobs, trained):
    engine = run(
        jobs, "gen_trt_engine", parent_job_id=run(jobs, "export", parent_job_id=trained.id).id
    )
    text = engine.spec_file.read_text()
    for example in ("/data/calibration", "/models/model.onnx", "<required>", "/results/ml-recog"):
        assert example not in text


def test_misspelt_keys_are_refused_and_new_ones_told(jobs, trained, caplog):
    with pytest.raises(SpecError, match=r"evaluate.batchsize: no such spec key; did you mean"):
        run(jobs, "evaluate", None, {"evaluate.batchsize": 3}, parent_job_id=trained.id)
    with caplog.at_level(logging.WARNING):
        job = jobs.prepare_job(
            JobRequest(action="evaluate", overrides={"my_own_flag": 1}), parent_job_id=trained.id
        )
    assert [r.message.partition(":")[0] for r in caplog.records] == ["my_own_flag"]
    assert "without effect" in caplog.text
    assert spec_of(job)["my_own_flag"] == 1, "it stands in the spec"
    assert job.command[-1] == str(job.folder / "command_spec.yaml")
    told = read_yaml(job.folder / "command_spec.yaml")
    assert told == {k: v for k, v in spec_of(job).items() if k != "my_own_flag"}


def test_a_new_key_does_not_keep_a_training_from_running(jobs, data):
    """The same rule as in a search: one warning, and the trainer, which would refuse it, is not told."""
    from trainer.session import TRAINER

    job = run(jobs, "train", data, {"my_own_flag": 1})
    assert (job.status, spec_of(job)["my_own_flag"]) == ("success", 1)
    TRAINER.validate(read_yaml(job.folder / "command_spec.yaml"))


@pytest.mark.parametrize("how", ["template", "whole spec"])
def test_a_batch_of_one_class_that_nobody_chose_is_raised_and_recorded(
    tmp_path, data, how, published
):
    """The published template has 4 pictures of 4 a class: one class a batch, which teaches nothing."""

    jobs = LocalJobs(tmp_path / "work", published)
    overrides = {"dataset.train_dataset": str(data / "known_classes/train"),
                 "dataset.val_dataset.reference": str(data / "known_classes/reference"),
                 "dataset.val_dataset.query": str(data / "known_classes/val")}  # fmt: skip
    base = None if how == "template" else {"train": {"batch_size": 4}}
    job = jobs.prepare_job(JobRequest(action="train", overrides=overrides, base=base))
    assert spec_of(job)["train"]["batch_size"] == 32
    (record,) = job.adjustments
    assert (record["param"], record["from"], record["to"]) == ("train.batch_size", 4, 32)
    assert "1 class" in record["reason"]
    with pytest.raises(SpecError, match="train.batch_size: a batch of 4.* give at least 8"):
        jobs.prepare_job(
            JobRequest(action="train", overrides=overrides | {"batch_size": 4}, base=base)
        )
    one = jobs.prepare_job(
        JobRequest(action="train", overrides=overrides | {"batch_size": 8}, base=base)
    )
    assert (spec_of(one)["train"]["batch_size"], one.adjustments) == (8, [])


@pytest.mark.parametrize(
    "broken",
    [
        {TEMPLATE: None},
        {TEMPLATE: "{: ["},
        {SCHEMA: None},
        {SCHEMA: "{"},
        {TEMPLATE: "7", SCHEMA: "{"},
    ],
)
def test_a_training_goes_on_without_template_or_schema_at_a_batch_that_can_learn(
    tmp_path, data, published, caplog, broken
):
    folder = shutil.copytree(published, tmp_path / "skill")
    for name, text in broken.items():
        (folder / name).unlink()
        if text is not None:
            (folder / name).write_text(text)
    known = data / "known_classes"
    keys = {"dataset.train_dataset": str(known / "train"),
            "dataset.val_dataset": {"reference": str(known / "reference"), "query": str(known / "val")},
            "num_epochs": 3}  # fmt: skip
    job = LocalJobs(tmp_path / "work", folder).prepare_job(
        JobRequest(action="train", overrides=keys)
    )
    assert spec_of(job)["train"]["num_epochs"] == 3
    batch = spec_of(job)["train"].get(
        "batch_size", 32
    )  # the trainer's own where nothing else is left
    changed = [(record["from"], record["to"]) for record in job.adjustments]
    assert (batch, changed) == (32, [] if len(broken) == 2 else [(4, 32)])
    told = [text for text in caplog.messages if "the job goes on without it" in text]
    assert len(told) == (0 if broken == {SCHEMA: None} else len(broken))


def test_a_whole_spec_takes_the_place_of_the_template(jobs, data):
    base = {
        "train": {"num_epochs": 2, "resume_training_checkpoint_path": "???"},
        "dataset": {
            "train_dataset": str(data / "known_classes/train"),
            "val_dataset": {
                "reference": str(data / "known_classes/reference"),
                "query": str(data / "known_classes/val"),
            },
        },
    }
    request = JobRequest(action="train", base=base, overrides={"num_epochs": 1})
    job = jobs.run(jobs.prepare_job(request))
    spec = spec_of(job)
    assert spec["train"] == {"num_epochs": 1}
    assert spec["results_dir"] == str(job.folder)


def test_an_own_results_folder_is_kept_and_found_again(jobs, data, tmp_path):
    own = tmp_path / "mine"
    job = run(jobs, "train", data, {"results_dir": str(own)})
    assert job.results_dir == own
    child = run(jobs, "export", parent_job_id=job.id)
    assert spec_of(child)["export"]["checkpoint"] == str(own / "train/ckpt/best.ckpt")


def test_an_action_that_no_page_knows(jobs, trained):
    with pytest.raises(SpecError, match="prune: no such action in .* it has evaluate, export"):
        run(jobs, "prune", parent_job_id=trained.id)
    assert not (jobs.root / "results" / "prune-1").exists()


def test_model_and_data_that_are_missing_are_told_together(jobs):
    with pytest.raises(SpecError) as caught:
        run(jobs, "evaluate")
    assert str(caught.value).startswith("evaluate.checkpoint: must be given for evaluate")
    assert "no data given for dataset.val_dataset.reference" in str(caught.value)


def test_a_results_folder_of_the_action_itself_is_found_again(jobs, data, tmp_path):
    own = tmp_path / "mine"
    job = jobs.prepare_job(
        JobRequest(action="train", overrides={"train.results_dir": str(own)}, roots={"train_dataset_uri": str(data)})
    )  # fmt: skip
    assert job.results_dir == own


@pytest.mark.parametrize("count", [1, 2, 4])
def test_a_number_of_gpus_needs_no_list_of_them(jobs, data, count):
    """The template lists the one of the default; the trainer takes the first ones."""
    from trainer.session import TRAINER

    job = jobs.prepare_job(
        JobRequest(action="train", overrides={"train.num_gpus": count}, roots={"train_dataset_uri": str(data)})
    )  # fmt: skip
    assert TRAINER.validate(spec_of(job))["train"]["gpu_ids"] == list(range(count))
