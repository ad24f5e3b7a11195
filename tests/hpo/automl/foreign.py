"""A skill folder for the foreign trainer."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

TRAINER = Path(__file__).parents[2] / "foreign_trainer.py"
METRIC = "val accuracy"
DEFAULT = {
    "results_dir": "",
    "train": {"num_epochs": 4, "lr": 0.001, "momentum": 0.9, "resume_training_checkpoint_path": ""},
    "tell": {"where": "status", "fail": "", "sleep": 0.0},
    "dataset": {"train_dataset": ""},
    "evaluate": {"checkpoint": ""},
}


def make_foreign_skill(folder, *, metric=METRIC, enabled=True):
    """Write schema, template and metadata of the network `foreign_net`."""
    (folder / "references").mkdir(parents=True)
    (folder / "schemas").mkdir()
    number = {"type": "float", "minimum": 0.0, "maximum": 1.0, "automl_enabled": True}
    schema = {
        "type": "object",
        "x_tao_schema": {"action": "train", "network_arch": "foreign_net", "schema_version": 1},
        "automl_default_parameters": ["train.lr"],
        "automl_disabled_parameters": ["train"],
        "default": DEFAULT,
        "properties": {
            "results_dir": {"type": "string", "default": ""},
            "train": {
                "type": "collection",
                "properties": {
                    "num_epochs": {"type": "int", "default": 4, "minimum": 1},
                    "lr": number | {"default": 0.001, "math_cond": "> 0.0"},
                    "momentum": number | {"default": 0.9},
                    "resume_training_checkpoint_path": {"type": "string", "default": ""},
                },
            },
            "tell": {
                "type": "collection",
                "properties": {
                    "where": {"type": "string", "default": "status"},
                    "fail": {"type": "string", "default": ""},
                    "sleep": {"type": "float", "default": 0.0},
                },
            },
            "dataset": {
                "type": "collection",
                "properties": {"train_dataset": {"type": "string", "default": ""}},
            },
        },
    }
    (folder / "schemas" / "train.schema.json").write_text(json.dumps(schema))
    (folder / "references" / "spec_template_train.yaml").write_text(yaml.safe_dump(DEFAULT))
    info = {
        "name": "train-foreign",
        "network_arch": "foreign_net",
        "container_image": "registry/foreign:1",
        "automl_enabled": enabled,
        "actions": {
            action: {"command": f"python {TRAINER} {action} -e {{config_path}}"}
            for action in ("train", "evaluate", "export")
        },
        "spec_params": {
            "train": {
                "results_dir": "output_dir",
                "train.resume_training_checkpoint_path": "resume_model",
            },
            "evaluate": {"results_dir": "output_dir", "evaluate.checkpoint": "parent_model"},
            "export": {
                "results_dir": "output_dir",
                "export.checkpoint": "parent_model",
                "export.onnx_file": "create_onnx_file",
            },
        },
        "spec_shorthand_keys": {"num_epochs": "train.num_epochs", "learning_rate": "train.lr"},
    }
    if metric:
        info["metrics"] = {"monitoring_metric": metric}
    (folder / "references" / "skill_info.yaml").write_text(yaml.safe_dump(info))
    return folder
