"""The `model.weights` section: the weights that `model.pretrained_trunk_path` was resolved to."""

from __future__ import annotations

from dataclasses import dataclass

from trainer.config.fields import bookkeeping, optional_text


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsConfig:
    """Written by the program when it resolves the address of the trunk's weights.

    A spec that holds it reads back as the same spec, wherever and whenever it is read.
    """

    address: str | None = optional_text(
        "The address that the other keys here were found under.", holds="weights"
    )
    sha256: str | None = optional_text(
        "Digest of the weight file; a file with another one is refused."
    )
    licence: str | None = optional_text("Licence of the weights, where it is known.")
    trained_with: str | None = optional_text(
        "Model and preprocessing that belong to the weights, as JSON: spec key -> value."
    )
    follows: str | None = bookkeeping(
        "Keys that nobody set, and their values, as JSON: under another address they are found"
        " anew, while keys that were set keep their values."
    )
