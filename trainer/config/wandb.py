"""The `wandb` section: mirroring of metrics to Weights & Biases."""

from __future__ import annotations

from dataclasses import dataclass

from trainer.config.fields import flag, sequence, text


@dataclass(frozen=True, slots=True, kw_only=True)
class WandbConfig:
    """Settings handed to `wandb.init`; without the package or a key nothing is sent."""

    enable: bool = flag(False, "Whether metrics are mirrored when the service can be used.")
    project: str = text("TAO Toolkit", "Project that the run is listed in.")
    entity: str = text("", "User or team that owns the project.")
    group: str = text("", "Group that the run is listed under.")
    tags: tuple[str, ...] = sequence(("tao-toolkit",), str, "Labels of the run.")
    reinit: bool = flag(False, "Whether a process may start several runs one after another.")
    sync_tensorboard: bool = flag(
        False, "Whether TensorBoard files are mirrored too; none are written here."
    )
    save_code: bool = flag(False, "Whether the main script is uploaded.")
    name: str = text("TAO Toolkit Training", "Name of the run.")
    run_id: str = text("", "Identifier of an earlier run to continue.")
