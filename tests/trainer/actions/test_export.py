import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from trainer.actions import export as module
from trainer.actions.export import _trained_with, _weights, export
from trainer.actions.export_check import ExportError, compare
from trainer.encoders import load_model
from trainer.errors import SpecError
from trainer.gallery import GalleryIndex
from trainer.onnx_model import MOST_BYTES
from trainer.spec import parse_spec

CPU = torch.device("cpu")


def run(trained, folder, **changes):
    changes = {
        "export__checkpoint": str(trained.checkpoint),
        "export__onnx_file": str(folder / "model.onnx"),
        "export__on_cpu": True,
    } | changes
    return export(parse_spec(trained.spec(folder, **changes), "export"))


def test_a_file_that_is_no_model_is_not_replaced(trained, tmp_path):
    (tmp_path / "photo.jpg").touch()
    with pytest.raises(SpecError, match=r"onnx_file: must not replace what is there, .*photo\.jpg"):
        run(trained, tmp_path, export__onnx_file=str(tmp_path / "photo.jpg"))


@pytest.mark.parametrize("opset", [14, 17])
def test_one_file_with_the_opset_that_is_asked(trained, tmp_path, opset):
    result = run(trained, tmp_path, export__opset_version=opset)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["gallery.npz", "model.onnx"]
    proto = onnx.load(tmp_path / "model.onnx")
    onnx.checker.check_model(proto)
    assert [o.version for o in proto.opset_import if not o.domain] == [opset] == [result["opset"]]
    assert [i.name for i in proto.graph.input] == ["input"]
    assert [o.name for o in proto.graph.output] == ["fc_pred"]
    assert result["neighbours_equal"] is True
    assert result["num_images_checked"] == 18
    assert result["min_cosine"] > 0.9999


def test_threads_of_one_process_export_one_after_another(trained, tmp_path):
    """The exporter of torch keeps what it does in globals of the process."""
    folders = [tmp_path / str(number) for number in range(4)]
    for folder in folders:
        folder.mkdir()
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda folder: run(trained, folder), folders))
    assert [result["neighbours_equal"] for result in results] == [True] * 4


def test_the_file_computes_what_the_model_computes_at_any_batch(trained, exported):
    from trainer.models.recognizer import build_recognizer

    model = build_recognizer(parse_spec(trained.spec("x"), "export", is_complete=False))
    model.load_state_dict(torch.load(trained.checkpoint, weights_only=True)["state_dict"])
    session = onnxruntime.InferenceSession(str(exported / "model.onnx"))
    for size in (1, 5):
        images = torch.randn(size, 3, 32, 32)
        with torch.no_grad():
            expected = model.eval()(images).numpy()
        (got,) = session.run(["fc_pred"], {"input": images.numpy()})
        assert got.shape == (size, 16)
        assert np.allclose(got, expected, atol=1e-4)


def test_facts_are_in_the_metadata(trained, exported):
    props = {p.key: json.loads(p.value) for p in onnx.load(exported / "model.onnx").metadata_props}
    assert props["backbone"] == "timm/test_resnet"
    assert (props["input_height"], props["input_width"], props["input_channels"]) == (32, 32, 3)
    assert props["pixel_mean"] == [0.485, 0.456, 0.406]
    assert (props["interpolation"], props["crop_share"]) == ("bilinear", 0.0)
    assert props["classes"] == [f"class_{c:02d}" for c in range(6)]


def test_the_file_says_what_it_was_trained_with_and_names_no_place(trained, exported):
    """Taken from the checkpoint: a spec that is exported with may say anything of training."""
    props = {p.key: json.loads(p.value) for p in onnx.load(exported / "model.onnx").metadata_props}
    told = props["trained_with"]
    spec = torch.load(trained.checkpoint, weights_only=True)["spec"]
    assert told["train.optim.trunk.base_lr"] == spec["train"]["optim"]["trunk"]["base_lr"]
    assert told["train.num_epochs"] == spec["train"]["num_epochs"]
    assert told["dataset.num_instance"] == spec["dataset"]["num_instance"]
    assert not [value for value in told.values() if isinstance(value, str) and value[:1] == "/"]


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("/home/ann/w.pth", "w.pth"), ("local-dir:/home/ann/net", "net"),
        ("hf-hub:timm/net.in1k", "hf-hub:timm/net.in1k"), ("timm://net", "timm://net"),
    ],
)  # fmt: skip
def test_of_what_training_started_from_no_folder_is_told(trained, tmp_path, address, told):
    spec = trained.spec(tmp_path, export__checkpoint=str(trained.checkpoint))
    model = parse_spec(spec, "export").model
    weights = replace(model.weights, address=address, sha256="5" * 64)
    with_weights = replace(parse_spec(spec, "export"), model=replace(model, weights=weights))
    assert _weights(with_weights) == {
        "address": told, "sha256": "5" * 64, "licence": None,
    }  # fmt: skip
    kept = {
        "model": {"pretrained_trunk_path": address, "weights": {"address": address}},
        "train": {
            "head_checkpoint": "/home/ann/best.ckpt",
            "num_epochs": 7,
            "results_dir": "/home/ann",
        },
        "dataset": {"train_dataset": ["/home/ann/a"], "val_dataset": {"query": "/home/ann/q"}},
    }
    assert _trained_with(kept) == {
        "model.pretrained_trunk_path": told, "model.weights.address": told, "train.num_epochs": 7,
    }  # fmt: skip


