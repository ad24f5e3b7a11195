import pytest

from trainer.config.relations import MANDATORY, REFUSED, warnings
from trainer.config.tree import leaves
from trainer.errors import SpecError
from trainer.spec import parse_spec

DATA = {
    "dataset.train_dataset": "t",
    "dataset.val_dataset": {"reference": "r", "query": "q"},
}
ENGINE = {"gen_trt_engine.onnx_file": "m.onnx", "gen_trt_engine.trt_engine": "m.engine"}


def problem(action, **spec):
    with pytest.raises(SpecError) as caught:
        parse_spec({name.replace("__", "."): value for name, value in spec.items()}, action)
    return str(caught.value)


def train_problem(overrides):
    with pytest.raises(SpecError) as caught:
        parse_spec(DATA | overrides, "train")
    return str(caught.value)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            {"train.batch_size": 6},
            "train.batch_size: must be a multiple of dataset.num_instance (4), got 6; 8 would do",
        ),
        (
            {"train.batch_size": 2},
            "train.batch_size: must be a multiple of dataset.num_instance (4), got 2; 4 would do",
        ),
        (
            {"dataset.sampling": "random"},
            "dataset.sampling: must be classes for the triplet loss, which needs pairs of one class"
            " in a batch; random is for arcface, ",
        ),
        (
            {"train.loss.memory_size": 63, "train.num_gpus": 2, "train.gpu_ids": [0, 1]},
            "train.loss.memory_size: must be 0 or hold a whole step (64), got 63",
        ),
        (
            {"train.head_epochs": 3, "train.train_embedder": False},
            "train.head_epochs: must be 0 where train.train_embedder is false and the triplet loss",
        ),
        (
            {"train.num_gpus": 3, "train.gpu_ids": [1, 2]},
            "train.gpu_ids: must hold as many indices as train.num_gpus (3), got [1, 2];"
            " name them, or leave both out for one GPU",
        ),
        (
            {"train.num_gpus": 10**9},
            "train.gpu_ids: must hold as many indices as train.num_gpus (1000000000), got [0];"
            " name them, or leave both out for one GPU",
        ),
        (
            {"train.num_gpus": 2, "train.gpu_ids": [1, 1]},
            "train.gpu_ids: must be distinct indices from 0 on, got [1, 1]",
        ),
        (
            {"dataset.crop_share": 0.05},
            "dataset.crop_share: must be 0 or 0.1 and more, got 0.05",
        ),
        ({"train.optim.steps": [5, 5]}, "train.optim.steps: must rise from 1 or more, got [5, 5]"),
        ({"train.optim.steps": [0, 5]}, "train.optim.steps: must rise from 1 or more, got [0, 5]"),
        (
            {"train.train_trunk": False, "train.train_embedder": False},
            "train.train_trunk: must be true if train.train_embedder is false: nothing learns",
        ),
        (
            {"model.backbone": "nvdinov2_vit_large_legacy", "model.input_width": 100},
            "model.input_width: must be a multiple of 14 for nvdinov2_vit_large_legacy, got 100",
        ),
        (
            {"model.backbone": "fan_tiny", "model.input_height": 100},
            "model.input_height: must be a multiple of 16 for fan_tiny, got 100",
        ),
        (
            {"model.backbone": "fan_tiny", "model.pooling": "gem"},
            "model.pooling: must be default for fan_tiny, which has no map to pool",
        ),
        ({"model.input_channels": 2}, "model.input_channels: must be 1 or 3, got 2"),
        ({"dataset.pixel_std": [0.2, 0, 0.2]}, "dataset.pixel_std: every member must be > 0"),
        ({"dataset.gaussian_blur.kernel": [4, 4]}, "dataset.gaussian_blur.kernel: must be odd"),
        (
            {"model.input_width": 32, "dataset.gaussian_blur.kernel": [33, 33]},
            "no larger than the picture (32), got [33, 33]",
        ),
        (
            {"dataset.gaussian_blur.sigma": [0.7, 0.3]},
            "dataset.gaussian_blur.sigma: must be 0 < least <= greatest, got [0.7, 0.3]",
        ),
        (
            {"dataset.crop_scale.least": 0.7, "dataset.crop_scale.greatest": 0.6},
            "crop_scale.least: must be at most dataset.crop_scale.greatest (0.6), got 0.7",
        ),
        (
            {"dataset.first_size": 0.6, "model.backbone": "nvdinov2_vit_large_legacy"},
            "dataset.first_size: must be 1 for nvdinov2_vit_large_legacy, which takes pictures of "
            "one size only, got 0.6",
        ),
        (
            {"dataset.first_size": 0.5, "dataset.gaussian_blur.kernel": [113, 3]},
            "dataset.gaussian_blur.kernel: must be odd and no larger than the picture (112), got "
            "[113, 3]",
        ),
        ({"wandb.sync_tensorboard": True}, "wandb.sync_tensorboard: must be false"),
    ],
)
def test_broken_relation_is_named(overrides, message):
    assert message in train_problem(overrides)


