"""Finds pictures of one moment: bursts, frames of a video, the same file stored again.

Every picture becomes a miniature. Those whose blurred miniatures resemble each other most are
compared in earnest: one is laid over the other by an affine motion (shift, turn, zoom, shear), and
what is left after that decides. The alignment is the inverse compositional algorithm of Baker and
Matthews, "Lucas-Kanade 20 Years On" (2004), from coarse to fine; light may change between the two.
Legend: N pictures, P pairs, S side of a miniature, K neighbours, D = S x S.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from trainer.data.decoding import decode_readable
from trainer.data.framing import SQUASHED, ImageSize
from trainer.retrieval import UnitGallery, search

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trainer.data.decoding import Progress

SIDE = 32
SAME_CLASS, OTHER_CLASS = 0.92, 0.97
"""Correlation after alignment from which two pictures are of one moment. Measured on photographs of
groceries: above 0.9 the pairs are moments of one scene, and planted bursts (3 degrees, 10 % zoom,
15 % light, noise, JPEG) lie above 0.94. Between classes it takes more, as packs of two flavours on
white paper differ little."""
_STAGES = ((8, 5, 0.5), (16, 5, 0.7), (SIDE, 5, 0.0))
"""Side of the miniature, steps, and the correlation that it takes to be looked at more closely."""
_NEIGHBOURS = 5
_MIDDLE = 0.88
_LEAST_ALIKE = 0.6
"""Correlation of blurred miniatures below which two pictures are not compared."""
_LEAST_SPREAD = 6.0
"""Grey values that a miniature must vary by; pictures with less resemble one another."""
_LEAST_OVERLAP = 0.5
_MOST_MOTION = 0.3
"""Turn, zoom, shear, and shift as a share of the side."""
_BLOCK = 1024


def find_bursts(
    files: Sequence[Path],
    labels_N: NDArray[np.int64],
    progress: Progress | None = None,
    errors: dict[int, str] | None = None,
) -> NDArray[np.int64]:
    """Return which pictures belong together: pairs (i < j), shape (P, 2).

    Pictures that cannot be read, and those without contrast, belong to none.

    Args:
        files: the pictures.
        labels_N: their classes; two pictures of different classes must be more alike.
        progress: called with (what, done, total).
        errors: gets the reason of each picture that cannot be read, by its place.
    """
    miniatures_NSS, usable = _miniatures(files, progress, {} if errors is None else errors)
    if len(usable) < 2:
        return np.empty((0, 2), dtype=np.int64)
    pairs_P2 = _candidates(miniatures_NSS)
    score_P = np.concatenate(
        [
            _alikeness(miniatures_NSS[part[:, 0]], miniatures_NSS[part[:, 1]])
            for part in np.split(pairs_P2, range(_BLOCK, len(pairs_P2), _BLOCK))
        ]
    )
    found_P2 = usable[pairs_P2]
    is_same = labels_N[found_P2[:, 0]] == labels_N[found_P2[:, 1]]
    chosen: NDArray[np.int64] = found_P2[score_P >= np.where(is_same, SAME_CLASS, OTHER_CLASS)]
    return chosen


def _miniatures(
    files: Sequence[Path], progress: Progress | None, errors: dict[int, str]
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return grey miniatures of the pictures that can be compared, and their places."""
    grey_NSS = np.zeros((len(files), SIDE, SIDE), dtype=np.float32)
    size = ImageSize(height=SIDE, width=SIDE, channels=1)
    for places, pixels_NHWC in decode_readable(files, size, SQUASHED, at_once=256, errors=errors):
        grey_NSS[places] = pixels_NHWC[..., 0]
        if progress is not None:
            progress("looking for bursts", places[-1] + 1, len(files))
    usable = np.flatnonzero(grey_NSS.std(axis=(1, 2)) >= _LEAST_SPREAD).astype(np.int64)
    return grey_NSS[usable], usable