def test_the_gallery_holds_every_reference_picture(exported):
    gallery = GalleryIndex.load(exported / "gallery.npz")
    assert len(gallery) == 12
    assert gallery.paths[0] == "class_00/00.png"
    assert gallery.class_names[gallery.labels_G[-1]] == "class_05"


def test_a_fixed_batch(trained, tmp_path):
    run(trained, tmp_path, export__batch_size=4)
    shape = onnx.load(tmp_path / "model.onnx").graph.input[0].type.tensor_type.shape
    assert [d.dim_value for d in shape.dim] == [4, 3, 32, 32]


def test_height_and_width_are_not_swapped(trained, tmp_path):
    state = torch.load(trained.checkpoint, weights_only=True)["state_dict"]
    torch.save(state, tmp_path / "weights.pth")
    run(
        trained, tmp_path, export__checkpoint=str(tmp_path / "weights.pth"),
        model__input_height=32, model__input_width=64,
    )  # fmt: skip
    shape = onnx.load(tmp_path / "model.onnx").graph.input[0].type.tensor_type.shape
    assert [d.dim_value for d in shape.dim[1:]] == [3, 32, 64]


def test_without_pictures_it_warns_and_writes_no_gallery(trained, tmp_path, caplog):
    spec = trained.spec(
        tmp_path, export__checkpoint=str(trained.checkpoint), export__on_cpu=True,
        dataset__val_dataset__reference=None, dataset__val_dataset__query=None,
    )  # fmt: skip
    result = export(parse_spec(spec, "export"))
    assert result["checked_on"] == "generated"
    assert result["gallery"] is None
    assert result["onnx"] == str(tmp_path / "export" / "model.onnx")
    assert "names no pictures" in caplog.text


def test_a_file_that_computes_something_else_is_not_left_behind(trained, tmp_path, monkeypatch):
    write = module.write_onnx

    def wrong(model, spec, path):
        with torch.no_grad():
            model.embedder.last_linear.weight.mul_(-1.0)
            write(model, spec, path)
            model.embedder.last_linear.weight.mul_(-1.0)

    monkeypatch.setattr(module, "write_onnx", wrong)
    with pytest.raises(ExportError, match="no file is written"):
        run(trained, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_comparison_refuses_other_neighbours_and_forgives_ties():
    rng = np.random.default_rng(0)
    query, gallery = rng.normal(size=(9, 8)), rng.normal(size=(20, 8))
    assert compare(query, query * 3.0, (gallery, gallery)).neighbours_equal
    twice = np.concatenate((gallery, gallery))
    shifted = np.concatenate((gallery + 1e-9, gallery))
    assert compare(query, query, (twice, shifted)).neighbours_equal
    with pytest.raises(ExportError, match="neighbours different"):
        compare(query, query, (gallery, gallery[::-1]))
    with pytest.raises(ExportError, match="cosine"):
        compare(query, query + rng.normal(size=(9, 8)), None)


def test_an_opset_that_cannot_express_the_model_is_one_line(tmp_path, trained, capsys):
    changes = {"model__backbone": "timm/test_vit", "export__opset_version": 11}
    from trainer.models.recognizer import build_recognizer

    model = build_recognizer(
        parse_spec(trained.spec(tmp_path, **changes), "export", is_complete=False)
    )
    torch.save(model.state_dict(), tmp_path / "weights.pth")
    changes["export__checkpoint"] = str(tmp_path / "weights.pth")
    with pytest.raises(ExportError, match="opset_version 11 cannot express") as caught:
        run(trained, tmp_path, **changes)
    assert "\n" not in str(caught.value)
    assert capsys.readouterr().out == ""
    assert [p.name for p in tmp_path.iterdir()] == ["weights.pth"]


def test_a_network_that_no_file_holds_is_refused_before_one_is_written(
    trained, tmp_path, monkeypatch
):
    spec = parse_spec(trained.spec(tmp_path), "export", is_complete=False)
    model = load_model(trained.checkpoint, spec, CPU)
    held = sum(tensor.nbytes for tensor in (*model.parameters(), *model.buffers()))
    monkeypatch.setattr("trainer.onnx_model.MOST_BYTES", held - 1)
    with pytest.raises(
        SpecError, match=r"^model\.backbone: must be a network with at most 1\.5 MB"
    ):
        run(trained, tmp_path)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr("trainer.onnx_model.MOST_BYTES", held)
    size = run(trained, tmp_path)["size_mib"] * 2**20
    assert size == pytest.approx(held, rel=0.05)


def test_weights_up_to_the_limit_leave_room_for_graph_and_facts():
    graph, facts = 4 << 20, 4 << 20  # of 10,000 nodes, and of 100,000 names
    assert MOST_BYTES + graph + facts < onnx.checker.MAXIMUM_PROTOBUF < MOST_BYTES + (20 << 20)
