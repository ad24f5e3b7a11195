"""Checks a gallery file's arrays before anything is computed with them; needs numpy alone."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.data.names import printable
from trainer.matching import MATCHINGS
from trainer.unknowns import SCORED
from trainer.vectors import DTYPES, KINDS

Arrays = Mapping[str, NDArray[Any]]

FORMAT = 3

_TEXT, _WHOLE, _FLOAT, _BOOL = "U", "iu", "f", "b"
_WORDS = {_TEXT: "texts", _WHOLE: "whole numbers", _FLOAT: "numbers", _BOOL: "yes or no"}
_ONE = ""
"""In place of what an array has an entry for: it is a single value."""
_LAYOUT = {
    "format": (_WHOLE, _ONE),
    "kind": (_TEXT, _ONE),
    "matching": (_TEXT, _ONE),
    "model": (_TEXT, _ONE),
    "step": (_FLOAT, _ONE),
    "labels": (_WHOLE, "embeddings"),
    "paths": (_TEXT, "embeddings"),
    "digests": (_TEXT, "embeddings"),
    "class_names": (_TEXT, "class_names"),
    "query_names": (_TEXT, "query_embeddings"),
    "query_is_trained": (_BOOL, "query_embeddings"),
    "query_shift": (_FLOAT, "query_embeddings"),
    "scores_labels_Q": (_WHOLE, "scores_labels_Q"),
    "scores_inside_Q": (_FLOAT, "scores_labels_Q"),
    "scores_is_right_Q": (_BOOL, "scores_labels_Q"),
    "scores_outside_Q": (_FLOAT, "scores_labels_Q"),
    "scores_is_trained_Q": (_BOOL, "scores_labels_Q"),
}
"""What each array holds, and which array it has as many entries as; an array may be missing."""
_BLOCK = 1 << 22
"""Values that are looked at together."""


def check_arrays(arrays: Arrays) -> None:
    """Check what the arrays of a gallery hold, and that they fit each other.

    Raises:
        KeyError: an array is missing.
        ValueError: an array cannot be of a gallery; the text says what must hold.
    """
    _check_vectors("embeddings", arrays["embeddings"], _dtypes(arrays))
    if "query_embeddings" in arrays:
        length = arrays["embeddings"].shape[1]
        _check_vectors("query_embeddings", arrays["query_embeddings"], _FLOAT, length)
    for name, (kinds, as_many_as) in _LAYOUT.items():
        if name in arrays:
            _check_layout(name, arrays, kinds, as_many_as)
    if "scores_near_QK" in arrays:
        _check_near(arrays["scores_near_QK"], arrays)
    _check_values(arrays)


def _dtypes(arrays: Arrays) -> str:
    """Check format and kind; return the kinds of numbers, or the type, that embeddings have."""
    for name in ("format", "kind"):
        _check_layout(name, arrays, *_LAYOUT[name])
    number, kind = int(arrays["format"]), str(arrays["kind"])
    if number != FORMAT:
        raise ValueError(f"format must be {FORMAT}, got {number} (of another release)")
    _check_choice("kind", kind, KINDS)
    return DTYPES[kind]


def _check_vectors(name: str, emb_ND: NDArray[Any], dtypes: str, length: int | None = None) -> None:
    is_known = dtypes in {emb_ND.dtype.kind, emb_ND.dtype.name}
    if not is_known or emb_ND.ndim != 2 or 0 in emb_ND.shape:
        what = "numbers" if dtypes == _FLOAT else dtypes
        raise ValueError(f"{name} must be a table of {what}, got {_shown(emb_ND)}")
    if length not in (None, emb_ND.shape[1]):
        raise ValueError(f"{name} must be {length} numbers long, got {emb_ND.shape[1]}")
    rows = max(1, _BLOCK // emb_ND.shape[1])
    if emb_ND.dtype.kind == _FLOAT:
        for start in range(0, len(emb_ND), rows):
            if not np.isfinite(emb_ND[start : start + rows]).all():
                raise ValueError(f"{name} must be finite numbers")


def _check_layout(name: str, arrays: Arrays, kinds: str, as_many_as: str) -> None:
    values = arrays[name]
    if values.dtype.kind not in kinds or values.ndim != (as_many_as != _ONE):
        what = f"a row of {_WORDS[kinds]}" if as_many_as else f"one of {_WORDS[kinds]}"
        raise ValueError(f"{name} must be {what}, got {_shown(values)}")
    if as_many_as and len(values) != len(arrays[as_many_as]):
        raise ValueError(
            f"{name} must be as many as {as_many_as}, {len(arrays[as_many_as])}, got {len(values)}"
        )


def _check_near(near_QK: NDArray[Any], arrays: Arrays) -> None:
    """Check the entries that are gone on from when others are added."""
    shape = (len(arrays["scores_labels_Q"]), SCORED + 1)
    if near_QK.dtype.kind not in _WHOLE or near_QK.shape != shape:
        raise ValueError(
            f"scores_near_QK must be {shape[0]} x {shape[1]} whole numbers, got {_shown(near_QK)}"
        )
    most = len(arrays["embeddings"]) - 1
    if near_QK.size and not 0 <= near_QK.min() <= near_QK.max() <= most:
        raise ValueError(
            f"scores_near_QK must be 0 to {most}, got {near_QK.min()} to {near_QK.max()}"
        )


def _check_values(arrays: Arrays) -> None:
    labels_G, names = arrays["labels"], arrays["class_names"].tolist()
    if labels_G.min() < 0 or labels_G.max() >= len(names):
        raise ValueError(
            f"labels must be 0 to {len(names) - 1} with {len(names)} class_names, got "
            f"{labels_G.min()} to {labels_G.max()}"
        )
    name, number = Counter(names).most_common(1)[0]
    if number > 1 or not all(name.strip() for name in names):
        got = f"{printable(name)!r} {number} times" if number > 1 else "an empty one"
        raise ValueError(f"class_names must be names, each once, got {got}")
    if "matching" in arrays:
        _check_choice("matching", str(arrays["matching"]), MATCHINGS)
    if "step" in arrays and not 0 < float(arrays["step"]) < math.inf:
        raise ValueError(f"step must be a number above 0, got {float(arrays['step']):g}")


def _check_choice(name: str, value: str, legal: tuple[str, ...]) -> None:
    if value not in legal:
        raise ValueError(f"{name} must be one of {', '.join(legal)}, got {printable(value)!r}")


def _shown(values: NDArray[Any]) -> str:
    size = " x ".join(map(str, values.shape)) if values.ndim else "a single"
    word = {_TEXT: "texts"}.get(values.dtype.kind, values.dtype.name)
    return f"{size} {word}"
