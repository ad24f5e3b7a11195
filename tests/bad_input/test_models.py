"""Specs, checkpoints, ONNX files and galleries that no action of `ml_recog` can use."""

import io
import os
import pickle
import shutil
import zipfile
from types import SimpleNamespace

import pytest

from tests.bad_input.judging import Case
from tests.bad_input.shelf import take_model

TOLD = (
    "writing to",
    "no GPU is visible",
    "warning: wandb",
    "warning: model: timm",
    "exported graph",
)
"""What an action says before it finds the fault."""


def spec(name, text, *says, action="train"):
    """A malformed spec file."""
    words = f"ml_recog {action} -e spec.yaml"
    return Case(name=name, words=words, files={"spec.yaml": text}, says=says)


def over(name, override, *says, action="train"):
    """A sound spec with one override that is wrong."""
    given = [override] if isinstance(override, str) else list(override)
    words = ("ml_recog", action, "-e", "spec.yaml", *given)
    return Case(name=name, words=words, make=take_model, says=says, told=TOLD)


def spoilt(name, action, spoil, *says, more=()):
    """A sound folder with one file spoilt."""

    def make(desk):
        spoil(take_model(desk))

    words = ("ml_recog", action, "-e", "spec.yaml", *more)
    return Case(name=name, words=words, make=make, says=says, told=TOLD)


def write(name, content):
    return lambda desk: (desk / name).write_bytes(content(desk) if callable(content) else content)


def part(name, share):
    return write(
        name, lambda desk: (desk / name).read_bytes()[: int((desk / name).stat().st_size * share)]
    )


class Evil:
    """Would run a command when it is unpickled."""

    def __reduce__(self):
        return os.system, ("touch pwned",)


def code_in_pickle(desk):
    import torch

    out = io.BytesIO()
    torch.save({"state_dict": {"a": torch.zeros(1)}, "hook": Evil()}, out)
    return out.getvalue()


def other_model(desk):
    import torch

    out = io.BytesIO()
    torch.save({"state_dict": {"conv.weight": torch.zeros(3, 3)}}, out)
    return out.getvalue()


def published(desk):
    """As the published trainer's Lightning writes it: weights, no state that this trainer resumes from."""
    import torch

    out = io.BytesIO()
    facts = {
        "epoch": 3,
        "global_step": 12,
        "pytorch-lightning_version": "2.4.0",
        "state_dict": {"model.trunk.a": torch.zeros(1)},
    }
    torch.save(
        {
            **facts,
            "optimizer_states": [],
            "lr_schedulers": [],
            "callbacks": {},
            "hyper_parameters": SimpleNamespace(),
        },
        out,
    )
    return out.getvalue()


def not_finite(desk):
    import torch

    payload = torch.load(desk / "ckpt/last.ckpt", weights_only=True)
    for key, value in payload["state_dict"].items():
        if value.is_floating_point():
            payload["state_dict"][key] = value * float("nan")
    out = io.BytesIO()
    torch.save(payload, out)
    return out.getvalue()


def other_version(desk):
    import torch

    payload = torch.load(desk / "ckpt/last.ckpt", weights_only=True)
    out = io.BytesIO()
    torch.save({**payload, "version": 99}, out)
    return out.getvalue()


def zipped(desk):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        file.writestr("a.txt", "x")
    return out.getvalue()


RESUME = ("train.resume_training_checkpoint_path=ckpt/last.ckpt", "train.num_epochs=2")
LAUGHS = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join(['*' + above] * 10)}]\n"
    for above, name in zip("abcdefgh", "bcdefghi", strict=True)
)

