"""The repository, its configuration read as the message that the server publishes."""

from pathlib import Path

import onnx
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format

from trainer.forms.exported import FormError
from trainer.forms.triton import write_triton

F = descriptor_pb2.FieldDescriptorProto
ENUMS = {
    "DataType": {"TYPE_INVALID": 0, "TYPE_UINT8": 2, "TYPE_FP16": 10, "TYPE_FP32": 11},
    "Kind": {"KIND_AUTO": 0, "KIND_GPU": 1, "KIND_CPU": 2, "KIND_MODEL": 3},
}
MESSAGES = {
    "ModelInput": [("name", 1, "string", 0), ("data_type", 2, "DataType", 0), ("dims", 4, "int64", 1)],
    "ModelOutput": [("name", 1, "string", 0), ("data_type", 2, "DataType", 0), ("dims", 3, "int64", 1)],
    "ModelInstanceGroup": [("name", 1, "string", 0), ("count", 2, "int32", 0), ("kind", 4, "Kind", 0)],
    "ModelDynamicBatching": [("max_queue_delay_microseconds", 2, "uint64", 0)],
    "ModelConfig": [
        ("name", 1, "string", 0), ("platform", 2, "string", 0), ("max_batch_size", 4, "int32", 0),
        ("input", 5, "ModelInput", 1), ("output", 6, "ModelOutput", 1),
        ("instance_group", 7, "ModelInstanceGroup", 1),
        ("dynamic_batching", 11, "ModelDynamicBatching", 0),
    ],
}  # fmt: skip
"""Names, numbers and types of the published model_config.proto that a classifier's config needs."""
PLAIN = {
    "string": F.TYPE_STRING,
    "int32": F.TYPE_INT32,
    "int64": F.TYPE_INT64,
    "uint64": F.TYPE_UINT64,
}


def model_config():
    file = descriptor_pb2.FileDescriptorProto(name="m.proto", package="inference", syntax="proto3")
    for name, values in ENUMS.items():
        enum = file.enum_type.add(name=name)
        for key, number in values.items():
            enum.value.add(name=key, number=number)
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, number, kind, is_repeated in fields:
            made = message.field.add(name=field, number=number, label=3 if is_repeated else 1)
            made.type = PLAIN.get(kind, F.TYPE_ENUM if kind in ENUMS else F.TYPE_MESSAGE)
            if kind not in PLAIN:
                made.type_name = f".inference.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("inference.ModelConfig"))()


def test_the_configuration_is_the_published_message_and_fits_the_file(squashed, tmp_path):
    told = write_triton(squashed / "model.onnx", tmp_path / "repository", "shelf")
    config = text_format.Parse(Path(told["config"]).read_text(), model_config())
    assert (config.name, config.platform) == ("shelf", "onnxruntime_onnx")
    assert config.max_batch_size == 64
    (taken,), (given,) = config.input, config.output
    assert (taken.name, taken.data_type, list(taken.dims)) == ("input", 11, [3, 32, 48])
    assert (given.name, given.data_type, list(given.dims)) == ("fc_pred", 11, [16])
    assert config.HasField("dynamic_batching")
    assert (
        onnx.load(tmp_path / "repository" / "shelf" / "1" / "model.onnx").graph.input[0].name
        == "input"
    )


def test_a_fixed_batch_is_a_dimension_of_its_own(squashed, tmp_path):
    """To the server a first dimension that is fixed means: no batches."""
    file = tmp_path / "fixed.onnx"
    proto = onnx.load(squashed / "model.onnx")
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 6
    onnx.save(proto, file)
    told = write_triton(file, tmp_path / "repository", "shelf")
    config = text_format.Parse(Path(told["config"]).read_text(), model_config())
    assert config.max_batch_size == 0
    assert list(config.input[0].dims) == [6, 3, 32, 48]
    assert list(config.output[0].dims) == [6, 16]
    assert not config.HasField("dynamic_batching")


@pytest.mark.parametrize("name", ["", "a/b", "..", ".hidden", "a b"])
def test_a_name_that_is_no_folder_is_refused(squashed, tmp_path, name):
    with pytest.raises(
        FormError, match="--triton: the model's name must be of the letters A to Z.*such a name"
    ):
        write_triton(squashed / "model.onnx", tmp_path, name)


@pytest.mark.parametrize("name", ["2/model.onnx", "1/model.plan", "config.pbtxt"])
def test_what_was_added_to_a_model_is_not_replaced(squashed, tmp_path, name):
    for _ in range(2):
        write_triton(squashed / "model.onnx", tmp_path, "shelf")
    file = tmp_path / "shelf" / name
    file.parent.mkdir(exist_ok=True)
    file.write_text("mine")
    with pytest.raises(FormError, match=r"--triton: .*/shelf: must hold nothing but .* got .*;"):
        write_triton(squashed / "model.onnx", tmp_path, "shelf")
    assert file.read_text() == "mine"
