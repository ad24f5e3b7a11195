"""What a caller of the AutoML route asks for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hpo.automl.arguments import check_mapping, check_names, check_spec, check_text
from hpo.study.skill import Skill


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a caller asks for."""

    skill: Skill
    action: str = "train"
    workspace: Path
    settings: Mapping[str, Any] = field(default_factory=dict)
    algorithm: str | None = None
    hyperparameters: Sequence[str] | None = None
    ranges: Any = None
    overrides: Mapping[str, Any] = field(default_factory=dict)
    roots: Mapping[str, str] = field(default_factory=dict)
    eval_overrides: Mapping[str, Any] = field(default_factory=dict)
    """Data keys of the final evaluation, where they are others than those of training."""
    base_checkpoint: str = ""
    image: str = ""
    platform: str = ""
    """Class of the platform; empty for trials on this machine."""
    trainer: str = ""
    reports_at_end: bool = False
    """Whether a trial's value is known at its end alone."""
    has_extractor: bool = False
    """Whether the caller reads values from the log."""
    needs_data: bool = True
    """Whether the trainer's data sources must be known here."""
    policy: str = "on"
    trials_per_gpu: int | str | None = None
    """How many trials share a GPU, or `auto`."""
    execution: Mapping[str, Any] | None = None
    """A script in place of the action's own."""
    platform_arguments: Mapping[str, Any] = field(default_factory=dict)
    """What the caller passes on to the platform's jobs."""

    def __post_init__(self) -> None:
        """Refuse what has another type than its field says."""
        check_mapping(self.settings, "automl_settings")
        check_spec(self.overrides, "spec_overrides")
        check_spec(self.eval_overrides, "eval_overrides")
        check_mapping(self.execution, "execution")
        check_names(self.hyperparameters, "automl_hyperparameters")
        for name in ("action", "trainer", "image"):
            check_text(getattr(self, name), name)
        if self.algorithm is not None:
            check_text(self.algorithm, "automl_algorithm")
