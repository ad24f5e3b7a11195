"""Builds the part of the skill's metadata that the spec's declarations do not hold.

Key names are those of the published skill bank, so that its tools can read the folder.
"""

from __future__ import annotations

from typing import Any

from trainer.config.dialect import NETWORK
from trainer.config.shorthand import DEPLOY_SHORTHANDS, SHORTHANDS

DEPLOY_PAGE = "tao-deploy-metric-learning-recognition"

PUBLISHED_METRIC = "val Precision at Rank 1"
"""The label of the monitored metric in `kpi` records and in the skill's page."""

_FILE = {"type": "file"}
_FOLDER = {"type": "folder"}
_OPTIONAL_FILE = {"type": "file", "optional": True}
_OPTIONAL_FOLDER = {"type": "folder", "optional": True}

_REFERENCE = "dataset.val_dataset.reference"
_QUERY = "dataset.val_dataset.query"
_CALIBRATION = "gen_trt_engine.tensorrt.calibration.cal_image_dir"


def _action(name: str, inputs: dict[str, Any], outputs: tuple[str, ...] = ()) -> dict[str, Any]:
    return {
        "command": f"{NETWORK} {name} -e {{config_path}}",
        "config_format": "yaml",
        "mode": "config",
        "inputs": {path: dict(kind) for path, kind in inputs.items()},
        "outputs": {"results_dir": dict(_FOLDER), **{path: dict(_FILE) for path in outputs}},
        "upload_excludes": ["inputs/"],
    }


_PUBLISHED_BELOW = "metric_learning_recognition/retail-product-checkout-dataset_classification_demo"
"""Folder that holds the published data set in its own layout."""


def _archive(path: str, *, in_list: bool = False) -> dict[str, Any]:
    """Say where a source lies below the root of a data set."""
    archive = {
        "source": "train_datasets",
        "path": path,
        "also_below": _PUBLISHED_BELOW,
        "runtime": "extracted_folder",
    }
    return {**archive, "list": True} if in_list else archive


def skill_info() -> dict[str, Any]:
    """Return the metadata of the training skill."""
    return {
        "name": "train-metric-learning-recognition",
        "network_arch": NETWORK,
        "description": (
            "Learns an embedding in which pictures of one fine-grained class lie close together, so"
            " that a new picture is recognised by its nearest neighbours in a gallery; new classes"
            " join the gallery without training."
        ),
        "automl_enabled": True,
        "data_format": "default",
        "gpu_spec_key": "train.num_gpus",
        "metrics": {"available": [PUBLISHED_METRIC], "monitoring_metric": PUBLISHED_METRIC},
        "actions": {
            "train": _action(
                "train",
                {
                    "dataset.train_dataset": _FOLDER,
                    _REFERENCE: _FOLDER,
                    _QUERY: _FOLDER,
                    "model.pretrained_model_path": _OPTIONAL_FILE,
                    "model.pretrained_trunk_path": _OPTIONAL_FILE,
                    "model.pretrained_embedder_path": _OPTIONAL_FILE,
                    "train.resume_training_checkpoint_path": _OPTIONAL_FILE,
                },
            ),
            "evaluate": _action(
                "evaluate",
                {"evaluate.checkpoint": _FILE, _REFERENCE: _FOLDER, _QUERY: _FOLDER},
            ),
            "export": _action("export", {"export.checkpoint": _FILE}, ("export.onnx_file",)),
            "inference": _action(
                "inference",
                {
                    "inference.checkpoint": _FILE,
                    _REFERENCE: _FOLDER,
                    "inference.input_path": _FOLDER,
                },
            ),
        },
        "data_sources": {
            "train": {
                "dataset.train_dataset": _archive("known_classes/train.tar.gz"),
                _REFERENCE: _archive("known_classes/reference.tar.gz"),
                _QUERY: _archive("known_classes/val.tar.gz"),
            },
            "evaluate": {
                _REFERENCE: _archive("unknown_classes/reference.tar.gz"),
                _QUERY: _archive("unknown_classes/test.tar.gz"),
            },
            "inference": {
                _REFERENCE: _archive("unknown_classes/reference.tar.gz"),
                "inference.input_path": _archive("unknown_classes/test.tar.gz"),
            },
        },
        "spec_params": {
            "train": {
                "encryption_key": "key",
                "model.pretrained_model_path": "ptm_if_no_resume_model",
                "results_dir": "output_dir",
                "train.resume_training_checkpoint_path": "resume_model",
            },
            "evaluate": {
                "encryption_key": "key",
                "evaluate.checkpoint": "parent_model",
                "results_dir": "output_dir",
            },
            "export": {
                "encryption_key": "key",
                "export.checkpoint": "parent_model",
                "export.onnx_file": "create_onnx_file",
                "results_dir": "output_dir",
            },
            "inference": {
                "encryption_key": "key",
                "inference.checkpoint": "parent_model",
                "results_dir": "output_dir",
            },
        },
        "key_defaults": {},
        "spec_shorthand_keys": dict(SHORTHANDS),
        "spec_templates": {
            action: f"../references/spec_template_{action}.yaml"
            for action in ("train", "evaluate", "inference", "export")
        },
    }


