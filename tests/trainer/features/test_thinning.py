"""A part of the validation pictures, as many of each class."""

from pathlib import Path

import numpy as np
import pytest

from trainer.data.folder import ImageFolder
from trainer.errors import DataError
from trainer.features.thinning import thin_out


def folder(counts, names=None):
    """A folder with so many pictures of each class; no file is needed."""
    names = names or tuple(f"c{i:02d}" for i in range(len(counts)))
    paths = tuple(f"{n}/{k:03d}.png" for n, c in zip(names, counts, strict=True) for k in range(c))
    labels = np.repeat(np.arange(len(counts)), counts).astype(np.int64)
    return ImageFolder(root=Path("/none"), classes=names, paths=paths, labels=labels)


def of_class(thinned, name):
    return [path for path in thinned.paths if path.startswith(f"{name}/")]


def test_every_class_keeps_as_many_evenly_over_its_files():
    reference, query = thin_out(folder([3, 40, 9]), folder([2, 50, 30]), 15)
    assert [len(of_class(query, f"c0{i}")) for i in range(3)] == [2, 5, 5]
    assert [len(of_class(reference, f"c0{i}")) for i in range(3)] == [3, 5, 5]
    assert of_class(query, "c01") == [f"c01/{k:03d}.png" for k in (0, 12, 24, 37, 49)]
    assert [query.classes[label] for label in query.labels] == [p[:3] for p in query.paths]


def test_few_pictures_are_left_alone():
    given = folder([4, 4]), folder([3, 1])
    assert thin_out(*given, 8) == given


def test_of_many_classes_evenly_spaced_ones_stay_in_both():
    reference, query = thin_out(folder([2] * 40), folder([3] * 40), 5)
    assert query.classes == reference.classes == ("c00", "c10", "c20", "c29", "c39")
    assert len(query.paths) == len(reference.paths) == 5


def test_a_gallery_with_classes_beyond_the_queries_keeps_them():
    names = ("b", "d")
    reference, query = thin_out(folder([9] * 4, tuple("abcd")), folder([9, 9], names), 12)
    assert (reference.classes, query.classes) == (tuple("abcd"), names)
    assert len(reference.paths) == len(query.paths) == 12


def test_queries_that_the_gallery_lacks_are_refused_or_dropped_as_always():
    reference, query = folder([9, 9]), folder([9, 9], ("c00", "new"))
    with pytest.raises(DataError, match="not in the reference"):
        thin_out(reference, query, 4)
    _, kept = thin_out(reference, query, 4, ignore_unmatched=True)
    assert kept.classes == ("c00",)
