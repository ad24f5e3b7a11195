"""Lists where the spec deliberately differs from the published one, and why.

Keys that the published spec lacks are marked `is_extension` in their declarations.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from trainer.config.tree import keys


@dataclass(frozen=True, slots=True, kw_only=True)
class Deviation:
    """One stated fact of a published key that is different here."""

    path: str
    fact: str
    """Name in the published dialect: `default`, `maximum`, `enum`."""
    published: Any
    ours: Any
    reason: str


_TWO_CLASSES = "a batch of 4 with 4 pictures per class has no negatives, so nothing would be learnt"
_SPEED = "changes no result, only speed"
_CHANCE = "a chance is at most 1"

DEVIATIONS: tuple[Deviation, ...] = (
    Deviation(path="train.batch_size", fact="default", published=4, ours=32, reason=_TWO_CLASSES),
    Deviation(path="train.val_batch_size", fact="default", published=4, ours=128, reason=_SPEED),
    Deviation(path="evaluate.batch_size", fact="default", published=4, ours=128, reason=_SPEED),
    Deviation(path="inference.batch_size", fact="default", published=1, ours=128, reason=_SPEED),
    Deviation(path="dataset.prob", fact="maximum", published=None, ours=1.0, reason=_CHANCE),
    Deviation(path="dataset.re_prob", fact="maximum", published=None, ours=1.0, reason=_CHANCE),
    Deviation(
        path="wandb.enable",
        fact="default",
        published=True,
        ours=False,
        reason="nothing leaves the machine unless it is asked for",
    ),
    Deviation(
        path="train.optim.name",
        fact="enum",
        published=["Adam", "SGD", "Adamax"],
        ours=["Adam", "SGD", "Adamax", "AdamW"],
        reason="AdamW keeps weight decay apart from the gradient, which transformers need",
    ),
)
"""Values beyond the published lists are legal too: `timm/<name>` as `model.backbone`."""


def extensions() -> list[str]:
    """Return the keys that the published spec does not have, sections included."""
    own = [path for path, key in keys().items() if key.info.is_extension]
    return [
        path for path in keys() if any(path == root or path.startswith(root + ".") for root in own)
    ]
