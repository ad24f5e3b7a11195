"""The sections of the actions that follow training: evaluate, inference, export, gen_trt_engine."""

from __future__ import annotations

from dataclasses import dataclass

from trainer.config.fields import (
    choice,
    flag,
    integer,
    mandatory_text,
    optional_text,
    real,
    section,
    sequence,
    text,
)
from trainer.config.train import DevicesConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFileConfig(DevicesConfig):
    """A finished model, and how it runs."""

    checkpoint: str | None = mandatory_text("Checkpoint or ONNX file to run.", holds="path")
    trt_engine: str = text(
        "", "TensorRT engine (or ONNX file) to run in place of a checkpoint.", holds="path"
    )
    results_dir: str = text(
        "", "Folder for the results, in place of the action's own in the common results_dir."
    )
    batch_size: int = integer(
        128, "Pictures in a batch; changes speed and memory only.", valid_min=1
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateConfig(ModelFileConfig):
    """Retrieval metrics of a finished model."""

    topk: int = integer(
        1, "Neighbours among which one of the right class counts as a hit.", valid_min=1
    )
    report_accuracy_per_class: bool = flag(
        True, "Whether Precision@1 is averaged over classes and listed for each."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class InferenceConfig(ModelFileConfig):
    """Nearest gallery classes of new pictures."""

    input_path: str | None = mandatory_text("Picture or folder to label.", holds="path")
    inference_input_type: str = choice(
        "classification_folder",
        ("image", "image_folder", "classification_folder"),
        "What `input_path` is: one picture, a folder of pictures, or a folder of class folders.",
    )
    topk: int = integer(1, "Neighbours to list for each picture.", valid_min=1)
    unknown_at: float = real(
        0.0,
        "Share of pictures of unknown classes that are taken for known: pictures that no class fits"
        " are marked `unknown`, as `dataset.val_dataset.query` calibrates it. 0 marks none.",
        valid_min=0.0,
        valid_max=0.5,
        is_extension=True,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportConfig:
    """A checkpoint as a checked ONNX file."""

    batch_size: int = integer(-1, "Batch size fixed in the file; -1 leaves it open.", valid_min=-1)
    checkpoint: str | None = optional_text("Checkpoint to export.", holds="path")
    gpu_id: int = integer(0, "GPU to export on.", valid_min=0)
    onnx_file: str | None = optional_text(
        "File to write; model.onnx in the results folder if not given.", holds="path"
    )
    on_cpu: bool = flag(False, "Whether to export on the CPU.")
    opset_version: int = integer(14, "Version of the ONNX operator set.", valid_min=11)
    verbose: bool = flag(True, "Whether the exported graph is described in the log.")
    results_dir: str | None = optional_text(
        "Folder for the results, in place of <results_dir>/export."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationConfig:
    """Pictures that decide the value ranges of INT8."""

    cal_image_dir: tuple[str, ...] | None = sequence(
        None, str, "Folders (or archives) of pictures to calibrate with.", holds="path"
    )
    cal_cache_file: str | None = mandatory_text(
        "File that keeps the calibrated ranges for later builds.", holds="path"
    )
    cal_batch_size: int = integer(1, "Pictures in a calibration batch.", minimum=1, is_popular=True)
    cal_batches: int = integer(
        1,
        "Calibration batches; cal_batch_size x cal_batches pictures are needed.",
        minimum=1,
        is_popular=True,
    )
    method: str = choice(
        "auto",
        ("auto", "minmax", "percentile", "entropy"),
        "How ranges are found; auto takes the best of all on the validation pictures.",
        is_extension=True,
    )
    max_drop: float = real(
        0.005,
        "Greatest loss of Precision@1 (class mean, validation pictures); the layers that harm most "
        "stay in FP32 until it is reached.",
        minimum=0.0,
        maximum=1.0,
        is_extension=True,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorrtConfig:
    """How the engine is built."""

    workspace_size: int = integer(1024, "Scratch memory of the builder in MB.", minimum=0)
    min_batch_size: int = integer(1, "Least batch size of the engine.", minimum=1, is_popular=True)
    opt_batch_size: int = integer(
        1, "Batch size the engine is tuned for.", minimum=1, is_popular=True
    )
    max_batch_size: int = integer(
        1, "Greatest batch size of the engine.", minimum=1, is_popular=True
    )
    layers_precision: tuple[str, ...] = sequence(
        (), str, "Layers with a precision of their own, each spelt name:precision."
    )
    data_type: str = choice("FP32", ("FP32", "FP16", "INT8"), "Arithmetic of the engine.")
    calibration: CalibrationConfig = section(CalibrationConfig, "INT8 calibration.")


@dataclass(frozen=True, slots=True, kw_only=True)
class GenTrtEngineConfig:
    """An ONNX file as a TensorRT engine."""

    results_dir: str = text("", "Folder for the results, in place of <results_dir>/gen_trt_engine.")
    gpu_id: int = integer(0, "GPU to build on and for.", minimum=0, is_popular=True)
    onnx_file: str | None = mandatory_text("ONNX file to build from.", holds="path")
    trt_engine: str | None = mandatory_text("Engine file to write.", holds="path")
    timing_cache: str = text(
        "", "File of tactic timings, read and extended to build faster.", holds="path"
    )
    batch_size: int = integer(
        -1, "Batch size of the engine; -1 leaves it open.", minimum=-1, is_popular=True
    )
    verbose: bool = flag(False, "Whether the builder's own log is shown.")
    tensorrt: TensorrtConfig = section(TensorrtConfig, "Build settings.")
