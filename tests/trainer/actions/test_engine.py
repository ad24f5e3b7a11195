import importlib.util

import numpy as np
import onnx
import pytest

from tests.trainer.tiny import SIDE
from trainer.actions.engine import gen_trt_engine
from trainer.actions.evaluate import evaluate
from trainer.actions.inference import infer
from trainer.errors import DataError, InfrastructureError, SpecError
from trainer.onnx_model import OnnxModel
from trainer.spec import parse_spec

without_tensorrt = pytest.mark.skipif(
    importlib.util.find_spec("tensorrt") is not None, reason="tensorrt is installed"
)


def spec_of(trained, exported, folder, **changes):
    changes = {
        "gen_trt_engine__onnx_file": str(exported / "model.onnx"),
        "gen_trt_engine__trt_engine": str(folder / "model.engine"),
        "gen_trt_engine__tensorrt__data_type": "INT8",
        "gen_trt_engine__tensorrt__max_batch_size": 5,
        "gen_trt_engine__tensorrt__calibration__cal_image_dir": [trained.splits["train"]],
        "gen_trt_engine__tensorrt__calibration__cal_cache_file": str(folder / "cal.cache"),
        "gen_trt_engine__tensorrt__calibration__cal_batch_size": 4,
        "gen_trt_engine__tensorrt__calibration__cal_batches": 6,
    } | changes
    return parse_spec(trained.spec(folder, **changes), "gen_trt_engine")