def deploy_info() -> dict[str, Any]:
    """Return the metadata of the deployment page: engines, and what runs on them."""
    return {
        "name": "ml-recog-deploy",
        "type": "model",
        "network_arch": NETWORK,
        "description": (
            "Builds an INT8, FP16 or FP32 engine from an exported recogniser, then measures it or"
            " labels pictures with it."
        ),
        "data_format": "default",
        "actions": {
            "gen_trt_engine": _action(
                "gen_trt_engine",
                {"gen_trt_engine.onnx_file": _FILE, _CALIBRATION: _FOLDER},
                ("gen_trt_engine.trt_engine",),
            ),
            "evaluate": _action(
                "evaluate",
                {"evaluate.trt_engine": _FILE, _REFERENCE: _FOLDER, _QUERY: _FOLDER},
            ),
            "inference": _action(
                "inference",
                {
                    "inference.trt_engine": _FILE,
                    _REFERENCE: _FOLDER,
                    _QUERY: _OPTIONAL_FOLDER,
                    "inference.input_path": _FOLDER,
                },
            ),
        },
        "data_sources": {
            "gen_trt_engine": {_CALIBRATION: _archive("known_classes/train.tar.gz", in_list=True)},
            "evaluate": {
                _REFERENCE: _archive("unknown_classes/reference.tar.gz"),
                _QUERY: _archive("unknown_classes/test.tar.gz"),
            },
            "inference": {
                _REFERENCE: _archive("unknown_classes/reference.tar.gz"),
                _QUERY: _archive("unknown_classes/test.tar.gz"),
                "inference.input_path": _archive("unknown_classes/test.tar.gz"),
            },
        },
        "spec_params": {
            "gen_trt_engine": {
                "results_dir": "output_dir",
                "gen_trt_engine.onnx_file": "parent_model",
                "gen_trt_engine.trt_engine": "create_engine_file",
                "gen_trt_engine.tensorrt.calibration.cal_cache_file": "create_cal_cache",
            },
            "evaluate": {"results_dir": "output_dir", "evaluate.trt_engine": "parent_model"},
            "inference": {"results_dir": "output_dir", "inference.trt_engine": "parent_model"},
        },
        "spec_shorthand_keys": dict(DEPLOY_SHORTHANDS),
        "spec_templates": {
            action: f"spec_template_deploy_{action}.yaml"
            for action in ("gen_trt_engine", "evaluate", "inference")
        },
    }


_REQUIRED = "<required>"
_BOTH = {"reference": _REQUIRED, "query": _REQUIRED}
_ENGINE = "/results/ml-recog.engine"


def deploy_templates() -> dict[str, dict[str, Any]]:
    """Return the starter specs of the deployment actions, by action."""
    return {
        "evaluate": {
            "results_dir": "/results",
            "evaluate": {"trt_engine": _ENGINE, "batch_size": 1, "topk": 5},
            "dataset": {"val_dataset": dict(_BOTH)},
        },
        "gen_trt_engine": {
            "results_dir": "/results",
            "dataset": {
                "val_dataset": dict(_BOTH),
                "pixel_mean": [0.485, 0.456, 0.406],
                "pixel_std": [0.226, 0.226, 0.226],
            },
            "gen_trt_engine": {
                "gpu_id": 0,
                "onnx_file": "/models/model.onnx",
                "trt_engine": _ENGINE,
                "tensorrt": {
                    "data_type": "INT8",
                    "workspace_size": 1024,
                    "min_batch_size": 1,
                    "opt_batch_size": 10,
                    "max_batch_size": 10,
                    "calibration": {
                        "cal_cache_file": "/results/ml-recog_calibration.cache",
                        "cal_batch_size": 16,
                        "cal_batches": 100,
                        "cal_image_dir": ["/data/calibration/images"],
                    },
                },
            },
        },
        "inference": {
            "results_dir": "/results",
            "model": {"input_channels": 3, "input_width": 224, "input_height": 224},
            "inference": {
                "trt_engine": _ENGINE,
                "batch_size": 1,
                "input_path": _REQUIRED,
                "inference_input_type": "classification_folder",
                "topk": 10,
            },
            "dataset": {"val_dataset": dict(_BOTH)},
        },
    }
