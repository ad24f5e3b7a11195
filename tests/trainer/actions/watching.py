"""What an action does under a spec: each function runs it and returns what can be seen of it.

Nothing of the trainer is replaced: what is watched runs on. Stood in for are a GPU machine (torch's
answers on devices) and packages that are not installed (wandb, tensorrt).
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.machinery
import json
import logging
import os
import sys
import types
from pathlib import Path

import numpy as np
import onnx
import torch

from trainer.errors import TrainerError
from trainer.models.recognizer import Recognizer
from trainer.spec import parse_spec

CPU = torch.device("cpu")


class World:
    """What a case may need: pictures, a trained and an exported model, a folder of its own."""

    def __init__(self, trained, exported, folder, monkeypatch):
        self.trained, self.exported, self.folder = trained, exported, folder
        self.splits, self.monkeypatch = trained.splits, monkeypatch


def _path_facts(result):
    """Results without the names of files in them, and which files there are."""
    plain = {key: value for key, value in result.items() if not isinstance(value, str)}
    return plain, sorted(str(value) for value in result.values() if isinstance(value, str))


@contextlib.contextmanager
def sizes_seen():
    """Collect the sizes of batches that models see in evaluation mode."""
    seen = []

    def look(module, inputs):
        if isinstance(module, Recognizer) and not module.training:
            seen.append(len(inputs[0]))

    handle = torch.nn.modules.module.register_module_forward_pre_hook(look)
    try:
        yield seen
    finally:
        handle.remove()


@contextlib.contextmanager
def _gpus_asked(world, module_name):
    """Collect the indices of GPUs that an action asks for."""
    module = importlib.import_module(module_name)
    original, asked = module.pick_device, []

    def watched(index):
        asked.append(index)
        return original(index)

    with world.monkeypatch.context() as patch:
        patch.setattr(module, "pick_device", watched)
        yield asked


# ---- train


def live(_world, nested):
    """Everything that is built."""
    from tests.trainer.live import facts

    return facts(nested)


def warned(_world, nested):
    """What is said of a spec that is legal and unlikely to be meant."""
    from trainer.following import differences

    return list(differences(parse_spec(nested, "train")))


def fitted(_world, nested):
    """Epochs heard and their values, batches validated, arithmetic, and checkpoints, of a run."""
    from trainer.training import fit

    heard = []
    with sizes_seen() as sizes:
        receipt = fit(nested, lambda r: heard.append((r["epoch"], r["value"], r["replayed"])) or 1)
    return heard, sorted(set(sizes)), receipt["precision"]


def on_features(_world, nested):
    """What the features of a run were made with, and its values."""
    from trainer.training import fit

    heard = []
    receipt = fit(nested, lambda r: heard.append((r["epoch"], r["metrics"])) or 1)
    return heard, receipt["features"]["views"]


def stopped(_world, nested):
    """Where the checkpoint of a run stands that ends after its second epoch."""
    from trainer import checkpoints
    from trainer.training import fit

    def report(message):
        if message["epoch"] == 2:
            raise SystemExit
        return True

    with contextlib.suppress(SystemExit):
        fit(nested, report)
    last = Path(nested["results_dir"]) / checkpoints.LAST
    return checkpoints.load(last)["progress"]["step"] if last.is_file() else None


def run_folder(_world, nested):
    """The folder that the action writes to."""
    from trainer.actions.train import train

    folder = Path(train(parse_spec(nested, "train"))["folder"])
    assert (folder / "status.jsonl").is_file()
    return folder


def devices(world, nested):
    """Devices and processes on a machine of four GPUs."""
    from trainer.devices import training_devices
    from trainer.distributed import find_place

    train = parse_spec(nested, "train").train
    with four_gpus(world):
        return training_devices(train), find_place(train).world_size


@contextlib.contextmanager
def four_gpus(world):
    """Let torch speak of four GPUs."""
    with world.monkeypatch.context() as patch:
        patch.setattr(torch.cuda, "is_available", lambda: True)
        patch.setattr(torch.cuda, "device_count", lambda: 4)
        yield patch


def switches(_world, nested):
    """cuDNN's switches inside a run."""
    from trainer.isolation import isolated

    with isolated(parse_spec(nested, "train"), CPU):
        return torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic


def threads(world, nested):
    """Threads that decode, on a machine of many cores."""
    from trainer.data import decoding
    from trainer.data.batches import build_data

    seen, original = set(), decoding.ThreadPoolExecutor

    def watched(count):
        seen.add(count)
        return original(count)

    with world.monkeypatch.context() as patch:
        patch.setattr(os, "sched_getaffinity", lambda _: range(64))
        patch.setattr(decoding, "ThreadPoolExecutor", watched)
        build_data(parse_spec(nested, "train"), CPU)
    return seen


def cached(world, nested):
    """How many decoded sets are kept on disk."""
    from trainer.data.batches import build_data

    folder = Path(nested["results_dir"]) / "cache"
    with world.monkeypatch.context() as patch:
        patch.setenv("HPO_CACHE_DIR", str(folder))
        build_data(parse_spec(nested, "train"), CPU)
    return len(list(folder.rglob("images.npy")))


def mirrored(world, nested):
    """What the service is asked for; None when it is not."""
    from trainer.wandb_mirror import start_mirror

    service = _stand_in("wandb")
    service.api = types.SimpleNamespace(api_key="k")
    asked = []
    run = types.SimpleNamespace(log=None, finish=None)
    service.init = lambda **words: asked.append(words) or run
    with world.monkeypatch.context() as patch:
        patch.setitem(sys.modules, "wandb", service)
        start_mirror(parse_spec(nested, "train"), Path())
    return [{key: value for key, value in words.items() if key != "config"} for words in asked]


