import dataclasses

import pytest
import yaml

from trainer.config.dialect import template
from trainer.config.root import ACTIONS, Spec
from trainer.config.shape import flatten
from trainer.config.tree import keys_that_hold, leaves
from trainer.errors import SpecError, TrainerError
from trainer.spec import action_dir, load_spec, parse_spec, spec_to_dict

GIVEN = {
    "dataset.train_dataset": "t",
    "dataset.val_dataset.reference": "r",
    "dataset.val_dataset.query": "q",
    "evaluate.checkpoint": "c",
    "inference.checkpoint": "c",
    "inference.input_path": "p",
    "export.checkpoint": "c",
    "gen_trt_engine.onnx_file": "o",
    "gen_trt_engine.trt_engine": "e",
}


def words(given):
    return [f"{name}={value}" for name, value in given.items()]


def test_attributes_follow_the_published_names():
    spec = parse_spec(GIVEN, "train")
    assert spec.train.optim.trunk.base_lr == 3.5e-4
    assert spec.dataset.val_dataset.query == "q"
    assert spec.dataset.gaussian_blur.kernel == (15, 15)
    assert (spec.train.batch_size, spec.dataset.num_instance) == (32, 4)
    assert spec.model.pretrained_model_path is None
    with pytest.raises(dataclasses.FrozenInstanceError):
        spec.train.seed = 1


@pytest.mark.parametrize("action", ACTIONS)
def test_published_template_reads_with_its_own_values(published_skill, action):
    path = published_skill / "references" / f"spec_template_{action}.yaml"
    spec = load_spec(path, words(GIVEN), action)
    read = flatten(spec_to_dict(spec))
    for name, value in flatten(yaml.safe_load(path.read_text())).items():
        if value != "???" and name not in GIVEN and value != {}:
            assert read[name] == value, name
    assert spec.train.batch_size == 4


@pytest.mark.parametrize("action", ["evaluate", "inference", "gen_trt_engine"])
def test_published_deploy_template_asks_for_what_it_marks(published_skill, action):
    path = published_skill / "references" / f"spec_template_deploy_{action}.yaml"
    data = {k: v for k, v in GIVEN.items() if k.startswith("dataset.") or "input_path" in k}
    spec = load_spec(path, words(data), action)
    assert spec.results_dir == "/results"
    if action != "gen_trt_engine":
        with pytest.raises(SpecError, match=r"dataset\.val_dataset\.reference: must be given"):
            load_spec(path, [], action)


@pytest.mark.parametrize("action", ACTIONS)
def test_own_template_reads_as_the_defaults(action):
    spec = parse_spec(template(action), action, is_complete=False)
    assert spec == Spec()


@pytest.mark.parametrize("action", ACTIONS)
def test_dict_form_reads_back_as_the_same_spec(action):
    spec = parse_spec(GIVEN | {"train.optim.steps": [3], "dataset.class_map": "m.yaml"}, action)
    assert parse_spec(spec_to_dict(spec), action) == spec
    assert yaml.safe_load(yaml.safe_dump(spec_to_dict(spec))) == spec_to_dict(spec)


def test_dict_form_leaves_out_what_is_absent():
    nested = spec_to_dict(parse_spec({}, "train", is_complete=False))
    assert "evaluate" not in nested
    assert "pretrained_model_path" not in nested["model"]
    assert nested["dataset"]["val_dataset"] == {}
    assert nested["train"]["batch_size"] == 32


def test_dotted_nested_and_mixed_forms_give_the_same_spec():
    dotted = {"train.optim.trunk.base_lr": 1e-3, "train.seed": 7}
    nested = {"train": {"optim": {"trunk": {"base_lr": 1e-3}}, "seed": 7}}
    mixed = {"train": {"optim.trunk": {"base_lr": "1e-3"}}, "train.seed": 7}
    specs = [parse_spec(form, "train", is_complete=False) for form in (dotted, nested, mixed)]
    assert specs[0] == specs[1] == specs[2]


def test_file_values_yield_to_overrides(tmp_path):
    path = tmp_path / "spec.yaml"
    path.write_text(
        "train: {seed: 1, num_epochs: 2}\ndataset: {train_dataset: t, val_dataset:"
        " {reference: r, query: q}}\n"
    )
    spec = load_spec(path, ["num_epochs=5", "dataset.val_dataset.query=new"], "train")
    assert (spec.train.seed, spec.train.num_epochs) == (1, 5)
    assert spec.dataset.val_dataset.reference == "r"
    assert spec.dataset.val_dataset.query == "new"


