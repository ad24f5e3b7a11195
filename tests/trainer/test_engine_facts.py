"""Facts of an engine that is no ONNX file; what builds one needs a GPU and is not here."""

import importlib.util
import json

import pytest
import torch

from tests.trainer.tiny import make_splits, train_spec
from trainer.encoders import as_trained, load_encoder, trained_classes
from trainer.engine_facts import facts_file, read_facts, write_facts
from trainer.errors import CheckpointError, InfrastructureError, SpecError
from trainer.spec import parse_spec

FACTS = {"pixel_mean": [0.1, 0.2, 0.3], "pixel_std": [0.5, 0.5, 0.5], "value_range": [0.0, 4095.0]}


@pytest.fixture
def engine(tmp_path):
    path = tmp_path / "model.engine"
    path.write_bytes(b"ftrt, as TensorRT writes it")
    write_facts(path, FACTS)
    return path


def spec(folder, **changes):
    return parse_spec(train_spec(make_splits(folder / "p"), folder, **changes), "train")


def test_facts_lie_beside_the_engine(engine):
    assert facts_file(engine).name == "model.engine.json"
    assert read_facts(engine) == FACTS


def test_an_engine_that_was_copied_alone_has_none(engine, tmp_path):
    facts_file(engine).unlink()
    assert read_facts(engine) == {}
    plain = spec(tmp_path)
    assert as_trained(engine, plain) == plain


@pytest.mark.parametrize("text", ["", "[]", "{"])
def test_damaged_facts_are_one_line(engine, text):
    facts_file(engine).write_text(text)
    with pytest.raises(CheckpointError, match="must be what the engine was made from"):
        read_facts(engine)


def test_deep_pictures_are_read_by_the_range_of_the_model(engine, tmp_path):
    assert tuple(as_trained(engine, spec(tmp_path)).dataset.value_range) == (0.0, 4095.0)


def test_an_engine_knows_the_classes_that_its_model_was_trained_on(engine):
    assert trained_classes(engine) == []
    write_facts(engine, FACTS | {"trained_classes": ["käse", "brot"]})
    assert trained_classes(engine) == ["käse", "brot"]


def test_another_preprocessing_than_the_engines_is_refused(engine, tmp_path):
    with pytest.raises(SpecError, match=r"dataset.pixel_mean must be \[0.1, 0.2, 0.3\]"):
        load_encoder(engine, as_trained(engine, spec(tmp_path)), torch.device("cpu"))


@pytest.mark.skipif(importlib.util.find_spec("tensorrt") is not None, reason="it would be loaded")
def test_with_the_right_one_it_is_the_package_that_is_missing(engine, tmp_path):
    facts_file(engine).write_text(json.dumps({"value_range": None}))
    with pytest.raises(InfrastructureError, match="needs the tensorrt package and a GPU"):
        load_encoder(engine, spec(tmp_path), torch.device("cpu"))