def _pooled(images_NSS: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    step = images_NSS.shape[1] // side
    pooled: NDArray[np.float32] = images_NSS.reshape(-1, side, step, side, step).mean(axis=(2, 4))
    return pooled


def _middles(images_NSS: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """Return the middle of each picture, enlarged to all of it: what a step forward would show.

    It is brought to a side part by part: many pictures are large.
    """
    zoom_23 = np.eye(2, 3, dtype=np.float32) * np.float32(_MIDDLE)
    parts = []
    for part in np.split(images_NSS, range(_BLOCK, len(images_NSS), _BLOCK)):
        zooms_P23 = np.broadcast_to(zoom_23, (len(part), 2, 3))
        middles_PD, _ = _warped(part, zooms_P23, _places(SIDE))
        parts.append(_pooled(middles_PD.reshape(part.shape), side))
    return np.concatenate(parts)


def _candidates(small_NSS: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return each picture with the few that resemble it, or its middle, most: pairs (i < j)."""
    side = _STAGES[0][0]
    whole_ND = _unit(_pooled(small_NSS, side))
    gallery, most = UnitGallery.from_unit(whole_ND), min(_NEIGHBOURS, len(whole_ND) - 1)
    rows_N = np.arange(len(whole_ND))
    found = []
    for asked_ND in (whole_ND, _unit(_middles(small_NSS, side))):
        near_NK, _ = search(asked_ND, gallery, most + 1)
        is_self_NK = near_NK == rows_N[:, None]
        is_self_NK[:, -1] |= ~is_self_NK.any(axis=1)  # the one too many
        pairs_P2 = np.stack((np.repeat(rows_N, most), near_NK[~is_self_NK]), axis=1)
        alike_P = np.concatenate(
            [
                np.einsum("pd,pd->p", asked_ND[part[:, 0]], whole_ND[part[:, 1]])
                for part in np.split(pairs_P2, range(_BLOCK, len(pairs_P2), _BLOCK))
            ]
        )
        found.append(np.sort(pairs_P2[alike_P >= _LEAST_ALIKE], axis=1))
    pairs: NDArray[np.int64] = np.unique(np.concatenate(found), axis=0)
    return pairs


def _unit(images_NSS: NDArray[np.float32]) -> NDArray[np.float32]:
    flat_ND = images_NSS.reshape(len(images_NSS), -1)
    flat_ND = flat_ND - flat_ND.mean(axis=1, keepdims=True)
    unit: NDArray[np.float32] = flat_ND / np.maximum(
        np.linalg.norm(flat_ND, axis=1, keepdims=True), 1e-6
    )
    return unit


def _alikeness(
    first_PSS: NDArray[np.float32], second_PSS: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Return the correlation of pairs laid over each other; -1 for those given up on the way."""
    score_P = np.full(len(first_PSS), -1.0)
    live = np.arange(len(first_PSS))
    motion_P23 = np.tile(np.eye(2, 3, dtype=np.float32), (len(first_PSS), 1, 1))
    for side, steps, least in _STAGES:
        if not len(live):
            break
        moved_P23, alike_P = _aligned(
            _pooled(first_PSS[live], side), _pooled(second_PSS[live], side), motion_P23[live], steps
        )
        kept = alike_P >= least
        live = live[kept]
        motion_P23[live] = moved_P23[kept] * np.array([1, 1, 2], dtype=np.float32)
        if side == SIDE:
            score_P[live] = alike_P[kept]
    return score_P


def _aligned(
    first_PSS: NDArray[np.float32],
    second_PSS: NDArray[np.float32],
    motion_P23: NDArray[np.float32],
    steps: int,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Improve the motions of pairs; return them, and the correlations where both pictures are."""
    side = first_PSS.shape[1]
    places_3D = _places(side)
    unit = np.array([(side - 1) / 2, (side - 1) / 2, 1], dtype=np.float32)
    flat_PD = first_PSS.reshape(len(first_PSS), -1)
    flat_PD = flat_PD - flat_PD.mean(axis=1, keepdims=True)
    flat_PD /= flat_PD.std(axis=1, keepdims=True) + 1e-3
    down, across = np.gradient(flat_PD.reshape(first_PSS.shape), axis=(1, 2))
    # The derivatives by (a, b, x; c, d, y) of the motion (1 + a, b, x; c, 1 + d, y), a to d being
    # counted as the pixels that they move an edge by.
    slopes_P6D = np.concatenate(
        [g.reshape(len(flat_PD), 1, -1) * places_3D for g in (across, down)], axis=1
    )
    hessian_P66 = slopes_P6D @ slopes_P6D.transpose(0, 2, 1)
    inverse_P66 = np.linalg.inv(hessian_P66 + np.eye(6, dtype=np.float32) * side * side * 1e-3)
    for _ in range(steps):
        warped_PD, inside_PD = _warped(second_PSS, motion_P23, places_3D)
        other_PD, own_PD = _standard(warped_PD, inside_PD), _standard(flat_PD, inside_PD)
        gap_PD1 = (other_PD - own_PD)[:, :, None]
        change_P23 = (inverse_P66 @ (slopes_P6D @ gap_PD1)).reshape(-1, 2, 3) / unit
        motion_P23 = _without(motion_P23, change_P23)
    warped_PD, inside_PD = _warped(second_PSS, motion_P23, places_3D)
    both = _standard(warped_PD, inside_PD) * _standard(flat_PD, inside_PD)
    alike_P = both.sum(axis=1) / np.maximum(inside_PD.sum(axis=1), 1.0)
    offset_P23 = np.abs(motion_P23 - np.eye(2, 3, dtype=np.float32))
    is_small = (offset_P23 < _MOST_MOTION * np.array([1, 1, side])).all(axis=(1, 2))
    is_sound = is_small & (inside_PD.mean(axis=1) >= _LEAST_OVERLAP)
    return motion_P23, np.where(is_sound, alike_P, -1.0).astype(np.float32)


def _places(side: int) -> NDArray[np.float32]:
    """Rows (x / half a side, y / half a side, 1) of each pixel seen from the middle, (3, D)."""
    along = (np.arange(side, dtype=np.float32) - (side - 1) / 2) / ((side - 1) / 2)
    down, across = np.meshgrid(along, along, indexing="ij")
    return np.stack((across.ravel(), down.ravel(), np.ones(side * side, dtype=np.float32)))


def _without(
    motion_P23: NDArray[np.float32], change_P23: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return the motions after the inverse of a small change."""
    linear_P22 = np.linalg.inv(np.eye(2, dtype=np.float32) + change_P23[:, :, :2])
    moved_P22 = motion_P23[:, :, :2] @ linear_P22
    shift_P21 = motion_P23[:, :, 2:] - moved_P22 @ change_P23[:, :, 2:]
    return np.concatenate((moved_P22, shift_P21), axis=2)


def _warped(
    images_PSS: NDArray[np.float32], motion_P23: NDArray[np.float32], places_3D: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the pixels at the moved places, (P, D), and 1 where those lie inside, else 0."""
    side = images_PSS.shape[1]
    middle = (side - 1) / 2
    scaled_P23 = motion_P23 * np.array([middle, middle, 1], dtype=np.float32)
    at_P2D = np.nan_to_num(scaled_P23 @ places_3D + np.float32(middle), nan=-1.0)
    inside_PD = ((at_P2D >= 0) & (at_P2D <= side - 1)).all(axis=1)
    at_P2D = np.clip(at_P2D, 0, np.float32(side - 1.001))
    whole_P2D = at_P2D.astype(np.int32)
    across_PD, down_PD = np.moveaxis(at_P2D - whole_P2D, 1, 0)
    flat_PD = images_PSS.reshape(len(images_PSS), -1)
    first_PD = whole_P2D[:, 1] * side + whole_P2D[:, 0]

    def at(step: int) -> NDArray[np.float32]:
        return np.take_along_axis(flat_PD, first_PD + step, axis=1)

    upper = at(0) * (1 - across_PD) + at(1) * across_PD
    lower = at(side) * (1 - across_PD) + at(side + 1) * across_PD
    mixed: NDArray[np.float32] = upper * (1 - down_PD) + lower * down_PD
    return mixed, inside_PD.astype(np.float32)


def _standard(
    values_PD: NDArray[np.float32], inside_PD: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Bring values to mean 0 and deviation 1 over what is inside; what is not becomes 0."""
    number_P1 = np.maximum(inside_PD.sum(axis=1, keepdims=True), 1.0)
    mean_P1 = (values_PD * inside_PD).sum(axis=1, keepdims=True) / number_P1
    centred_PD = (values_PD - mean_P1) * inside_PD
    spread_P1 = np.sqrt((centred_PD**2).sum(axis=1, keepdims=True) / number_P1)
    standard: NDArray[np.float32] = centred_PD / (spread_P1 + 1e-3)
    return standard
