"""The library's losses by angle, with a finite gradient where a picture lies on its class vector.

Such a picture is one that a class vector was made of alone (`train.loss.start`), or one of several
that are the same: the angle is 0, and the slope of the arc cosine infinite.
"""

from __future__ import annotations

from pytorch_metric_learning import losses
from torch import Tensor

from trainer.stacked_losses import within_bounds


class ArcFaceLoss(losses.ArcFaceLoss):  # type: ignore[misc]  # the library has no types
    """Classification by angle, with an angular margin."""

    def get_angles(self, cosine_of_target_classes: Tensor) -> Tensor:
        """Return the angle of each embedding with the vector of its class."""
        angles: Tensor = super().get_angles(within_bounds(cosine_of_target_classes))
        return angles


class SubCenterArcFaceLoss(losses.SubCenterArcFaceLoss, ArcFaceLoss):  # type: ignore[misc]
    """The same with several vectors per class, of which the nearest counts."""
