"""The published templates, run by the published commands with nothing overridden but data paths,
sizes, batches and epochs: ResNet-50 at 32 pixels, one epoch, 120 generated pictures.
"""

import os
from pathlib import Path

import pytest
import yaml

from tests.trainer.tiny import SIDE, make_splits, train_spec
from trainer import cli
from trainer.session import TRAINER
from trainer.spec import overlay

SIZE = {"model.input_width": SIDE, "model.input_height": SIDE}
DEPLOY = "tao-deploy-metric-learning-recognition"


@pytest.fixture(scope="module")
def skill():
    """The published folder where it is at hand, else ours, which has the same templates."""
    shared = os.environ.get("HPO_SHARED_DIR")
    return Path(shared) / "reference/skill/ml_recog" if shared else Path(TRAINER.skill_dir)


class Commands:
    """Runs the command lines of the skill's pages on its templates."""

    def __init__(self, skill, root):
        self.references, self.root = skill / "references", root
        self.splits = make_splits(root / "pictures", classes=12, images=5)
        val = {f"dataset.val_dataset.{name}": self.splits[name] for name in ("reference", "query")}
        self.common = val | {"results_dir": str(root / "results")}

    def run(self, page, action, **changes):
        """Write the action's template with these changes and run the action's command on it."""
        info = yaml.safe_load((self.references / page).read_text())
        template = "spec_template_deploy" if page.startswith(DEPLOY) else "spec_template"
        nested = yaml.safe_load((self.references / f"{template}_{action}.yaml").read_text())
        changes = {key.replace("__", "."): value for key, value in changes.items()}
        path = self.root / f"{template}_{action}.yaml"
        path.write_text(yaml.safe_dump(overlay(nested, self.common, changes)))
        program, *words = info["actions"][action]["command"].format(config_path=path).split()
        assert program == "ml_recog"
        return cli.main(words)


@pytest.fixture(scope="module")
def commands(skill, tmp_path_factory):
    return Commands(skill, tmp_path_factory.mktemp("templates"))


@pytest.fixture(scope="module")
def checkpoint(skill, made_once):
    """`last.ckpt` of the train template."""

    def make(folder):
        own = Commands(skill, folder)
        code = own.run(
            "skill_info.yaml", "train", **SIZE, dataset__train_dataset=own.splits["train"],
            train__num_epochs=1, train__batch_size=48, train__val_batch_size=64,
        )  # fmt: skip
        assert code == 0

    return str(made_once("template_train", make) / "results" / "train" / "ckpt" / "last.ckpt")


@pytest.fixture(scope="module")
def onnx_file(skill, checkpoint, made_once):
    """The file of the export template."""

    def make(folder):
        changes = {
            "export.checkpoint": checkpoint,
            "export.onnx_file": str(folder / "model.onnx"),
        }
        assert Commands(skill, folder).run("skill_info.yaml", "export", **{**SIZE, **changes}) == 0

    return str(made_once("template_export", make) / "model.onnx")


@pytest.fixture(scope="module")
def small_onnx_file(made_once):
    def make(folder):
        splits = make_splits(folder / "pictures")
        spec = train_spec(splits, folder, train__num_epochs=1)
        TRAINER.fit(spec, lambda report: True)
        last = str(folder / "ckpt" / "last.ckpt")
        files = {"export.checkpoint": last, "export.onnx_file": str(folder / "model.onnx")}
        TRAINER.export(spec | files)

    return str(made_once("small_export", make) / "model.onnx")


@pytest.fixture(scope="module")
def engine(skill, small_onnx_file, made_once):
    """The INT8 engine of the deployment's template, of a small model: a ResNet-50 takes long."""

    def make(folder):
        own, calibration = Commands(skill, folder), "gen_trt_engine.tensorrt.calibration"
        changes = {
            "gen_trt_engine.onnx_file": small_onnx_file,
            "gen_trt_engine.trt_engine": str(folder / "int8.engine"),
            f"{calibration}.cal_image_dir": [own.splits["train"]],
            f"{calibration}.cal_cache_file": str(folder / "cal.cache"),
            f"{calibration}.cal_batch_size": 4,
            f"{calibration}.cal_batches": 2,
            # Every query is its own nearest, so no layer must stay in float32: to find those takes long.
            "dataset.val_dataset.query": own.splits["reference"],
        }
        assert own.run(f"{DEPLOY}.skill_info.yaml", "gen_trt_engine", **changes) == 0

    return str(made_once("template_engine", make) / "int8.engine")


def test_evaluate(commands, checkpoint, capsys):
    changes = {"evaluate.checkpoint": checkpoint}
    assert commands.run("skill_info.yaml", "evaluate", **{**SIZE, **changes}) == 0
    shown = capsys.readouterr()
    assert "metrics.val_precision_at_1: " in shown.out
    assert "num_queries: 36" in shown.out
    assert "ml_recog evaluate: done in " in shown.err


def test_inference(commands, checkpoint, capsys):
    changes = {
        "inference.checkpoint": checkpoint,
        "inference.input_path": commands.splits["query"],
        "inference.batch_size": 16,
    }
    assert commands.run("skill_info.yaml", "inference", **{**SIZE, **changes}) == 0
    assert "num_images: 36" in capsys.readouterr().out


def test_export(onnx_file):
    assert Path(onnx_file).stat().st_size > 90e6


def test_an_engine_of_plain_arithmetic(commands, onnx_file, capsys):
    changes = {
        "gen_trt_engine.onnx_file": onnx_file,
        "gen_trt_engine.trt_engine": str(commands.root / "plain.engine"),
    }
    # The published skill has a template, and no page, for it without calibration.
    info = "skill_info.yaml"
    template = commands.references / "spec_template_gen_trt_engine.yaml"
    assert "gen_trt_engine" not in yaml.safe_load((commands.references / info).read_text())
    path = commands.root / "plain.yaml"
    nested = overlay(yaml.safe_load(template.read_text()), commands.common, SIZE, changes)
    path.write_text(yaml.safe_dump(nested))
    assert cli.main(["gen_trt_engine", "-e", str(path)]) == 0
    assert "data_type: FP32" in capsys.readouterr().out


def test_evaluation_of_an_engine(commands, engine, capsys):
    changes = {"evaluate.trt_engine": engine, "evaluate.batch_size": 10}
    assert commands.run(f"{DEPLOY}.skill_info.yaml", "evaluate", **{**SIZE, **changes}) == 0
    shown = capsys.readouterr()
    assert "metrics.val_hit_at_5: " in shown.out
    assert "num_queries: 36" in shown.out  # the tail batch of 6 is not dropped


def test_inference_with_an_engine(commands, engine, capsys):
    changes = {
        "inference.trt_engine": engine,
        "inference.input_path": commands.splits["query"],
        "inference.batch_size": 10,
    }
    assert commands.run(f"{DEPLOY}.skill_info.yaml", "inference", **{**SIZE, **changes}) == 0
    assert "num_images: 36" in capsys.readouterr().out
