"""Short names for dotted paths on the command line, as the skill's metadata lists them."""

from __future__ import annotations

from collections.abc import Mapping

from trainer.config.root import Action

SHORTHANDS: Mapping[str, str] = {
    "num_epochs": "train.num_epochs",
    "batch_size": "train.batch_size",
    "val_batch_size": "train.val_batch_size",
    "eval_batch_size": "evaluate.batch_size",
    "infer_batch_size": "inference.batch_size",
    "trunk_learning_rate": "train.optim.trunk.base_lr",
    "embedder_learning_rate": "train.optim.embedder.base_lr",
    "feat_dim": "model.feat_dim",
    "input_width": "model.input_width",
    "input_height": "model.input_height",
    "resume_checkpoint": "train.resume_training_checkpoint_path",
}
"""For a training skill."""

DEPLOY_SHORTHANDS: Mapping[str, str] = {
    "trt_data_type": "gen_trt_engine.tensorrt.data_type",
    "trt_engine": "gen_trt_engine.trt_engine",
    "batch_size": "evaluate.batch_size",
    "infer_batch_size": "inference.batch_size",
    "cal_batch_size": "gen_trt_engine.tensorrt.calibration.cal_batch_size",
    "cal_batches": "gen_trt_engine.tensorrt.calibration.cal_batches",
    "input_width": "model.input_width",
    "input_height": "model.input_height",
}
"""For the deployment skill; `batch_size` means the evaluated batch there."""


def shorthands(action: Action) -> dict[str, str]:
    """Return the short names that hold for an action."""
    if action == "train":
        return dict(SHORTHANDS)
    return {**SHORTHANDS, **DEPLOY_SHORTHANDS}