def _stand_in(name):
    module = types.ModuleType(name)
    module.__spec__ = importlib.machinery.ModuleSpec(name, None)
    return module


# ---- what follows training


def evaluated(world, nested):
    """Results of `evaluate`, or the line that it ends with."""
    from trainer.actions.evaluate import evaluate

    with sizes_seen() as sizes, _gpus_asked(world, evaluate.__module__) as gpus:
        try:
            result = evaluate(parse_spec(nested, "evaluate"))
        except TrainerError as e:
            return str(e)
    del result["model"]  # the name that was given, whatever was loaded
    return *_path_facts(result), sizes, gpus


def inferred(world, nested):
    """Results of `inference` and its rows."""
    from trainer.actions.inference import infer

    with sizes_seen() as sizes, _gpus_asked(world, infer.__module__) as gpus:
        result = infer(parse_spec(nested, "inference"))
    rows = json.loads(Path(result["results"]).read_text())
    return *_path_facts(result), rows, sizes, gpus


def inferred_or_refused(world, nested):
    """The same, or what it is refused with: the small model has too few classes for thresholds."""
    try:
        return inferred(world, nested)
    except TrainerError as e:
        return str(e)


def exported_file(world, nested):
    """The file of an export: input, opset, metadata, what it computes; and what was logged."""
    import onnxruntime

    from trainer.actions.export import export, logger

    lines = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        with _gpus_asked(world, export.__module__) as gpus:
            path = Path(export(parse_spec(nested, "export"))["onnx"])
    finally:
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)
    proto = onnx.load(path)
    shape = [d.dim_value for d in proto.graph.input[0].type.tensor_type.shape.dim]
    session = onnxruntime.InferenceSession(path)
    images = np.ones((shape[0] or 2, *shape[1:]), dtype=np.float32)
    (emb,) = session.run(None, {"input": images})
    metadata = {prop.key: prop.value for prop in proto.metadata_props}
    opset = proto.opset_import[0].version
    return path, shape, opset, metadata, emb[0].tolist(), gpus, [x for x in lines if "graph" in x]


def engine_made(_world, nested):
    """What `gen_trt_engine` says it made and where, and the kinds of nodes in it."""
    from trainer.actions.engine import gen_trt_engine

    folder = Path(nested["results_dir"])
    try:
        result = gen_trt_engine(parse_spec(nested, "gen_trt_engine"))
    except TrainerError as e:
        return str(e)
    files = sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())
    proto = onnx.load(result["engine"])
    kinds = {node.op_type for node in proto.graph.node}
    caches = {p.name: p.read_bytes() for p in folder.rglob("*.cache*")}
    props = {prop.key: prop.value for prop in proto.metadata_props}
    return *_path_facts(result), files, kinds, caches, props


def built_for_tensorrt(world, nested):
    """Every call on TensorRT's builder."""
    calls = []
    module_name = "trainer.actions.tensorrt_engine"
    with four_gpus(world) as patch:
        patch.setitem(sys.modules, "tensorrt", _tensorrt(calls))
        patch.delitem(sys.modules, module_name, raising=False)
        patch.setattr(torch.cuda, "set_device", lambda index: calls.append(("device", index)))
        from trainer.actions.engine import gen_trt_engine

        assert gen_trt_engine(parse_spec(nested, "gen_trt_engine"))["kind"] == "tensorrt"
        sys.modules.pop(module_name)
    return calls


class _Recorder:
    """Writes every call and every set attribute down; answers with another of its kind."""

    def __init__(self, called, calls, **answers):
        self.__dict__.update(_called=called, _calls=calls, **answers)

    def __getattr__(self, name):
        def call(*words, **named):
            self._calls.append((f"{self._called}.{name}", str(words), str(named)))
            return _Recorder(f"{self._called}.{name}", self._calls)

        return call

    def __setattr__(self, name, value):
        self._calls.append((f"{self._called}.{name} =", str(value)))

    def __repr__(self):
        return self._called


def _tensorrt(calls):
    """A module under TensorRT's name with the parts of its API that building an engine uses."""
    module = _stand_in("tensorrt")

    def parse(content):
        tensors = onnx.load_from_string(content).graph.initializer
        calls.append(("parsed", sorted((t.name, t.data_type) for t in tensors)))
        return True

    picture = types.SimpleNamespace(name="input", shape=(-1, 3, 32, 32))
    network = _Recorder("network", calls, get_input=lambda _: picture)
    timing = _Recorder("timing", calls, serialize=lambda: b"timings")
    config = _Recorder("config", calls)
    config.__dict__["create_timing_cache"] = lambda data: calls.append(("cache", data)) or timing
    builder = _Recorder("builder", calls)
    builder.__dict__["create_network"] = lambda flags: calls.append(("flags", flags)) or network
    builder.__dict__.update(
        create_builder_config=lambda: config,
        build_serialized_network=lambda *_: b"engine",
    )
    module.Builder = lambda log: calls.append(("log", log)) or builder
    module.OnnxParser = lambda *_: types.SimpleNamespace(parse=parse)
    module.Logger = type("Logger", (), {"VERBOSE": 4, "WARNING": 1, "__new__": lambda c, x: x})
    module.MemoryPoolType = types.SimpleNamespace(WORKSPACE="workspace")
    module.NetworkDefinitionCreationFlag = types.SimpleNamespace(STRONGLY_TYPED=1)
    module.BuilderFlag = types.SimpleNamespace()
    return module