@without_tensorrt
def test_int8_runs_in_evaluate_and_inference_under_the_engine_s_name(
    trained, exported, tmp_path, caplog
):
    result = gen_trt_engine(spec_of(trained, exported, tmp_path))
    assert "not as a TensorRT engine" in " ".join(caplog.text.split())
    assert result["kind"] == "onnx"
    assert result["num_calibration_images"] == 24
    scores = result["precision_at_1"]
    assert scores["num_queries"] == 18
    engine = str(tmp_path / "model.engine")
    kinds = {node.op_type for node in onnx.load(engine).graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= kinds
    spec = trained.spec(tmp_path, evaluate__trt_engine=engine, evaluate__batch_size=5)
    metrics = evaluate(parse_spec(spec, "evaluate"))["metrics"]
    assert metrics["val_precision_at_1_class_mean"] == pytest.approx(scores["int8"])
    spec = trained.spec(
        tmp_path, inference__trt_engine=engine, inference__batch_size=4,
        inference__input_path=trained.splits["query"],
    )  # fmt: skip
    assert infer(parse_spec(spec, "inference"))["num_images"] == 18
    spec = trained.spec(tmp_path, evaluate__trt_engine=engine, evaluate__batch_size=6)
    with pytest.raises(SpecError, match="at most the 5 of"):
        evaluate(parse_spec(spec, "evaluate"))


@without_tensorrt
def test_calibrated_ranges_are_kept_and_used_again_for_the_same_model(trained, exported, tmp_path):
    first = gen_trt_engine(spec_of(trained, exported, tmp_path))
    again = gen_trt_engine(spec_of(trained, exported, tmp_path))
    assert (first["cache_reused"], again["cache_reused"]) == (False, True)
    assert first["precision_at_1"] == again["precision_at_1"]
    other = tmp_path / "other"
    other.mkdir()
    proto = onnx.load(exported / "model.onnx")
    onnx.helper.set_model_props(proto, {"changed": "1"})
    onnx.save(proto, other / "model.onnx")
    with pytest.raises(DataError, match="ranges of another model"):
        gen_trt_engine(spec_of(trained, other, tmp_path))
    (of_model,) = tmp_path.rglob("*.model")
    of_model.write_text(of_model.read_text()[:-3])  # by a full disk: nobody knows whose they are
    with pytest.raises(DataError, match="ranges of another model"):
        gen_trt_engine(spec_of(trained, exported, tmp_path))


@without_tensorrt
def test_pictures_that_were_calibrated_on_are_not_scored(trained, exported, tmp_path):
    key = "gen_trt_engine__tensorrt__calibration__cal_image_dir"
    changes = {
        key: [trained.splits["query"]],
        "gen_trt_engine__tensorrt__calibration__cal_batch_size": 2,
        "gen_trt_engine__tensorrt__calibration__cal_batches": 4,
    }
    spec = spec_of(trained, exported, tmp_path, **changes)
    assert gen_trt_engine(spec)["precision_at_1"]["num_queries"] == 10


@without_tensorrt
def test_half_precision_is_in_the_file_s_types_and_keeps_the_embeddings(
    trained, exported, tmp_path
):
    convolutions = [
        n.name for n in onnx.load(exported / "model.onnx").graph.node if n.op_type == "Conv"
    ]
    changes = {
        "gen_trt_engine__tensorrt__data_type": "FP16",
        "gen_trt_engine__tensorrt__layers_precision": [f"{name}:fp32" for name in convolutions[:3]],
    }
    assert gen_trt_engine(spec_of(trained, exported, tmp_path, **changes))["data_type"] == "FP16"
    types = weight_types(tmp_path / "model.engine")
    assert {types.pop(name) for name in convolutions[:3]} == {onnx.TensorProto.FLOAT}
    assert set(types.values()) == {onnx.TensorProto.FLOAT16}
    images = np.random.default_rng(3).normal(size=(4, 3, SIDE, SIDE)).astype(np.float32)
    plain, half = (
        OnnxModel(p).run(images) for p in (exported / "model.onnx", tmp_path / "model.engine")
    )
    assert half.dtype == np.float32
    cosines = (plain * half).sum(1) / np.linalg.norm(plain, axis=1) / np.linalg.norm(half, axis=1)
    assert 0.999 < cosines.min() < 1 - 1e-9  # rounded, and no more than that
    assert OnnxModel(tmp_path / "model.engine").facts["pixel_mean"]


def weight_types(path):
    """The type of every convolution's weights."""
    graph = onnx.load(path).graph
    tensors = {tensor.name: tensor.data_type for tensor in graph.initializer}
    return {n.name: tensors[n.input[1]] for n in graph.node if n.op_type == "Conv"}


@without_tensorrt
def test_plain_refusals(trained, exported, tmp_path):
    layers = {
        "gen_trt_engine__tensorrt__data_type": "FP32",
        "gen_trt_engine__tensorrt__layers_precision": ["conv99:FP16"],
    }
    with pytest.raises(SpecError, match="must be NODE:FP32 with a node of .*, got 'conv99:FP16'"):
        gen_trt_engine(spec_of(trained, exported, tmp_path, **layers))
    first = onnx.load(exported / "model.onnx").graph.node[0].name
    layers["gen_trt_engine__tensorrt__layers_precision"] = [f"{first}:INT8"]
    with pytest.raises(SpecError, match=", got '.*:INT8'"):
        gen_trt_engine(spec_of(trained, exported, tmp_path, **layers))
    many = {"gen_trt_engine__tensorrt__calibration__cal_batches": 1000}
    with pytest.raises(DataError, match="= 4000 pictures are needed, cal_image_dir holds 48"):
        gen_trt_engine(spec_of(trained, exported, tmp_path, **many))
    onto = {"gen_trt_engine__trt_engine": str(exported / "model.onnx")}
    with pytest.raises(SpecError, match="trt_engine: must not replace what it is made from"):
        gen_trt_engine(spec_of(trained, exported, tmp_path, **onto))
    (tmp_path / "x.engine").write_bytes(b"a serialised engine")
    spec = trained.spec(tmp_path, evaluate__trt_engine=str(tmp_path / "x.engine"))
    with pytest.raises(InfrastructureError, match="needs the tensorrt package and a GPU"):
        evaluate(parse_spec(spec, "evaluate"))
    assert not (tmp_path / "model.engine").exists()
