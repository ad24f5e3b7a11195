"""INT8 forms: what is quantised, how ranges are found, and which layers stay in float32."""

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from tests.trainer.actions.test_engine import spec_of
from tests.trainer.tiny import SIDE
from trainer.actions.calibration import calibration_batches, calibration_files
from trainer.actions.engine import gen_trt_engine
from trainer.actions.evaluate import evaluate
from trainer.actions.half import share_of_weights
from trainer.actions.int8 import _fewest
from trainer.data.decode import decode_image
from trainer.data.framing import ImageSize
from trainer.onnx_model import OnnxModel
from trainer.spec import parse_spec

BUILD = "gen_trt_engine__tensorrt__"
CALIBRATION = f"{BUILD}calibration__"


@pytest.fixture(scope="module")
def harmed(exported, tmp_path_factory):
    """The exported model, one layer of which rounds all its weights to 0 in INT8, but one channel's.

    That channel of its input is always 0, so that in float32 its great weights change nothing.
    """
    folder = tmp_path_factory.mktemp("harmed")
    proto = onnx.load(exported / "model.onnx")
    tensors = {t.name: t for t in proto.graph.initializer}
    before, layer = [node for node in proto.graph.node if node.op_type == "Conv"][1:3]
    for name, value, part in (
        (before.input[1], 0.0, np.s_[0]), (before.input[2], -1.0, np.s_[0]),
        (layer.input[1], 1e4, np.s_[:, 0]),
    ):  # fmt: skip
        array = onnx.numpy_helper.to_array(tensors[name]).copy()
        array[part] = value
        tensors[name].CopyFrom(onnx.numpy_helper.from_array(array, name))
    onnx.save(proto, folder / "model.onnx")
    return folder, layer.name


@pytest.fixture(scope="module")
def built(trained, exported, tmp_path_factory):
    """An INT8 form made by default settings, and what was said of it."""
    folder = tmp_path_factory.mktemp("built")
    return folder / "model.engine", gen_trt_engine(spec_of(trained, exported, folder))


def quantised(path):
    """Names of the convolutions whose weights come from 8 bits."""
    graph = onnx.load(path).graph
    scaled = {name for n in graph.node if n.op_type == "DequantizeLinear" for name in n.output}
    return {n.name for n in graph.node if n.op_type == "Conv" and n.input[1] in scaled}


def test_biases_stay_in_float32(built):
    graph = onnx.load(built[0]).graph
    types = {t.name: t.data_type for t in graph.initializer}
    read = {types.get(n.input[0]) for n in graph.node if n.op_type == "DequantizeLinear"}
    assert TensorProto.INT32 not in read
    assert TensorProto.INT8 in read
    biases = {types[n.input[2]] for n in graph.node if n.op_type == "Conv" and len(n.input) > 2}
    assert biases == {TensorProto.FLOAT}


def test_figures_of_three_forms_stand_beside_each_other(built, trained, exported, tmp_path):
    _, result = built
    for name in ("precision_at_1", "milliseconds", "bytes"):
        assert set(result[name]) - {"num_queries"} == {"fp32", "fp16", "int8"}
    assert result["bytes"]["fp32"] == (exported / "model.onnx").stat().st_size
    assert result["bytes"]["int8"] < result["bytes"]["fp32"]
    assert result["milliseconds"]["fp16"] > 0
    spec = trained.spec(tmp_path, evaluate__checkpoint=str(exported / "model.onnx"))
    metrics = evaluate(parse_spec(spec, "evaluate"))["metrics"]
    assert result["precision_at_1"]["fp32"] == pytest.approx(
        metrics["val_precision_at_1_class_mean"]
    )


def test_layers_that_the_user_names_stay(trained, exported, tmp_path):
    name = sorted(quantised_names(exported))[1]
    changes = {f"{BUILD}layers_precision": [f"{name}:FP32"], f"{CALIBRATION}max_drop": 1.0}
    result = gen_trt_engine(spec_of(trained, exported, tmp_path, **changes))
    assert quantised(tmp_path / "model.engine") == quantised_names(exported) - {name}
    assert list(result["kept_layers"]) == [name]


def quantised_names(exported):
    return {n.name for n in onnx.load(exported / "model.onnx").graph.node if n.op_type == "Conv"}


def test_a_method_that_is_asked_for_is_used(trained, exported, tmp_path):
    found = {}
    for method in ("minmax", "percentile"):
        folder = tmp_path / method
        folder.mkdir()
        changes = {f"{CALIBRATION}method": method, f"{CALIBRATION}max_drop": 1.0}
        result = gen_trt_engine(spec_of(trained, exported, folder, **changes))
        assert result["method"] == method
        found[method] = json.loads((folder / "cal.cache").read_text())
    assert found["minmax"] != found["percentile"]


