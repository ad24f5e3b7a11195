"""The whole spec, and which sections each action has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from trainer.config.actions import (
    EvaluateConfig,
    ExportConfig,
    GenTrtEngineConfig,
    InferenceConfig,
)
from trainer.config.dataset import DatasetConfig
from trainer.config.fields import section, text
from trainer.config.model import ModelConfig
from trainer.config.train import TrainConfig
from trainer.config.wandb import WandbConfig

Action = Literal["train", "evaluate", "inference", "export", "gen_trt_engine"]

ACTIONS: tuple[Action, ...] = ("train", "evaluate", "inference", "export", "gen_trt_engine")

COMMON_SECTIONS = (
    "model_name",
    "encryption_key",
    "results_dir",
    "wandb",
    "train",
    "model",
    "dataset",
)
"""Top-level keys in the schema and template of every action, besides the action's own section."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """All that one action needs to know; sections of other actions hold their defaults."""

    model_name: str = text("", "Name of the model in results and exported files.")
    encryption_key: str = text("", "Must stay empty: checkpoints are not encrypted here.")
    results_dir: str = text("", "Folder that holds one folder per action; `results` if empty.")
    wandb: WandbConfig = section(WandbConfig, "Mirroring to Weights & Biases.")
    train: TrainConfig = section(TrainConfig, "Training.")
    model: ModelConfig = section(ModelConfig, "Trunk, embedder and picture size.")
    evaluate: EvaluateConfig = section(EvaluateConfig, "Evaluation.")
    dataset: DatasetConfig = section(DatasetConfig, "Pictures, sampling and augmentation.")
    export: ExportConfig = section(ExportConfig, "Export to ONNX.")
    gen_trt_engine: GenTrtEngineConfig = section(GenTrtEngineConfig, "Build of a TensorRT engine.")
    inference: InferenceConfig = section(InferenceConfig, "Labelling of new pictures.")