def test_every_problem_is_told_in_one_line():
    wrong = {"train.optim.trunk.base_lr": -1, "train.num_epoch": 3, "model.feat_dim": "wide"}
    with pytest.raises(SpecError) as caught:
        parse_spec(wrong, "train")
    assert str(caught.value) == (
        "train.optim.trunk.base_lr: must be > 0 and <= 1, got -1;"
        " train.num_epoch: no such key; did you mean train.num_epochs?;"
        " model.feat_dim: must be a whole number >= 1, got 'wide'"
    )


def test_many_problems_are_counted():
    with pytest.raises(SpecError, match=r"and 3 more$"):
        parse_spec({f"qqq{i}": 1 for i in range(8)}, "train")


def test_section_that_is_a_value_is_refused():
    with pytest.raises(SpecError, match=r"train\.optim: must be a section of keys, got 3"):
        parse_spec({"train": {"optim": 3}}, "train")
    with pytest.raises(SpecError, match=r"dataset\.val_dataset: must be a section"):
        parse_spec({"dataset": {"val_dataset": [{"query": "a"}, {"query": "b"}]}}, "train")


def test_empty_section_of_a_file_is_no_value():
    assert parse_spec({"train": None, "model": {}}, "train", is_complete=False) == Spec()


def test_unknown_action_names_the_legal_ones():
    with pytest.raises(SpecError, match="tune: must be one of train, evaluate, inference"):
        parse_spec({}, "tune")


def test_own_results_folder_wins_over_the_common_one():
    spec = parse_spec(
        {"results_dir": "out", "evaluate.results_dir": "here"}, "train", is_complete=False
    )
    assert str(action_dir(spec, "train")) == "out/train"
    assert str(action_dir(spec, "evaluate")) == "here"
    assert str(action_dir(Spec(), "export")) == "results/export"


def test_the_home_folder_is_meant_by_a_tilde_in_every_path(monkeypatch):
    monkeypatch.setenv("HOME", "/home/ada")
    names = [*keys_that_hold("path"), *(name for name in leaves() if name.endswith("results_dir"))]
    several = "gen_trt_engine.tensorrt.calibration.cal_image_dir"
    given = dict.fromkeys(names, "~/x y") | {several: ["~/x y", "z"]}
    read = flatten(spec_to_dict(parse_spec(given, "export", is_complete=False)))
    told = dict.fromkeys(names, "/home/ada/x y") | {several: ["/home/ada/x y", "z"]}
    assert {name: read[name] for name in names} == told
    given = {"results_dir": "~nobody-such/x", "dataset.train_dataset": "s3://b/~/x"}
    spec = parse_spec(given, "export", is_complete=False)
    assert (spec.results_dir, spec.dataset.train_dataset) == tuple(given.values())


def test_a_spec_error_is_an_error_of_the_trainer_with_its_cause():
    assert issubclass(SpecError, TrainerError)
    assert SpecError.kind == "spec"


@pytest.mark.parametrize("path", leaves())
def test_default_of_every_key_is_legal(path):
    key = leaves()[path]
    if key.default is not None:
        value = list(key.default) if isinstance(key.default, tuple) else key.default
        section, _, _ = path.partition(".")
        action = section if section in ACTIONS else "train"
        assert parse_spec({path: value}, action, is_complete=False) == Spec()


@pytest.mark.parametrize("count", [1, 2, 3, 8, 100])
def test_a_number_of_gpus_alone_means_the_first_ones(count):
    given = {"train.num_gpus": count}
    template = {"train.num_gpus": 1, "train.gpu_ids": [0]}  # what templates write
    for nested in (given, template | given):
        spec = parse_spec(nested, "train", is_complete=False)
        assert spec.train.gpu_ids == tuple(range(count))
        assert spec_to_dict(spec)["train"]["gpu_ids"] == list(range(count))


def test_gpus_that_are_named_stay_as_they_are():
    spec = parse_spec({"train.num_gpus": 2, "train.gpu_ids": [3, 1]}, "train", is_complete=False)
    assert spec.train.gpu_ids == (3, 1)
    assert parse_spec({"train.gpu_ids": [3]}, "train", is_complete=False).train.gpu_ids == (3,)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, False),
        ({"train.cudnn.deterministic": False}, True),
        ({"train.cudnn.deterministic": False, "train.cudnn.benchmark": False}, False),
        ({"train.cudnn.benchmark": True}, True),
    ],
)
def test_algorithms_are_timed_where_they_need_not_repeat_exactly(given, expected):
    spec = parse_spec({**given, "dataset.num_instance": 2}, "train", is_complete=False)
    assert spec.train.cudnn.benchmark is expected