def test_a_fixed_batch_is_filled_by_the_pictures_there_are(trained, exported, tmp_path):
    """One picture fills it eight times; of five the last batch goes on with the first."""
    proto = onnx.load(exported / "model.onnx")
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 4
    onnx.save(proto, tmp_path / "fixed.onnx")
    spec = spec_of(trained, exported, tmp_path)
    model = OnnxModel(tmp_path / "fixed.onnx")
    for count, places in ((1, [[0, 0, 0, 0]]), (5, [[0, 1, 2, 3], [4, 0, 1, 2]])):
        files = calibration_files(spec)[:count]
        own = [decode_image(file, ImageSize(height=SIDE, width=SIDE)).pixels for file in files]
        batches = list(calibration_batches(files, model, spec))
        assert [batch.shape[0] for batch in batches] == [4] * len(places)
        for batch, rows in zip(batches, places, strict=True):
            dataset = spec.dataset
            mean, std = (np.reshape(v, (3, 1, 1)) for v in (dataset.pixel_mean, dataset.pixel_std))
            by_hand = np.stack([(own[row].transpose(2, 0, 1) / 255 - mean) / std for row in rows])
            np.testing.assert_allclose(batch, by_hand, atol=1e-5)


def test_where_one_method_loses_nothing_no_other_is_tried(trained, exported, tmp_path, caplog):
    caplog.set_level("INFO", logger="trainer.actions.int8")
    own = {"dataset__val_dataset__query": trained.splits["reference"]}  # each is its own nearest
    result = gen_trt_engine(spec_of(trained, exported, tmp_path, **own))
    assert result["precision_at_1"]["int8"] == 1.0
    assert result["method"] == "minmax"
    assert "INT8: Precision@1 1.0000 by minmax; at least" in caplog.text


def test_another_wish_is_not_answered_from_the_cache(trained, exported, tmp_path):
    blind = {"dataset__val_dataset__reference": "", "dataset__val_dataset__query": ""}
    loose = {f"{CALIBRATION}max_drop": 1.0}
    entropy = loose | {f"{CALIBRATION}method": "entropy"}
    asked = [blind | entropy, entropy, loose, entropy | {f"{CALIBRATION}max_drop": 0.5}]
    reused = [
        gen_trt_engine(spec_of(trained, exported, tmp_path, **a))["cache_reused"] for a in asked
    ]
    assert reused == [False] * 4
    other = {
        f"{CALIBRATION}cal_image_dir": [trained.splits["query"]],
        f"{CALIBRATION}cal_batches": 4,
    }
    for pictures, is_reused in (({}, True), (other, False)):
        spec = spec_of(trained, exported, tmp_path, **(blind | asked[3] | pictures))
        assert gen_trt_engine(spec)["cache_reused"] is is_reused


def test_the_layer_that_harms_stays_until_the_loss_is_small_enough(trained, harmed, tmp_path):
    folder, name = harmed
    loose = {f"{CALIBRATION}max_drop": 1.0, f"{CALIBRATION}method": "minmax"}
    free = gen_trt_engine(spec_of(trained, folder, tmp_path, **loose))
    assert free["kept_layers"] == {}
    loss = free["precision_at_1"]["fp32"] - free["precision_at_1"]["int8"]
    assert loss > 0.02, "the planted layer does no harm"
    strict = {f"{CALIBRATION}max_drop": 0.005, f"{CALIBRATION}method": "minmax"}
    kept = gen_trt_engine(spec_of(trained, folder, tmp_path, **strict))
    assert next(iter(kept["kept_layers"])) == name
    assert kept["precision_at_1"]["fp32"] - kept["precision_at_1"]["int8"] <= 0.005
    assert name not in quantised(tmp_path / "model.engine")
    assert quantised(tmp_path / "model.engine"), "all layers were kept"


@pytest.mark.parametrize("enough_from", range(1, 24))
def test_the_number_of_layers_is_the_least_that_is_enough(enough_from):
    tried = []
    assert _fewest(23, lambda n: tried.append(n) or n >= enough_from) == enough_from
    assert len(tried) <= 10


def test_shares_of_weights_add_up(exported):
    file = exported / "model.onnx"
    graph = onnx.load(file).graph
    names = [n.name for n in graph.node]
    shares = share_of_weights(file, names)
    assert sum(shares.values()) == pytest.approx(1.0, abs=0.01)
    sizes = {t.name: np.prod(t.dims, dtype=int) for t in graph.initializer}
    layer = next(n for n in graph.node if n.op_type == "Conv")
    total = sum(sizes[t.name] for t in graph.initializer if t.data_type == TensorProto.FLOAT)
    assert shares[layer.name] == pytest.approx(sum(sizes[i] for i in layer.input[1:]) / total)