def test_random_batches_need_be_no_multiple():
    spec = {"train.batch_size": 6, "dataset.sampling": "random", "train.loss.name": "arcface"}
    assert parse_spec(spec | DATA, "train").train.batch_size == 6


def test_relations_of_one_action_do_not_bind_another():
    spec = {"train.batch_size": 6, "evaluate.checkpoint": "c", **DATA}
    assert parse_spec(spec, "evaluate").train.batch_size == 6


def test_frozen_model_may_learn_class_vectors_alone():
    spec = DATA | {
        "train.train_trunk": False,
        "train.train_embedder": False,
        "train.loss.name": "arcface",
    }
    assert not parse_spec(spec, "train").train.train_trunk


def test_encryption_key_is_refused_by_every_action_and_never_shown():
    for action in MANDATORY:
        message = problem(action, encryption_key="tlt_secret")
        assert 'encryption_key: must be ""' in message
        assert "tlt_secret" not in message


@pytest.mark.parametrize("action", ["evaluate", "inference"])
def test_several_devices_are_refused_where_one_gives_the_same(action):
    spec = {f"{action}.num_gpus": 2, f"{action}.gpu_ids": [0, 1]}
    with pytest.raises(SpecError, match=rf"{action}\.num_gpus: must be 1: the neighbours"):
        parse_spec(spec, action)


@pytest.mark.parametrize(
    ("action", "given", "missing"),
    [
        ("train", {}, "dataset.train_dataset: must be given for train"),
        ("train", {"dataset.train_dataset": "???"}, "dataset.train_dataset: must be given"),
        (
            "evaluate",
            DATA,
            "evaluate.checkpoint or evaluate.trt_engine: must be given for evaluate",
        ),
        ("inference", DATA | {"inference.checkpoint": "c"}, "inference.input_path: must be given"),
        ("export", {"export.checkpoint": ""}, "export.checkpoint: must be given"),
        ("gen_trt_engine", {}, "gen_trt_engine.onnx_file: must be given"),
        (
            "gen_trt_engine",
            ENGINE | {"gen_trt_engine.tensorrt.data_type": "INT8"},
            "gen_trt_engine.tensorrt.calibration.cal_image_dir: must be given",
        ),
    ],
)
def test_missing_value_is_named(action, given, missing):
    with pytest.raises(SpecError) as caught:
        parse_spec(given, action)
    assert missing in str(caught.value)


def test_an_engine_stands_for_a_checkpoint():
    assert parse_spec(DATA | {"evaluate.trt_engine": "e"}, "evaluate").evaluate.checkpoint is None


def test_engine_batch_sizes_must_be_in_order():
    sizes = {
        f"gen_trt_engine.tensorrt.{n}_batch_size": v
        for n, v in (("min", 4), ("opt", 2), ("max", 8))
    }
    with pytest.raises(
        SpecError, match=r"opt_batch_size: must lie between .* got 2 between 4 and 8"
    ):
        parse_spec(ENGINE | sizes, "gen_trt_engine")


@pytest.mark.parametrize("path", ["export.batch_size", "gen_trt_engine.batch_size"])
def test_empty_batch_is_refused(path):
    action = path.partition(".")[0]
    with pytest.raises(SpecError, match="must be -1"):
        parse_spec({path: 0}, action, is_complete=False)


def test_one_class_batch_warns_in_one_line_and_is_legal():
    published = parse_spec(DATA | {"train.batch_size": 4}, "train")
    (line,) = warnings(published, "train")
    assert "one class in every batch" in line
    assert "\n" not in line
    assert list(warnings(parse_spec(DATA, "train"), "train")) == []
    assert list(warnings(published, "evaluate")) == []


def test_kept_statistics_of_random_weights_warn():
    spec = DATA | {"train.batch_norm": "keep"}
    (line,) = warnings(parse_spec(spec, "train"), "train")
    assert line.startswith("train.batch_norm: keep without pretrained weights")
    spec["model.pretrained_trunk_path"] = "trunk.pth"
    assert not list(warnings(parse_spec(spec, "train", is_complete=False), "train"))


def test_tables_name_keys_of_the_spec():
    known = set(leaves())
    assert {refusal.path for refusal in REFUSED} <= known
    assert {path for groups in MANDATORY.values() for group in groups for path in group} <= known
    assert all(refusal.reason for refusal in REFUSED)
