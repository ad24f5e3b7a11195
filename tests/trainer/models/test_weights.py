"""Reading weight files and the strictness of loading them."""

import logging
import math

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from trainer.errors import CheckpointError
from trainer.models.heads import LinearHead
from trainer.models.trunk import create_trunk
from trainer.models.weights import load_into, read_checkpoint, read_state_dict


def small():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


def state(module):
    return {key: value.clone() for key, value in module.state_dict().items()}


def other():
    module = small()
    for parameter in module.parameters():
        parameter.data.uniform_(1, 2)
    return state(module)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda s: s,
        lambda s: {"state_dict": s, "epoch": 1},
        lambda s: {"model": s, "optimizer": {"lr": 1.0}},
        lambda s: {"teacher": s},
        lambda s: {"state_dict": s, "step": torch.tensor(3)},
    ],
)
@pytest.mark.parametrize("suffix", [".pth", ".pth.tar", ".ckpt", ""])
def test_weights_are_found_where_training_codes_put_them(tmp_path, wrap, suffix):
    expected = other()
    path = tmp_path / f"weights{suffix}"
    torch.save(wrap(expected), path)
    read = read_state_dict(path)
    assert list(read) == list(expected)
    assert all(torch.equal(read[key], expected[key]) for key in expected)


def test_safetensors(tmp_path):
    expected = other()
    path = tmp_path / "weights.safetensors"
    save_file(expected, path)
    read = read_state_dict(path)
    assert all(torch.equal(read[key], expected[key]) for key in expected)


def test_checkpoint_content_is_read_beside_the_weights(tmp_path):
    torch.save({"state_dict": other(), "epoch": 4, "classes": ["a", "b"]}, tmp_path / "x.ckpt")
    content = read_checkpoint(tmp_path / "x.ckpt")
    assert (content["epoch"], content["classes"]) == (4, ["a", "b"])


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("missing.pth", None, "missing.pth: does not exist; a weight file is needed"),
        (
            "text.pth",
            b"no weights at all",
            r"text.pth: must be a weight file, and is damaged, cut off or something else \(17 bytes\)",
        ),
        ("empty.pth", b"", "empty.pth: must be a weight file, and is empty"),
        ("x.safetensors", b"12345678", "x.safetensors: damaged or no safetensors file"),
    ],
)
def test_what_is_no_weight_file_is_refused_by_name(tmp_path, name, content, expected):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=expected) as caught:
        read_state_dict(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="is a folder"):
        read_state_dict(tmp_path)


def test_files_without_weights_say_what_they_hold(tmp_path):
    torch.save({"epoch": 1, "note": "x"}, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match="holds no weights; top-level keys: epoch, note"):
        read_state_dict(tmp_path / "a.pth")
    torch.save([torch.zeros(1)], tmp_path / "b.pth")
    with pytest.raises(CheckpointError, match="must hold a mapping of weights, holds list"):
        read_state_dict(tmp_path / "b.pth")


def test_everything_fits():
    module, values = small(), other()
    report = load_into(module, values, what="x")
    assert report.fits
    assert set(report.loaded) == set(values)
    assert all(torch.equal(module.state_dict()[key], values[key]) for key in values)


def test_what_does_not_fit_is_counted_and_named_and_nothing_is_changed():
    module, values = small(), other()
    before = state(module)
    del values["0.bias"]
    values["2.weight"] = torch.ones(2, 5)
    values["stem.weight"] = torch.ones(1)
    with pytest.raises(CheckpointError) as caught:
        load_into(module, values, what="trunk from x.pth")
    message = str(caught.value)
    assert message.startswith("trunk from x.pth: 7 of 9 weights fit; ")
    assert "1 missing in the file (0.bias)" in message
    assert "1 unknown to the model (stem.weight)" in message
    assert "1 of another shape (2.weight: file 2x5, model 2x4)" in message
    assert all(torch.equal(before[key], value) for key, value in module.state_dict().items())


def test_long_lists_are_cut():
    with pytest.raises(CheckpointError, match=r"9 unknown to the model \(k0, k1, k2, k3, \.\.\.\)"):
        load_into(small(), {f"k{i}": torch.ones(1) for i in range(9)} | other(), what="x")


def test_a_file_that_matches_nothing_is_an_error():
    with pytest.raises(CheckpointError, match=r"0 of 9 weights fit; 8 missing in the file"):
        load_into(small(), {"something": torch.ones(2)}, what="x")


def test_not_strict_loads_what_fits_and_reports_the_rest():
    module, values = small(), other()
    del values["0.bias"]
    values["2.weight"] = torch.ones(2, 5)
    kept = module[2].weight.clone()
    report = load_into(module, values, what="x", strict=False)
    assert report.missing == ("0.bias",)
    assert report.mismatched == ("2.weight: file 2x5, model 2x4",)
    assert torch.equal(module[0].weight, values["0.weight"])
    assert torch.equal(module[2].weight, kept)


def test_files_older_than_batch_counters_load():
    values = {k: v for k, v in other().items() if not k.endswith("num_batches_tracked")}
    assert load_into(small(), values, what="x").fits


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_numbers_that_are_not_finite_are_refused(bad):
    values = other()
    values["0.weight"][1, 1] = bad
    with pytest.raises(CheckpointError, match=r"0\.weight holds numbers that are not finite"):
        load_into(small(), values, what="x")


def test_half_precision_files_are_widened():
    values = {k: v.half() if v.is_floating_point() else v for k, v in other().items()}
    module = small()
    load_into(module, values, what="x")
    assert module[0].weight.dtype == torch.float32
    assert torch.equal(module[0].weight, values["0.weight"].float())


@pytest.mark.parametrize("name", ["net.0", "last_linear"])
def test_either_name_of_the_linear_head_is_enough(name):
    head = LinearHead(3, 2)
    values = {f"{name}.weight": torch.ones(2, 3), f"{name}.bias": torch.full((2,), 5.0)}
    assert load_into(head, values, what="head").fits
    assert head(torch.ones(1, 3)).tolist() == [[8.0, 8.0]]


def test_two_names_of_one_layer_must_agree():
    values = state(LinearHead(3, 2))
    values["last_linear.weight"] = values["last_linear.weight"] + 1
    with pytest.raises(CheckpointError, match="must be equal, and differ"):
        load_into(LinearHead(3, 2), values, what="head")


def test_dropped_classifiers_are_in_the_report():
    trunk = create_trunk("timm/test_resnet", image_size=(32, 32))
    values = {**state(trunk), "fc.weight": torch.ones(3, 96), "fc.bias": torch.ones(3)}
    report = load_into(trunk, values, what="trunk")
    assert report.ignored == ("fc.weight", "fc.bias")


def test_a_file_of_another_backbone_is_refused():
    other_trunk = create_trunk("timm/resnet10t", image_size=(32, 32))
    with pytest.raises(CheckpointError, match="of another shape"):
        load_into(
            create_trunk("timm/resnet14t", image_size=(32, 32)),
            other_trunk.state_dict(),
            what="trunk",
        )


def test_dropped_objects_are_one_warning_line(tmp_path, caplog):
    torch.save({"state_dict": other(), "device": torch.nn.Identity()}, tmp_path / "x.pth")
    with caplog.at_level(logging.WARNING):
        read_state_dict(tmp_path / "x.pth")
    assert len(caplog.records) == 1
    assert "torch.nn.modules.linear.Identity" in caplog.text
