"""The `train` section: devices, length, intervals and the step."""

from __future__ import annotations

from dataclasses import dataclass

from trainer.config.fields import choice, flag, integer, real, section, sequence, text
from trainer.config.loss import LossConfig
from trainer.config.optim import OptimConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class CudnnConfig:
    """Switches of the convolution library on NVIDIA cards."""

    benchmark: bool = flag(
        False,
        "Whether convolution algorithms are timed first to take the fastest; left out,"
        " where `deterministic` is false.",
    )
    deterministic: bool = flag(True, "Whether only algorithms are used that repeat exactly.")


@dataclass(frozen=True, slots=True, kw_only=True)
class DevicesConfig:
    """What an action computes on."""

    num_gpus: int = integer(1, "GPUs to compute on, per node.", minimum=1, is_popular=True)
    gpu_ids: tuple[int, ...] = sequence(
        (0,), int, "Indices of those GPUs; left at `[0]`, the first `num_gpus`.", is_popular=True
    )
    num_nodes: int = integer(1, "Machines that compute together.", minimum=1, is_popular=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig(DevicesConfig):
    """One training run."""

    seed: int = integer(
        1234,
        "Seed of weights, sampling and augmentation; below 0 every run differs.",
        minimum=-1,
        maximum=float("inf"),
        valid_max=2**63 - 1,
    )
    cudnn: CudnnConfig = section(CudnnConfig, "Convolution library switches.")
    num_epochs: int = integer(
        10, "Epochs to train.", minimum=1, maximum=float("inf"), is_popular=True
    )
    checkpoint_interval: int = integer(
        1, "Epochs (or steps) between two checkpoints.", minimum=1, is_popular=True
    )
    checkpoint_interval_unit: str = choice(
        "epoch", ("epoch", "step"), "What `checkpoint_interval` counts."
    )
    validation_interval: int = integer(
        1,
        "Epochs between two validations; the last epoch is always validated.",
        minimum=1,
        is_popular=True,
    )
    resume_training_checkpoint_path: str = text(
        "", "Checkpoint to go on training from.", holds="path"
    )
    results_dir: str = text("", "Folder for this run's files, in place of <results_dir>/train.")
    optim: OptimConfig = section(OptimConfig, "Optimizer, schedule and margins.")
    clip_grad_norm: float = real(
        0.0, "Greatest L2 norm of the gradient in a step; 0 does not clip.", math_cond=">= 0.0"
    )
    report_accuracy_per_class: bool = flag(
        True, "Whether the monitored Precision@1 is the mean over classes, not over queries."
    )
    smooth_loss: bool = flag(
        True, "Whether the triplet loss uses log(1 + exp(x)) in place of max(x, 0)."
    )
    batch_size: int = integer(
        32,
        "Pictures in a training batch per device; a multiple of dataset.num_instance.",
        valid_min=1,
    )
    val_batch_size: int = integer(
        128, "Pictures in a validation batch; changes speed and memory only.", valid_min=1
    )
    train_trunk: bool = flag(True, "Whether the trunk learns; otherwise it stays as loaded.")
    train_embedder: bool = flag(True, "Whether the embedder learns; otherwise it stays as loaded.")
    head_epochs: int = integer(
        0,
        "Epochs in which embedder and class vectors learn on features of the trunk as it was"
        " loaded, before the whole network trains.",
        minimum=0,
        maximum=50,
        valid_max=100_000,
        is_extension=True,
    )
    head_checkpoint: str = text(
        "",
        "Checkpoint of a run with the same loss, classes and embedding size, whose embedder and"
        " class vectors this run begins with; its trunk is left aside.",
        is_extension=True,
        holds="path",
    )
    batch_norm: str = choice(
        "update",
        ("update", "keep"),
        "Statistics of the trunk's batch norms: updated from each batch, or kept as loaded (scale"
        " and shift still learn).",
        is_extension=True,
    )
    loss: LossConfig = section(LossConfig, "Choice of the loss.", is_extension=True)
    precision: str = choice(
        "auto",
        ("auto", "fp32", "bf16"),
        "Arithmetic of the forward pass: auto takes bf16 on a CUDA device that has it, else fp32.",
        is_extension=True,
    )
    accumulate_grad_batches: int = integer(
        1, "Batches whose gradients make one optimizer step.", minimum=1, is_extension=True
    )
    ema_decay: float = real(
        0.0,
        "Decay of a running mean of the weights that is validated and kept; 0 switches it off. In "
        "step n at most n / (10 + n): .95 after 190 steps, so higher ones need longer trainings.",
        minimum=0.0,
        maximum=1.0,
        math_cond="< 1.0",
        is_extension=True,
    )
    compile: bool = flag(
        False, "Whether the model is compiled with torch.compile.", is_extension=True
    )
