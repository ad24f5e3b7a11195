"""What a trainer has that measures, by further trainings, which pictures no class fits.

One of the extras of `hpo.core.trainer_extras`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from hpo.core.protocols import Progress


@runtime_checkable
class UnknownCalibrator(Protocol):
    """A trainer that trains an exported model's recipe again without a part of its classes."""

    def check_calibration(self, folder: Path, trainings: int) -> None:
        """Raise an error where the export in `folder` cannot be calibrated, or need not be."""

    def calibrate_unknowns(
        self, folder: Path, work: Path, trainings: int, progress: Progress
    ) -> dict[str, Any]:
        """Train so often, each time without another part of the classes; keep what comes of it.

        Args:
            folder: of the export; its gallery is changed, by a change that can be undone.
            work: where finished trainings are kept, so that another call goes on from them.
            trainings: how many.
            progress: called with (what, done, total).

        Returns:
            `trainings` (made now), `queries` (how many are calibrated), and `unknowns`, as
            `describe_unknowns` has it.
        """

    def describe_unknowns(self, folder: Path) -> dict[str, Any] | None:
        """Return what a calibrated gallery tells of unknown pictures; None of another one.

        `threshold` at 5 %, as `PictureLabeller.describe_threshold` has it, `auroc` and `curves`; or
        `why` there is no threshold.
        """