SPECS = [
    Case(name="spec missing", words="ml_recog train -e spec.yaml", says=("spec.yaml", "no such")),
    Case(name="spec is a folder", words="ml_recog train -e .", says=("folder",)),
    Case(name="spec is a device", words="ml_recog train -e /dev/zero", says=("/dev/zero",)),
    spec("spec empty", "", "dataset.train_dataset"),
    spec("spec a list", "- a", "spec.yaml", "mapping"),
    spec("spec binary", bytes(range(256)), "spec.yaml", "UTF-8"),
    spec("spec nul", b"train:\x00", "spec.yaml"),
    spec("spec deep", "train: " + "{a: " * 3000 + "1" + "}" * 3000, "spec.yaml", "deep"),
    spec("spec very deep", "train: " + "[" * 300_000, "spec.yaml", "deep"),
    spec("spec twice", "train: {seed: 1}\ntrain: {seed: 2}", "spec.yaml", "twice"),
    spec("spec python tag", "train: !!python/object/apply:os.system [ls]", "spec.yaml", "!!python"),
    spec(
        "spec alias bomb",
        LAUGHS + "train: {optim: {steps: *i}}\n",
        "spec.yaml",
        "aliases",
    ),
    spec("spec alias of itself", "train: &t\n  optim: *t\n", "spec.yaml", "aliases"),
    spec("spec section is a value", "train: 3", "train", "section"),
    spec("spec unknown section", "trian: {seed: 1}", "trian", "train"),
    spec("spec unknown key", "train: {sed: 1}", "train.sed", "train.seed"),
    spec(
        "spec nan", "train: {optim: {trunk: {base_lr: .nan}}}", "train.optim.trunk.base_lr", "nan"
    ),
    spec("spec of text for a number", "train: {num_epochs: ten}", "train.num_epochs", "'ten'"),
    spec("spec of a list for a number", "train: {num_epochs: [1]}", "train.num_epochs"),
    spec("spec of a huge number", "train: {seed: 1" + "0" * 400 + "}", "train.seed"),
    spec(
        "spec for evaluate without a checkpoint",
        "train: {seed: 1}",
        "evaluate.checkpoint",
        action="evaluate",
    ),
    over("override without a sign", "train.seed", "train.seed", "key=value"),
    over("override without a key", "=3", "key=value"),
    over("override no yaml", "train.optim.steps=[1", "train.optim.steps"),
    over("override unknown", "train.num_epoch=3", "train.num_epochs"),
    over("epochs of none", "train.num_epochs=0", "train.num_epochs", "0"),
    over("epochs negative", "train.num_epochs=-3", "train.num_epochs", "-3"),
    over("batch of nothing", "train.batch_size=0", "train.batch_size"),
    over("learning rate of infinity", "train.optim.trunk.base_lr=.inf", "base_lr", "inf"),
    over("backbone unknown", "model.backbone=resnet_51", "model.backbone", "resnet_50"),
    over("backbone of timm unknown", "model.backbone=timm/resnet1", "timm/resnet1"),
    over("loss unknown", "train.loss.name=tripet", "train.loss.name"),
    over("input of no size", "model.input_width=0", "model.input_width"),
    over("results in a file", "results_dir=spec.yaml", "spec.yaml"),
    over("weights missing", "model.pretrained_trunk_path=none.pth", "none.pth"),
    over("weights of a folder", "model.pretrained_trunk_path=ckpt", "ckpt", "folder"),
    over("data missing", "dataset.train_dataset=nowhere", "nowhere"),
    over("input path missing", "inference.input_path=nowhere", "nowhere", action="inference"),
    over(
        "input type unknown",
        "inference.inference_input_type=movie",
        "inference_input_type",
        action="inference",
    ),
    over("labels of more than there are", "inference.topk=100000", "topk", action="inference"),
    over("export over a folder", "export.onnx_file=ckpt", "ckpt", action="export"),
    over("opset of long ago", "export.opset_version=3", "opset", action="export"),
]
FILES = [
    spoilt(
        "checkpoint missing", "evaluate", lambda d: (d / "ckpt/last.ckpt").unlink(), "last.ckpt"
    ),
    spoilt("checkpoint empty", "evaluate", write("ckpt/last.ckpt", b""), "last.ckpt"),
    spoilt("checkpoint of text", "evaluate", write("ckpt/last.ckpt", b"hello"), "last.ckpt"),
    spoilt(
        "checkpoint of noise",
        "evaluate",
        write("ckpt/last.ckpt", lambda _: os.urandom(2000)),
        "last.ckpt",
    ),
    spoilt("checkpoint cut in half", "evaluate", part("ckpt/last.ckpt", 0.5), "last.ckpt"),
    spoilt("checkpoint cut at the end", "export", part("ckpt/last.ckpt", 0.99), "last.ckpt"),
    spoilt(
        "checkpoint of a list",
        "evaluate",
        write("ckpt/last.ckpt", pickle.dumps([1, 2])),
        "last.ckpt",
    ),
    spoilt(
        "checkpoint that holds code",
        "evaluate",
        write("ckpt/last.ckpt", code_in_pickle),
        "last.ckpt",
        "code",
    ),
    spoilt(
        "pickle that holds code",
        "export",
        write("ckpt/last.ckpt", pickle.dumps(Evil())),
        "last.ckpt",
        "code",
    ),
    spoilt(
        "checkpoint of another model", "evaluate", write("ckpt/last.ckpt", other_model), "last.ckpt"
    ),
    spoilt(
        "checkpoint of a wider model",
        "evaluate",
        lambda d: None,
        "last.ckpt",
        more=("model.feat_dim=32",),
    ),
    spoilt(
        "checkpoint of numbers that are none",
        "evaluate",
        write("ckpt/last.ckpt", not_finite),
        "last.ckpt",
        "finite",
    ),
    spoilt("a zip as checkpoint", "evaluate", write("ckpt/last.ckpt", zipped), "last.ckpt"),
    spoilt(
        "a folder as checkpoint",
        "evaluate",
        lambda d: ((d / "ckpt/last.ckpt").unlink(), (d / "ckpt/last.ckpt").mkdir()),
        "last.ckpt",
    ),
    spoilt(
        "resume from nothing",
        "train",
        lambda d: (d / "ckpt/last.ckpt").unlink(),
        "last.ckpt",
        more=RESUME,
    ),
    spoilt(
        "resume from noise",
        "train",
        write("ckpt/last.ckpt", lambda _: os.urandom(2000)),
        "last.ckpt",
        more=RESUME,
    ),
    spoilt("resume from half", "train", part("ckpt/last.ckpt", 0.5), "last.ckpt", more=RESUME),
    spoilt(
        "resume from code",
        "train",
        write("ckpt/last.ckpt", code_in_pickle),
        "last.ckpt",
        more=RESUME,
    ),
    spoilt(
        "resume from the published trainer's file",
        "train",
        write("ckpt/last.ckpt", published),
        "last.ckpt",
        "model.pretrained_model_path",
        more=RESUME,
    ),
    spoilt(
        "resume from another release",
        "train",
        write("ckpt/last.ckpt", other_version),
        "last.ckpt",
        "99",
        more=RESUME,
    ),
    spoilt(
        "onnx missing",
        "evaluate",
        lambda d: None,
        "none.onnx",
        more=("evaluate.checkpoint=none.onnx",),
    ),
    spoilt(
        "onnx empty",
        "evaluate",
        write("model.onnx", b""),
        "model.onnx",
        more=("evaluate.checkpoint=model.onnx",),
    ),
    spoilt(
        "onnx of noise",
        "evaluate",
        write("model.onnx", lambda _: os.urandom(2000)),
        "model.onnx",
        more=("evaluate.checkpoint=model.onnx",),
    ),
    spoilt(
        "onnx cut in half",
        "inference",
        part("model.onnx", 0.5),
        "model.onnx",
        more=("inference.checkpoint=model.onnx",),
    ),
    spoilt(
        "onnx with pictures of another size",
        "evaluate",
        lambda d: None,
        "input_width",
        more=("evaluate.checkpoint=model.onnx", "model.input_width=64"),
    ),
    spoilt(
        "an engine where none can run",
        "evaluate",
        write("model.engine", b"x"),
        "model.engine",
        more=("evaluate.checkpoint=model.engine",),
    ),
    spoilt(
        "pictures gone for inference",
        "inference",
        lambda d: shutil.rmtree(d / "reference"),
        "reference",
    ),
]
CASES = [*SPECS, *FILES]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_an_action_cannot_use_is_one_line(case, answered, tmp_path):
    line = answered(case)
    assert all(word in line for word in case.says)
    assert not list(tmp_path.rglob("pwned"))
